"""SHA256SUMS and its seal, as `sha256sum -c` reads them.

https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html: a name with a
backslash or a line end in it is escaped, and its line begins with a backslash.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from console.core import files
from console.core.backup.artifacts import index, progress_log
from console.core.backup.snapshot import ARTIFACTS, ODD, SEAL, STATE, SUMS
from console.core.errors import ConsoleError

_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)\n", re.DOTALL)
_PIECE = 1 << 20
# The last two are gone when it has its name.
_UNLISTED = (SUMS, SEAL, STATE, progress_log.NAME, progress_log.BOOT)


class SumsError(ConsoleError):
    """The list of checksums cannot be trusted."""


def write(folder: Path) -> None:
    """List every file: the artifacts by the index, which knows them; the others are read."""
    with files.explained(folder), open(folder / SUMS, "xb", opener=_private) as file:
        for name in _others(folder):
            file.write(_line(name, digest(folder / os.fsdecode(name))))
        for entry in index.read(folder):
            file.write(_line(os.fsencode(entry.file), entry.sha256))
    with files.explained(folder), open(folder / SEAL, "xb", opener=_private) as file:
        file.write(_line(os.fsencode(SUMS), digest(folder / SUMS)))


def bytes_beside_artifacts(folder: Path) -> int:
    """What the dump, the lists and the deployment's own files take."""
    return sum((folder / os.fsdecode(name)).stat().st_size for name in _others(folder))


def read(folder: Path) -> Iterator[tuple[str, str]]:
    """The listed files, relative to the folder, and their SHA-256.

    Raises:
        SumsError: The list is missing, cut short or changed since it was sealed.
    """
    check_seal(folder)
    with files.explained(folder), (folder / SUMS).open("rb") as file:
        for line in file:
            match = _LINE.fullmatch(line)
            if match is None:
                raise SumsError(f"{folder / SUMS} has a line that makes no sense")
            name = _plain(match[3]) if match[1] else match[3]
            yield os.fsdecode(name), match[2].decode()


def check_seal(folder: Path) -> None:
    """See that the list is as it was written; raises SumsError."""
    try:
        sealed = (folder / SEAL).read_bytes()
        match = _LINE.fullmatch(sealed)
        known = match is not None and match[3] == os.fsencode(SUMS)
        right = match is not None and known and digest(folder / SUMS) == match[2].decode()
    except FileNotFoundError as error:
        raise SumsError(f"{error.filename} is missing: nothing tells what belongs there") from error
    except OSError as error:
        raise files.explain(error, folder) from error
    if not right:
        raise SumsError(
            f"{folder / SUMS} is not as it was written: its checksum in {SEAL} is another one"
        )


def digest(path: Path) -> str:
    """The SHA-256 of a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _others(folder: Path) -> Iterator[bytes]:
    """Every file that is no artifact, in order, as bytes relative to the folder."""
    top = os.fsencode(folder)
    for where, folders, found in os.walk(top):
        if where == top:
            folders[:] = [name for name in folders
                          if name not in (ARTIFACTS.encode(), ODD.encode())]  # fmt: skip
        folders.sort()
        for name in sorted(found):
            path = os.path.relpath(os.path.join(where, name), top)
            if os.fsdecode(path) not in _UNLISTED:
                yield path


def _line(name: bytes, sha256: str) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != name else b""
    return mark + sha256.encode() + b"  " + escaped + b"\n"


def _plain(escaped: bytes) -> bytes:
    known = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
    return re.sub(rb"\\.", lambda found: known.get(found[0], found[0]), escaped)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

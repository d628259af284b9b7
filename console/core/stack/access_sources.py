"""Where a deployment's access log comes from: whole lines, and a position to go on from.

A position is what a source needs to find its place again. It is written down together with what
its lines say, so that a kill at any moment neither loses a line nor counts one twice.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from console.core.files import explained

PIECE_BYTES = 1 << 18
LONGEST_LINE = 1 << 20  # what is longer is left out: no line of a log is
TAIL_BYTES = 256


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a log, in its order.

    Attributes:
        lines: Whole ones, without their ends.
        position: Where to go on after them.
        gap: Something of the log before these lines may be lost: nothing was read of it before,
            or what was read last is not there any more.
    """

    lines: list[bytes]
    position: bytes
    gap: bool = False


class Source(Protocol):
    """A log that is read from where it was left."""

    @property
    def name(self) -> str:
        """What its position is kept under."""

    def read(self, position: bytes | None, cancel: threading.Event) -> Iterator[Piece]:
        """Everything that is new, to where it ends now.

        The last piece may have no lines; a source that can be read yields at least one.

        Args:
            position: Of the last piece that was counted; None for the first time, and when it is
                of no use any more.
            cancel: Leaves off after a piece.

        Raises:
            ConsoleError: It cannot be read now.
        """


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """How far one file was read.

    Attributes:
        tail: Of the last bytes that were read, their hash; it knows the file again under another
            name, number or compression.
    """

    inode: int
    size: int
    changed: int
    offset: int
    tail: str

    def unchanged(self, now: os.stat_result) -> bool:
        """Whether a file is the one that was read to its end, and nothing was written since."""
        return (self.inode, self.size, self.changed) == (now.st_ino, now.st_size, now.st_mtime_ns)


class FileSource:
    """A log file that is rotated: `access.log`, with `access.log.1`, `access.log.2.gz` behind it.

    Followed are renaming, copying with truncation, and compression. A rotated file that is still
    written to (nginx does until it is told) is read on to its end.

    Args:
        path: The current file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"file:{self._path.name}"

    def read(self, position: bytes | None, cancel: threading.Event) -> Iterator[Piece]:
        """See `Source`."""
        marks = _marks(position)
        with explained(self._path):
            known = self._known(marks)
            # The newest that was read must be found again, or what followed may be lost.
            gap = not marks or marks[-1] not in known.values()
            done: list[_Mark] = []
            later = list(known.values())
            for path, before in known.items():
                del later[0]
                reached = before
                for lines, reached in _read(path, before, cancel):
                    marked = [*done, reached, *filter(None, later)]
                    yield Piece(lines, msgspec.json.encode(marked), gap)
                    gap = False
                if cancel.is_set():
                    return
                done += [reached] if reached else []
            yield Piece([], msgspec.json.encode(done), gap)

    def _files(self) -> list[Path]:
        """The files of this log, the oldest first."""

        def age(path: Path) -> tuple[int, str]:
            number = path.name[len(self._path.name) + 1 :].removesuffix(".gz")
            # Numbers count back from now; dates, which logrotate can write instead, go forward.
            return (-int(number), "") if len(number) < 5 else (-99_999, number)

        rotated = [
            each for each in self._path.parent.glob(f"{glob.escape(self._path.name)}[.-]*")
            if each.name[len(self._path.name) + 1 :].removesuffix(".gz").isdigit()
            # While it is compressed, both are there, and the new one is not whole.
            and not (each.suffix == ".gz" and each.with_suffix("").exists())
        ]  # fmt: skip
        current = [self._path] if self._path.exists() else []
        return [*sorted(rotated, key=age), *current]

    def _known(self, marks: list[_Mark]) -> dict[Path, _Mark | None]:
        """How far each file was read, under whatever name it had then; the oldest file first.

        Of two files that both begin with what was read, the older is a copy that was made a moment
        ago, and its original will be truncated: it is left out for now.
        """
        known: dict[Path, _Mark | None] = {}
        found: set[_Mark] = set()
        for path in reversed(self._files()):
            mark = _mark_of(path, marks)
            if mark is None or mark not in found:
                known[path] = mark
            found |= {mark} if mark else set()
        return dict(reversed(known.items()))


def _mark_of(path: Path, marks: list[_Mark]) -> _Mark | None:
    now = path.stat()
    for mark in marks:
        if mark.unchanged(now) or (mark.offset == 0 and mark.inode == now.st_ino):
            return mark
    tails: dict[int, str] = {}
    for mark in reversed(marks):
        if mark.offset not in tails:
            tails[mark.offset] = _tail(path, mark.offset)
        if mark.tail and mark.tail == tails[mark.offset]:
            return mark
    return None


def _marks(position: bytes | None) -> list[_Mark]:
    try:
        return msgspec.json.decode(position or b"[]", type=list[_Mark])
    except msgspec.DecodeError:
        return []


def _open(path: Path) -> io.BufferedReader | gzip.GzipFile:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _tail(path: Path, offset: int) -> str:
    """The hash of the bytes before an offset; "" when the file is shorter, or nothing was read."""
    if offset == 0:
        return ""
    first = max(0, offset - TAIL_BYTES)
    try:
        with _open(path) as file:
            file.seek(first)
            data = file.read(offset - first)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return ""
    return _hash(data) if len(data) == offset - first else ""


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _read(
    path: Path, mark: _Mark | None, cancel: threading.Event
) -> Iterator[tuple[list[bytes], _Mark]]:
    """The lines of one file after what was read of it, with how far that is."""
    now = path.stat()
    offset, tail = (mark.offset, mark.tail) if mark else (0, "")
    if mark and mark.unchanged(now):
        return
    rest = b""
    with _open(path) as file:
        file.seek(offset)
        while not cancel.is_set():
            try:
                data = file.read1(PIECE_BYTES)  # gives what comes before an error
            except (EOFError, zlib.error, gzip.BadGzipFile):
                data = b""  # compressed at this moment, or cut short: what there is, is read
            if not data:
                break
            whole, end, rest = (rest + data).rpartition(b"\n")
            if not end and len(rest) <= LONGEST_LINE:
                continue
            if not end:
                whole, rest = rest, b""  # no line; its end will be none either
            offset += len(whole) + len(end)
            last = (whole[-TAIL_BYTES:] + end)[-TAIL_BYTES:]
            tail = _hash(last) if len(last) == TAIL_BYTES else _tail(path, offset)
            yield whole.split(b"\n"), _Mark(now.st_ino, 0, 0, offset, tail)
    if not cancel.is_set():
        # Unchanged since it was looked at: need not be opened next time.
        yield [], _Mark(now.st_ino, now.st_size, now.st_mtime_ns, offset, tail)

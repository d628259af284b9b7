"""Reading and writing what stands in a snapshot's manifest and state."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from console.core import files
from console.core.backup.snapshot import (
    FORMAT,
    MANIFEST,
    STATE,
    SUMS,
    Manifest,
    Snapshot,
    State,
)
from console.core.errors import ConsoleError

MOST_BYTES = 64_000_000
LOOKED_AT = 65_536
UNSAID = State()

T = TypeVar("T", Manifest, State)


class _Numbered(msgspec.Struct):
    format: int = FORMAT


def load_snapshot(folder: Path) -> Snapshot:
    """A snapshot as it is; one that cannot be read has a `problem`."""
    try:
        return Snapshot(folder, load_manifest(folder), load_state(folder))
    except ConsoleError as error:
        return Snapshot(folder, None, load_state(folder), error.message)


def load_manifest(folder: Path) -> Manifest:
    """What a snapshot is.

    Raises:
        ConsoleError: It has none, it is not as it was written, or a newer version wrote it.
    """
    path = folder / MANIFEST
    try:
        said = _read(path)
    except FileNotFoundError:
        raise ConsoleError(f"{folder} has no {MANIFEST}: it is no snapshot") from None
    except OSError as error:
        raise files.explain(error, path) from error
    manifest = _decode(said, path, Manifest)
    if not _as_written(folder, said):
        raise ConsoleError(f"{path} is not as it was written: its checksum in {SUMS} is another")
    return manifest


def load_state(folder: Path) -> State:
    """What was found out of a snapshot; nothing, where that cannot be read."""
    try:
        return _decode(_read(folder / STATE), folder / STATE, State)
    except (OSError, ConsoleError):
        return UNSAID


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, for people to read as well."""
    _save(folder / MANIFEST, msgspec.json.encode(manifest))


def save_state(folder: Path, state: State) -> None:
    """Replace the state whole."""
    _save(folder / STATE, msgspec.json.encode(state))


def _save(path: Path, said: bytes) -> None:
    files.write_atomic(path, msgspec.json.format(said, indent=2) + b"\n", mode=0o600, lenient=True)


def _read(path: Path) -> bytes:
    """All of a file; raises OSError, also when it is a link or no file."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is no file", str(path))
        return file.read(MOST_BYTES)


def _decode(said: bytes, path: Path, kind: type[T]) -> T:
    number = FORMAT
    with contextlib.suppress(msgspec.DecodeError):
        number = msgspec.json.decode(said, type=_Numbered).format
    if number > FORMAT:
        raise ConsoleError(
            f"{path} has format {number}, this version knows formats up to {FORMAT}",
            "It was written by a newer mlflow-console: upgrade this one.",
        )
    try:
        found = msgspec.json.decode(said, type=kind)
    except msgspec.DecodeError as error:
        raise ConsoleError(f"{path} is not as it was written: {error}") from error
    moments = [getattr(found, each) for each in kind.__struct_fields__ if each.endswith("_at")]
    if any(moment is not None and moment.tzinfo is None for moment in moments):
        raise ConsoleError(f"{path} is not as it was written: a time lacks its zone")
    return found


def _as_written(folder: Path, said: bytes) -> bool:
    """Whether the manifest's checksum fits, where the list of them begins with it."""
    try:
        with (folder / SUMS).open("rb") as file:
            head = file.read(LOOKED_AT)
    except OSError:
        return True  # the list is missed by who verifies
    for line in head.split(b"\n"):
        digest, _, name = line.partition(b"  ")
        if name == MANIFEST.encode():
            return digest == hashlib.sha256(said).hexdigest().encode()
    return True

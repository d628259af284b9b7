"""Reading every byte of a snapshot again."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import files
from console.core.backup import sums
from console.core.backup.place import Place
from console.core.backup.records import load_state, save_state
from console.core.backup.snapshot import MOST_BROKEN, SUMS, Snapshot, State
from console.core.errors import CancelledError, ConsoleError
from console.core.format import plural
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment

PIECE = 1 << 20
REPORT_BYTES = 64 << 20
NAMED = 3

Inode = tuple[int, int]


@dataclass
class Found:
    """What a reading found.

    Attributes:
        broken: Files that are not as they were written, relative to their snapshot.
        inodes: Of those that are there, so that whoever shares them is found.
    """

    broken: list[str] = field(default_factory=list)
    inodes: set[Inode] = field(default_factory=set)


def run(deployment: Deployment, wanted: str, cancel: threading.Event) -> Iterator[Progress]:
    """Read snapshots again and mark what is broken; see `BackupService.verify`."""
    place = Place.of(deployment)
    chosen = place.snapshots() if wanted == "all" else [place.find(wanted)]
    if not chosen:
        raise ConsoleError("There is no snapshot yet", "`mlflow-console backup create` makes one.")
    seen: dict[Inode, str] = {}
    wrong = []
    with place.lock.holding(f"verify of {deployment.name}"):
        for each in chosen:
            found = yield from _one(each, seen, cancel)
            _mark(place, each, found)
            if found.broken:
                wrong.append(f"{each.id}: {_words(found.broken)}")
            else:
                yield Progress(f"{each.id}: every byte is as it was written")
    if wrong:
        raise ConsoleError(
            "; ".join(wrong),
            "A snapshot that is broken stays broken, and others that share a broken artifact are "
            "marked as well; the next `mlflow-console backup create` fetches these artifacts from "
            "the store again.",
        )


def _words(broken: list[str]) -> str:
    named = ", ".join(clean(name, 100) for name in broken[:NAMED])
    more = len(broken) - NAMED
    return f"{named}{f' and {more:,} more' if more > 0 else ''} " + (
        "is broken" if len(broken) == 1 else "are broken"
    )


def _one(
    snapshot: Snapshot, seen: dict[Inode, str], cancel: threading.Event
) -> Generator[Progress, None, Found]:
    """Read one snapshot.

    Args:
        snapshot: Which one.
        seen: The digests of files that were read already, by inode: several snapshots share them.
        cancel: Ends it.
    """
    found = Found()
    total = snapshot.manifest.bytes if snapshot.manifest else None
    read = reported = 0
    label = f"{snapshot.id}: reading"
    yield Progress(label, 0, total, "bytes")
    try:
        for name, sha256 in sums.read(snapshot.path):
            if cancel.is_set():
                raise CancelledError("Stopped; what was found broken is marked")
            read += _check(snapshot.path, name, sha256, seen, found)
            if read - reported >= REPORT_BYTES:
                reported = read
                yield Progress(label, read, total, "bytes")
    except sums.SumsError as error:
        found.broken.append(SUMS)
        yield Progress(error.message)
    return found


def _check(
    folder: Path, name: str, sha256: str, seen: dict[Inode, str], found: Found
) -> int:  # fmt: skip
    """Read one file; returns its size, 0 when it was read already."""
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        found.broken.append(name)
        return 0
    try:
        status = os.fstat(handle)
        inode = (status.st_dev, status.st_ino)
        known = seen.get(inode)
        if known is None:
            known = _digest(handle)
            if status.st_nlink > 1:
                seen[inode] = known
        if known != sha256:
            found.broken.append(name)
            found.inodes.add(inode)
        return status.st_size
    except OSError:  # a disk that cannot read it any more
        found.broken.append(name)
        return 0
    finally:
        os.close(handle)


def _digest(handle: int) -> str:
    digest = hashlib.sha256()
    while piece := os.read(handle, PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _mark(place: Place, snapshot: Snapshot, found: Found) -> None:
    """Write down what was found: here, and in every other snapshot that shares it."""
    now = datetime.now(UTC)
    state = load_state(snapshot.path)
    verified = state.verified_at if found.broken else now
    _save(snapshot.path, msgspec.structs.replace(state, verified_at=verified), found.broken)
    if not found.inodes:
        return
    for other in place.snapshots():
        if other.path == snapshot.path:
            continue
        shared = [name for name, inode in _inodes(other.path) if inode in found.inodes]
        if shared:
            state = load_state(other.path)
            _save(other.path, state, {*state.broken, *shared})


def _save(folder: Path, state: State, broken: Iterable[str]) -> None:
    names = sorted(set(broken))
    shown = tuple(files.printable(name) for name in names[:MOST_BROKEN])
    save_state(folder, msgspec.structs.replace(state, broken=shown, broken_count=len(names)))


def _inodes(folder: Path) -> Iterator[tuple[str, Inode]]:
    device = folder.stat().st_dev
    for where, _, _ in os.walk(folder):
        with os.scandir(where) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield os.path.relpath(entry.path, folder), (device, entry.inode())


def harm(snapshot: Snapshot) -> str:
    """What is known to be broken of a snapshot, in words; "" for nothing."""
    count = snapshot.state.broken_count
    return f"{plural(count, 'file is', 'files are')} known to be broken" if count else ""

"""The artifacts of a snapshot, put back into a store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.backup import sums
from console.core.backup.artifacts import index
from console.core.backup.snapshot import Entry, Snapshot
from console.core.errors import CancelledError, ConsoleError
from console.core.format import plural
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.storage.store import Store

REPORT_EACH = 200


@dataclass
class Missing:
    """What a store lacks of a snapshot.

    Attributes:
        objects, bytes: To be written.
        same: There as they were.
        others: In the store and not in the snapshot.
    """

    objects: int = 0
    bytes: int = 0
    same: int = 0
    others: int = 0


class _Live:
    """What a store holds now, by key: size, time and mark."""

    def __init__(self, store: Store, cancel: threading.Event) -> None:
        self._held: dict[str, tuple[int, int, str]] = {}
        for batch in store.items(cancel):
            for item in batch:
                self._held[item.key] = (item.size, item.modified, item.mark)
        if cancel.is_set():
            raise CancelledError("Stopped")

    def __len__(self) -> int:
        return len(self._held)

    def has(self, entry: Entry) -> bool:
        """It is there as it was: of the same size, and by its time or its mark the same."""
        size, modified, mark = self._held.get(entry.name, (-1, 0, ""))
        return size == entry.size and (modified == entry.modified or mark == entry.mark)

    def knows(self, entry: Entry) -> bool:
        """There is something of this name."""
        return entry.name in self._held


def missing(store: Store, snapshot: Snapshot) -> Missing:
    """Compare a store with a snapshot; walks it once."""
    live = _Live(store, threading.Event())
    found, known = Missing(), 0
    for entry in index.read(snapshot.path):
        known += live.knows(entry)
        if live.has(entry):
            found.same += 1
        else:
            found.objects += 1
            found.bytes += entry.size
    found.others = len(live) - known
    return found


def put_back(store: Store, snapshot: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
    """Write what the store lacks, each file after its checksum was found right.

    What else is in the store is left alone.

    Raises:
        CancelledError: `cancel` was set; what was written stays.
        ConsoleError: The store fails, or files of the snapshot are broken: the others are written.
    """
    live = _Live(store, cancel)
    wanted = [each for each in index.read(snapshot.path) if not live.has(each)]
    del live
    total = sum(each.size for each in wanted)
    label = "artifacts: writing them to the store"
    yield Progress(label, 0, total, "bytes")
    sizes = {each.name: each.size for each in wanted}
    broken: list[str] = []
    done = 0
    for count, batch in enumerate(store.put(_sound(snapshot.path, wanted, broken), cancel)):
        done += sum(sizes.get(key, 0) for key in batch)
        if count % REPORT_EACH == 0 or done == total:
            yield Progress(label, done, total, "bytes")
    if cancel.is_set():
        raise CancelledError("Stopped")
    if broken:
        yield Progress(
            f"{plural(len(broken), 'artifact')} of the snapshot did not come back, being broken: "
            + ", ".join(clean(name, 100) for name in broken[:5])
        )


def _sound(folder: Path, wanted: list[Entry], broken: list[str]) -> Iterator[tuple[str, Path]]:
    """Those that are as they were written; what is broken must not replace what is whole."""
    for entry in wanted:
        path = folder / entry.file
        try:
            sound = sums.digest(path) == entry.sha256
        except OSError:
            sound = False
        if sound:
            yield entry.name, path
        else:
            broken.append(entry.name)


def refuse_lacking(store: Store, snapshot: Snapshot, cancel: threading.Event) -> None:
    """See that every artifact of a snapshot that is not broken is in the store, by its size.

    Raises:
        CancelledError: `cancel` was set.
        ConsoleError: Some are not.
    """
    sizes: dict[str, int] = {}
    for batch in store.items(cancel):
        sizes.update((item.key, item.size) for item in batch)
    if cancel.is_set():
        raise CancelledError("Stopped")
    lacking = [each for each in index.read(snapshot.path) if sizes.get(each.name) != each.size]
    gone = [key for key, _ in _sound(snapshot.path, lacking, [])]
    if gone:
        raise ConsoleError(
            f"{plural(len(gone), 'artifact is', 'artifacts are')} not in the store after all: "
            + ", ".join(clean(key, 100) for key in gone[:3])
        )

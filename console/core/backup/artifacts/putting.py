"""The artifacts of a snapshot, put back into a store."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.backup import merging, sums
from console.core.backup.artifacts import index
from console.core.backup.snapshot import Entry, Snapshot
from console.core.errors import CancelledError, ConsoleError
from console.core.format import plural
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.storage.store import Item, Store

REPORT_EACH = 200


@dataclass
class Missing:
    """What a store lacks of a snapshot.

    Attributes:
        objects, bytes: To be written.
        same: There as they were.
        others: In the store and not in the snapshot.
        lacks: Of each artifact, in the order of the index, 1 when it is to be written.
    """

    objects: int = 0
    bytes: int = 0
    same: int = 0
    others: int = 0
    lacks: bytearray = field(default_factory=bytearray)


def missing(store: Store, snapshot: Snapshot, cancel: threading.Event) -> Missing:
    """Compare a store with a snapshot; walks it once, a page of it in memory.

    A store that lists in another order than the one of the snapshot seems to lack more.

    Raises:
        CancelledError: `cancel` was set.
    """
    found = Missing()
    for entry, item in _beside(store, snapshot, cancel):
        if entry is None:
            found.others += 1
        elif item is not None and _as_it_was(entry, item):
            found.same += 1
            found.lacks.append(0)
        else:
            found.objects += 1
            found.bytes += entry.size
            found.lacks.append(1)
    return found


def _beside(
    store: Store, snapshot: Snapshot, cancel: threading.Event
) -> Iterator[tuple[Entry | None, Item | None]]:
    """A snapshot's artifacts and a store's, those of one key together."""

    def live() -> Iterator[tuple[bytes, Item]]:
        for batch in store.items(cancel):
            for item in batch:
                yield item.key.encode("utf-8", "surrogateescape"), item
        if cancel.is_set():
            raise CancelledError("Stopped")

    entries = ((entry.key_bytes, entry) for entry in index.read(snapshot.path))
    for one, other in merging.side_by_side(entries, live(), key=itemgetter(0)):
        yield one and one[1], other and other[1]


def _as_it_was(entry: Entry, item: Item) -> bool:
    """It is of the same size, and by its time or its mark the same."""
    same = item.modified == entry.modified or item.mark == entry.mark
    return item.size == entry.size and same


def put_back(
    store: Store, snapshot: Snapshot, cancel: threading.Event
) -> Generator[Progress, None, int]:
    """Write what the store lacks, each file after its checksum was found right.

    What else is in the store is left alone. The return value is how many files of the snapshot are
    broken, and did not come back.

    Raises:
        CancelledError: `cancel` was set; what was written stays.
        ConsoleError: The store fails, or files of the snapshot are broken: the others are written.
    """
    yield Progress("artifacts: looking what the store lacks")
    found = missing(store, snapshot, cancel)
    sizes: dict[str, int] = {}  # of those that are under way

    def wanted() -> Iterator[Entry]:
        for entry in itertools.compress(index.read(snapshot.path), found.lacks):
            sizes[entry.name] = entry.size
            yield entry

    label = "artifacts: writing them to the store"
    yield Progress(label, 0, found.bytes, "bytes")
    broken: list[str] = []
    done = 0
    for count, batch in enumerate(store.put(_sound(snapshot.path, wanted(), broken), cancel)):
        done += sum(sizes.pop(key) for key in batch)
        if count % REPORT_EACH == 0 or done == found.bytes:
            yield Progress(label, done, found.bytes, "bytes")
    if cancel.is_set():
        raise CancelledError("Stopped")
    if broken:
        yield Progress(
            f"{plural(len(broken), 'artifact')} of the snapshot did not come back, being broken: "
            + ", ".join(clean(name, 100) for name in broken[:5])
        )
    return len(broken)


def _sound(folder: Path, wanted: Iterable[Entry], broken: list[str]) -> Iterator[tuple[str, Path]]:
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
    lacking = {
        entry.name: entry
        for entry, item in _beside(store, snapshot, cancel)
        if entry is not None and (item is None or item.size != entry.size)
    }
    if lacking:  # for certain, in whatever order the store lists
        for batch in store.items(cancel):
            for item in batch:
                if item.key in lacking and item.size == lacking[item.key].size:
                    del lacking[item.key]
        if cancel.is_set():
            raise CancelledError("Stopped")
    gone = [key for key, _ in _sound(snapshot.path, lacking.values(), [])]
    if gone:
        raise ConsoleError(
            f"{plural(len(gone), 'artifact is', 'artifacts are')} not in the store after all: "
            + ", ".join(clean(key, 100) for key in gone[:3])
        )

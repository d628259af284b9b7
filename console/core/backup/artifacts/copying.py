"""The artifacts of a snapshot: what is unchanged is linked, the rest is fetched.

First the store is listed, in the order of the keys, beside the index of the previous snapshot,
which is in the same order: of neither more than a page is in memory. What cannot be linked is
fetched then, when it is known how much it is. At last the index is written, in the order of the
listing. In between, what was found is in `listed.jsonl`, and what was fetched in `progress.jsonl`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from console.core.backup import sums
from console.core.backup.artifacts import progress_log, strays
from console.core.backup.artifacts.before import Before, IndexDamaged
from console.core.backup.artifacts.contents import Contents
from console.core.backup.artifacts.linking import Linker
from console.core.backup.artifacts.listed import LEVEL, PIECE, Listed
from console.core.backup.artifacts.naming import Names
from console.core.backup.artifacts.progress_log import ProgressLog
from console.core.backup.gzipped import Writer
from console.core.backup.snapshot import (
    ARTIFACTS,
    CHANGED,
    ODD,
    Artifacts,
    Change,
    Entry,
    Snapshot,
)
from console.core.errors import CancelledError
from console.core.files import explained
from console.core.format import count
from console.core.progress import Progress
from console.core.storage.store import GONE, Fetched, Item, Store

PARTS, OLDER = "parts", "older.jsonl"

KEPT = (ARTIFACTS, ODD, progress_log.NAME, progress_log.BOOT)
"""What an interrupted call leaves in the folder for the next one."""
LOGS = (progress_log.NAME, progress_log.BOOT)
"""What is of no use when the snapshot is whole."""


_Found = tuple[Item, str, str, Entry | None]
"""An object, its path, its sum when it is there already, and what the previous snapshot has."""

Room = Callable[[int, int], None]


@dataclass(slots=True)
class Estimate:
    """What a store holds, and what of it the previous snapshot does not have."""

    objects: int = 0
    bytes: int = 0
    new_bytes: int = 0


def estimate(store: Store, previous: Snapshot | None) -> Estimate:
    """Walk the store once."""
    found, before = Estimate(), Before(previous)
    for batch in store.items(threading.Event()):
        for item in batch:
            found.objects += 1
            found.bytes += item.size
            if before.find(item, _bytes(item.key)) is None:
                found.new_bytes += item.size
    return found


def copy(
    store: Store, making: Path, previous: Snapshot | None, *, clock: int, room: Room,
    cancel: threading.Event, older: Sequence[Snapshot] = (),
) -> Generator[Progress, None, Artifacts]:  # fmt: skip
    """Write the artifacts, their index and the list of what changed.

    Args:
        store: Where they are.
        making: The snapshot's folder; what an interrupted call has left there is used.
        previous: What is unchanged is linked from it.
        clock: The store's, before the dump began.
        room: Is told how many bytes are fetched, and of how many objects; raises when there is
            not enough room.
        cancel: Leaves off; the next call goes on.
        older: Where the content of what is fetched may lie as well, besides in the previous one.

    Raises:
        CancelledError: `cancel` was set.
        ConsoleError: The store or the disk fails.
    """
    try:
        with _Copying(store, making, [previous, *older], clock, cancel) as copying:
            return (yield from copying.run(room))
    except IndexDamaged:  # nothing that it said can be trusted
        with _Copying(store, making, [None, *older], clock, cancel) as copying:
            return (yield from copying.run(room))


class _Copying:
    """One call of `copy`."""

    def __init__(
        self, store: Store, making: Path, older: Sequence[Snapshot | None], clock: int,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._store = store
        self._making = making
        self._clock = clock
        self._cancel = cancel
        self._before = Before(older[0])  # the previous one
        self._log = ProgressLog(making)
        self._listed = Listed(making)
        self._resumed = bool(self._log)
        self._linker = Linker(self._before.folder or making, making)
        self._own = Linker(making, making)
        self._older = [each for each in older if each]
        self._older_linkers = [Linker(each.path, making) for each in self._older]
        self._thread = ThreadPoolExecutor(1)
        self._contents = Contents()
        self._changes = Writer(making / CHANGED, LEVEL)
        self._objects = self._bytes = self._new_bytes = 0
        self._wanted = self._wanted_bytes = 0
        self._counts = {"changed": 0, "gone": 0, "unread": 0}

    def __enter__(self) -> _Copying:
        self._changes.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._thread.shutdown()
        for linker in (self._linker, self._own, *self._older_linkers):
            linker.close()
        self._log.close()
        self._changes.__exit__(kind, None, None)

    def run(self, room: Room) -> Generator[Progress, None, Artifacts]:
        with explained(self._making):
            begun = any((self._making / name).exists() for name in (ARTIFACTS, ODD))
            for name in (ARTIFACTS, PARTS):
                (self._making / name).mkdir(mode=0o700, exist_ok=True)
        yield from self._list()
        room(self._wanted_bytes, self._objects)
        places = array("q", bytes(8 * self._wanted))
        if begun:
            for _ in strays.clear(self._making, self._listed):
                self._stop_when_cancelled()
        if self._wanted:
            self._learn_contents()
            yield from self._fetch(places)
        yield Progress("artifacts: writing the index")
        for _ in self._listed.write_index(self._log, places):
            self._stop_when_cancelled()
        self._listed.remove()
        with explained(self._making):
            shutil.rmtree(self._making / PARTS)
        return Artifacts(
            objects=self._objects, bytes=self._bytes, new_bytes=self._new_bytes, **self._counts
        )

    # Listing

    def _list(self) -> Iterator[Progress]:
        names = Names(self._making)
        batches = self._linked_batches(names)
        for _ in self._listed.write(batches):
            yield Progress("artifacts: listing", self._objects, None, "objects")
            self._stop_when_cancelled()
        self._stop_when_cancelled()
        for problem in self._store.problems:
            self._note(Change("", "unread", problem))
        self._before.finish()
        self._log.forget()

    def _linked_batches(self, names: Names) -> Iterator[list[Entry]]:
        """Link what is unchanged; entries without a sum are of what must be fetched.

        A batch is linked by another thread while the next one is looked up.
        """
        before: tuple[list[_Found], Future[list[bool]]] | None = None
        for batch in self._store.items(self._cancel):
            found = [self._look(item, names) for item in batch]
            entries = self._settled(*before) if before else []
            before = found, self._thread.submit(self._link, found)
            yield entries
        if before:
            yield self._settled(*before)

    def _look(self, item: Item, names: Names) -> _Found:
        key = _bytes(item.key)
        path = names.path(item.key, key)
        sha256 = self._there_already(item, path) if self._resumed else ""
        return item, path, sha256, self._before.find(item, key)

    def _link(self, every: list[_Found]) -> list[bool]:
        link = self._linker.link
        return [
            not sha256 and before is not None
            and link(before.file, path or f"{ARTIFACTS}/{item.key}", item.size)
            for item, path, sha256, before in every
        ]  # fmt: skip

    def _settled(self, every: list[_Found], linked: Future[list[bool]]) -> list[Entry]:
        entries = []
        for (item, path, there, before), is_linked in zip(every, linked.result(), strict=True):
            sha256 = before.sha256 if is_linked and before else there
            entry = _entry(item, sha256, path)
            entries.append(entry)
            self._objects += 1
            self._bytes += item.size
            if sha256:
                self._see_whether_changed(item, entry)
            else:
                self._wanted += 1
                self._wanted_bytes += item.size
        return entries

    def _there_already(self, item: Item, path: str) -> str:
        """The sum of what a former call has fetched; "" when it has not, or not this."""
        known = self._log.find(item.key)
        if known is None or not item.mark:
            return ""
        found, place = known
        if (found.size, found.mark, found.path) != (item.size, item.mark, path):
            return ""
        file = self._making / found.file
        try:
            there = file.lstat()
            whole = there.st_size == found.size
            if not self._log.is_of_this_boot:
                whole = whole and sums.digest(file) == found.sha256
        except OSError:
            return ""
        if not whole:
            return ""
        if there.st_nlink == 1:
            self._new_bytes += found.size
        self._contents.add(bytes.fromhex(found.sha256), place)
        return found.sha256

    def _see_whether_changed(self, item: Item, entry: Entry, *, certain: bool = False) -> None:
        if certain or max(item.modified, item.written) >= self._clock:
            self._note(Change(entry.key, "changed", "it was written after the dump began"))

    def _note(self, change: Change) -> None:
        self._counts[change.what] += 1
        self._changes.write(msgspec.json.encode(change) + b"\n")

    def _stop_when_cancelled(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("Stopped")

    # Fetching

    def _learn_contents(self) -> None:
        """What older snapshots have, under whatever key; the places are below zero."""
        with explained(self._making), (self._making / PARTS / OLDER).open("wb", PIECE) as file:
            place = 0
            for number, entry in self._older_entries():
                self._stop_when_cancelled()
                digest = bytes.fromhex(entry.sha256)
                if entry.size and self._contents.find(digest) is None:
                    self._contents.add(digest, -1 - place)
                    place += file.write(msgspec.json.encode((number, entry)) + b"\n")

    def _older_entries(self) -> Iterator[tuple[int, Entry]]:
        """Their artifacts, each with the number of its snapshot."""
        for number, snapshot in enumerate(self._older):
            with contextlib.suppress(IndexDamaged):
                yield from ((number, entry) for entry in Before(snapshot).read())

    def _fetch(self, places: array[int]) -> Iterator[Progress]:
        under_way: dict[str, tuple[int, Item, str]] = {}

        def wanted() -> Iterator[tuple[Item, Path]]:
            number = 0
            for entry in self._listed.read():
                if not entry.sha256:
                    item = Item(entry.name, entry.size, entry.modified, entry.mark)
                    under_way[item.key] = number, item, entry.path
                    number += 1
                    yield item, self._making / entry.file

        done = done_bytes = 0
        yield self._progress(done, done_bytes)
        for batch in self._store.fetch(wanted(), self._making / PARTS, self._cancel):
            numbers, entries = [], []
            for each in batch:
                number, listed, path = under_way.pop(each.item.key)
                done, done_bytes = done + 1, done_bytes + listed.size
                entry = self._take(each, listed, path)
                if entry:
                    numbers.append(number)
                    entries.append(entry)
            for number, entry, place in zip(numbers, entries, self._log.add(entries), strict=True):
                places[number] = place + 1
                self._keep_once(entry, place)
            yield self._progress(done, done_bytes)
        self._stop_when_cancelled()

    def _progress(self, done: int, done_bytes: int) -> Progress:
        label = f"artifacts: {count(done)} of {count(self._wanted)} copied"
        return Progress(label, done_bytes, self._wanted_bytes, "bytes")

    def _take(self, fetched: Fetched, listed: Item, path: str) -> Entry | None:
        """What was fetched as a line of the index; None when it could not be."""
        item = fetched.item
        entry = _entry(item, fetched.sha256, path)
        if fetched.error:
            self._note(Change(entry.key, "gone") if fetched.error == GONE
                       else Change(entry.key, "unread", fetched.error))  # fmt: skip
            self._objects -= 1
            self._bytes -= listed.size
            return None
        self._bytes += item.size - listed.size
        other = (item.size, item.mark) != (listed.size, listed.mark)
        self._see_whether_changed(item, entry, certain=other)
        return entry

    def _keep_once(self, entry: Entry, place: int) -> None:
        """Make it another name of the same content, where there is that already."""
        digest = bytes.fromhex(entry.sha256)
        known = self._contents.find(digest) if entry.size else None
        if known is not None and self._linked_instead(entry, known):
            return
        self._new_bytes += entry.size
        self._contents.add(digest, place)

    def _linked_instead(self, entry: Entry, known: int) -> bool:
        name = f"{PARTS}/same"
        if known >= 0:
            same = self._own.link(self._log.entry(known).file, name, entry.size)
        else:
            with explained(self._making), (self._making / PARTS / OLDER).open("rb") as file:
                file.seek(-1 - known)
                number, before = msgspec.json.decode(file.readline(), type=tuple[int, Entry])
            same = self._older_linkers[number].link(before.file, name, entry.size)
            # What was written long ago may have changed on the disk, and this one has not.
            same = same and _has(self._making / name, entry.sha256)
        if not same:
            (self._making / name).unlink(missing_ok=True)
            return False
        with explained(self._making):
            os.rename(self._making / name, self._making / entry.file)
        return True


def _entry(item: Item, sha256: str, path: str) -> Entry:
    key, size, modified, mark, _ = item
    if key.isascii():
        return Entry(key, size, modified, mark, sha256, path)
    try:
        key.encode()
    except UnicodeEncodeError:
        raw = key.encode("utf-8", "surrogateescape")
        return Entry(raw.decode("utf-8", "replace"), size, modified, mark, sha256, path, raw)
    return Entry(key, size, modified, mark, sha256, path)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _has(path: Path, sha256: str) -> bool:
    try:
        return sums.digest(path) == sha256
    except OSError:
        return False

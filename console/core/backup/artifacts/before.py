"""What the previous snapshot has of the artifacts."""

from __future__ import annotations

from collections.abc import Iterator

from console.core.backup.artifacts import index
from console.core.backup.snapshot import INDEX, Entry, Snapshot
from console.core.errors import ConsoleError
from console.core.files import printable
from console.core.storage.store import Item


class IndexDamaged(Exception):
    """The previous snapshot's index is damaged."""


class Before:
    """The previous snapshot's index, read beside a listing in the same order."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        usable = snapshot is not None and snapshot.state.broken_count <= len(snapshot.state.broken)
        self._broken = frozenset(snapshot.state.broken if snapshot else ())
        self.folder = snapshot.path if snapshot and usable and INDEX not in self._broken else None
        self._entries = self.read()
        self._next: Entry | None = None
        self._key = b""
        self._forward()

    def read(self) -> Iterator[Entry]:
        """All that it holds and is not broken; raises IndexDamaged."""
        if self.folder is None:
            return
        try:
            for entry in index.read(self.folder):
                if not (self._broken and printable(entry.file) in self._broken):
                    yield entry
        except ConsoleError as error:
            raise IndexDamaged from error

    def find(self, item: Item, key: bytes) -> Entry | None:
        """What it has of an object, if that is still the same; `key` is the item's in bytes."""
        while self._next is not None and self._key < key:
            self._forward()
        found = self._next
        if found is None or self._key != key:
            return None
        same = found.size == item.size and found.mark == item.mark and bool(item.mark)
        return found if same else None

    def _forward(self) -> None:
        self._next = next(self._entries, None)
        if self._next is not None:
            self._key = self._next.key_bytes

    def finish(self) -> None:
        """Read to its end, where it turns out whether it is whole."""
        for _ in self._entries:
            pass

"""A store in a real folder, and snapshots of its artifacts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from console.core.backup.artifacts import copying, index
from console.core.backup.snapshot import Artifacts, Entry, Snapshot, State
from console.core.storage.filesystem import FilesystemStore

LATER = 1 << 60  # a clock that nothing is younger than


class Live:
    """A store to log to, and a place to make snapshots in."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "live"
        self.root.mkdir()
        self.place = folder / "place"
        self.place.mkdir()
        self.store = FilesystemStore(self.root)
        self.asked: list[tuple[int, int]] = []

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def run(
        self, name: str, previous: Snapshot | None = None, *, clock: int = LATER,
        cancel: threading.Event | None = None, older: Sequence[Snapshot] = (),
    ) -> Artifacts:  # fmt: skip
        making = self.place / name
        making.mkdir(exist_ok=True)
        steps = copying.copy(
            self.store, making, previous, clock=clock, cancel=cancel or threading.Event(),
            older=older,
            room=lambda new_bytes, objects: self.asked.append((new_bytes, objects)),
        )  # fmt: skip
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Artifacts = end.value
                return found

    def snapshot(self, name: str, previous: Snapshot | None = None) -> Snapshot:
        self.run(name, previous)
        for log in copying.LOGS:
            (self.place / name / log).unlink()
        return Snapshot(self.place / name, None, State())


def entries(folder: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in index.read(folder)}

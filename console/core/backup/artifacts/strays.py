"""What an interrupted call has left of objects that are no longer there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from console.core.backup.artifacts.listed import Listed
from console.core.backup.snapshot import ARTIFACTS, ODD
from console.core.files import explained
from console.core.storage.filesystem import FilesystemStore


def clear(making: Path, listed: Listed) -> Iterator[None]:
    """Remove files that no line of the listing names; yields now and then.

    Both lists are in the order of the keys, so that neither is in memory.
    """
    odd: set[str] = set()
    names = _plain(listed, odd)
    wanted: bytes | None = b""
    for batch in FilesystemStore(making / ARTIFACTS).items(threading.Event()):
        yield
        for item in batch:
            key = item.key.encode("utf-8", "surrogateescape")
            while wanted is not None and wanted < key:
                wanted = next(names, None)
            if wanted != key:
                with explained(making):
                    (making / ARTIFACTS / item.key).unlink()
    for _ in names:
        pass
    for path in (making / ODD).glob("*"):
        if f"{ODD}/{path.name}" not in odd:
            with explained(path):
                path.unlink()


def _plain(listed: Listed, odd: set[str]) -> Iterator[bytes]:
    """The keys of the files that are called after them; the paths of the others are put aside."""
    for entry in listed.read():
        if entry.path:
            odd.add(entry.path)
        else:
            yield entry.name.encode("utf-8", "surrogateescape")

"""An artifact store in a folder."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from console.core.files import explained, free_bytes
from console.core.storage import filesystem_transfer
from console.core.storage.store import Batch, Fetched, Item
from console.core.storage.usage import Amount
from console.core.text import clean

BATCH = 500  # objects, or folders without any
TICK_MILLISECONDS = 20  # files are stamped with the time of the last tick
MOST_PROBLEMS = 50  # sentences; a thousand unreadable folders have one cause


class FilesystemStore:
    """A folder on a disk of this machine.

    Sizes are apparent (`st_size`, not blocks), as a download would be; a file with several hard
    links counts once for each. Symbolic links are objects of their own size and are not followed,
    but for the root itself, which may well be one.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = str(root)
        self._base = os.fsencode(root) + b"/"
        self.problems: list[str] = []
        self._unread = 0

    def free_bytes(self) -> int | None:
        """Bytes that this account can still write on the folder's disk."""
        with explained(self.root):
            return free_bytes(self.root)

    def incomplete(self, cancel: threading.Event) -> Amount:
        """None: a folder holds nothing that no file shows."""
        return Amount()

    def walk(self, cancel: threading.Event) -> Iterator[Batch]:
        """List every file; what disappears meanwhile was never there.

        File names that are not UTF-8 come with surrogate escapes (PEP 383).

        Raises:
            AccessError: The root itself cannot be read.
        """
        self.problems = []
        self._unread = 0
        if not self._root_is_there():
            return
        batch: Batch = []
        idle = 0
        waiting = [""]  # folders to look at: "" is the root, every other one ends in "/"
        while waiting and not cancel.is_set():
            prefix = waiting.pop()
            for key, size in self._folder(prefix, waiting):
                batch.append((key, size))
                if len(batch) >= BATCH:
                    yield batch
                    batch, idle = [], 0
                    if cancel.is_set():
                        return
            idle += 1
            if idle >= BATCH:
                yield batch
                batch, idle = [], 0
        yield batch
        if self._unread > MOST_PROBLEMS:
            self.problems.append(f"{self._unread - MOST_PROBLEMS} more could not be read")

    def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
        """List every file with its times, in the order of the keys; raises as `walk`."""
        self.problems = []
        self._unread = 0
        if not self._root_is_there():
            return
        batch: list[Item] = []
        waiting = [b""]  # folders to look at and files found; what comes first is the last
        while waiting and not cancel.is_set():
            path = waiting.pop()
            if not path or path.endswith(b"/"):
                waiting += sorted(self._entries(path), reverse=True)
                continue
            key = os.fsdecode(path)
            try:
                batch.append(filesystem_transfer.item(key, os.lstat(self._base + path)))
            except OSError as error:
                self._problem(key, error)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch

    def _entries(self, prefix: bytes) -> Iterator[bytes]:
        """What is in a folder; folders end in a slash."""
        try:
            with os.scandir(self._base + prefix) as entries:
                for entry in entries:
                    end = b"/" if entry.is_dir(follow_symlinks=False) else b""
                    yield prefix + entry.name + end
        except OSError as error:
            self._problem(os.fsdecode(prefix), error)

    def clock(self) -> int:
        """The clock that stamps the files here, which may be another machine's.

        Raises:
            AccessError: The folder cannot be read.
        """
        with explained(self.root):
            os.scandir(self.root).close()
        try:
            handle = os.open(self.root, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:  # not every file system can, and not every account may
            return int(time.time() * 1000) - TICK_MILLISECONDS
        try:
            return os.fstat(handle).st_ctime_ns // 1_000_000
        finally:
            os.close(handle)

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        """Copy many files out of the folder; see `Store.fetch`."""
        return filesystem_transfer.fetch(self.root, wanted, parts, cancel)

    def put(
        self, wanted: Iterable[tuple[str, Path]], cancel: threading.Event
    ) -> Iterator[list[str]]:
        """Copy files into the folder; see `Store.put`."""
        return filesystem_transfer.put(self.root, wanted, cancel)

    def _root_is_there(self) -> bool:
        with explained(self.root):
            try:
                os.scandir(self.root).close()
            except FileNotFoundError:
                self.problems.append(f"The folder {clean(self.base)} does not exist")
                return False
        return True

    def _folder(self, prefix: str, waiting: list[str]) -> Iterator[tuple[str, int]]:
        try:
            with os.scandir(f"{self.base}/{prefix}") as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{prefix}{entry.name}/")
                        else:
                            size = entry.stat(follow_symlinks=False).st_size
                            yield prefix + entry.name, size
                    except OSError as error:
                        self._problem(prefix + entry.name, error)
        except OSError as error:
            self._problem(prefix, error)

    def _problem(self, key: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return  # it was removed, or replaced by a file, while we walked
        self._unread += 1
        if self._unread <= MOST_PROBLEMS:
            where = clean(f"{self.base}/{key}".rstrip("/"), 300)
            self.problems.append(f"{where} could not be read: {error.strerror or error}")

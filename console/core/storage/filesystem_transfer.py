"""Files of an artifact store in a folder, read and written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from console.core.errors import CancelledError, ConsoleError
from console.core.files import explain, explained
from console.core.storage.crew import crew
from console.core.storage.folder import Below
from console.core.storage.landing import NAME_ERRORS, Landing, Part
from console.core.storage.store import GONE, Fetched, Item
from console.core.text import clean

THREADS = 4
PIECE = 1 << 20
TRIES = 3  # with a file that changes while it is read
_PART = ".mlflow-console-{}.part"
_LEFT = re.compile(r"\.mlflow-console-[0-9a-f]{16}\.part")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def item(key: str, found: os.stat_result) -> Item:
    """A file as the store tells of it."""
    return Item(
        key, found.st_size, found.st_mtime_ns // 1_000_000,
        f"{found.st_mtime_ns:x}-{found.st_ctime_ns:x}-{found.st_ino:x}",
        found.st_ctime_ns // 1_000_000,
    )  # fmt: skip


def fetch(
    root: Path, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
) -> Iterator[list[Fetched]]:
    """Copy files out of the store; see `Store.fetch`."""
    landing, ways = Landing(parts), _Ways(root)

    def work(task: tuple[Item, Path], stop: threading.Event) -> Fetched:
        return _fetch(ways.mine(), *task, landing, stop)

    try:
        with contextlib.suppress(CancelledError):
            yield from crew(work, wanted, THREADS, cancel)
    finally:
        ways.close()


def _fetch(
    way: Below, wanted: Item, path: Path, landing: Landing, stop: threading.Event
) -> Fetched:
    folder, _, name = wanted.key.rpartition("/")
    try:
        for _ in range(TRIES):
            handle = os.open(name, _READ, dir_fd=way.folder(folder))
            try:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode):
                    return Fetched(wanted, path, "", "it is no plain file")
                part = _copy(handle, path, landing, stop)
                read = item(wanted.key, os.fstat(handle))
            finally:
                os.close(handle)
            if read == item(wanted.key, found) and part.size == read.size:
                return _finish(part, read, path)
            part.drop()
    except FileNotFoundError:
        return Fetched(wanted, path, "", GONE)
    except OSError as error:
        return Fetched(wanted, path, "", error.strerror or str(error))
    return Fetched(wanted, path, "", "it is being written all the while")


def _copy(handle: int, path: Path, landing: Landing, stop: threading.Event) -> Part:
    """Copy what is in a file; raises OSError when it cannot be read, ConsoleError otherwise."""
    with explained(path):
        part = landing.begin()
    try:
        while piece := os.read(handle, PIECE):
            if stop.is_set():
                raise CancelledError("Stopped")
            with explained(path):
                part.write(piece)
    except BaseException:
        part.drop()
        raise
    return part


def _finish(part: Part, read: Item, path: Path) -> Fetched:
    try:
        return Fetched(read, path, part.finish(path, read.modified))
    except OSError as error:
        if error.errno in NAME_ERRORS:
            why = f"its name can be no file's there: {error.strerror}"
            return Fetched(read, path, "", why)
        raise explain(error, path) from error


def put(
    root: Path, wanted: Iterable[tuple[str, Path]], cancel: threading.Event
) -> Iterator[list[str]]:
    """Copy files into the store; see `Store.put`."""
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
        _clear(root)
    ways = _Ways(root)

    def work(task: tuple[str, Path], stop: threading.Event) -> str:
        return _put(ways.mine(), *task, stop)

    try:
        with contextlib.suppress(CancelledError):
            yield from crew(work, wanted, THREADS, cancel)
    finally:
        ways.close()


def _clear(root: Path) -> None:
    """Remove what a killed call has left; whoever lists the store would take it for artifacts."""
    for _, _, names, folder in os.fwalk(os.path.realpath(root)):
        for name in names:
            if _LEFT.fullmatch(name):
                os.unlink(name, dir_fd=folder)


def _put(way: Below, key: str, path: Path, stop: threading.Event) -> str:
    folder, _, name = key.rpartition("/")
    if any(part in ("", ".", "..") or "\0" in part for part in key.split("/")):
        raise ConsoleError(f"A folder cannot hold an artifact that is called {clean(key)!r}")
    try:
        with path.open("rb", buffering=0) as source:
            _write(source.fileno(), way.folder(folder, make=True), name, stop)
    except OSError as error:
        raise explain(error, Path(key)) from error
    return key


def _write(source: int, folder: int, name: str, stop: threading.Event) -> None:
    """Copy a file under a name that only we know, then rename it."""
    part = _PART.format(secrets.token_hex(8))
    times = os.fstat(source)
    target = os.open(part, _NEW, 0o666, dir_fd=folder)
    try:
        try:
            while piece := os.read(source, PIECE):
                if stop.is_set():
                    raise CancelledError("Stopped")
                while piece:
                    piece = piece[os.write(target, piece) :]
            os.utime(target, ns=(times.st_mtime_ns, times.st_mtime_ns))
        finally:
            os.close(target)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


class _Ways:
    """A way for each thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._local = threading.local()
        self._every: list[Below] = []

    def mine(self) -> Below:
        """That of the thread that asks."""
        way: Below | None = getattr(self._local, "way", None)
        if way is None:
            with explained(self._root):
                way = self._local.way = Below(self._root)
            self._every.append(way)
        return way

    def close(self) -> None:
        """When no thread uses them any more."""
        for way in self._every:
            way.close()

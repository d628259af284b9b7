"""The objects of a bucket, into files: many small ones beside some large ones.

Large ones wait for the disk, and are hashed; small ones wait for the server. So each kind has
threads of its own. There are two for the small ones: where the machine is busy, one thread and the
server that it asks are often given the same processor, and take turns instead of working both.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from console.core.stack.places import Bucket
from console.core.storage.landing import Landing
from console.core.storage.s3_download import Download
from console.core.storage.store import Fetched, Item

LARGE = 4 << 20
SMALL_THREADS = ("one", "two")
SMALL_CONNECTIONS, LARGE_CONNECTIONS = 16, 8
MOST_WAITING = 1000
POLL_SECONDS = 0.1
END_SECONDS = 0.7

Wanted = tuple[Item, Path]
Tasks = queue.SimpleQueue[Wanted]


def fetch(
    bucket: Bucket, wanted: Iterable[Wanted], parts: Path, check: Callable[[], None],
    cancel: threading.Event,
) -> Iterator[list[Fetched]]:  # fmt: skip
    """Fetch objects; see `Store.fetch`. What `check` raises is wrong with the whole store."""
    crew = _Crew(bucket, parts, check)
    remaining, more, waiting = iter(wanted), True, 0
    try:
        while (more or waiting) and not cancel.is_set():
            while more and waiting < MOST_WAITING:
                each = next(remaining, None)
                if each is None:
                    more = False
                    break
                crew.add(each)
                waiting += 1
            crew.work()
            done = crew.done()
            waiting -= len(done)
            if done:
                yield done
    finally:
        crew.stop()


class _Crew:
    """Threads that each run a download."""

    def __init__(self, bucket: Bucket, parts: Path, check: Callable[[], None]) -> None:
        self._bucket = bucket
        self._parts = parts
        self._check = check
        self._small: Tasks = queue.SimpleQueue()
        self._large: Tasks = queue.SimpleQueue()
        self._done: queue.SimpleQueue[list[Fetched] | BaseException] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def add(self, wanted: Wanted) -> None:
        """Fetch this one too."""
        (self._small if wanted[0].size < LARGE else self._large).put(wanted)

    def work(self) -> None:
        """Begin the threads that there is work for, unless they have begun."""
        if not self._small.empty():
            for name in SMALL_THREADS:
                self._begin(name, self._small, SMALL_CONNECTIONS)
        if not self._large.empty():
            self._begin("large", self._large, LARGE_CONNECTIONS)

    def _begin(self, name: str, tasks: Tasks, connections: int) -> None:
        if name in self._threads:
            return
        landing = Landing(self._parts, f"{name}-")
        download = Download(self._bucket, landing, self._check, connections)

        def run() -> None:
            try:
                for batch in download.run(_taken(tasks), self._stop):
                    self._done.put(batch)
            except BaseException as error:  # noqa: BLE001  # whoever waits for it must learn of it
                self._done.put(error)

        thread = self._threads[name] = threading.Thread(target=run, name="s3", daemon=True)
        thread.start()

    def done(self) -> list[Fetched]:
        """What is complete by now; waits a while for it; raises what a thread has raised."""
        try:
            found = self._done.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return []
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self) -> None:
        """Let them leave off, and wait for that."""
        self._stop.set()
        end = time.monotonic() + END_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))


def _taken(tasks: Tasks) -> Iterator[Wanted | None]:
    """What is in a queue, and None whenever that is nothing."""
    while True:
        try:
            yield tasks.get_nowait()
        except queue.Empty:
            yield None

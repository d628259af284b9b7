"""The logs of containers, merged in the order of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from console.core import engine
from console.core.errors import ConsoleError
from console.core.stack import logs
from console.core.stack.driver import LogLine
from console.core.streams import Stream

if TYPE_CHECKING:
    from docker.models.containers import Container

AGAIN_SECONDS = 2.0
Find = Callable[[], dict[str, "Container"]]
Emit = Callable[[LogLine], None]


def stream(find: Find, names: Sequence[str], last: int, follow: bool) -> Stream[LogLine]:
    """The last lines of some containers, then with `follow` the new ones as they come.

    Args:
        find: Gives the containers by the names of their services; asked again when one has ended,
            because the next one of its service is another container.
        names: The services to follow, whether they have a container yet or not.
        last: How many lines to begin with, of all of them together.
        follow: Go on until the stream is closed.
    """

    def produce(cancel: threading.Event, emit: Emit) -> None:
        found = find()
        until = time.time()
        for line in tail(found, last, until):
            emit(line)
        if follow:
            _follow(find, names, until, cancel, emit)

    return Stream(produce, keep=max(last, logs.WAITING_LINES))


def tail(found: dict[str, Container], last: int, until: float | None = None) -> list[LogLine]:
    """The last lines of some containers.

    Args:
        found: The containers by the names of their services.
        last: How many lines, of all of them together.
        until: Only those before this moment, in seconds since 1970.
    """
    if last <= 0 or not found:
        return []

    def read(name: str) -> list[LogLine]:
        options: dict[str, Any] = {} if until is None else {"until": until}
        with engine.explained("the engine"):
            raw: bytes = found[name].logs(timestamps=True, tail=last, **options)
        return [logs.parse(line, name) for line in raw.splitlines()]

    with ThreadPoolExecutor(len(found)) as pool:
        lines = [line for each in pool.map(read, found) for line in each]
    lines.sort(key=lambda line: line.at.timestamp() if line.at else 0.0)
    return lines[-last:]


def _follow(
    find: Find, names: Sequence[str], since: float, cancel: threading.Event, emit: Emit
) -> None:
    """Read every service's log on a thread of its own until cancelled."""
    followers = [_Follower(find, name, since, emit) for name in names]
    for follower in followers:
        threading.Thread(target=follower.run, name="log", daemon=True).start()
    cancel.wait()
    for follower in followers:
        follower.stop()


class _Follower:
    """Follows the log of one service over the ends of its containers."""

    def __init__(self, find: Find, name: str, since: float, emit: Emit) -> None:
        self._find = find
        self._name = name
        self._since = since
        self._emit = emit
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._reading: Any = None

    def stop(self) -> None:
        """End it, also while it waits for a line."""
        self._stopped.set()
        with self._lock:
            reading = self._reading
        if reading is not None:
            reading.close()

    def run(self) -> None:
        """Read until stopped; an engine that went away is asked again when it is back."""
        while not self._stopped.is_set():
            try:
                with engine.explained("the engine"):
                    for raw in self._lines():
                        line = logs.parse(raw, self._name)
                        self._emit(line)
                        self._since = line.at.timestamp() + 1e-6 if line.at else time.time()
            except ConsoleError:
                pass  # the container or the engine has just gone: what is left is asked below
            self._stopped.wait(AGAIN_SECONDS)

    def _lines(self) -> Iterator[bytes]:
        container = self._find().get(self._name)
        if container is None:
            return
        reading: Any = container.logs(
            stream=True, follow=True, timestamps=True, since=self._since
        )  # fmt: skip
        with self._lock:
            self._reading = reading
        if self._stopped.is_set():
            reading.close()
        rest = b""
        for piece in reading:
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

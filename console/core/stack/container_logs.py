"""The logs of containers, merged in the order of time.

The engine writes its own time before each line, so lines of several containers are put in order by
their beginnings, and what comes after a line is asked for by that line's time: two clocks are
never compared.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from console.core import engine
from console.core.engine import Engine
from console.core.engine_streams import FRAME, EngineStream
from console.core.errors import ConsoleError
from console.core.stack.driver import LogLine
from console.core.stack.log_lines import KEPT_BYTES, Raw, moment, parse, split
from console.core.stack.log_stream import BATCH_LINES, Emit, LogStream

if TYPE_CHECKING:
    from docker.models.containers import Container

AGAIN_SECONDS = 2.0
# Lines of several containers that come within this time are put in order.
TOGETHER_SECONDS = 0.2
WAITING_LINES = 20_000
Find = Callable[[], dict[str, "Container"]]


def stream(
    asked: Engine, find: Find, names: Sequence[str], last: int | None, follow: bool, *,
    since: datetime | None = None,
) -> LogStream:  # fmt: skip
    """The last lines of some containers, then with `follow` the new ones as they come.

    Args:
        asked: The engine.
        find: Gives the containers by the names of their services; asked again when one has ended,
            because the next one of its service is another container.
        names: The services to follow, whether they have a container yet or not.
        last: How many lines to begin with, of all of them together; None for all there are.
        follow: Go on until the stream is closed.
        since: None of those that are older.
    """

    def produce(cancel: threading.Event, emit: Emit) -> None:
        found = find()
        sources = {
            name: _Source(asked, name, "" if since is None else f"{since.timestamp():.6f}")
            for name in {*names, *found}
        }
        kept = _kept([sources[name].read(each, last, cancel) for name, each in found.items()], last)
        while batch := list(itertools.islice(kept, BATCH_LINES)):
            emit(batch)
        if follow:
            _follow(find, list(sources.values()), cancel, emit)

    return LogStream(produce)


def tail(found: dict[str, Container], last: int) -> list[LogLine]:
    """The last lines of some containers.

    Args:
        found: The containers by the names of their services.
        last: How many lines, of all of them together.
    """
    if last <= 0:
        return []
    lines: list[Raw] = []
    for name, each in found.items():
        with engine.explained("the engine"):
            raw: bytes = each.logs(timestamps=True, tail=last)
        lines += zip(raw.splitlines(), itertools.repeat(name))
    return [parse(line, name) for line, name in sorted(lines)[-last:]]


def _kept(reading: Sequence[Iterator[Raw]], last: int | None) -> Iterator[Raw]:
    """The lines of several logs in the order of time, or the last of them."""
    merged = reading[0] if len(reading) == 1 else heapq.merge(*reading)
    return merged if last is None else iter(deque(merged, maxlen=last))


class Frames:
    """Takes an engine's answer apart: messages with a header each, in pieces of any size.

    Args:
        terminal: The container has a terminal: then there are no headers.
    """

    def __init__(self, terminal: bool = False) -> None:
        self._terminal = terminal
        self._rest = b""
        self._open: dict[int, bytes] = {}

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece completes, without their ends."""
        if self._terminal:
            *lines, self._rest = (self._rest + piece).split(b"\n")
            return [line.removesuffix(b"\r") for line in lines]
        data = self._rest + piece if self._rest else piece
        lines, at, end = [], 0, len(data)
        while at + FRAME.size <= end:
            kind, size = FRAME.unpack_from(data, at)
            start = at + FRAME.size
            if start + size > end:
                break
            at = start + size
            body = data[start:at]
            if kind in self._open:
                body = self._joined(kind, body)
            if body.endswith(b"\n"):
                lines += body[:-1].split(b"\n")
            elif body:
                self._open[kind] = body
        self._rest = data[at:]
        return lines

    def _joined(self, kind: int, body: bytes) -> bytes:
        """A long line comes in parts of 16 kB, each with a time of its own before it."""
        text = body[len(split(body)[0]) :]
        before = self._open.pop(kind)
        if len(before) < KEPT_BYTES:
            return before + text.removeprefix(b" ")
        return before + b"\n" if text.endswith(b"\n") else before

    def rest(self) -> list[bytes]:
        """What was not ended when the answer was."""
        lines = [*self._open.values(), self._rest if self._terminal else b""]
        return [line for line in lines if line]


class _Source:
    """The log of one service, over the ends of its containers.

    Args:
        asked: The engine.
        name: The service.
        since: Where to begin, in seconds since 1970; "" for the beginning.
    """

    def __init__(self, asked: Engine, name: str, since: str = "") -> None:
        self.name = name
        self._engine = asked
        self._since = since
        # The lines that carry the last time: those are the ones that come again.
        self._stamp = b""
        self._seen: list[bytes] = []
        self._reading: EngineStream | None = None
        self._lock = threading.Lock()

    def read(
        self, container: Container, last: int | None, cancel: threading.Event
    ) -> Iterator[Raw]:
        """The last lines of a container as it is now."""
        wanted = last is None or last > 0
        asked = last if wanted else 1  # the last one tells where to go on
        for lines in self._pieces(container, asked, follow=False, cancel=cancel):
            if wanted:
                yield from zip(lines, itertools.repeat(self.name))

    def follow(self, container: Container, cancel: threading.Event) -> Iterator[list[bytes]]:
        """The lines after those that were read, as they come; ends with the container."""
        return self._pieces(container, None, follow=True, cancel=cancel)

    def stop(self) -> None:
        """End `follow` from another thread, also while it waits for a line."""
        with self._lock:
            if self._reading is not None:
                self._reading.close()

    def _pieces(
        self, container: Container, last: int | None, follow: bool, cancel: threading.Event
    ) -> Iterator[list[bytes]]:
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow)),
                 "tail": "all" if last is None else str(last)}  # fmt: skip
        if self._since:
            query["since"] = self._since
        frames = Frames(bool(container.attrs.get("Config", {}).get("Tty")))
        with EngineStream(self._engine, f"/containers/{container.id}/logs", query) as reading:
            with self._lock:
                self._reading = reading
            if cancel.is_set():  # before it could be closed by `stop`
                return
            for piece in reading:
                if cancel.is_set():
                    return
                if lines := self._new(frames.feed(piece)):
                    yield lines
            if lines := self._new(frames.rest()):
                yield lines

    def _new(self, lines: list[bytes]) -> list[bytes]:
        """Those that were not there before; the engine begins with the last ones again."""
        if lines and self._seen:
            lines = [line for line in lines if not self._again(line)]
        if not lines:
            return lines
        stamp = split(lines[-1])[0]
        at = moment(stamp)
        if at is None or stamp < self._stamp:
            return lines
        if stamp != self._stamp:
            self._stamp, self._seen = stamp, []
            self._since = engine_seconds(stamp)
        self._seen += [line for line in lines[-50:] if line.startswith(stamp)]
        return lines

    def _again(self, line: bytes) -> bool:
        return line.startswith(self._stamp) and line in self._seen


def engine_seconds(stamp: bytes) -> str:
    """A time of the engine as it takes one: seconds since 1970 and nanoseconds; "" for no time."""
    at = moment(stamp)
    if at is None:
        return ""
    _, _, fraction = stamp.rstrip(b"Z").partition(b".")
    digits = "".join(itertools.takewhile(str.isdigit, fraction.decode()))
    return f"{int(at.timestamp())}.{digits:0<9}"


def _follow(find: Find, sources: Sequence[_Source], cancel: threading.Event, emit: Emit) -> None:
    """Read every service's log on a thread of its own until cancelled."""
    merger = _Merger(cancel)
    for source in sources:
        work = (find, source, merger, cancel)
        threading.Thread(target=_follow_one, args=work, name="log", daemon=True).start()
    try:
        while not cancel.is_set():
            if batch := merger.take():
                emit(batch)
            cancel.wait(TOGETHER_SECONDS)
    finally:
        for source in sources:
            source.stop()


class _Merger:
    """Gathers lines of several threads; who brings too many waits."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel
        self._changed = threading.Condition()
        self._lines: list[Raw] = []

    def put(self, lines: Iterable[bytes], name: str) -> None:
        with self._changed:
            while len(self._lines) > WAITING_LINES and not self._cancel.is_set():
                self._changed.wait(TOGETHER_SECONDS)
            self._lines += zip(lines, itertools.repeat(name))

    def take(self) -> list[Raw]:
        """What came since, in the order of time."""
        with self._changed:
            lines, self._lines = self._lines, []
            self._changed.notify_all()
        if len({name for _, name in lines}) > 1:
            lines.sort(key=lambda raw: raw[0][:30])
        return lines


def _follow_one(find: Find, source: _Source, merger: _Merger, cancel: threading.Event) -> None:
    """Read until cancelled; an engine that went away is asked again when it is back."""
    while not cancel.is_set():
        try:
            container = find().get(source.name)
            if container is not None:
                for lines in source.follow(container, cancel):
                    merger.put(lines, source.name)
        except ConsoleError:
            pass  # the container or the engine has just gone: what is left is asked below
        cancel.wait(AGAIN_SECONDS)

"""The access log of a container, read from its engine and from where it was left.

The engine writes its own time before each line. After the time of the last line is asked, which
comes once more: so many lines of that very time as were counted are left out. When they are not
there any more, the engine has turned the log over, and something may be lost.

Only what the container writes to its standard output is asked for. In its error log nginx writes
the name of a failed login as it was sent: whoever sends one with a line feed in it writes a line of
their own there. In the access log names are escaped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from console.core.engine import Engine
from console.core.engine_streams import EngineStream
from console.core.errors import UnreachableError
from console.core.stack.access_sources import Piece
from console.core.stack.container_logs import Frames, engine_seconds

if TYPE_CHECKING:
    from docker.models.containers import Container


class _Reached(msgspec.Struct, frozen=True):
    """How far the log of one container was read.

    Attributes:
        stamp: The engine's time of the last line, as it stands before it; "" before there was one.
        count: How many lines carry it.
    """

    container: str
    stamp: str = ""
    count: int = 0


class ContainerSource:
    """The log of one service over the ends of its containers; of a former one nothing is left.

    Args:
        engine: Whom to ask.
        service: Its name.
        find: Gives its container as it is now, None when there is none.
    """

    def __init__(self, engine: Engine, service: str, find: Callable[[], Container | None]) -> None:
        self._engine = engine
        self._service = service
        self._find = find

    @property
    def name(self) -> str:
        return f"container:{self._service}"

    def read(self, position: bytes | None, cancel: threading.Event) -> Iterator[Piece]:
        """See `Source`."""
        container = self._find()
        if container is None:
            raise UnreachableError(
                f"The service {self._service} has no container, and so no access log",
                "`mlflow-console up` makes one.",
            )
        before = _reached(position)
        same = before is not None and before.container == container.id
        reached = before if before and same else _Reached(str(container.id))
        query = {"stdout": "1", "stderr": "0", "timestamps": "1", "follow": "0", "tail": "all"}
        if reached.stamp:
            query["since"] = engine_seconds(reached.stamp.encode())
        frames = Frames(bool(container.attrs.get("Config", {}).get("Tty")))
        again = Again(reached.stamp.encode(), reached.count)
        gap = not same
        with EngineStream(self._engine, f"/containers/{container.id}/logs", query) as reading:
            for data in reading:
                lines = frames.feed(data)
                if lines:
                    fresh, lost = again.leave_out(lines)
                    reached = again.reached(reached.container)
                    yield Piece(fresh, msgspec.json.encode(reached), gap or lost)
                    gap = False
                if cancel.is_set():
                    return
        # A line without its end is read next time, when it is whole.
        lost = again.missing
        yield Piece([], msgspec.json.encode(reached), gap or lost)


class Again:
    """Leaves out the lines that were counted before, and takes the engine's times off.

    Args:
        stamp: The time of the last line that was counted, b"" for none.
        count: How many lines with that time were counted.
    """

    def __init__(self, stamp: bytes, count: int) -> None:
        self._stamp = stamp
        self._count = count
        self._left = count

    @property
    def missing(self) -> bool:
        """Whether lines that were counted did not come again."""
        return self._left > 0

    def leave_out(self, lines: list[bytes]) -> tuple[list[bytes], bool]:
        """The new ones of further lines, and whether some before them may be lost."""
        known = 0
        while self._left and known < len(lines) and lines[known].startswith(self._stamp + b" "):
            known += 1
            self._left -= 1
        fresh = lines[known:]
        lost = bool(fresh) and self._left > 0
        if not fresh:
            return [], False
        self._left = 0
        last = fresh[-1].partition(b" ")[0]
        same = 0
        for line in reversed(fresh):
            if not line.startswith(last + b" "):
                break
            same += 1
        if last == self._stamp and same == len(fresh):
            same += self._count
        self._stamp, self._count = last, same
        return [line.partition(b" ")[2] for line in fresh], lost

    def reached(self, container: str) -> _Reached:
        """How far that is."""
        return _Reached(container, self._stamp.decode("ascii", "replace"), self._count)


def _reached(position: bytes | None) -> _Reached | None:
    try:
        return msgspec.json.decode(position or b"null", type=_Reached | None)
    except msgspec.DecodeError:
        return None

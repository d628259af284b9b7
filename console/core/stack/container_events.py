"""What happened to containers, from the events of the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from console.core import engine, engine_streams
from console.core.engine import Engine
from console.core.engine_streams import EngineStream
from console.core.errors import ConsoleError, UnreachableError
from console.core.streams import Stream

# Not those of every health check: they would be three a check.
TELLING = (
    "create", "destroy", "die", "health_status", "kill", "oom", "pause", "rename", "restart",
    "start", "stop", "unpause", "update",
)  # fmt: skip
# The engine remembers its last 256 events: with five health checks about this long.
REMEMBERED_SECONDS = 600


class Actor(msgspec.Struct, frozen=True):
    """Whom an event is about.

    Attributes:
        id: Of the container.
    """

    id: str = msgspec.field(name="ID", default="")


class Event(msgspec.Struct, frozen=True):
    """An event of the engine's API, as far as it is used here."""

    action: str = msgspec.field(name="Action", default="")
    actor: Actor = msgspec.field(name="Actor", default=Actor())
    time: int = 0

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)


_decoder = msgspec.json.Decoder(Event)


def changes(asked: Engine, project: str) -> Stream[datetime]:
    """The moments at which a container of a project changed.

    Args:
        asked: The engine.
        project: The name of the Compose project.
    """

    def produce(cancel: threading.Event, emit: Callable[[datetime], None]) -> None:
        with _open(asked, project, TELLING, {}) as stream:
            threading.Thread(target=_close_when, args=(cancel, stream), daemon=True).start()
            for event in _events(stream):
                emit(event.at)
        if not cancel.is_set():
            raise UnreachableError(
                f"The Docker engine has gone ({asked.address})", "Start it: systemctl start docker."
            )

    return Stream(produce)


def _close_when(cancel: threading.Event, stream: EngineStream) -> None:
    cancel.wait()
    stream.close()


def memory_ran_out(asked: Engine, project: str) -> dict[str, datetime]:
    """When something of a container was last killed because memory ran out, lately.

    By its id: a container that was made anew, with more memory, begins without.
    """
    now = time.time()
    since = {"since": f"{now - REMEMBERED_SECONDS:.0f}", "until": f"{now:.9f}"}
    with _open(asked, project, ("oom",), since) as stream:
        return {event.actor.id: event.at for event in _events(stream)}


def _open(
    asked: Engine, project: str, kinds: tuple[str, ...], more: dict[str, str]
) -> EngineStream:
    filters = {
        "type": ["container"],
        "event": list(kinds),
        "label": [f"{engine.PROJECT}={project}"],
    }
    return EngineStream(
        asked, "/events", {"filters": msgspec.json.encode(filters).decode(), **more}
    )


def _events(stream: EngineStream) -> Iterator[Event]:
    for line in engine_streams.lines(stream):
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConsoleError(f"The engine tells of something unreadable: {error}") from error

"""What workers tell the event loop, and the records that screens share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from console.core.deployment import Deployment
    from console.core.errors import ConsoleError
    from console.core.settings import PersonSettings
    from console.core.stack.status import Status
    from console.core.streams import Stream

T = TypeVar("T")


class Delivery(Message, bubble=False):
    """A result of the core for the node that asked; the only thing that a worker may send.

    Attributes:
        deliver: Called by the node's handler, on the event loop and in its turn.
    """

    def __init__(self, deliver: Callable[[], None]) -> None:
        super().__init__()
        self.deliver = deliver


@dataclass(frozen=True, slots=True)
class Session:
    """An opened deployment and what was learnt of it away from the event loop.

    Attributes:
        missing: What the driver cannot do and why, by operation id.
        watch: The status again and again.
    """

    deployment: Deployment
    person: PersonSettings
    missing: Mapping[str, str]
    watch: Stream[Status]


@dataclass(frozen=True, slots=True)
class Live(Generic[T]):
    """Something that several screens show.

    Attributes:
        value: The newest; kept while a newer one is fetched or could not be.
        error: Why there is no newer one.
        busy: A newer one is on its way.
    """

    value: T | None = None
    error: ConsoleError | None = None
    busy: bool = False

"""A followed log, as batches on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from console.core.errors import ConsoleError
from console.core.stack.driver import LogLine
from console.core.stack.service import StackService
from console.core.streams import Stream
from console.tui.caller import Caller
from console.tui.calls import Inbox
from console.tui.messages import Delivery

# A chatty service must not redraw the view for each line.
CALM_SECONDS = 0.2


class LogSource:
    """Follows the logs of some services until it is closed.

    Args:
        node: Whose event loop hears of it.
        each: Gets the new lines.
        failed: Gets the error when the log cannot be read.
    """

    def __init__(
        self,
        node: Caller,
        each: Callable[[Sequence[LogLine]], None],
        failed: Callable[[ConsoleError], None],
    ) -> None:
        self._node = node
        self._each = each
        self._failed = failed
        self._stream: Stream[LogLine] | None = None

    def follow(self, stack: StackService, services: Sequence[str], tail: int) -> None:
        """Close what was followed and follow these services; opening it may touch the disk."""
        self.close()
        self._node.ask(
            lambda: stack.logs(services, tail=tail, follow=True),
            self._opened, self._failed, group="logs",
        )  # fmt: skip

    def _opened(self, stream: Stream[LogLine]) -> None:
        self.close()
        self._stream = stream
        inbox: Inbox[LogLine] = Inbox(lambda: self._node.post_message(Delivery(wake)), keep=5000)

        def wake() -> None:
            self._node.set_timer(CALM_SECONDS, take)

        def take() -> None:
            if self._stream is stream:
                self._each(inbox.take())

        def fail(error: ConsoleError) -> None:
            self._node.post_message(Delivery(partial(self._failed, error)))

        stream.listen(inbox.put, fail)

    def close(self) -> None:
        """Follow nothing."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

"""A followed log, shown in a view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from console.core.errors import ConsoleError
from console.core.stack.driver import LogLine
from console.core.stack.service import StackService
from console.core.streams import Stream
from console.core.text import clean
from console.tui.caller import Caller
from console.tui.calls import Inbox
from console.tui.messages import Delivery
from console.tui.widgets.log_view import LogView

# A chatty service must not redraw the view for each line.
CALM_SECONDS = 0.2
# Who has said nothing by then has nothing to say.
QUIET_SECONDS = 1.5


class LogSource:
    """Follows the logs of some services until it is closed.

    Args:
        node: Whose event loop hears of it.
        view: Finds the view that shows them.

    Attributes:
        failed: They could not be read; the view says why.
    """

    def __init__(self, node: Caller, view: Callable[[], LogView]) -> None:
        self._node = node
        self._view = view
        self._stream: Stream[LogLine] | None = None
        # Opening one takes a moment, in which another may be wanted: the older is then closed.
        self._lock = threading.Lock()
        self._wanted = object()
        self._empty = ""
        self.failed = False

    def follow(
        self, stack: StackService, services: Sequence[str], tail: int,
        empty: str = "No log lines yet.",
    ) -> None:  # fmt: skip
        """Close what was followed and follow these services.

        Args:
            stack: Opens the logs, on a thread.
            services: Their names; none for all.
            tail: How many lines to begin with.
            empty: What to say where there is no line.
        """
        self.close()
        wanted, self._empty, self.failed = self._wanted, empty, False
        self._view().clear("Reading…")

        def opened() -> Stream[LogLine] | None:
            stream = stack.logs(services, tail=tail, follow=True)
            with self._lock:
                if self._wanted is wanted:
                    self._stream = stream
                    return stream
            stream.close()
            return None

        self._node.ask(opened, self._opened, self._failed, group="logs")

    def _opened(self, stream: Stream[LogLine] | None) -> None:
        if stream is None or self._stream is not stream:
            return
        inbox: Inbox[LogLine] = Inbox(lambda: self._node.post_message(Delivery(wake)), keep=5000)

        def wake() -> None:
            self._node.set_timer(CALM_SECONDS, take)

        def take() -> None:
            if self._stream is stream:
                self._view().add(inbox.take())

        def quiet() -> None:
            if self._stream is stream:
                self._view().say(self._empty)

        def failed(error: ConsoleError) -> None:
            if self._stream is stream:
                self._failed(error)

        def fail(error: ConsoleError) -> None:
            self._node.post_message(Delivery(partial(failed, error)))

        self._node.set_timer(QUIET_SECONDS, quiet)
        stream.listen(inbox.put, fail)

    def _failed(self, error: ConsoleError) -> None:
        self.close()
        self.failed = True
        self._view().say(clean(error.message))

    def close(self) -> None:
        """Follow nothing."""
        with self._lock:
            stream, self._stream = self._stream, None
            self._wanted = object()
        if stream is not None:
            stream.close()

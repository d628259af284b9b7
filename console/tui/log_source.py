"""A followed log, shown in a view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from console.core.errors import ConsoleError
from console.core.stack.log_filter import Shown
from console.core.stack.log_stream import LogStream
from console.core.stack.service import StackService
from console.core.text import clean
from console.tui.caller import Caller
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
        changed: Called on the event loop when the view shows more.

    Attributes:
        failed: They could not be read; the view says why.
    """

    def __init__(
        self, node: Caller, view: Callable[[], LogView],
        changed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._node = node
        self._view = view
        self._changed = changed
        self._stream: LogStream | None = None
        # Opening one takes a moment, in which another may be wanted: the older is then closed.
        self._lock = threading.Lock()
        self._wanted = object()
        self._empty = ""
        self.failed = False

    def follow(
        self, stack: StackService, services: Sequence[str], tail: int | None,
        empty: str = "No log lines yet.", since: datetime | None = None,
    ) -> None:  # fmt: skip
        """Close what was followed and follow these services.

        Args:
            stack: Opens the logs, on a thread.
            services: Their names; none for all.
            tail: How many lines to begin with; None for all that are kept.
            empty: What to say where there is no line.
            since: None of those that are older.
        """
        self.close()
        wanted, self._empty, self.failed = self._wanted, empty, False
        shown = self._view().clear("Reading…")
        more = {} if since is None else {"since": since}

        def opened() -> LogStream | None:
            stream = stack.logs(services, tail=tail, follow=True, **more)
            with self._lock:
                if self._wanted is wanted:
                    self._stream = stream
                    return stream
            stream.close()
            return None

        self._node.ask(opened, partial(self._opened, shown), self._failed, group="logs")

    def _opened(self, shown: Shown, stream: LogStream | None) -> None:
        if stream is None or self._stream is not stream:
            return

        def quiet() -> None:
            if self._stream is stream:
                self._view().say(self._empty)

        self._node.set_timer(QUIET_SECONDS, quiet)
        pump = _Pump(stream, shown, self._tell, self._fail)
        threading.Thread(target=pump.run, name="log-pump", daemon=True).start()

    def _tell(self, pump: _Pump) -> None:
        """More lines came; called on the pump's thread, once until they are shown."""

        def show() -> None:
            pump.told = False
            if self._stream is pump.stream:
                self._view().changed()
                self._changed()

        def later() -> None:
            self._node.set_timer(CALM_SECONDS, show)

        self._node.post_message(Delivery(later))

    def _fail(self, stream: LogStream, error: ConsoleError) -> None:
        def failed() -> None:
            if self._stream is stream:
                self._failed(error)

        self._node.post_message(Delivery(failed))

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


class _Pump:
    """Puts the lines of a stream into a store, away from the event loop.

    Attributes:
        told: The event loop knows that there is more, and has not looked yet.
    """

    def __init__(
        self, stream: LogStream, shown: Shown, tell: Callable[[_Pump], None],
        fail: Callable[[LogStream, ConsoleError], None],
    ) -> None:  # fmt: skip
        self.stream = stream
        self.told = False
        self._shown, self._tell, self._fail = shown, tell, fail

    def run(self) -> None:
        try:
            for batch in self.stream.batches():
                self._shown.add(batch)
                if not self.told:
                    self.told = True
                    self._tell(self)
        except ConsoleError as error:
            self._fail(self.stream, error)

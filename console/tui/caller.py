"""The worker rule and the error border, for the app, its screens and its dialogs alike."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from textual import on
from textual.dom import DOMNode

from console.core.errors import CancelledError, ConsoleError
from console.tui.calls import Inbox, drain, in_thread
from console.tui.messages import Delivery

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listener(Generic[T]):
    """Who hears of a generator.

    Attributes:
        each: Gets the values that came since the last time.
        done: Called when it ended by itself.
        failed: Gets its error; the default shows it in a dialog.
    """

    each: Callable[[list[T]], None]
    done: Callable[[], None]
    failed: Callable[[ConsoleError], None] | None = None


class Caller(DOMNode):
    """A node that calls the core: work goes to a thread, the result comes back as a message.

    Stands last among the bases, because Textual takes the style sheet of the first.
    """

    def ask(
        self,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[ConsoleError], None] | None = None,
        group: str = "ask",
    ) -> None:
        """Run a finite call of the core.

        Args:
            work: Runs on a thread; must not touch a widget.
            then: Gets the result, on the event loop.
            failed: Gets the error; the default shows it in a dialog.
            group: A newer call of the same group makes the older one's result unwanted.
        """
        show = failed or self.show_error

        async def asked() -> None:
            try:
                result = await in_thread(work)
            except Exception as error:  # noqa: BLE001  # the border: every failure is shown
                self.post_message(Delivery(partial(show, explained(error))))
            else:
                self.post_message(Delivery(partial(then, result)))

        self._work(asked, group)

    def follow(
        self,
        produce: Callable[[threading.Event], Iterator[T]],
        listener: Listener[T],
        group: str = "follow",
        keep: int = 1000,
    ) -> threading.Event:
        """Run a generator of the core and hear what it yields, several values at a time.

        Args:
            produce: Runs on a thread; gets the event that cancels it.
            listener: Who hears, on the event loop.
            group: A newer one of the same group cancels the older one.
            keep: How many values wait while the event loop is busy; 1 keeps the newest.

        Returns:
            Set it to cancel.
        """
        cancel = threading.Event()

        def fetch() -> None:
            values = inbox.take()
            if values:  # the last ones may have been fetched when it ended
                listener.each(values)

        inbox: Inbox[T] = Inbox(lambda: self.post_message(Delivery(fetch)), keep)
        show = listener.failed or self.show_error

        async def followed() -> None:
            try:
                await in_thread(partial(drain, produce, cancel, inbox), cancel)
            except Exception as error:  # noqa: BLE001  # the border: every failure is shown
                self.post_message(Delivery(partial(show, explained(error))))
            else:
                self.post_message(Delivery(fetch))
                self.post_message(Delivery(listener.done))

        self._work(followed, group)
        return cancel

    def _work(self, work: Callable[[], Awaitable[None]], group: str) -> None:
        # Given as a function, so that nothing is left unawaited when the console is left at once.
        self.run_worker(work, group=group, exclusive=True, exit_on_error=False)

    @on(Delivery)
    def _take_delivery(self, message: Delivery) -> None:
        message.stop()
        message.deliver()

    def show_error(self, error: ConsoleError) -> None:
        """Show a failure over whatever is on the screen; a cancellation is only mentioned."""
        if isinstance(error, CancelledError):
            said = f"{error.message}\n{error.hint}" if error.hint else error.message
            self.app.notify(said, timeout=10, markup=False)
            return
        from console.tui.modals.error import ErrorModal  # noqa: PLC0415  # first use

        self.app.push_screen(ErrorModal(error))


def explained(error: Exception) -> ConsoleError:
    """Any failure as one that can be shown; what nobody expected keeps its traceback."""
    if isinstance(error, ConsoleError):
        return error
    import traceback  # noqa: PLC0415  # first use

    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    trace = "".join(traceback.format_exception(error)[-3:])
    return ConsoleError(f"Something unexpected happened: {words}", f"Please report this.\n{trace}")

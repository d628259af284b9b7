"""A long operation: what was done, what is being done, and how to cancel it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from textual.containers import VerticalScroll
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.tui.caller import Listener
from console.tui.modals.modal import Modal
from console.tui.steps import Steps
from console.tui.widgets.facts import Facts

Work = Callable[[threading.Event], Iterator[Progress]]


class ProgressModal(Modal[bool]):
    """Runs a verb and shows each step; leaves with True when it is done.

    Args:
        title: What is being done.
        work: The verb; runs on a thread.
        failed: Gets its error before this is left, in the place of the dialog that shows it.
    """

    LEAVING = "Stopped in the middle of it. What was made stays; the same again goes on from there."

    def __init__(
        self, title: str, work: Work, failed: Callable[[ConsoleError], None] | None = None,
        begun: datetime | None = None,
    ) -> None:  # fmt: skip
        super().__init__(title)
        self.begun = begun or datetime.now().astimezone()
        self.work = work
        self.steps = Steps()
        self.tell = failed
        self.cancel: threading.Event | None = None

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text", can_focus=False):
            yield Facts(("Starting…", "dim"), id="steps")
        yield Facts(id="said")
        yield Facts(
            ("escape", "accent"), " Cancel", (f"   begun {fmt.clock(self.begun)}", "dim"),
            classes="keys", id="cancel",
        )  # fmt: skip

    def on_mount(self) -> None:
        self.cancel = self.follow(
            self.work, Listener(self._seen, self._done, self._failed), group="work"
        )

    def _seen(self, reports: list[Progress]) -> None:
        for report in reports:
            self.steps.add(report)
        self.query_one("#steps", Facts).show(*self.steps.shown())
        said = self.query_one("#said", Facts)
        said.set_class(bool(self.steps.said), "-open")
        said.show(*self.steps.tail(self.query_one(VerticalScroll).size.width))
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def _done(self) -> None:
        self.dismiss(True)

    def _failed(self, error: ConsoleError) -> None:
        if self.tell is not None:
            self.tell(error)
        self.dismiss(False)
        if self.tell is None:
            self.show_error(error)

    def action_close(self) -> None:
        """Cancel; asked a second time, leave it to end on its own."""
        if self.cancel is None or self.cancel.is_set():
            self.dismiss(False)
            return
        self.cancel.set()
        self.query_one("#cancel", Facts).show(
            "Cancelling…   ", ("escape", "accent"), " Do not wait for it"
        )

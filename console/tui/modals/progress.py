"""A long operation: what was done, what is being done, and how to cancel it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from textual.containers import VerticalScroll
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import CancelledError, ConsoleError
from console.core.progress import Progress
from console.core.text import clean
from console.tui.caller import Listener
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts, Part

Work = Callable[[threading.Event], Iterator[Progress]]


class ProgressModal(Modal[bool]):
    """Runs a verb and shows each step; leaves with True when it is done.

    Args:
        title: What is being done.
        work: The verb; runs on a thread.
    """

    LEAVING = "Stopped in the middle of it. What was made stays; the same again goes on from there."

    def __init__(self, title: str, work: Work) -> None:
        super().__init__(title)
        self.work = work
        self.steps: list[Progress] = []
        self.cancel: threading.Event | None = None

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text", can_focus=False):
            yield Facts(("Starting…", "dim"), id="steps")
        yield Facts(("escape", "accent"), " Cancel", classes="keys", id="cancel")

    def on_mount(self) -> None:
        self.cancel = self.follow(
            self.work, Listener(self._seen, self._done, self._failed), group="work"
        )

    def _seen(self, reports: list[Progress]) -> None:
        merge(self.steps, reports)
        self.query_one("#steps", Facts).show(*shown(self.steps))
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def _done(self) -> None:
        self.dismiss(True)

    def _failed(self, error: ConsoleError) -> None:
        self.dismiss(False)
        if isinstance(error, CancelledError):
            self.app.notify(error.message, title="Cancelled", markup=False)
        else:
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


def merge(steps: list[Progress], reports: Iterable[Progress]) -> None:
    """Add reports to the steps; a newer one of the same label takes the older one's place."""
    for report in reports:
        if steps and steps[-1].label == report.label:
            steps[-1] = report
        else:
            steps.append(report)


def shown(steps: list[Progress], ended: bool = False) -> list[Part]:
    """The steps, one line each; all but the last are done."""
    parts: list[Part] = []
    for index, step in enumerate(steps):
        over = ended or index < len(steps) - 1
        parts.append(("✓ ", "ok") if over else ("○ ", "accent"))
        parts.append(clean(step.label, 100) + ("" if over else _amount(step)) + "\n")
    return parts


def _amount(step: Progress) -> str:
    if step.done is None:
        return " …"
    say = fmt.size if step.unit == "bytes" else fmt.count
    of = f" of {say(step.total)}" if step.total is not None else ""
    unit = "" if step.unit == "bytes" else f" {step.unit}"
    return f"  {say(step.done)}{of}{unit}"

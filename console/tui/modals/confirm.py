"""A question before something is stopped or removed: it lists exactly what will happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button

from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts


class ConfirmModal(Modal[bool]):
    """Asks; the answer that changes nothing has the focus.

    Args:
        title: The question.
        does: The word on the button that does it.
        lines: What exactly will go or stop, one line each.
        learn: Asked on a thread for further lines, for instance who is at work.
    """

    LOOKING: ClassVar[str] = "Looking who is at work…"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,right", "other", "Other answer", show=False, id="confirm.other",
                tooltip="The other answer"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="move.down",
                tooltip="Read on, where it is long"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="move.up", tooltip="Read back"),
    ]  # fmt: skip

    def __init__(
        self, title: str, does: str, lines: Sequence[str] = (),
        learn: Callable[[], Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(clean(title))
        self.does = does
        self.lines = [clean(line, 1000) for line in lines]
        self.learn = learn

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text", can_focus=False):
            yield Facts("\n".join(self.lines), id="lines")
            if self.learn is not None:
                yield Facts((self.LOOKING, "dim"), id="learnt")
        with Horizontal(classes="buttons"):
            yield Button("Leave it", id="no", compact=True)
            yield Button(self.does, id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()
        if self.learn is not None:
            self.ask(self.learn, self._learnt, self._not_learnt, group="learn")

    def _learnt(self, lines: Sequence[str]) -> None:
        facts = self.query_one("#learnt", Facts)
        if not lines:
            facts.show(("✓ ", "ok"), "Nobody is at work: no run is RUNNING.")
            return
        listed = "\n".join(f"  {clean(line)}" for line in lines)
        facts.show(("! ", "warn"), "This interrupts work that is going on:\n", listed)

    def _not_learnt(self, error: ConsoleError) -> None:
        self.query_one("#learnt", Facts).show(
            ("! ", "warn"), f"Nobody can say who is at work: {clean(error.message)}"
        )

    def action_other(self) -> None:
        self.focus_next()

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_close(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

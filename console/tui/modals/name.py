"""Before all data is removed: the exact list, and the name to be typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import on
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Input

from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts


class NameModal(Modal[bool]):
    """Leaves with True when the name was typed, whatever else was typed before.

    Args:
        title: The question.
        name: What has to be typed.
        lines: What exactly will be lost, one line each.
    """

    def __init__(self, title: str, name: str, lines: Sequence[str]) -> None:
        super().__init__(title)
        self._name_wanted = name
        self._lines = [clean(line, 300) for line in lines]

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text", can_focus=False):
            yield Facts(*(f"  {line}\n" for line in self._lines), id="lines")
        yield Facts(("! ", "bad"), f"All of this is lost for good. Type {self._name_wanted}:")
        typed = Input(id="typed", compact=True)
        typed.cursor_blink = False
        yield typed
        yield Facts(id="wrong", classes="wrong")
        yield Facts(("enter", "accent"), " Remove   ", ("escape", "accent"), " Leave it",
                    classes="keys")  # fmt: skip

    def on_mount(self) -> None:
        self.query_one("#typed").focus()

    @on(Input.Submitted)
    def _typed(self, message: Input.Submitted) -> None:
        message.stop()
        if message.value == self._name_wanted:
            self.dismiss(True)
        else:
            self.query_one("#wrong", Facts).show("✗ That is not its name; nothing was changed.")

"""A failure: what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts


class ErrorModal(Modal[None]):
    """Shows a failure until the person has read it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "Close", show=False, id="error.close", tooltip="Read it"),
        Binding("y", "copy", "Copy", show=False, id="error.copy",
                tooltip="Send it to the clipboard"),
    ]  # fmt: skip

    def __init__(self, error: ConsoleError) -> None:
        super().__init__("✗ That did not work")
        self.error = error

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text"):
            yield Facts(clean(self.error.message, 1000), id="message")
            if self.error.hint:
                hint = "\n".join(clean(line, 300) for line in self.error.hint.splitlines())
                yield Facts((hint, "dim"), id="hint")
        yield Facts(("escape", "accent"), " Close   ", ("y", "accent"), " Copy", classes="keys")

    def action_copy(self) -> None:
        self.send(f"{self.error.message}\n{self.error.hint}")

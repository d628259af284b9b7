"""What is handed over to a user, to be pasted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from console.core.text import clean
from console.core.users.handover import Handover
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts


class HandoverModal(Modal[None]):
    """Shows address, variables and five lines of Python; the password is left out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", show=False, id="handover.copy",
                tooltip="Send the lines to the clipboard"),
    ]  # fmt: skip

    def __init__(self, name: str, found: Handover) -> None:
        super().__init__(f"For {clean(name, 60)}")
        self.found = found

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text"):
            lines = "\n".join(clean(line, 300) for line in self.found.text.splitlines())
            yield Facts((lines, "accent"), id="lines")
        yield Facts("The password is left out: send it by another way.")
        yield Facts(("y", "accent"), " Copy   ", ("escape", "accent"), " Close", classes="keys")

    def action_copy(self) -> None:
        self.send(self.found.text)

"""The line that `/` opens: rows are filtered while it is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class FilterLine(Input):
    """A line that is hidden until it is wanted; `escape` empties and closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", id="filter.clear", tooltip="Show everything again"),
        Binding("down", "leave", "To the rows", show=False, id="filter.leave",
                tooltip="Keep the filter and go to the rows"),
    ]  # fmt: skip

    class Wanted(Message):
        """Only what holds this text is wanted; "" for everything."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The filter is typed, the rows should have the focus."""

    def __init__(self) -> None:
        super().__init__(placeholder="Filter", classes="filter", compact=True)
        self.cursor_blink = False
        self.can_focus = False

    def open(self) -> None:
        """Show the line and type into it."""
        self.can_focus = True
        self.add_class("-open")
        self.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Wanted(message.value))
        self.screen.refresh_bindings()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_leave()

    def action_leave(self) -> None:
        if not self.value:
            self.remove_class("-open")
            self.can_focus = False
        self.post_message(self.Left())

    def action_clear(self) -> None:
        self.value = ""
        self.action_leave()

"""Keys of a form, taken before anything else.

Textual hands each key to the widget that has the focus when the key arrives. Over a slow line, or
from a paste, several keys arrive at once: without priority "tab" would move the focus only after
the password that follows it had gone, readable, into the field before. A field's own keys, on the
other hand, are no bindings here: those would go to whoever has the focus by the time they are run.
"""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Button, Input

from console.tui.widgets.choice import Choice

FORM_KEYS: list[BindingType] = [
    Binding("tab", "next_field", "Next", show=False, priority=True, id="form.next",
            tooltip="The next field"),
    Binding("shift+tab", "previous_field", "Previous", show=False, priority=True,
            id="form.previous", tooltip="The field before"),
    Binding("enter", "enter_field", "Enter", show=False, priority=True, id="form.enter",
            tooltip="The next field; on the last one, done"),
]  # fmt: skip


EDITS = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


class Field(Input):
    """A field that takes the keys that edit it in their turn, between the letters."""

    def __init__(
        self, value: str = "", *, id: str, placeholder: str = "", password: bool = False,  # noqa: A002  # Textual's name
        compact: bool = False, select_on_focus: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            value, id=id, placeholder=placeholder, password=password, compact=compact,
            select_on_focus=select_on_focus,
        )  # fmt: skip
        self.cursor_blink = False

    async def on_key(self, event: events.Key) -> None:
        action = EDITS.get(event.key)
        if action is not None:
            event.stop()
            event.prevent_default()
            await self.run_action(action)


class Form(Screen[Any]):
    """A screen with fields; give it `FORM_KEYS` and say what happens when it is filled in."""

    BINDINGS: ClassVar[list[BindingType]] = FORM_KEYS

    def filled_in(self) -> None:
        """Enter was pressed on the last field."""
        raise NotImplementedError

    def submit(self) -> None:
        """Be done with the form."""
        self._when_typed(self._fields())

    def _fields(self) -> list[Widget]:
        return [each for each in self.query("*") if isinstance(each, Field | Choice)]

    def _when_typed(self, fields: list[Widget]) -> None:
        """Be done once each field has taken the keys that came before this one."""
        if fields:
            fields[0].call_later(self._when_typed, fields[1:])
        else:
            self.filled_in()

    def action_next_field(self) -> None:
        """Go to the next field or button."""
        self.focus_next()

    def action_previous_field(self) -> None:
        """Go to the field or button before."""
        self.focus_previous()

    def action_enter_field(self) -> None:
        """Go to the next field; press the button; on the last field be done."""
        if isinstance(self.focused, Button):
            self.focused.press()
        elif self.focused is self._fields()[-1]:
            self.submit()
        else:
            self.focus_next("Field, Choice")

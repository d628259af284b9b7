"""What can be done to one service, or to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.tui.modals.modal import Modal
from console.tui.widgets.choice import Choice, Option
from console.tui.widgets.facts import Facts


class ActionsModal(Modal[str]):
    """Leaves with the key of what was chosen.

    Args:
        title: To what it is done.
        options: What can be done.
        refused: The keys of what cannot be done here.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Do it", id="actions.choose", tooltip="Do what is chosen"),
    ]

    def __init__(self, title: str, options: Sequence[Option], refused: Sequence[str]) -> None:
        super().__init__(title)
        self._options, self._refused = options, refused

    def compose_body(self) -> Iterable[Widget]:
        yield Choice(self._options, self._refused, id="options")
        yield Facts(("enter", "accent"), " Do it   ", ("escape", "accent"), " Close",
                    classes="keys")  # fmt: skip

    def on_mount(self) -> None:
        self.query_one(Choice).focus()

    def action_choose(self) -> None:
        self.dismiss(self.query_one(Choice).chosen)

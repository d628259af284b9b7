"""The form for a user: a name, and a password typed twice or made up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Button, Label

from console.core.errors import ConsoleError
from console.core.secrets import Secret, generate
from console.core.text import clean
from console.core.users.names import check_name, check_password
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts
from console.tui.widgets.form import Field, Form


@dataclass(frozen=True, slots=True)
class Login:
    """What was typed.

    Attributes:
        generated: The password was made up here and has to be shown once.
    """

    name: str
    password: Secret
    generated: bool


class UserFormModal(Modal[Login], Form):
    """Asks for a user.

    Args:
        name: Whose password is changed; "" to add somebody.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+g", "generate", "Generate", id="user.generate",
                tooltip="Make up a password and show it once"),
    ]  # fmt: skip

    def __init__(self, name: str = "") -> None:
        super().__init__(f"New password for {clean(name, 60)}" if name else "Add a user")
        self.person = name

    def compose_body(self) -> Iterable[Widget]:
        with Vertical(classes="form"):
            if not self.person:
                yield Label("name")
                yield Field(id="name", compact=True)
            yield Label("password")
            yield Field(id="password", password=True, compact=True)
            yield Label("again")
            yield Field(id="again", password=True, compact=True)
        yield Facts(id="wrong", classes="wrong")
        with Horizontal(classes="buttons"):
            yield Button("Save", id="save", compact=True)
            yield Button("Generate a password", id="generate", compact=True)
        yield Facts(
            ("enter", "accent"), " Save   ", ("^g", "accent"), " Generate a password   ",
            ("escape", "accent"), " Cancel", classes="keys",
        )  # fmt: skip

    @on(Button.Pressed, "#save")
    def _save(self) -> None:
        self.submit()

    def filled_in(self) -> None:
        """Save what was typed, or say what is wrong with it."""
        typed = self.query_one("#password", Field).value
        if typed != self.query_one("#again", Field).value:
            self._wrong("The two passwords differ")
            return
        self._leave(Secret(typed), generated=False)

    @on(Button.Pressed, "#generate")
    def action_generate(self) -> None:
        self._leave(generate(), generated=True)

    def _leave(self, password: Secret, generated: bool) -> None:
        name = self.person or self.query_one("#name", Field).value
        try:
            check_name(name)
            check_password(password)
        except ConsoleError as error:
            self._wrong(error.message)
            return
        self.dismiss(Login(name, password, generated))

    def _wrong(self, words: str) -> None:
        self.query_one("#wrong", Facts).show(f"✗ {clean(words)}")

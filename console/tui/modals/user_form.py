"""The form for a user: a name, and a password typed twice or made up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Button, Label

from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.text import clean
from console.core.users import passwords
from console.core.users.names import check_name
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts
from console.tui.widgets.form import Field
from console.tui.widgets.meter import Judge, Meter
from console.tui.widgets.password_form import PasswordForm


@dataclass(frozen=True, slots=True)
class Login:
    """What was typed.

    Attributes:
        generated: The password was made up here and has to be shown once.
    """

    name: str
    password: Secret
    generated: bool


class UserFormModal(Modal[Login], PasswordForm):
    """Asks for a user.

    Args:
        name: Whose password is changed; "" to add somebody.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+g", "generate", "Save a made-up one", id="user.generate",
                tooltip="Save with a made-up password, not the typed one; it is shown once"),
        Binding("ctrl+o", "generate_words", "Save one of words", id="user.generate-words",
                tooltip="Save with a made-up password of words, which are easier read aloud"),
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
            yield Meter()
        yield Facts(id="wrong", classes="wrong")
        with Horizontal(classes="buttons"):
            yield Button("Save", id="save", compact=True)
            yield Button("Save a made-up one", id="generate", compact=True)
            yield Button("Save one of words", id="generate-words", compact=True)
        yield Facts(
            ("enter", "accent"), " Save   ", ("^g", "accent"), " Save made-up   ",
            ("^o", "accent"), " of words   ", ("escape", "accent"), " Cancel", classes="keys",
        )  # fmt: skip

    @on(Button.Pressed, "#save")
    def _save(self) -> None:
        self.submit()

    def filled_in(self) -> None:
        """Save what was typed, or say what is wrong with it."""
        try:
            self._check_name()
            password = self.typed_password()
        except ConsoleError as error:
            self.wrong(error)
            return
        login = Login(self._typed_name, password, generated=False)
        self.when_strong(password, partial(self.dismiss, login))

    @on(Button.Pressed, "#generate")
    def action_generate(self) -> None:
        """Make a password up as this deployment has them."""
        self._generate(self._usual_words)

    @on(Button.Pressed, "#generate-words")
    def action_generate_words(self) -> None:
        """Make one up of words."""
        self._generate(self._usual_words or passwords.USUAL_WORDS)

    def _generate(self, words: int | None) -> None:
        try:
            self._check_name()
        except ConsoleError as error:
            self.wrong(error)
            return
        self.dismiss(Login(self._typed_name, passwords.generate(words=words), generated=True))

    def _check_name(self) -> None:
        """Somebody who is there already keeps a name that nobody would get now."""
        if not self.person:
            check_name(self._typed_name)

    @property
    def _usual_words(self) -> int | None:
        return self.console.deployment.settings.users.generated_words or None

    @property
    def _typed_name(self) -> str:
        return self.person or self.query_one("#name", Field).value

    def judge(self) -> Judge:
        name, deployment = self._typed_name, self.console.deployment
        return lambda password: passwords.strength(
            password, (name, *passwords.familiar(deployment))
        )

    def wrong(self, error: ConsoleError) -> None:
        words = f"{error.message}. {error.hint}" if error.hint else error.message
        self.query_one("#wrong", Facts).show(f"✗ {clean(words, 400)}")

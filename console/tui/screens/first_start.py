"""The first start: three questions, then the set-up."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Footer, Input, Label

from console.core.errors import ConsoleError, UsageError
from console.core.progress import Progress
from console.core.secrets import Secret, generate
from console.core.setup import Plan, plan
from console.core.text import clean
from console.core.users.service import check_name, check_password
from console.tui.caller import Caller
from console.tui.opening import Created, Wishes, set_up
from console.tui.widgets.facts import Facts
from console.tui.widgets.form import Form

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


class FirstStartScreen(Form, Caller):
    """Asks where, on which port and for whom; then sets it up."""

    CSS_PATH = "first_start.tcss"
    VERBS: ClassVar[dict[str, str]] = {"set_up": "deployment.init"}
    AUTO_FOCUS = "#directory"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "set_up", "Set up", key_display="^s", id="first.set-up",
                tooltip="Check the answers and set it up"),
        Binding("ctrl+q", "app.quit", "Quit", key_display="^q", id="first.quit",
                priority=True,
                tooltip="Leave; nothing was changed"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Created] = []

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="form", classes="form", can_focus=False):
            yield Facts(
                ("Set up MLflow", "bold"),
                "\nIt runs under your account and answers on this machine alone.",
                id="intro",
            )
            place = Input(str(Path.home() / "mlflow"), id="directory", select_on_focus=False)
            yield _field("Where its data goes", place)
            yield _field("Port", Input(placeholder="empty: 5000, or the next free one", id="port"))
            yield _field("First user", Input(_account(), id="user"))
            yield _field(
                "Password",
                Input(password=True, placeholder="empty: made up, and shown once", id="password"),
            )
            yield _field("Password again", Input(password=True, id="again"))
            yield Facts(id="wrong", classes="wrong")
            with Horizontal(classes="buttons"):
                yield Button("Set it up", id="set-up", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    @on(Button.Pressed, "#set-up")
    def action_set_up(self) -> None:
        """Set it up once every field has what was typed into it."""
        self.submit()

    def filled_in(self) -> None:
        """Check the answers; only when the plan is good is anything written."""
        try:
            wishes = self._wishes()
        except ConsoleError as error:
            self._wrong(error)
            return
        self._say("Checking…")
        self.ask(
            lambda: plan(wishes.directory, port=wishes.port),
            lambda chosen: self._go(wishes, chosen), self._wrong, group="plan",
        )  # fmt: skip

    def _wishes(self) -> Wishes:
        typed = {field.id: field.value for field in self.query(Input)}
        check_name(typed["user"])
        if typed["password"] != typed["again"]:
            raise UsageError("The two passwords differ")
        generated = not typed["password"]
        password = generate() if generated else Secret(typed["password"])
        check_password(password)
        where = typed["directory"].strip()
        if not where:
            raise UsageError("Say where its data goes")
        port = typed["port"].strip()
        if port and not (port.isdecimal() and 1 <= int(port) <= 65535):
            raise UsageError("The port is a number from 1 to 65535")
        return Wishes(
            directory=Path(where).expanduser().absolute(),
            port=int(port) if port else None,
            user=typed["user"],
            password=password,
            generated=generated,
        )

    def _go(self, wishes: Wishes, chosen: Plan) -> None:
        from console.tui.modals.progress import ProgressModal  # noqa: PLC0415  # first use

        self._say("")
        self.made.clear()

        def work(cancel: Event) -> Iterator[Progress]:
            return set_up(wishes, self.made, cancel)

        self.app.push_screen(ProgressModal(f"Setting up {chosen.name}", work), self._ended)

    def _ended(self, done: bool | None) -> None:
        if done and self.made:
            cast("ConsoleApp", self.app).created(self.made[-1])
        else:
            self._say("Not finished: the same answers go on where it stopped.")

    def _wrong(self, error: ConsoleError) -> None:
        hint = f"\n  {clean(error.hint, 300)}" if error.hint else ""
        self._say(f"✗ {clean(error.message, 300)}{hint}")

    def _say(self, words: str) -> None:
        self.query_one("#wrong", Facts).show(words)


def _field(label: str, field: Input) -> Horizontal:
    field.cursor_blink = False
    return Horizontal(Label(label), field, classes="field")


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

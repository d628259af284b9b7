"""The first start: three questions, then the set-up."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Footer, Label

from console.core.errors import ConsoleError, UsageError
from console.core.progress import Progress
from console.core.settings import UsersSettings
from console.core.setup import Plan
from console.core.text import clean
from console.core.users import passwords
from console.core.users.names import check_name
from console.tui.opening import Created, Wishes, engine_found, plan, set_up
from console.tui.widgets.choice import Choice, Option
from console.tui.widgets.facts import Facts
from console.tui.widgets.form import Field
from console.tui.widgets.meter import Judge, Meter
from console.tui.widgets.password_form import PasswordForm

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

EMBEDDED, COMPOSE = "embedded", "compose"
OPTIONS = (
    Option(EMBEDDED, "Embedded", "MLflow alone, SQLite and a folder"),
    Option(COMPOSE, "Docker Compose", "MLflow, MySQL, S3 store and nginx"),
)


# What the folder is for: containers keep their data in volumes of the engine's.
WHERE = {EMBEDDED: "Where its data goes", COMPOSE: "Its folder"}


class FirstStartScreen(PasswordForm):
    """Asks where, what runs it and for whom; then sets it up."""

    CSS_PATH = "first_start.tcss"
    VERBS: ClassVar[dict[str, str]] = {"set_up": "deployment.init"}
    AUTO_FOCUS = "#directory"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "set_up", "Set up", key_display="^s", id="first.set-up",
                tooltip="Check the answers and set it up"),
        Binding("ctrl+r", "look", "Look for Docker again", key_display="^r", id="first.look",
                tooltip="See again whether Docker can be used here"),
        Binding("ctrl+q", "app.quit", "Quit", key_display="^q", id="first.quit",
                priority=True,
                tooltip="Leave; nothing was changed"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Created] = []
        self.failed: ConsoleError | None = None
        self.lacking = False

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="form", classes="form", can_focus=False):
            yield Facts(
                ("Set up MLflow", "bold"),
                "\nIt will ask for a password and answer on this machine alone.",
                id="intro",
            )
            place = Field(str(Path.home() / "mlflow"), id="directory", select_on_focus=False)
            yield _field(WHERE[EMBEDDED], place, id="where")
            port = Field(placeholder="empty: 5000, or the next free one", id="port")
            yield _field("Port", port, last=True)
            choice = Vertical(Choice(OPTIONS, [COMPOSE], id="driver"), Facts(id="found"))
            yield Horizontal(Label("What runs it"), choice, classes="choice")
            yield _field("First user", Field(_account(), id="user"))
            yield _field(
                "Password",
                Field(password=True, placeholder="empty: made up, and shown once", id="password"),
            )
            yield _field("Password again", Field(password=True, id="again"))
            yield Meter()
            yield Facts(id="wrong", classes="wrong")
            with Horizontal(classes="buttons"):
                yield Button("Set it up", id="set-up", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    # Docker

    def on_mount(self) -> None:
        self.call_after_refresh(self.action_look)

    def action_look(self) -> None:
        """See whether Docker can be used here."""
        self._lacks(False)
        self.query_one("#found", Facts).show(("Looking for Docker…", "dim"))
        self.ask(engine_found, self._found, self._not_found, group="docker")

    def _found(self, words: str) -> None:
        self.query_one(Choice).allow(COMPOSE, True)
        about = "\nfetches images; data goes into Docker volumes"
        self.query_one("#found", Facts).show(("✓ ", "ok"), words, (about, "dim"))

    def _not_found(self, error: ConsoleError) -> None:
        self.query_one(Choice).allow(COMPOSE, False)
        remedy = error.hint.partition(" `mlflow-console init")[0]
        self.query_one("#found", Facts).show(
            ("! ", "warn"), clean(error.message, 200), (f"\n{clean(remedy, 300)}", "dim")
        )
        self._lacks(True)

    def _lacks(self, lacking: bool) -> None:
        self.lacking = lacking
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to look again only where there was nothing to be found."""
        return action != "look" or self.lacking

    # The answers

    @on(Choice.Changed)
    def _chosen(self, message: Choice.Changed) -> None:
        self.query_one("#where", Label).update(WHERE[message.key])

    @on(Button.Pressed, "#set-up")
    def action_set_up(self) -> None:
        """Set it up once every field has what was typed into it."""
        self.submit()

    def filled_in(self) -> None:
        """Check the answers; only when the plan is good is anything written."""
        try:
            wishes = self._wishes()
        except ConsoleError as error:
            self.wrong(error)
            return
        if wishes.generated:
            self._plan(wishes)
        else:
            self.when_strong(wishes.password, partial(self._plan, wishes))

    def _plan(self, wishes: Wishes) -> None:
        self._say("Checking…")
        self.ask(partial(plan, wishes), partial(self._go, wishes), self.wrong, group="plan")

    def judge(self) -> Judge:
        typed = {field.id: field.value for field in self.query(Field)}
        familiar = typed["user"], Path(typed["directory"]).name
        return lambda password: passwords.strength(password, familiar)

    def _wishes(self) -> Wishes:
        typed = {field.id: field.value for field in self.query(Field)}
        check_name(typed["user"])
        if typed["user"] == UsersSettings().service_user:
            raise UsageError(f"{typed['user']} is the console's own user: choose another name")
        generated = not typed["password"] and not typed["again"]
        password = passwords.generate() if generated else self.typed_password()
        where = typed["directory"].strip()
        if not where:
            raise UsageError("Say which folder it gets")
        port = typed["port"].strip()
        if port and not (port.isdecimal() and 1 <= int(port) <= 65535):
            raise UsageError("The port is a number from 1 to 65535")
        return Wishes(
            directory=Path(where).expanduser().absolute(),
            driver=self.query_one(Choice).chosen,
            port=int(port) if port else None,
            user=typed["user"],
            password=password,
            generated=generated,
        )

    # The set-up

    def _go(self, wishes: Wishes, chosen: Plan) -> None:
        from console.tui.modals.progress import ProgressModal  # noqa: PLC0415  # first use

        self._say("")
        self.made.clear()
        self.failed = None

        def work(cancel: Event) -> Iterator[Progress]:
            return set_up(chosen, wishes, self.made, cancel)

        title = f"{'Going on with' if chosen.resumed else 'Setting up'} {chosen.name}"
        self.app.push_screen(ProgressModal(title, work, self._failed), self._ended)

    def _failed(self, error: ConsoleError) -> None:
        self.failed = error

    def _ended(self, done: bool | None) -> None:
        """Go Home as soon as there is a deployment: what failed after that goes on from there."""
        if self.made:
            app = cast("ConsoleApp", self.app)
            app.opened(self.made[-1].session)
            app.call_after_refresh(self._welcome, app)
            return
        if self.failed is not None:
            self.show_error(self.failed)
        self._say("Not finished: the same answers go on where it stopped.")

    def _welcome(self, app: ConsoleApp) -> None:
        """Say how to log into it, and over that why it has not come up."""
        from console.tui.modals.paste import PasteModal  # noqa: PLC0415  # first use

        app.push_screen(PasteModal(self.made[-1], up=self.failed is None))
        if self.failed is not None:
            app.show_error(self.failed)

    def wrong(self, error: ConsoleError) -> None:
        hint = f"\n  {clean(error.hint, 300)}" if error.hint else ""
        self._say(f"✗ {clean(error.message, 300)}{hint}")

    def _say(self, words: str) -> None:
        self.query_one("#wrong", Facts).show(words)


def _field(label: str, field: Field, *, id: str | None = None, last: bool = False) -> Widget:  # noqa: A002  # Textual's name
    """A line of the form; the last one of a question keeps a distance from the next."""
    classes = "field -last" if last else "field"
    return Horizontal(Label(label, id=id), field, classes=classes)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""Users: who can log in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.core.users.service import User
from console.tui.area import AreaScreen
from console.tui.modals.user_form import Login, UserFormModal
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Cell, Column, Row, Table

COLUMNS = (Column("name", 20, 40), Column("hash", 12, 16), Column("", 26, 40))
SEEN = (
    Column("last seen", 10), Column("requests", 9, right=True), Column("failed", 7, right=True),
)  # fmt: skip


class UsersScreen(AreaScreen):
    """The users, and the verbs that change them."""

    AREA = "users"
    CSS_PATH = "users.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "users.list",
        "add": "users.add",
        "password": "users.passwd",
        "remove": "users.remove",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add", id="users.add", tooltip="Give somebody a password"),
        Binding("e", "password", "Password", id="users.passwd",
                tooltip="Change the password of the user under the cursor"),
        Binding("d", "remove", "Remove", id="users.remove",
                tooltip="Remove the marked users, after a question that lists them"),
        Binding("space", "mark", "Mark", id="app.mark", tooltip="Mark this row, or unmark it"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only names that hold a text"),
        Binding("y", "copy", "Copy", id="app.copy", tooltip="Send the name to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Read the file again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, User] = {}
        self.wanted = ""

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Reading…", "dim"), id="sum", classes="sum")
        yield FilterLine()
        yield Table(COLUMNS, id="users", markable=True, opens=False)
        yield Facts(id="notes")

    def on_screen_resume(self) -> None:
        self.action_refresh()

    def action_refresh(self) -> None:
        users = self.deployment.users
        self.ask(lambda: (users.list(), users.notes()), self._read, self._unread, group="users")

    def _read(self, found: tuple[list[User], list[str]]) -> None:
        users, notes = found
        self.users = {}
        for user in users:
            self.users.setdefault(user.name, user)
        self._show()
        parts: list[Part] = []
        for note in notes:
            parts += ["\n" if parts else "", ("! ", "warn"), (clean(note), "dim")]
        self.query_one("#notes", Facts).show(*parts)

    def _unread(self, error: ConsoleError) -> None:
        self.query_one("#sum", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), "\n  ", (clean(error.hint), "dim")
        )

    def _show(self) -> None:
        everyone = list(self.users.values())
        people = [each for each in everyone if not each.service_user]
        rows = [_row(each) for each in everyone if self.wanted in each.name.casefold()]
        weak = sum(each.weak for each in everyone)
        parts: list[Part] = [(fmt.plural(len(people), "user"), "bold")]
        if weak:
            parts += ["   ", (f"! {weak} weak", "warn")]
        disabled = sum(not each.enabled for each in everyone)
        if disabled:
            parts.append(f"   {disabled} disabled")
        if self.wanted:
            parts.append(f"   {fmt.count(len(rows))} shown")
        self.query_one("#sum", Facts).show(*parts)
        table = self.query_one("#users", Table)
        counted = any(each.requests is not None or each.last_seen for each in everyone)
        table.set_columns((*COLUMNS, *SEEN) if counted else COLUMNS)
        empty = "No name holds that text." if self.wanted else "Nobody yet: a adds the first user."
        table.show(rows, empty)

    # Filter and marks

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    @on(FilterLine.Wanted)
    def _wanted(self, message: FilterLine.Wanted) -> None:
        self.wanted = message.text.casefold()
        self._show()

    @on(FilterLine.Left)
    def _left(self) -> None:
        self.query_one("#users", Table).focus()

    def action_mark(self) -> None:
        table = self.query_one("#users", Table)
        user = self.users.get(table.key or "")
        if user is not None and user.service_user:
            self._protected(user.name)
        else:
            table.toggle_mark()

    def action_copy(self) -> None:
        names = self.query_one("#users", Table).marked()
        if names:
            self.send("\n".join(names))

    # Verbs

    def action_add(self) -> None:
        self.app.push_screen(UserFormModal(), self._add)

    def _add(self, login: Login | None) -> None:
        if login is not None:
            work = partial(self.deployment.users.add, login.name, login.password)
            self.ask(work, lambda _: self._saved(login, "can log in now"), group="change")

    def action_password(self) -> None:
        name = self.query_one("#users", Table).key
        if name is not None:
            self.app.push_screen(UserFormModal(name), self._passwd)

    def _passwd(self, login: Login | None) -> None:
        if login is not None:
            work = partial(self.deployment.users.passwd, login.name, login.password)
            self.ask(work, lambda _: self._saved(login, "has a new password"), group="change")

    def _saved(self, login: Login, words: str) -> None:
        self.notify(f"{clean(login.name, 60)} {words}", markup=False)
        if login.generated:
            from console.tui.modals.one_time import OneTimeModal  # noqa: PLC0415  # first use

            self.app.push_screen(OneTimeModal(login.name, login.password))
        self.action_refresh()

    def action_remove(self) -> None:
        names = self.query_one("#users", Table).marked()
        protected = [name for name in names if self.users[name].service_user]
        if protected:
            self._protected(protected[0])
            return
        if names:
            from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

            title = f"Remove {fmt.plural(len(names), 'user')}? They cannot log in any more:"
            self.app.push_screen(
                ConfirmModal(title, "Remove", names), partial(self._remove, tuple(names))
            )

    def _remove(self, names: tuple[str, ...], yes: bool | None) -> None:
        if yes:
            self.ask(
                lambda: self.deployment.users.remove(names),
                lambda _: self._removed(names), group="change",
            )  # fmt: skip

    def _removed(self, names: tuple[str, ...]) -> None:
        self.query_one("#users", Table).marks.clear()
        self.notify(f"{fmt.plural(len(names), 'user')} removed", markup=False)
        self.action_refresh()

    def _protected(self, name: str) -> None:
        self.notify(
            f"{clean(name, 60)} is the console's own account: without it nothing can be checked",
            severity="warning", markup=False,
        )  # fmt: skip


def _row(user: User) -> Row:
    scheme = clean(user.scheme, 20) + ("" if user.cost is None else f" {user.cost}")
    words = Cell("")
    if user.weak:
        scheme = f"! {scheme}"
        words = Cell("weak: give a new password", "warn")
    if user.service_user:
        words = Cell("the console's own account", "dim")
    if not user.enabled:
        words = Cell("disabled", "dim")
    return Row(
        user.name,
        (
            Cell(clean(user.name, 100) if user.enabled else f"({clean(user.name, 100)})"),
            Cell(scheme, "warn" if user.weak else ""),
            words,
            Cell(fmt.when(user.last_seen)),
            Cell(fmt.count(user.requests)),
            Cell(fmt.count(user.failures)),
        ),
    )

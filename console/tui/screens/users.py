"""Users: who can log in."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.core.users.report import Activity, Report
from console.core.users.user import User
from console.tui.screens.users_rows import columns, key, row, sentences
from console.tui.screens.users_verbs import UsersVerbs
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Table

# How often the log is read while somebody looks.
READ_SECONDS = 10.0


class UsersScreen(UsersVerbs):
    """The users, and the verbs that change them."""

    AREA = "users"
    CSS_PATH = "users.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "users.list",
        "add": "users.add",
        "password": "users.passwd",
        "rename": "users.rename",
        "switch": "users.disable",
        "enable": "users.enable",
        "remove": "users.remove",
        "check": "users.check",
        "handover": "users.handover",
        "read_log": "users.activity",
        "import": "users.import",
        "undo": "users.undo",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add", id="users.add", tooltip="Give somebody a password"),
        Binding("e", "password", "Password", id="users.passwd",
                tooltip="Change the password of the user under the cursor"),
        Binding("d", "remove", "Remove", id="users.remove",
                tooltip="Remove the marked users, after a question that lists them"),
        Binding("t", "switch", "Disable", id="users.disable",
                tooltip="Let the marked users in no more; those who are disabled, in again"),
        Binding("n", "rename", "Rename", show=False, id="users.rename",
                tooltip="Give the user under the cursor another name"),
        Binding("c", "check", "Check", show=False, id="users.check",
                tooltip="See whether a password is that of the user under the cursor"),
        Binding("h", "handover", "Hand over", id="users.handover",
                tooltip="Address, variables and five lines of Python for the user"),
        Binding("i", "import", "Import", show=False, id="users.import",
                tooltip="Take users over from another htpasswd file, after a look at what changes"),
        Binding("z", "undo", "Undo", id="users.undo",
                tooltip="Take the last change of the users back"),
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
        self._notes: list[str] = []
        self._report: Report | None = None
        self._activity: dict[str, Activity] = {}
        self._reading: Timer | None = None
        self._cancel = threading.Event()

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Reading…", "dim"), id="sum", classes="sum")
        yield FilterLine()
        yield Table(columns(False, False), id="users", markable=True, opens=False)
        yield Facts(id="notes")

    def on_screen_resume(self) -> None:
        self._cancel = threading.Event()
        self.action_refresh()
        self._reading = self.set_interval(READ_SECONDS, self.action_read_log)

    def on_screen_suspend(self) -> None:
        self._cancel.set()
        if self._reading is not None:
            self._reading.stop()

    def action_refresh(self) -> None:
        users = self.deployment.users
        self.ask(lambda: (users.list(), users.notes()), self._read, self._unread, group="users")
        self.action_read_log()

    def action_read_log(self) -> None:
        """Read what is new in the access log, and show who was here."""
        users, cancel = self.deployment.users, self._cancel
        self.ask(
            lambda: users.activity(cancel=cancel), self._reported, lambda _: None,
            group="activity",
        )  # fmt: skip

    def _reported(self, found: Report) -> None:
        self._report = found
        self._activity = {f"{each.host}/{each.name}": each for each in found.people if each.host}
        self._show()
        self._show_notes()

    def _read(self, found: tuple[list[User], list[str]]) -> None:
        users, notes = found
        self.users = {}
        for user in users:
            self.users.setdefault(key(user), user)
        self._notes = notes
        self._show()
        self._show_notes()

    def _show_notes(self) -> None:
        parts: list[Part] = []
        for note in self._notes:
            parts += ["\n" if parts else "", ("! ", "warn"), (clean(note), "dim")]
        for sentence in sentences(self._report) if self._report else ():
            parts += ["\n" if parts else "", (sentence, "dim")]
        self.query_one("#notes", Facts).show(*parts)

    def _unread(self, error: ConsoleError) -> None:
        self.query_one("#sum", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), "\n  ", (clean(error.hint), "dim")
        )

    def _show(self) -> None:
        everyone = list(self.users.values())
        people = [each for each in everyone if not each.service_user]
        hosts = len({each.host for each in everyone}) > 1
        counted = self._report is not None
        rows = [
            row(each, hosts, counted, self._activity.get(key(each)))
            for each in everyone
            if self.wanted in each.name.casefold()
        ]
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
        table.set_columns(columns(hosts, counted))
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
        user = self.current()
        if user is not None and user.service_user:
            self.protected(user.name)
        else:
            table.toggle_mark()

    def action_copy(self) -> None:
        if marked := self.marked():
            self.send("\n".join(each.name for each in marked))

    def marked(self) -> list[User]:
        """The users that are marked, or the one under the cursor."""
        keys = self.query_one("#users", Table).marked()
        return [self.users[key] for key in keys if key in self.users]

    def current(self) -> User | None:
        return self.users.get(self.query_one("#users", Table).key or "")

    def changed(self, words: str) -> None:
        self.query_one("#users", Table).marks.clear()
        self.notify(words, markup=False)
        self.action_refresh()

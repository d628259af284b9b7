"""Users: who can log in."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.core.users.report import UNSEEN_DAYS, Asked, Report
from console.core.users.user import User
from console.tui.screens.users_rows import COLUMNS, Listing, listing
from console.tui.screens.users_verbs import UsersVerbs
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Table

# How often the log is read, and a look is taken at the files, while somebody looks.
READ_SECONDS = 10.0
LOOK_SECONDS = 2.0


class UsersScreen(UsersVerbs):
    """The users, and the verbs that change them."""

    AREA = "users"
    CSS_PATH = "users.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "users.list",
        "add": "users.add",
        "password": "users.passwd",
        "renew": "users.renew",
        "rename": "users.rename",
        "switch": "users.disable",
        "enable": "users.enable",
        "remove": "users.remove",
        "check": "users.check",
        "handover": "users.handover",
        "who": "users.activity",
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
        Binding("space", "mark", "Mark", id="app.mark", tooltip="Mark this row, or unmark it"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only names that hold a text"),
        Binding("m", "unseen", "Missing", id="users.unseen",
                tooltip="Only who was not seen for 90 days, as far as the logs prove it"),
        Binding("w", "who", "Who", id="users.activity",
                tooltip="Who did what: names that were tried, what is slow, what was deleted"),
        Binding("h", "handover", "Hand over", id="users.handover",
                tooltip="Address, variables and five lines of Python for the user"),
        Binding("z", "undo", "Undo", id="users.undo",
                tooltip="Take back the last change of the users; a second time does it again"),
        Binding("n", "rename", "Rename", show=False, id="users.rename",
                tooltip="Give the user under the cursor another name"),
        Binding("c", "check", "Check", show=False, id="users.check",
                tooltip="See whether a password is that of the user under the cursor"),
        Binding("i", "import", "Import", show=False, id="users.import",
                tooltip="Take users over from another htpasswd file, after a look at what changes"),
        Binding("o", "renew", "Own password", show=False, id="users.renew",
                tooltip="Make the password of the console's own user anew, where it was lost"),
        Binding("y", "copy", "Copy", show=False, id="app.copy",
                tooltip="Send the name to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Read the file again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.only_unseen = False
        self._users: list[User] | None = None
        self._notes: list[str] = []
        self._report: Report | None = None
        self.listing: Listing | None = None
        self._seen: tuple[object, ...] | None = None
        self._looks = False
        self._ticking: list[Timer] = []
        self._cancel = threading.Event()
        self._reads = False
        self._again = False
        self._problem = ""

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Reading…", "dim"), id="sum", classes="sum")
        yield FilterLine()
        yield Table(COLUMNS, id="users", markable=True)
        yield Facts(id="notes")

    def on_screen_resume(self) -> None:
        self._cancel = threading.Event()
        self.action_refresh()
        self._ticking = [
            self.set_interval(READ_SECONDS, self._read_log),
            self.set_interval(LOOK_SECONDS, self.look),
        ]

    def on_screen_suspend(self) -> None:
        self._cancel.set()
        for timer in self._ticking:
            timer.stop()

    # Reading

    def action_refresh(self) -> None:
        self._read_files()
        self._read_log()

    def look(self) -> None:
        """Read the files again when somebody else has changed one: `htpasswd`, another console."""
        if not self._looks:  # a disk that hangs holds one thread, not one more each time
            self._looks = True
            self.ask(self.deployment.users.state, self._looked, self._not_looked, group="look")

    def _looked(self, state: tuple[object, ...]) -> None:
        self._looks = False
        if state != self._seen:
            self._seen = state
            self._read_files()

    def _not_looked(self, error: ConsoleError) -> None:
        self._looks = False
        self._unread(error)

    def _read_files(self) -> None:
        users = self.deployment.users
        # What is changed while they are read is seen by the next look.
        self.ask(
            lambda: (users.state(), users.list(), users.notes()), self._read, self._unread,
            group="users",
        )  # fmt: skip

    def _read(self, found: tuple[tuple[object, ...], list[User], list[str]]) -> None:
        self._seen, self._users, self._notes = found
        self._arrange()

    def _unread(self, error: ConsoleError) -> None:
        self._seen = self._users = None
        self.query_one("#sum", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), "\n  ", (clean(error.hint), "dim")
        )

    def _read_log(self) -> None:
        """Read what is new in the access log; the first time there may be a lot of it."""
        if self._reads:
            self._again = True
            return
        self._reads, self._again = True, False
        users, cancel = self.deployment.users, self._cancel
        self.ask(
            lambda: users.activity(Asked(brief=True), cancel), self._reported, self._unreported,
            group="activity",
        )  # fmt: skip

    def _reported(self, found: Report) -> None:
        self._report, self._problem = found, ""
        self._arrange()
        self._read_again()

    def _unreported(self, error: ConsoleError) -> None:
        self._problem = f"Who was here is not known: {error.message}"
        self._show_notes()
        self._read_again()

    def _read_again(self) -> None:
        """Go on where somebody wanted it while it was being read."""
        self._reads = False
        if self._again and self.is_current:
            self._read_log()

    def _arrange(self) -> None:
        """Put together what is known now, on a thread, and show it."""
        if self._users is not None:
            work = partial(listing, self._users, self._report)
            self.ask(work, self._arranged, group="listing")

    def _arranged(self, found: Listing) -> None:
        self.listing = found
        self.show_wanted()

    # Showing

    def show_wanted(self) -> None:
        """Show the rows that are wanted; nothing here takes long, however many there are."""
        found = self.listing
        if found is None:
            return
        rows = found.wanted(self.wanted, self.only_unseen)
        self.query_one("#sum", Facts).show(*self._sum(found, len(rows)))
        self.query_one("#users", Table).show(rows, self._empty())
        self._show_notes()

    def _sum(self, found: Listing, shown: int) -> list[Part]:
        everybody, covers = fmt.plural(found.people, "user"), found.covers
        parts: list[Part] = [(everybody, "bold")]
        if self.only_unseen:
            away = f"{fmt.count(found.unseen)} of {everybody} not seen for {UNSEEN_DAYS} days"
            parts, covers = [(away, "bold")], found.covers_unseen
        else:
            if found.weak:
                parts += ["   ", (f"! {found.weak:,} weak", "warn")]
            if found.disabled:
                parts.append(f"   {found.disabled:,} disabled")
        if self.wanted:
            parts.append(f"   {fmt.count(shown)} shown")
        return [*parts, (f"   {covers}" if covers else "", "dim")]

    def _empty(self) -> str:
        if self.wanted:
            return "No name holds that text."
        if self.only_unseen:
            return "The logs prove it of nobody."
        return "Nobody yet: a adds the first user."

    def _show_notes(self) -> None:
        parts: list[Part] = []
        for note in (*self._notes, *([self._problem] if self._problem else ())):
            parts += ["\n" if parts else "", ("! ", "warn"), (clean(note), "dim")]
        for sentence in self.listing.notes if self.listing else ():
            parts += ["\n" if parts else "", (sentence, "dim")]
        self.query_one("#notes", Facts).show(*parts)

    # Marks

    def action_unseen(self) -> None:
        """Only who was not seen for long, as far as the logs prove it; or everybody again."""
        self.only_unseen = not self.only_unseen
        self.show_wanted()

    @on(Table.Opened, "#users")
    def _open(self) -> None:
        """What is known of the user under the cursor."""
        if user := self.current():
            self._push(user)

    def action_who(self) -> None:
        self._push(None)

    def _push(self, user: User | None) -> None:
        from console.tui.screens.users_activity import ActivityScreen  # noqa: PLC0415  # first use

        self.app.push_screen(ActivityScreen(user))

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
        rows = self.listing.rows if self.listing else {}
        return [rows[key].user for key in self.query_one("#users", Table).marked()]

    def current(self) -> User | None:
        key = self.query_one("#users", Table).key
        return self.listing.rows[key].user if self.listing and key is not None else None

    def changed(self, words: str) -> None:
        self.query_one("#users", Table).marks.clear()
        self.notify(words, markup=False)
        self.action_refresh()

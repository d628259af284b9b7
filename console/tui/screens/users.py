"""Users: who can log in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widget import Widget

from console.core import files
from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.text import clean
from console.core.users.handover import Handover
from console.core.users.importing import ImportPlan
from console.core.users.names import check_name
from console.core.users.report import Activity, Report
from console.core.users.user import User
from console.core.users.user_files import SHARED
from console.core.users.verify import Verdict
from console.tui.area import AreaScreen
from console.tui.modals.line import LineModal
from console.tui.modals.user_form import Login, UserFormModal
from console.tui.screens.users_rows import columns, key, named, row, sentences
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Table

# How often the log is read while somebody looks.
READ_SECONDS = 10.0


class UsersScreen(AreaScreen):
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
        user = self._current()
        if user is not None and user.service_user:
            self._protected(user.name)
        else:
            table.toggle_mark()

    def action_copy(self) -> None:
        if marked := self._marked():
            self.send("\n".join(each.name for each in marked))

    def _marked(self) -> list[User]:
        """The users that are marked, or the one under the cursor."""
        keys = self.query_one("#users", Table).marked()
        return [self.users[key] for key in keys if key in self.users]

    def _current(self) -> User | None:
        return self.users.get(self.query_one("#users", Table).key or "")

    # Verbs

    def action_add(self) -> None:
        self.app.push_screen(UserFormModal(), self._add)

    def _add(self, login: Login | None) -> None:
        if login is not None:
            work = partial(self.deployment.users.add, login.name, login.password)
            self.ask(work, lambda _: self._saved(login, "can log in now"), group="change")

    def action_password(self) -> None:
        user = self._current()
        if user is not None:
            self.app.push_screen(UserFormModal(user.name), partial(self._passwd, user.host))

    def _passwd(self, host: str, login: Login | None) -> None:
        if login is not None:
            work = partial(self.deployment.users.passwd, login.name, login.password, host=host)
            self.ask(work, lambda _: self._saved(login, "has a new password"), group="change")

    def _saved(self, login: Login, words: str) -> None:
        self.notify(f"{clean(login.name, 60)} {words}", markup=False)
        if login.generated:
            from console.tui.modals.one_time import OneTimeModal  # noqa: PLC0415  # first use

            self.app.push_screen(OneTimeModal(login.name, login.password))
        self.action_refresh()

    def action_rename(self) -> None:
        user = self._current()
        if user is None:
            return
        modal = LineModal(
            f"A new name for {clean(user.name, 60)}", user.name,
            "The password stays, and runs keep the name that they were logged by.", check_name,
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._rename, user))

    def _rename(self, user: User, new: str | None) -> None:
        if new is not None and new != user.name:
            work = partial(self.deployment.users.rename, user.name, new, host=user.host)
            said = f"{clean(user.name, 60)} is {clean(new, 60)} now"
            self.ask(work, lambda _: self._changed(said), group="change")

    def action_switch(self) -> None:
        """Disable the marked users; when all of them are, enable them."""
        marked = self._marked()
        if not marked:
            return
        off = any(user.enabled for user in marked)
        chosen = [user for user in marked if user.enabled or not off]
        if off and any(user.service_user for user in chosen):
            self._protected(next(user.name for user in chosen if user.service_user))
        elif off and len(chosen) > 1:
            title = f"Disable {fmt.plural(len(chosen), 'user')}? Until enabled they cannot log in:"
            self._confirm(title, "Disable", chosen, self._disable)
        elif off:
            self._disable(chosen)
        else:
            self._enable(chosen)

    def action_enable(self) -> None:
        """Let the marked users in again."""
        self._enable([user for user in self._marked() if not user.enabled])

    def _disable(self, users: Sequence[User]) -> None:
        self._for_each_host(self.deployment.users.disable, users, "disabled")

    def _enable(self, users: Sequence[User]) -> None:
        if users:
            self._for_each_host(self.deployment.users.enable, users, "enabled")

    def action_remove(self) -> None:
        marked = self._marked()
        protected = [user.name for user in marked if user.service_user]
        if protected:
            self._protected(protected[0])
        elif marked:
            title = f"Remove {fmt.plural(len(marked), 'user')}? They cannot log in any more:"
            self._confirm(title, "Remove", marked, self._remove)

    def _remove(self, users: Sequence[User]) -> None:
        self._for_each_host(self.deployment.users.remove, users, "removed")

    def _confirm(
        self, title: str, does: str, users: Sequence[User],
        then: Callable[[Sequence[User]], None],
    ) -> None:  # fmt: skip
        """Ask before something is done to exactly these users."""
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        def answered(yes: bool | None) -> None:
            if yes:
                then(users)

        self.app.push_screen(ConfirmModal(title, does, [named(each) for each in users]), answered)

    def _for_each_host(self, verb: Callable[..., None], users: Sequence[User], done: str) -> None:
        """Do a verb to users, file by file."""

        def work() -> None:
            for host in dict.fromkeys(user.host for user in users):
                verb([user.name for user in users if user.host == host], host=host)

        who = clean(users[0].name, 60) if len(users) == 1 else fmt.plural(len(users), "user")
        self.ask(work, lambda _: self._changed(f"{who} {done}; z undoes it"), group="change")

    def _changed(self, words: str) -> None:
        self.query_one("#users", Table).marks.clear()
        self.notify(words, markup=False)
        self.action_refresh()

    def action_check(self) -> None:
        user = self._current()
        if user is None:
            return
        modal = LineModal(
            f"Is this the password of {clean(user.name, 60)}?", "",
            "It is compared with the file, and kept nowhere.", lambda _: None, secret=True,
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._check, user))

    def _check(self, user: User, typed: str | None) -> None:
        if typed is not None:
            work = partial(self.deployment.users.check, user.name, Secret(typed), host=user.host)
            self.ask(work, partial(self._checked, user), group="check")

    def _checked(self, user: User, verdict: Verdict) -> None:
        words = {
            Verdict.RIGHT: "That is the password of",
            Verdict.WRONG: "That is not the password of",
            Verdict.DISABLED: "Disabled, and let in by no password:",
            Verdict.UNKNOWN: "Kept in a scheme that cannot be checked here:",
        }[verdict]
        severity = "information" if verdict is Verdict.RIGHT else "warning"
        said = f"{words} {clean(user.name, 60)}"
        self.notify(said, severity=severity, markup=False)  # type: ignore[arg-type]  # a literal

    def action_handover(self) -> None:
        user = self._current()
        if user is not None:
            work = partial(self.deployment.users.handover, user.name, host=user.host)
            self.ask(work, partial(self._hand_over, user), group="handover")

    def _hand_over(self, user: User, found: Handover) -> None:
        from console.tui.modals.handover import HandoverModal  # noqa: PLC0415  # first use

        self.app.push_screen(HandoverModal(user.name, found))

    def action_import(self) -> None:
        user = self._current()
        host = user.host if user is not None else SHARED
        modal = LineModal(
            "Import users", "", "The path of another htpasswd file; what changes is shown before.",
            lambda typed: self._plan(typed, host),
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._planned, host))

    def _plan(self, typed: str, host: str) -> ImportPlan:
        path = Path(typed.strip()).expanduser()
        with files.explained(path):
            return self.deployment.users.plan_import(path.read_bytes(), host=host)

    def _planned(self, host: str, typed: str | None) -> None:
        if typed is None:
            return
        plan = self._plan(typed, host)
        lines = [f"{name}: new" for name in plan.added]
        lines += [f"{name}: has another password here, and keeps it" for name in plan.changed]
        lines += [f"{name}: left out, {why}" for name, why in plan.refused]
        if not plan.added:
            self.notify("Nobody in that file is new here", severity="warning", markup=False)
            return
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        title = f"Import {fmt.plural(len(plan.added), 'user')}?"
        self.app.push_screen(
            ConfirmModal(title, "Import", lines), partial(self._import, plan, host)
        )

    def _import(self, plan: ImportPlan, host: str, yes: bool | None) -> None:
        if yes:
            work = partial(self.deployment.users.import_, plan, host=host)
            said = f"{fmt.plural(len(plan.added), 'user')} imported; z undoes it"
            self.ask(work, lambda _: self._changed(said), group="change")

    def action_undo(self) -> None:
        self.ask(
            self.deployment.users.undo,
            lambda _: self._changed("The last change is taken back; z redoes it"), group="change",
        )  # fmt: skip

    def _protected(self, name: str) -> None:
        self.notify(
            f"{clean(name, 60)} is the console's own account: without it nothing can be checked",
            severity="warning", markup=False,
        )  # fmt: skip

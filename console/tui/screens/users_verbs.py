"""What can be done to users: the question before each verb, and what is said after it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import format as fmt
from console.core.secrets import Secret
from console.core.text import clean
from console.core.users import importing
from console.core.users.user import User
from console.core.users.user_files import SHARED
from console.core.users.verify import Verdict
from console.tui.area import FilteredScreen
from console.tui.modals.line import LineModal
from console.tui.screens.users_rows import named
from console.tui.widgets.facts import Part

if TYPE_CHECKING:
    from console.core.users.handover import Handover
    from console.core.users.importing import ImportPlan
    from console.core.users.undo import Last
    from console.tui.modals.user_form import Login


class UsersVerbs(FilteredScreen):
    """The half of the users' screen that changes something, and asks before."""

    @abstractmethod
    def marked(self) -> list[User]:
        """The users that are marked, or the one under the cursor."""

    @abstractmethod
    def current(self) -> User | None:
        """The user under the cursor."""

    @abstractmethod
    def changed(self, words: str) -> None:
        """Say what was done, and read everything again."""

    @abstractmethod
    def action_refresh(self) -> None:
        """Read everything again."""

    def action_add(self) -> None:
        self._ask_password("", self._add)

    def _add(self, login: Login | None) -> None:
        if login is not None:
            work = partial(self.deployment.users.add, login.name, login.password)
            self.ask(work, lambda _: self._saved(login, "can log in now"), group="change")

    def action_password(self) -> None:
        user = self.current()
        if user is not None:
            self._ask_password(user.name, partial(self._passwd, user.host))

    def _ask_password(self, name: str, then: Callable[[Login | None], None]) -> None:
        from console.tui.modals.user_form import UserFormModal  # noqa: PLC0415  # first use

        self.app.push_screen(UserFormModal(name), then)

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

    def action_renew(self) -> None:
        """The console's own user may be in no file any more, so no row stands for it."""
        name = clean(self.deployment.settings.users.service_user, 60)
        self.ask(
            self.deployment.users.renew,
            lambda _: self.changed(f"{name} has a new password, and the console knows it"),
            group="change",
        )

    def action_rename(self) -> None:
        user = self.current()
        if user is None:
            return
        modal = LineModal(
            f"A new name for {clean(user.name, 60)}", user.name,
            "The password stays, and runs keep the name that they were logged by.",
            partial(self._rename, user),
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._renamed, user))

    def _rename(self, user: User, new: str) -> None:
        if new != user.name:
            self.deployment.users.rename(user.name, new, host=user.host)

    def _renamed(self, user: User, new: str | None) -> None:
        if new is not None and new != user.name:
            self.changed(f"{clean(user.name, 60)} is {clean(new, 60)} now")

    def action_switch(self) -> None:
        """Disable the marked users; when all of them are, enable them."""
        marked = self.marked()
        if not marked:
            return
        off = any(user.enabled for user in marked)
        chosen = [user for user in marked if user.enabled or not off]
        if off and any(user.service_user for user in chosen):
            self.protected(next(user.name for user in chosen if user.service_user))
        elif off and len(chosen) > 1:
            title = f"Disable {fmt.plural(len(chosen), 'user')}? Until enabled they cannot log in:"
            self._confirm(title, "Disable", chosen, self._disable)
        elif off:
            self._disable(chosen)
        else:
            self._enable(chosen)

    def action_enable(self) -> None:
        """Let the marked users in again."""
        self._enable([user for user in self.marked() if not user.enabled])

    def _disable(self, users: Sequence[User]) -> None:
        self._for_each_host(self.deployment.users.disable, users, "disabled")

    def _enable(self, users: Sequence[User]) -> None:
        if users:
            self._for_each_host(self.deployment.users.enable, users, "enabled")

    def action_remove(self) -> None:
        marked = self.marked()
        protected = [user.name for user in marked if user.service_user]
        if protected:
            self.protected(protected[0])
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

    def _for_each_host(self, verb: Callable[..., object], users: Sequence[User], done: str) -> None:
        """Do a verb to users, file by file."""

        def work() -> None:
            for host in dict.fromkeys(user.host for user in users):
                verb([user.name for user in users if user.host == host], host=host)

        who = clean(users[0].name, 60) if len(users) == 1 else fmt.plural(len(users), "user")
        self.ask(work, lambda _: self.changed(f"{who} {done}; z undoes it"), group="change")

    def action_check(self) -> None:
        user = self.current()
        if user is None:
            return
        modal = LineModal(
            f"Is this the password of {clean(user.name, 60)}?", "",
            "It is compared with the file, and kept nowhere.", partial(self._check, user),
            secret=True, answer=partial(self._checked, user),
        )  # fmt: skip
        self.app.push_screen(modal)

    def _check(self, user: User, typed: str) -> Verdict:
        return self.deployment.users.check(user.name, Secret(typed), host=user.host)

    def _checked(self, user: User, verdict: Verdict) -> Part:
        words = {
            Verdict.RIGHT: "✓ That is the password of",
            Verdict.WRONG: "✗ That is not the password of",
            Verdict.DISABLED: "! Disabled, and let in by no password:",
            Verdict.UNKNOWN: "! Kept in a scheme that cannot be checked here:",
        }[verdict]
        tone = "ok" if verdict is Verdict.RIGHT else "bad" if verdict is Verdict.WRONG else "warn"
        return f"{words} {clean(user.name, 60)}", tone

    def action_handover(self) -> None:
        user = self.current()
        if user is not None:
            work = partial(self.deployment.users.handover, user.name, host=user.host)
            self.ask(work, partial(self._hand_over, user), group="handover")

    def _hand_over(self, user: User, found: Handover) -> None:
        from console.tui.modals.handover import HandoverModal  # noqa: PLC0415  # first use

        self.app.push_screen(HandoverModal(user.name, found))

    def action_import(self) -> None:
        user = self.current()
        host = user.host if user is not None else SHARED
        modal = LineModal(
            "Import users", "", "The path of another htpasswd file; what changes is shown before.",
            lambda typed: self._plan(typed, host),
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._planned, host))

    def _plan(self, typed: str, host: str) -> ImportPlan:
        content = importing.read(Path(typed.strip()).expanduser())
        return self.deployment.users.plan_import(content, host=host)

    def _planned(self, host: str, typed: str | None) -> None:
        if typed is not None:
            work = partial(self._plan, typed, host)
            self.ask(work, partial(self._ask_replace, host), group="import")

    def _ask_replace(self, host: str, plan: ImportPlan) -> None:
        if not plan.changed:
            self._ask_import(plan, host, False)
            return
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        count = len(plan.changed)
        title = f"Replace {fmt.plural(count, 'user')} who are here with another password or state?"
        modal = ConfirmModal(title, "Replace", plan.changed)
        self.app.push_screen(modal, partial(self._ask_import, plan, host))

    def _ask_import(self, plan: ImportPlan, host: str, replace: bool | None) -> None:
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        count = len(plan.added) + (len(plan.changed) if replace else 0)
        lines = plan.preview("gets the one from there" if replace else "keeps it")
        if not count:
            said = "; ".join(("There is nobody to import", *map(str, plan.refused[:3])))
            self.notify(clean(said, 400), severity="warning", markup=False)
            return
        modal = ConfirmModal(f"Import {fmt.plural(count, 'user')}?", "Import", lines)
        self.app.push_screen(modal, partial(self._import, plan, host, bool(replace), count))

    def _import(
        self, plan: ImportPlan, host: str, replace: bool, count: int, yes: bool | None
    ) -> None:
        if yes:
            work = partial(self.deployment.users.import_, plan, host=host, replace=replace)
            said = f"{fmt.plural(count, 'user')} imported; z undoes it"
            self.ask(work, lambda _: self.changed(said), group="change")

    def action_undo(self) -> None:
        self.ask(self.deployment.users.last, self._ask_undo, group="undo")

    def _ask_undo(self, last: Last) -> None:
        """It may be somebody else's change: say whose, and what it means to take it back."""
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        self.app.push_screen(
            ConfirmModal(last.question, last.does, last.means), partial(self._undo, last)
        )

    def _undo(self, last: Last, yes: bool | None) -> None:
        if yes:
            work = partial(self.deployment.users.undo, last)
            self.ask(work, lambda _: self.changed(last.said), group="change")

    def protected(self, name: str) -> None:
        self.notify(
            f"{clean(name, 60)} is the console's own account: without it nothing can be checked",
            severity="warning", markup=False,
        )  # fmt: skip

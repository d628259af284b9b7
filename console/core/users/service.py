"""The users area: who can log in."""

from __future__ import annotations

import builtins
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from console.core import files
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.operations import operation
from console.core.secrets import Secret, generate, read_secret, write_secret
from console.core.text import clean
from console.core.users import importing, undo, verify
from console.core.users.activity_answers import Person
from console.core.users.handover import Handover, handover
from console.core.users.htpasswd import UNKNOWN, Htpasswd, Line, display, scheme_of
from console.core.users.importing import ImportPlan
from console.core.users.names import check_name, check_password
from console.core.users.notes import notes
from console.core.users.report import EVERYBODY, Asked, Report, report
from console.core.users.seen import scope, spelt
from console.core.users.undo import Last, What
from console.core.users.user import User, of_line
from console.core.users.user_files import LIST_HINT, SHARED, UserFiles
from console.core.users.verify import Verdict


def _one(name: str, *_: object, host: str = SHARED) -> str:
    """A user as the audit trail names it."""
    return files.printable(name if host == SHARED else f"{name} at {host}")


def _several(names: Sequence[str], *, host: str = SHARED) -> str:
    return _one(" ".join(dict.fromkeys(names)), host=host)


def _what(names: Sequence[str], done: str) -> What:
    return What(tuple(dict.fromkeys(names)), done)


class UsersService:
    """The htpasswd files of the deployment: a shared one, and those of single host names.

    A host name's own file takes the place of the shared one there; it adds nobody to it. A change
    reads the file again under a lock and replaces it whole, so that two consoles lose nothing of
    each other and the server never sees half a file. The expensive part, the hash, is made before
    the lock is taken.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._files = UserFiles(deployment)

    def hosts(self) -> builtins.list[str]:
        """The names of the files: the shared one, then the host names with one of their own."""
        return self._files.hosts()

    def state(self) -> tuple[object, ...]:
        """What the files look like from outside: cheap, and another one when one was changed.

        Raises:
            AccessError: Their folder is not for this account.
        """
        return self._files.state()

    @operation("users.list")
    def list(self, host: str | None = None) -> builtins.list[User]:
        """The users in the order of their files; the first of several lines of a name counts.

        Args:
            host: Of this file alone.

        Raises:
            UsageError: There is no such file.
            AccessError: A file is not for this account.
        """
        found: builtins.list[User] = []
        for each in self.hosts() if host is None else [host]:
            seen = self._seen(each)
            found += [
                of_line(line, each, self._service_user, seen.get(spelt(display(line.name))))
                for line in self._files.of(each).read().users()
            ]
        return found

    def _seen(self, host: str) -> dict[str, Person]:
        """What is remembered of a file's users, by name as the log has it."""
        try:
            return self.deployment.activity.people(scope(host, self.hosts()))
        except ConsoleError:  # `users activity` says why; who can log in is known all the same
            return {}

    @operation("users.add", target=_one)
    def add(self, name: str, password: Secret, *, host: str = SHARED) -> None:
        """Add a user.

        Raises:
            UsageError: The name or password cannot be used, or the name is taken.
            BusyError: Another process holds the file.
        """
        check_name(name)
        field = self._hash(password)
        self._change(
            host, What((name,), "added"),
            lambda file: self._free(file, name).add(name.encode(), field),
        )  # fmt: skip

    @operation("users.passwd", target=_one)
    def passwd(self, name: str, password: Secret, *, host: str = SHARED) -> None:
        """Change a user's password; the service user's as `renew` does.

        Raises:
            UsageError: There is no such user, or the password cannot be used.
            BusyError: Another process holds the file.
        """
        field = self._hash(password)
        if name == self._service_user:
            self._renew(password, field)
        else:
            self._change(
                host, What((name,), "given a new password"),
                lambda file: file.change(self._known(file, name), field),
            )  # fmt: skip

    @operation("users.renew")
    def renew(self) -> None:
        """Give the service user a new random password, wherever its old one or its line was lost.

        Where the whole file was lost, it is made anew, with nobody else in it.

        Raises:
            BusyError: Another process holds a file.
        """
        password = generate(32)
        self._renew(password, self._hash(password))

    @operation("users.rename", target=lambda name, new, *, host=SHARED: _one(
        f"{name} to {new}", host=host))  # fmt: skip
    def rename(self, name: str, new: str, *, host: str = SHARED) -> None:
        """Give a user another name; the password stays, runs keep the name they were logged by.

        Raises:
            UsageError: There is no such user, or the new name is taken or cannot be used.
            ConsoleError: It is the service user.
        """
        check_name(new)
        self._not_the_service_user([name], "renamed")
        self._change(
            host, What((name,), f"renamed to {new}"),
            lambda file: self._free(file, new, "Choose another name.").rename(
                self._known(file, name).name, new.encode()),
        )  # fmt: skip

    @operation("users.disable", target=_several)
    def disable(self, names: Sequence[str], *, host: str = SHARED) -> dict[str, str]:
        """Let these users in no more; their hashes stay as comments. All of them or none.

        Returns:
            Those to whom nothing was done, and why.

        Raises:
            UsageError: One of them is unknown.
            ConsoleError: One of them is the service user, or could not be enabled again.
        """
        self._not_the_service_user(names, "disabled")

        unchanged: dict[str, str] = {}

        def disabled(file: Htpasswd) -> Htpasswd:
            known = self._all_known(file, names)
            unchanged.clear()
            for line in known:
                if not line.enabled:
                    unchanged[display(line.name)] = "was disabled already"
                elif scheme_of(line.field).name == UNKNOWN:
                    raise ConsoleError(
                        f"The password of {clean(display(line.name))} is kept in no known scheme",
                        "Nobody can log in by it anyway: give a new one, or remove the user.",
                    )
            return file.disable({line.name for line in known})

        self._change(host, _what(names, "disabled"), disabled)
        return unchanged

    @operation("users.enable", target=_several)
    def enable(self, names: Sequence[str], *, host: str = SHARED) -> dict[str, str]:
        """Let these users in again by the passwords that they had. All of them or none.

        Returns:
            Those to whom nothing was done, and why.

        Raises:
            UsageError: One of them is unknown.
        """
        unchanged: dict[str, str] = {}

        def enabled(file: Htpasswd) -> Htpasswd:
            known = self._all_known(file, names)
            off = {line.name for line in file.lines if line.is_user and not line.enabled}
            unchanged.clear()
            for line in known:
                if line.enabled:
                    other = "; a disabled line of that name counts for nothing"
                    why = f"was enabled already{other if line.name in off else ''}"
                    unchanged[display(line.name)] = why
            return file.enable({line.name for line in known})

        self._change(host, _what(names, "enabled"), enabled)
        return unchanged

    @operation("users.remove", target=_several)
    def remove(self, names: Sequence[str], *, host: str = SHARED) -> None:
        """Remove exactly these users; all of them or, when one is unknown, none.

        Raises:
            UsageError: None is named, or one of them is unknown.
            ConsoleError: One of them is the service user.
            BusyError: Another process holds the file.
        """
        self._not_the_service_user(names, "removed")
        self._change(
            host, _what(names, "removed"),
            lambda file: file.remove({line.name for line in self._all_known(file, names)}),
        )  # fmt: skip

    @operation("users.check")
    def check(self, name: str, password: Secret, *, host: str = SHARED) -> Verdict:
        """Whether a password opens the door, as the file stands now.

        Raises:
            UsageError: There is no such user.
        """
        line = self._known(self._files.of(host).read(), name)
        return verify.verdict(line, password)

    @operation("users.activity")
    def activity(self, asked: Asked = EVERYBODY, cancel: threading.Event | None = None) -> Report:
        """Read what is new in the access log, and say who was here; see `report`."""
        return report(self.deployment, asked, cancel)

    @operation("users.handover")
    def handover(
        self, name: str, password: Secret | None = None, *, host: str = SHARED
    ) -> Handover:
        """What a user needs to log runs; without the password unless it is given.

        Raises:
            UsageError: There is no such user.
            ConsoleError: It is the service user, or the password is not the user's.
        """
        line = self._known(self._files.of(host).read(), name)
        if name == self._service_user:
            raise ConsoleError(
                f"{clean(name)} is the console's own account and is handed over to nobody",
                "`mlflow-console users add NAME` makes one for a person.",
            )
        if password is not None and verify.verdict(line, password) is Verdict.WRONG:
            raise ConsoleError(
                f"That is not the password of {clean(name)}",
                "`mlflow-console users passwd` gives a new one.",
            )
        note = "" if line.enabled else f"{clean(name)} is disabled and cannot log in now"
        return handover(self.deployment, name, host, password, note)

    def plan_import(self, content: bytes, *, host: str = SHARED) -> ImportPlan:
        """What `import_` would do with another htpasswd file.

        Raises:
            UsageError: Nobody in it could be taken over, or `host` is no name of this deployment.
        """
        file = self._files.of(host, new=True).read()
        return importing.plan(file, Htpasswd.parse(content), self._service_user)

    @operation("users.import", target=lambda plan, *, host=SHARED, replace=False: _several(
        (*plan.added, *(plan.changed if replace else ())), host=host))  # fmt: skip
    def import_(self, plan: ImportPlan, *, host: str = SHARED, replace: bool = False) -> None:
        """Take users over from another file, with the hashes that they have there.

        Args:
            plan: As `plan_import` made it; what was added meanwhile by others is left alone.
            host: Gets a file of its own when it has none, with the console's own account in it.
            replace: Also change the passwords of users who are here and have another one there.
        """

        def imported(file: Htpasswd) -> Htpasswd:
            own = self._files.of(SHARED).read().find(self._service_user)
            if host != SHARED and own is not None and file.find(self._service_user) is None:
                file = file.add(own.name, own.field)
            return importing.apply(file, plan, replace)

        names = (*plan.added, *(plan.changed if replace else ()))
        self._change(host, _what(names, "imported"), imported, new=True)

    def put_back(self, host: str, content: bytes) -> None:
        """Make a file what it was in a snapshot; the console's own user stays as it is now.

        Raises:
            ConsoleError: A change of the file would count for nothing, and why.
        """
        own = self._service_user

        def back(file: Htpasswd) -> Htpasswd:
            then, now = Htpasswd.parse(content), file.find(own)
            if now is None:
                return then
            old = then.find(own)
            if old is None:
                return then.add(now.name, now.field)
            return then.change(old, now.field)

        self._change(host, None, back, new=True, anew=True)

    def last(self) -> Last:
        """The last change, which `undo` would take back.

        Raises:
            UsageError: There is nothing to take back, or the file was changed since.
        """
        last = undo.load(self._undo_path)
        self._files.refuse_lost(last.host)
        undo.apply(last, self._files.of(last.host, new=True).read())
        return last

    @operation("users.undo", target=lambda last: _several(last.what.names, host=last.host))
    def undo(self, last: Last) -> None:
        """Take the last change back; once more, and it is there again.

        Args:
            last: As `last` told it, and no other that was made meanwhile.

        Raises:
            UsageError: The file was changed since.
        """
        what = msgspec.structs.replace(last.what, undone=not last.what.undone)
        self._change(last.host, what, lambda file: undo.apply(last, file), new=True)

    def notes(self) -> builtins.list[str]:
        """What is odd about the files, one sentence each; see `notes`."""
        return notes(self.deployment, self._files)

    # Changes

    def _change(
        self, host: str, what: What | None, change: Callable[[Htpasswd], Htpasswd], *,
        new: bool = False, anew: bool = False,
    ) -> None:  # fmt: skip
        """Change a file; what was done can be taken back when it is said."""
        guard = self.deployment.driver.guard()
        if not anew:
            self._files.refuse_lost(host)
        file = self._files.to_change(host, guard, new)
        for doubt in guard.doubts:
            self.deployment.warn(doubt)

        def changed(before: Htpasswd) -> Htpasswd:
            after = change(before)
            if what is not None and bytes(after) != bytes(before):
                undo.save(self._undo_path, host, what, before, after)
            return after

        file.change(changed)
        if guard.later:
            self.deployment.warn(guard.later)

    @property
    def _undo_path(self) -> Path:
        return self.deployment.paths.run / "users-undo"

    def _renew(self, password: Secret, field: bytes) -> None:
        """Change the service user's password in its secret file and in every user file.

        The secret is written first. Killed in between, the console holds a password that the
        server does not take yet: its checks say so, and the same again mends it. The other way
        round the new password would be known to nobody.
        """
        name = self._service_user

        def changed(file: Htpasswd) -> Htpasswd:
            line = file.find(name)
            if line is None:
                return file.add(name.encode(), field)
            return file.change(line, field).enable({line.name})

        run = self.deployment.paths.run
        files.make_folder(run)
        # Two at once would leave the secret of one and the hash of the other.
        with (
            files.locked(run / "service-user.lock", "the service user"),
            self._secret_replaced(password),
        ):
            for each in self.hosts():
                self._change(each, None, changed, anew=True)

    @contextlib.contextmanager
    def _secret_replaced(self, password: Secret) -> Iterator[None]:
        """The new secret is in its file during the block, and stays if the block succeeds."""
        path = self.deployment.paths.service_secret
        files.make_folder(path.parent)
        before = None
        with contextlib.suppress(ConsoleError):  # what cannot be read is lost
            before = read_secret(path)
        files.sweep(path)
        write_secret(path, password)
        try:
            yield
        except ConsoleError:
            if before is not None:
                # Should this fail too, what is left is what a kill would leave.
                with contextlib.suppress(ConsoleError):
                    write_secret(path, before)
            raise

    @property
    def _service_user(self) -> str:
        return self.deployment.settings.users.service_user

    def _free(
        self, file: Htpasswd, name: str,
        hint: str = "`mlflow-console users passwd` changes the password.",
    ) -> Htpasswd:  # fmt: skip
        """The file, when nobody in it has this name."""
        line = file.find(name)
        if line is not None:
            state = "exists already" if line.enabled else "exists already and is disabled"
            raise UsageError(f"The user {clean(name)} {state}", hint)
        return file

    def _known(self, file: Htpasswd, name: str) -> Line:
        line = file.find(name)
        if line is None:
            raise UsageError(f"There is no user {clean(name)}", LIST_HINT)
        return line

    def _all_known(self, file: Htpasswd, names: Sequence[str]) -> builtins.list[Line]:
        """The lines of these names; all of them, or none when one is unknown."""
        if not names:
            raise UsageError("No user is named")
        known = file.by_name()
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise UsageError(
                f"There is no user {', '.join(map(clean, unknown))}",
                f"Nothing was changed; {LIST_HINT}",
            )
        return [known[name] for name in dict.fromkeys(names)]

    def _not_the_service_user(self, names: Sequence[str], what: str) -> None:
        if self._service_user in names:
            raise ConsoleError(
                f"{clean(self._service_user)} is the console's own user and cannot be {what}",
                "Without it the console could not look at the server any more.",
            )

    def _hash(self, password: Secret) -> bytes:
        import bcrypt  # noqa: PLC0415  # first use, not start-up

        check_password(password)
        salt = bcrypt.gensalt(self.deployment.settings.users.bcrypt_cost)
        hashed = bcrypt.hashpw(password.reveal().encode(), salt)
        # 2b and 2y name the same algorithm; 2y is what Apache's htpasswd writes and every libc
        # that knows bcrypt takes (crypt(5)).
        return b"$2y$" + hashed.removeprefix(b"$2b$")

"""The users area: who can log in."""

from __future__ import annotations

import builtins
import contextlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.core import files
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.operations import operation
from console.core.secrets import Secret, read_secret, write_secret
from console.core.text import clean
from console.core.users.htpasswd import UNKNOWN, Htpasswd, Line, display, scheme_of

LONGEST_NAME = 255  # bytes; what the column of a database or a log has room for
LONGEST_PASSWORD = 72  # bytes; bcrypt looks at no more (Provos and Mazieres, USENIX 1999)

_FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, line and paragraph separators


@dataclass(frozen=True, slots=True)
class User:
    """One user; the JSON shape of `users list`.

    Attributes:
        host: The host name whose file holds it; "default" for the shared file.
        scheme: How the password is kept, for instance "bcrypt".
        cost: The base-2 logarithm of bcrypt's rounds; None for other schemes.
        enabled: Can log in.
        weak: The scheme can be broken by trying, or cannot be verified at all.
        service_user: The console's own account.
        last_seen, requests, failures: None, nobody counts them yet.
    """

    name: str
    host: str
    scheme: str
    cost: int | None
    enabled: bool
    weak: bool
    service_user: bool
    last_seen: datetime | None = None
    requests: int | None = None
    failures: int | None = None


def _shown(text: str) -> str:
    """Text for the audit trail, which is UTF-8 and takes no lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


class UsersService:
    """The htpasswd file of the deployment.

    A change reads the file again under a lock and replaces it whole, so that two consoles lose
    nothing of each other and the server never sees half a file. The expensive part, the hash, is
    made before the lock is taken.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("users.list")
    def list(self) -> list[User]:
        """The users in the order of the file; the first of several lines of a name is in force.

        Raises:
            AccessError: The file is not for this account.
        """
        return [self._user(line) for line in self._read().users()]

    @operation("users.add", target=lambda name, password: _shown(name))
    def add(self, name: str, password: Secret) -> None:
        """Add a user.

        Raises:
            UsageError: The name or password cannot be used, or the name is taken.
            BusyError: Another process holds the file.
        """
        check_name(name)
        field = self._hash(password)

        def added(file: Htpasswd) -> Htpasswd:
            line = file.find(name)
            if line is not None:
                state = "exists already" if line.enabled else "exists already and is disabled"
                raise UsageError(
                    f"The user {clean(name)} {state}",
                    "`mlflow-console users passwd` changes the password.",
                )
            return file.add(name.encode(), field)

        self._change(added)

    @operation("users.passwd", target=lambda name, password: _shown(name))
    def passwd(self, name: str, password: Secret) -> None:
        """Change a user's password; for the service user its secret file as well.

        Of the service user's two files the secret is written first. Killed in between, the
        console holds a password that the server does not take yet: its checks say so, and either
        `users passwd` again, or hashing what the secret file holds, mends it. The other way round
        the new password would be known to nobody.

        Raises:
            UsageError: There is no such user, or the password cannot be used.
            BusyError: Another process holds the file.
        """
        field = self._hash(password)

        def changed(file: Htpasswd) -> Htpasswd:
            if name == self._service_user and file.find(name) is None:
                return file.add(name.encode(), field)  # its line was lost: so it comes back
            return file.change(self._known(file, name), field)

        if name != self._service_user:
            self._change(changed)
            return
        with self._locked():
            after = changed(self._read())
            with self._secret_replaced(password):
                self._write(after)

    @operation("users.remove", target=lambda names: _shown(" ".join(names)))
    def remove(self, names: Sequence[str]) -> None:
        """Remove exactly these users; all of them or, when one is unknown, none.

        Raises:
            UsageError: None is named, or one of them is unknown.
            ConsoleError: One of them is the service user.
            BusyError: Another process holds the file.
        """
        if not names:
            raise UsageError("No user is named")
        if self._service_user in names:
            raise ConsoleError(
                f"{clean(self._service_user)} is the console's own user and cannot be removed",
                "Without it the console could not look at the server any more.",
            )

        def removed(file: Htpasswd) -> Htpasswd:
            unknown = sorted({name for name in names if file.find(name) is None})
            if unknown:
                raise UsageError(
                    f"There is no user {', '.join(map(clean, unknown))}",
                    "Nobody was removed; `mlflow-console users list` shows the users.",
                )
            return file.remove({self._known(file, name).name for name in names})

        self._change(removed)

    def notes(self) -> builtins.list[str]:
        """What is odd about the file, one sentence each, for instance a junk line's number.

        No note holds a hash, or the text of a line that is no user's: it may be a password.
        """
        path = self.deployment.paths.users
        with files.explained(path):
            if not path.exists():
                return [f"There is no user file {path} yet: nobody can log in"]
        file = self._read()
        notes = [clean(note) for note in file.oddities()]
        notes += [
            f"{clean(other.name)} has a user file of its own, which is not shown here: {other}"
            for other in self._others()
        ]
        if file.find(self._service_user) is None:
            notes.append(
                f"The console's own user {clean(self._service_user)} is not in the file: "
                "its checks of the server are refused"
            )
        return notes

    def _others(self) -> builtins.list[Path]:
        """The files of host names beside the shared one; a dot in it makes a name of a host."""
        folder = self.deployment.paths.users.parent
        with files.explained(folder):
            found = sorted(path for path in folder.glob("[!.]*.*") if path.is_file())
        return [
            path for path in found if not path.name.startswith(self.deployment.paths.users.name)
        ]

    @property
    def _service_user(self) -> str:
        return self.deployment.settings.users.service_user

    def _user(self, line: Line) -> User:
        scheme = scheme_of(line.field)
        name = display(line.name)
        return User(
            name=name,
            host=self.deployment.paths.users.name,
            scheme=scheme.name,
            cost=scheme.cost,
            enabled=line.enabled and scheme.name != UNKNOWN,
            weak=scheme.weak,
            service_user=name == self._service_user,
        )

    def _known(self, file: Htpasswd, name: str) -> Line:
        line = file.find(name)
        if line is None:
            raise UsageError(
                f"There is no user {clean(name)}", "`mlflow-console users list` shows the users."
            )
        return line

    def _hash(self, password: Secret) -> bytes:
        import bcrypt  # noqa: PLC0415  # first use, not start-up

        check_password(password)
        salt = bcrypt.gensalt(self.deployment.settings.users.bcrypt_cost)
        hashed = bcrypt.hashpw(password.reveal().encode(), salt)
        # 2b and 2y name the same algorithm; 2y is what Apache's htpasswd writes and every libc
        # that knows bcrypt takes (crypt(5)).
        return b"$2y$" + hashed.removeprefix(b"$2b$")

    def _read(self) -> Htpasswd:
        path = self.deployment.paths.users
        with files.explained(path):
            try:
                return Htpasswd.parse(path.read_bytes())
            except FileNotFoundError:
                return Htpasswd()

    def _write(self, file: Htpasswd) -> None:
        path = self.deployment.paths.users
        # A proxy's unprivileged worker reads both; the deployment's own folder is 0700.
        files.make_folder(path.parent, 0o755)
        files.sweep(path)
        files.write_atomic(path, bytes(file), mode=0o644)
        self.deployment.driver.users_changed()

    def _change(self, change: Callable[[Htpasswd], Htpasswd]) -> None:
        with self._locked():
            self._write(change(self._read()))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        run = self.deployment.paths.run
        files.make_folder(run)
        with files.locked(run / "users.lock", "the users"):
            yield

    @contextlib.contextmanager
    def _secret_replaced(self, password: Secret) -> Iterator[None]:
        """The new secret is in its file during the block, and stays if the block succeeds."""
        path = self.deployment.paths.service_secret
        files.make_folder(path.parent)
        before = read_secret(path) if path.exists() else None
        files.sweep(path)
        write_secret(path, password)
        try:
            yield
        except ConsoleError:
            if before is not None:
                # Should this fail too, what is left is what a kill would leave; see `passwd`.
                with contextlib.suppress(ConsoleError):
                    write_secret(path, before)
            raise


def check_name(name: str) -> None:
    """Raise UsageError when a name cannot stand in a htpasswd file.

    HTTP Basic ends the name at the first colon (RFC 7617), a line at a line feed.
    """
    problem = _problem_of_name(name)
    if problem:
        raise UsageError(f"This name cannot be used: {problem}")


def _problem_of_name(name: str) -> str:
    problems = {
        "it is empty": not name,
        "it has control characters": _has_controls(name),
        "it has a colon": ":" in name,
        "it begins with #, which makes the line a comment": name.startswith("#"),
        "it begins or ends with a space": name != name.strip(),
        f"it is longer than {LONGEST_NAME} bytes": _size(name) > LONGEST_NAME,
    }
    return next((sentence for sentence, found in problems.items() if found), "")


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) in _FORBIDDEN for character in text)


def _size(text: str) -> int:
    """Bytes in UTF-8; also of text that has no UTF-8 form, which is refused for that."""
    return len(text.encode("utf-8", "surrogatepass"))


def check_password(password: Secret) -> None:
    """Raise UsageError when a password cannot be used; the sentence never holds it."""
    problem = _problem_of_password(password.reveal())
    if problem:
        raise UsageError(f"This password cannot be used: {problem}")


def _problem_of_password(text: str) -> str:
    if not text:
        return "it is empty"
    if _has_controls(text):
        return "it has control characters"
    size = _size(text)
    if size > LONGEST_PASSWORD:
        return (
            f"it is {size} bytes long, and bcrypt cuts off what is beyond {LONGEST_PASSWORD}; "
            "letters outside of ASCII take two to four bytes each"
        )
    return ""

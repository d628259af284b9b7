"""Which user files a deployment has: a shared one, and those of single host names."""

from __future__ import annotations

from pathlib import Path

from console.core import files
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.stack.driver import Guard
from console.core.text import clean
from console.core.users.user_file import UserFile

SHARED = "default"
"""The file of every host name that has none of its own."""

LIST_HINT = "`mlflow-console users list` shows the users."
LOST_HINT = (
    "Put it back from a backup; or `mlflow-console users renew` makes it anew, with the console's "
    "own account alone."
)


class UserFiles:
    """The user files of one deployment.

    Args:
        deployment: Which one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def hosts(self) -> list[str]:
        """The names of those that count: the shared one, then host names with one of their own."""
        if not self._deployment.driver.own_user_files:
            return [SHARED]
        return [SHARED, *(path.name for path in self.others())]

    def others(self) -> list[Path]:
        """The files of host names, whether they count or not; a dot makes a name of a host."""
        folder = self._deployment.paths.users.parent
        known = self._deployment.driver.host_names
        with files.explained(folder):
            return sorted(
                path
                for path in folder.glob("[!.]*")
                if ("." in path.name or path.name in known)
                and not path.name.startswith(SHARED)
                and path.is_file()
            )

    def of(self, host: str, new: bool = False) -> UserFile:
        """The file of a host name, to be read.

        Args:
            host: Or "default".
            new: One that is to be made is meant as well.

        Raises:
            UsageError: There is none.
        """
        return self._file(host, new, alone=False)

    def to_change(self, host: str, guard: Guard, new: bool = False) -> UserFile:
        """The file of a host name, to be changed so that what asks for passwords sees it.

        Args:
            host: Or "default".
            guard: What asks for passwords.
            new: One that is to be made is meant as well.

        Raises:
            UsageError: There is none.
            ConsoleError: A change would count for nothing.
        """
        file = self._file(host, new, host in guard.alone)
        if host in guard.void:
            raise ConsoleError(clean(guard.void[host], 400), guard.remedy)
        return file

    def state(self) -> tuple[object, ...]:
        """What all of them look like from outside, so that a change of any is seen by a stat."""
        return tuple((host, *self._at(host).state()) for host in self.hosts())

    @property
    def lost(self) -> bool:
        """Whether the shared file is gone: whoever has the service user's secret had one."""
        paths = self._deployment.paths
        return not paths.users.exists() and paths.service_secret.exists()

    def refuse_lost(self, host: str) -> None:
        """Raise ConsoleError rather than make a lost file anew, with one user in it and no other.

        A host name's own file is gone without a trace: the shared one counts there then.
        """
        path = self._deployment.paths.users
        with files.explained(path):
            if host == SHARED and self.lost:
                raise ConsoleError(f"The user file {path} is missing", LOST_HINT)

    def _file(self, host: str, new: bool, alone: bool) -> UserFile:
        if host not in self.hosts():
            self._refuse(host, new)
        return self._at(host, alone)

    def _at(self, host: str, alone: bool = False) -> UserFile:
        paths = self._deployment.paths
        return UserFile(
            paths.users.with_name(host), paths.run / "users.lock",
            self._deployment.driver.users_changed, alone,
        )  # fmt: skip

    def _refuse(self, host: str, new: bool) -> None:
        driver = self._deployment.driver
        if not driver.own_user_files:
            raise UsageError(
                "This server knows one user file for all of its host names", "Leave out --host."
            )
        if host not in driver.host_names:
            names = ", ".join(clean(name) for name in driver.host_names)
            raise UsageError(
                f"{clean(host)} is no host name of this deployment", f"It has {names}."
            )
        if not new:
            raise UsageError(
                f"{clean(host)} has no user file of its own: the shared one counts there",
                f"`mlflow-console users import {self._deployment.paths.users} --host {clean(host)}`"
                " gives it one with the same users, who then are its own.",
            )

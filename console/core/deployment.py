"""The composition root: opens a deployment directory and builds its driver and services."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import audit, register, settings
from console.core.errors import CancelledError, ConsoleError, NoDeploymentError, ReadOnlyError
from console.core.files import explained, refuse_as_root
from console.core.operations import Operation, Risk
from console.core.settings import PersonSettings, Settings

if TYPE_CHECKING:
    from console.core.backup.service import BackupService
    from console.core.database.service import DatabaseService
    from console.core.doctor.service import DoctorService
    from console.core.experiments.service import ExperimentsService, RunsService
    from console.core.notify.service import NotifyService
    from console.core.stack.driver import Driver
    from console.core.stack.service import StackService
    from console.core.storage.service import StorageService
    from console.core.users.activity import Activity
    from console.core.users.service import UsersService


@dataclass(frozen=True)
class Paths:
    """Where each thing of a deployment lives."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "console.toml"

    @property
    def users(self) -> Path:
        """The htpasswd file of every host name that has none of its own."""
        return self.root / "htpasswd" / "default"

    @property
    def service_secret(self) -> Path:
        return self.root / "secrets" / "service-user"

    @property
    def notify_urls(self) -> Path:
        """Where messages go; the addresses hold tokens."""
        return self.root / "secrets" / "notify-urls"

    @property
    def notified(self) -> Path:
        """What was told to whom."""
        return self.run / "notified.json"

    @property
    def audit(self) -> Path:
        return self.root / "audit.jsonl"

    @property
    def activity(self) -> Path:
        """What the access logs said of users; a SQLite database."""
        return self.root / "activity.db"

    @property
    def run(self) -> Path:
        """Locks and what is known of running processes."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def access_log(self) -> Path:
        """The access log of an embedded server."""
        return self.logs / "access.log"

    @property
    def database(self) -> Path:
        return self.root / "data" / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "data" / "artifacts"

    @property
    def server(self) -> Path:
        """The server's Python environment and what it was made from."""
        return self.root / "server"


def _to_nobody(sentence: str) -> None:
    """The default narrator: a front end puts its own in its place."""


class Deployment:
    """One opened deployment.

    Args:
        directory: Its folder, absolute.
        loaded: Its settings.
        read_only: Why changing verbs are refused, or "" when they are not.
    """

    def __init__(self, directory: Path, loaded: Settings, read_only: str = "") -> None:
        self.paths = Paths(directory)
        self.settings = loaded
        self.read_only = read_only
        self.warn: Callable[[str], None] = _to_nobody

    @classmethod
    def open(cls, wanted: str | None = None, read_only: bool = False) -> Deployment:
        """Open the deployment that is meant; see `register.choose`.

        Raises:
            NoDeploymentError: There is none there.
            SettingsError: Its settings cannot be used.
            AccessError: It is not for this account.
        """
        directory = register.choose(wanted)
        path = Paths(directory).settings
        with explained(path):
            refuse_as_root(directory)
            if not path.is_file():
                raise NoDeploymentError(
                    f"{directory} holds no deployment",
                    f"`mlflow-console init {directory}` sets one up there.",
                )
        loaded = settings.load(path, Settings)
        return cls(directory, loaded, read_only_reason(read_only, loaded, path))

    def look_again(self) -> None:
        """Take in what was written into console.toml since; a file that makes no sense is not."""
        with contextlib.suppress(ConsoleError):
            self.settings = settings.load(self.paths.settings, Settings)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def directory(self) -> Path:
        return self.paths.root

    @functools.cached_property
    def driver(self) -> Driver:
        from console.core.stack.drivers import open_driver  # noqa: PLC0415  # first use

        return open_driver(self)

    @functools.cached_property
    def stack(self) -> StackService:
        from console.core.stack.service import StackService  # noqa: PLC0415  # first use

        return StackService(self)

    @functools.cached_property
    def users(self) -> UsersService:
        from console.core.users.service import UsersService  # noqa: PLC0415  # first use

        return UsersService(self)

    @functools.cached_property
    def activity(self) -> Activity:
        """What the access log says of users; `collect(deployment.driver.access_log())` reads on."""
        from console.core.users.activity import Activity  # noqa: PLC0415  # first use

        chosen = self.settings.users
        lock = self.paths.run / "activity.lock"
        return Activity(self.paths.activity, lock, chosen.activity_days, chosen.service_user)

    @functools.cached_property
    def experiments(self) -> ExperimentsService:
        from console.core.experiments.service import ExperimentsService  # noqa: PLC0415  # as above

        return ExperimentsService(self)

    @functools.cached_property
    def runs(self) -> RunsService:
        from console.core.experiments.service import RunsService  # noqa: PLC0415  # first use

        return RunsService(self)

    @functools.cached_property
    def storage(self) -> StorageService:
        from console.core.storage.service import StorageService  # noqa: PLC0415  # first use

        return StorageService(self)

    @functools.cached_property
    def database(self) -> DatabaseService:
        from console.core.database.service import DatabaseService  # noqa: PLC0415  # first use

        return DatabaseService(self)

    @functools.cached_property
    def backup(self) -> BackupService:
        from console.core.backup.service import BackupService  # noqa: PLC0415  # first use

        return BackupService(self)

    @functools.cached_property
    def doctor(self) -> DoctorService:
        from console.core.doctor.service import DoctorService  # noqa: PLC0415  # first use

        return DoctorService(self)

    @functools.cached_property
    def notify(self) -> NotifyService:
        from console.core.notify.service import NotifyService  # noqa: PLC0415  # first use

        return NotifyService(self)

    @contextlib.contextmanager
    def change(self, operation: Operation, target: str) -> Iterator[None]:
        """Everything that every change shares: refused when read-only, audited when it ended.

        Raises:
            ReadOnlyError: The deployment is opened read-only.
        """
        self.refuse_when_read_only(operation)
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit, CancelledError):
            self.record(operation, target, "cancelled")
            raise
        except ConsoleError as error:
            self.record(operation, target, "failed", error.message)
            raise
        except BaseException as error:
            self.record(operation, target, "failed", type(error).__name__)
            raise
        self.record(operation, target, "done")

    def refuse_when_read_only(self, operation: Operation) -> None:
        """Let only reading verbs through when the deployment is read-only.

        Raises:
            ReadOnlyError: The verb would change something.
        """
        refuse_when_read_only(operation, self.read_only)

    def record(
        self, operation: Operation, target: str, outcome: audit.Outcome, error: str | None = None
    ) -> None:
        """Write the audit line; when it cannot be written, say so and go on."""
        line = audit.entry(
            operation.id, target, self.name, self.directory, outcome=outcome, error=error
        )  # fmt: skip
        try:
            audit.write(self.paths.audit, line)
        except OSError as failure:
            self.warn(f"The audit trail {self.paths.audit} lacks this: {failure.strerror}")


def refuse_when_read_only(operation: Operation, reason: str) -> None:
    """Let only reading verbs through when there is a reason to be read-only.

    Raises:
        ReadOnlyError: The verb would change something.
    """
    if reason and operation.risk is not Risk.READ:
        raise ReadOnlyError(
            f"{operation.summary}: refused, this is read-only ({reason})",
            "Leave read-only out to change something.",
        )


def read_only_reason(flag: bool, loaded: Settings | None = None, path: Path | None = None) -> str:
    """Why changing verbs are refused, "" when they are not.

    Args:
        flag: --read-only was given.
        loaded: The settings of the deployment, where one is opened.
        path: Their file.
    """
    if flag:
        return "--read-only"
    if settings.environment_flag("MLFLOW_CONSOLE_READ_ONLY"):
        return "MLFLOW_CONSOLE_READ_ONLY"
    if loaded and loaded.read_only:
        return f"read_only in {path}"
    if person().read_only:
        return f"read_only in {person_file()}"
    return ""


def person_file() -> Path:
    """Where this person's own settings live."""
    return register.person_folder() / "settings.toml"


def person() -> PersonSettings:
    """This person's settings, the defaults where there is no file.

    Raises:
        SettingsError: The file cannot be used.
    """
    path = person_file()
    return settings.load(path, PersonSettings) if path.exists() else PersonSettings()

"""Setting up a new deployment: first the plan, then the work."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.core import files, register, secrets, settings
from console.core.deployment import Deployment, Paths
from console.core.errors import AccessError, ConsoleError, NotOursError, UsageError
from console.core.operations import OPERATIONS, implements
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.settings import Settings
from console.core.stack.drivers import planner
from console.core.stack.planning import SIZES, Planned, Wishes


def _nothing() -> None:
    """A driver with nothing to write before console.toml."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `init` would do; making one changes nothing.

    Attributes:
        directory: Where the deployment goes, absolute.
        planned: The driver's part; of an interrupted `init` that goes on, what is settled already.
        steps: What will be done, one sentence each, for `--dry-run`.
        resumed: An interrupted `init` of the same directory goes on.
    """

    directory: Path
    planned: Planned
    steps: tuple[str, ...]
    resumed: bool = False

    @property
    def name(self) -> str:
        """What it will be called: the directory's name."""
        return self.planned.settings.name

    @property
    def port(self) -> int:
        """The free port it will listen on."""
        return self.planned.port


def plan(
    directory: Path, driver: str = "embedded", port: int | None = None,
    host_names: Sequence[str] = (), *, tls_port: int | None = None, size: str = SIZES[0],
    public: bool = False, certificates: Path | None = None,
) -> Plan:  # fmt: skip
    """Check everything that can be checked before the first byte is written.

    Args:
        directory: Must not exist, be empty, or hold an interrupted `init`.
        driver: What will run it.
        port: See `Wishes` for this and the following.
        host_names: The names that it may be called by.
        tls_port: For https.
        size: For how much memory.
        public: On every address.
        certificates: The folder that holds them.

    Raises:
        NotOursError: The directory is somebody else's, or the port is taken (says by whom).
        UsageError: The directory already holds a deployment, or a value cannot be meant.
        UnreachableError: What the driver needs is missing or does not answer.
        DiskFullError: It would not fit.
        AccessError: This account may not write there.
    """
    # One spelling, whatever links lead to it: it is what its processes are found by.
    directory = Path(os.path.realpath(os.path.expanduser(directory)))
    for name in host_names:
        if not re.fullmatch(settings.HOST_NAME, name):
            raise UsageError(f"{name!r} is not a host name", "Give names like mlflow.lab.")
    begun = _check_directory(directory)
    if begun is not None:
        ports = Deployment(directory, begun).driver.ports
        steps = ("go on where the interrupted set-up stopped", *_last(begun))
        return Plan(directory, Planned(begun, steps, min(ports, default=0)), steps, resumed=True)
    planned = planner(driver)(
        Wishes(directory, _name(directory), port, tls_port, tuple(host_names), size, public,
               certificates),
        ports_of_others(),
    )  # fmt: skip
    first = f"make the folder {directory} for this account alone (0700)"
    return Plan(directory, planned, (first, *planned.steps, *_last(planned.settings)))


def _last(chosen: Settings) -> tuple[str, ...]:
    return (
        f"make the service user {chosen.users.service_user} with a random password",
        f"list {chosen.name} among the known deployments in "
        f"{register.machine_folder() if os.geteuid() == 0 else register.person_folder()}",
    )


def _check_directory(directory: Path) -> Settings | None:
    """The settings of an interrupted `init`, None for a new directory; else refuse it."""
    paths = Paths(directory)
    with files.explained(directory):
        if not directory.exists():
            _check_writable(_existing_parent(directory))
            return None
        files.refuse_as_root(directory)
        if not directory.is_dir():
            raise NotOursError(f"{directory} is not a directory", "Choose another one.")
        _check_writable(directory)
        if not paths.settings.exists():
            first = next((entry for entry in directory.iterdir() if not _leftover(entry)), None)
            if first is not None:
                raise NotOursError(
                    f"{directory} is not empty (it holds {first.name}) and not a deployment",
                    "Choose a directory that does not exist yet; nothing was changed.",
                )
            return None
    begun = settings.load(paths.settings, Settings)
    if is_complete(Deployment(directory, begun)):
        raise UsageError(
            f"{directory} already holds the deployment {begun.name}",
            f"Start it with `mlflow-console --deployment {directory} up`.",
        )
    return begun


def _leftover(entry: Path) -> bool:
    """What a killed write of the settings, or of a driver's before them, leaves behind."""
    return entry.name.startswith((".console.toml.", ".env"))


def _existing_parent(directory: Path) -> Path:
    return next(parent for parent in directory.parents if parent.exists())


def _check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise NotOursError(f"{folder} is not a directory", "Choose another one.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AccessError(
            f"This account may not write in {folder}",
            "Choose another directory, or run it with sudo.",
        )


def ports_of_others(own: Path | None = None) -> set[int]:
    """The ports of the known deployments, also of stopped ones: they will want them back.

    Args:
        own: The directory of one that is left out.
    """
    ports: set[int] = set()
    for each in register.known():
        if each.directory == own:
            continue
        try:
            found = settings.load(Paths(each.directory).settings, Settings)
            ports |= Deployment(each.directory, found).driver.ports
        except ConsoleError:
            continue  # not for this account, or not there any more
    return ports


def _name(directory: Path) -> str:
    """The directory's name, in the letters that a deployment's name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", directory.name).strip("-._")[:63] or "mlflow"


@implements("deployment.init")
def create(
    chosen: Plan, first_user: tuple[str, Secret] | None, cancel: threading.Event
) -> Iterator[Progress]:
    """Do what the plan says; an interrupted call goes on when it is made again.

    Args:
        chosen: What `plan` gave.
        first_user: Name and password of a user to add.
        cancel: Set it to stop.
    """
    paths = Paths(chosen.directory)
    files.make_folder(chosen.directory)
    if not paths.settings.exists():
        chosen.planned.begin()
        files.sweep(paths.settings)
        files.write_atomic(paths.settings, settings.dump(chosen.planned.settings), mode=0o600)
    deployment = Deployment(chosen.directory, settings.load(paths.settings, Settings))
    with deployment.change(OPERATIONS["deployment.init"], str(chosen.directory)):
        yield Progress(f"{chosen.directory}: settings written")
        # What takes long comes last: killed in it, this is on the list, and `up` goes on.
        register.add(chosen.name, chosen.directory)
        yield from _service_user(deployment)
        if first_user:
            _add_or_change(deployment, *first_user)
            yield Progress(f"user {first_user[0]} added")
        yield from complete(deployment, cancel)


def is_complete(deployment: Deployment) -> bool:
    """Whether nothing of what `init` makes is missing."""
    return deployment.driver.complete and not _service_user_missing(deployment)


def complete(deployment: Deployment, cancel: threading.Event) -> Iterator[Progress]:
    """Make whatever a deployment still lacks; nothing to do for a whole one.

    `up` calls it too, so that an interrupted `init` is mended by whichever comes next.
    """
    yield from _service_user(deployment)
    yield from deployment.driver.init(cancel)


def _service_user(deployment: Deployment) -> Iterator[Progress]:
    """Make the console's own user, and with it the user file, where either is missing."""
    paths = deployment.paths
    files.make_folder(paths.run)
    files.make_folder(paths.service_secret.parent)
    # A proxy's unprivileged worker reads the users' folder; the 0700 parent protects it here.
    files.make_folder(paths.users.parent, 0o755)
    if _service_user_missing(deployment):
        name = deployment.settings.users.service_user
        # The secret first: should this be killed in between, the next call gives it to the user.
        if not paths.service_secret.exists():
            secrets.write_secret(paths.service_secret, secrets.generate(32))
        # Puts the line, and a whole file, there where it is missing.
        deployment.users.passwd(name, secrets.read_secret(paths.service_secret))
        yield Progress(f"service user {name} made")


def _add_or_change(deployment: Deployment, name: str, password: Secret) -> None:
    """Give a user a password, whether an interrupted call has added the user already or not."""
    known = any(user.name == name for user in deployment.users.list())
    (deployment.users.passwd if known else deployment.users.add)(name, password)


def _service_user_missing(deployment: Deployment) -> bool:
    return not deployment.paths.service_secret.exists() or not any(
        user.service_user for user in deployment.users.list()
    )

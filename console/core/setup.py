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
from console.core.settings import ServerSettings, Settings

MLFLOW = "3.17.2"
USUAL_PORT = 5000


@dataclass(frozen=True, slots=True)
class Plan:
    """What `init` would do; making one changes nothing.

    Attributes:
        directory: Where the deployment goes, absolute.
        name: What it will be called: the directory's name.
        port: The free port it will listen on.
        host_names: Further names the server may be called by.
        mlflow: The version of MLflow.
        steps: What will be done, one sentence each, for `--dry-run`.
        resumed: An interrupted `init` of the same directory goes on.
    """

    directory: Path
    name: str
    driver: str
    port: int
    host_names: tuple[str, ...]
    mlflow: str
    steps: tuple[str, ...]
    resumed: bool = False


def plan(
    directory: Path, driver: str = "embedded", port: int | None = None,
    host_names: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Check everything that can be checked before the first byte is written.

    Args:
        directory: Must not exist, be empty, or hold an interrupted `init`.
        driver: What will run it.
        port: None picks a free one, 5000 if it is.
        host_names: Further names the server may be called by.

    Raises:
        NotOursError: The directory is somebody else's, or the port is taken (says by whom).
        UsageError: The directory already holds a deployment, or a value cannot be meant.
        DiskFullError: It would not fit.
        AccessError: This account may not write there.
    """
    from console.core.stack.environment import NEEDED_BYTES  # noqa: PLC0415  # first use

    # One spelling, whatever links lead to it: it is what its processes are found by.
    directory = Path(os.path.realpath(os.path.expanduser(directory)))
    for name in host_names:
        if not re.fullmatch(settings.HOST_NAME, name):
            raise UsageError(f"{name!r} is not a host name", "Give names like mlflow.lab.")
    begun = _check_directory(directory)
    if begun is None:
        port = _check_port(port)
        files.need_room(directory, NEEDED_BYTES, "The MLflow server's environment")
    chosen = begun or Settings(
        format=settings.FORMAT, name=_name(directory), driver="embedded",
        server=ServerSettings(port=port or USUAL_PORT, mlflow=MLFLOW,
                              host_names=tuple(host_names)),
    )  # fmt: skip
    return Plan(
        directory=directory, name=chosen.name, driver=driver, port=chosen.server.port,
        host_names=chosen.server.host_names, mlflow=chosen.server.mlflow,
        steps=_steps(directory, chosen), resumed=begun is not None,
    )  # fmt: skip


def _steps(directory: Path, chosen: Settings) -> tuple[str, ...]:
    return (
        f"make the folder {directory} for this account alone (0700)",
        f"write console.toml: {chosen.name}, {chosen.driver}, port {chosen.server.port} of "
        "loopback",
        f"make a Python environment for MLflow {chosen.server.mlflow} in {directory}/server "
        "(fetched from the package index)",
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
    """What a killed write of the settings leaves behind."""
    return entry.name.startswith(".console.toml.")


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


def _check_port(port: int | None) -> int:
    from console.core import process  # noqa: PLC0415  # first use

    if port is None:
        return process.free_port(USUAL_PORT, _ports_of_others())
    if not 1 <= port <= 65535:
        raise UsageError(f"{port} is not a port", "Give a number from 1 to 65535.")
    if port < _first_free_for_all() and os.geteuid() != 0:
        raise AccessError(
            f"Port {port} is kept for root", f"Choose one from {_first_free_for_all()} on."
        )
    if not process.port_is_free(port):
        raise NotOursError(
            f"Port {port} is taken by {process.listener(port) or 'a process of another account'}",
            f"Leave --port out to get a free one ({process.free_port(port + 1)} is).",
        )
    return port


def _first_free_for_all() -> int:
    """The first port that any account may listen on (ip(7))."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024


def _ports_of_others() -> set[int]:
    """The ports of the known deployments, also of stopped ones: they will want them back."""
    ports = set()
    for each in register.known():
        try:
            ports.add(settings.load(Paths(each.directory).settings, Settings).server.port)
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
        new = Settings(
            format=settings.FORMAT, name=chosen.name, driver="embedded",
            server=ServerSettings(port=chosen.port, mlflow=chosen.mlflow,
                                  host_names=chosen.host_names),
        )  # fmt: skip
        files.sweep(paths.settings)
        files.write_atomic(paths.settings, settings.dump(new), mode=0o600)
    deployment = Deployment(chosen.directory, settings.load(paths.settings, Settings))
    with deployment.change(OPERATIONS["deployment.init"], str(chosen.directory)):
        yield Progress(f"{chosen.directory}: settings written")
        # What takes long comes last: killed in it, this is on the list, and `up` goes on.
        register.add(chosen.name, chosen.directory)
        if first_user:
            _add_or_change(deployment, *first_user)
            yield Progress(f"user {first_user[0]} added")
        yield from complete(deployment, cancel)


def is_complete(deployment: Deployment) -> bool:
    """Whether nothing of what `init` makes is missing."""
    from console.core.stack.environment import Environment  # noqa: PLC0415  # first use

    return Environment(deployment.paths.server).complete and not _service_user_missing(deployment)


def complete(deployment: Deployment, cancel: threading.Event) -> Iterator[Progress]:
    """Make whatever a deployment still lacks; nothing to do for a whole one.

    `up` calls it too, so that an interrupted `init` is mended by whichever comes next.
    """
    paths = deployment.paths
    files.make_folder(paths.run)
    files.make_folder(paths.service_secret.parent)
    # A proxy's unprivileged worker reads the users' folder; the 0700 parent protects it here.
    files.make_folder(paths.users.parent, 0o755)
    if _service_user_missing(deployment):
        name = deployment.settings.users.service_user
        # The secret first: should this be killed in between, the next call adds its user.
        if not paths.service_secret.exists():
            secrets.write_secret(paths.service_secret, secrets.generate(32))
        _add_or_change(deployment, name, secrets.read_secret(paths.service_secret))
        yield Progress(f"service user {name} made")
    yield from deployment.driver.init(cancel)


def _add_or_change(deployment: Deployment, name: str, password: Secret) -> None:
    """Give a user a password, whether an interrupted call has added the user already or not."""
    known = any(user.name == name for user in deployment.users.list())
    (deployment.users.passwd if known else deployment.users.add)(name, password)


def _service_user_missing(deployment: Deployment) -> bool:
    return not deployment.paths.service_secret.exists() or not any(
        user.service_user for user in deployment.users.list()
    )

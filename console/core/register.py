"""The known deployments: a person's own, the machine's, and running ones that nobody listed."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from console.core import files, settings
from console.core.errors import (
    NoDeploymentError,
    SettingsError,
    SeveralDeploymentsError,
    UsageError,
)
from console.core.operations import implements

APP = "mlflow-console"
FILE = "deployments.toml"
MACHINE = Path("/etc") / APP
ROLE_LABEL = "mlflow-console.role"  # on every container of stack/compose.yaml

Source = Literal["yours", "machine", "of another account", "running"]


class Row(settings.Table, frozen=True):
    """One line of a register file."""

    name: str
    directory: str


class Register(settings.Table, frozen=True):
    """A register file."""

    format: int = settings.FORMAT
    deployments: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A deployment that this machine knows.

    Attributes:
        name: What it is called.
        directory: Where it lives.
        source: Who knows it: this person, the machine, the person behind sudo, or nobody but
            its running server.
    """

    name: str
    directory: Path
    source: Source


def person_folder() -> Path:
    """Where this person's own settings and register live (XDG)."""
    return Path(platformdirs.user_config_dir(APP))


def machine_folder() -> Path:
    """Where the machine's register lives."""
    return Path(os.environ.get("MLFLOW_CONSOLE_MACHINE_CONFIG", MACHINE))


def _folders() -> list[tuple[Path, Source]]:
    folders: list[tuple[Path, Source]] = [(person_folder(), "yours")]
    sudo_user = os.environ.get("SUDO_USER")
    if os.geteuid() == 0 and sudo_user:
        try:
            home = Path(pwd.getpwnam(sudo_user).pw_dir)
        except KeyError:
            pass
        else:
            folders.append((home / ".config" / APP, "of another account"))
    folders.append((machine_folder(), "machine"))
    return folders


@implements("deployment.deployments")
def known() -> list[Known]:
    """Every deployment that can be found, each directory once; listed ones before running ones."""
    found: dict[Path, Known] = {}
    for folder, source in _folders():
        for row in _read(folder / FILE).deployments:
            directory = Path(row.directory)
            found.setdefault(_real(directory), Known(row.name, directory, source))
    for directory in _running():
        found.setdefault(_real(directory), Known(directory.name, directory, "running"))
    return list(found.values())


def _real(directory: Path) -> Path:
    """One spelling of a directory, whatever links lead to it."""
    return Path(os.path.realpath(directory))


def _running() -> list[Path]:
    """The directories that running supervisors of any account name, and those of containers."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    from console.core import engine  # noqa: PLC0415  # as above

    directories = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "mlflow_console_server" in words and "--directory" in words[:-1]:
            directories.append(Path(words[words.index("--directory") + 1]))
    return directories + engine.project_folders(ROLE_LABEL)


def _read(path: Path) -> Register:
    with files.explained(path):
        try:
            return settings.load_text(path.read_bytes(), path, Register)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return Register()
        except SettingsError as error:
            error.hint = f"{error.hint} Or remove that file: it only lists deployments."
            raise


def add(name: str, directory: Path) -> None:
    """List a deployment: for the machine when made as root, else for this person."""
    folder = machine_folder() if os.geteuid() == 0 else person_folder()
    files.make_folder(folder, 0o755 if os.geteuid() == 0 else 0o700)
    path = folder / FILE
    with files.locked(folder / f"{FILE}.lock", "the list of deployments"):
        rows = tuple(row for row in _read(path).deployments if Path(row.directory) != directory)
        _write(path, (*rows, Row(name=name, directory=str(directory))))


@implements("deployment.forget")
def forget(directory: Path) -> bool:
    """Take a directory off every list that this account may write; False if it was on none."""
    gone = False
    for folder, source in _folders():
        if source == "of another account":
            continue  # root writes in nobody else's folder
        path = folder / FILE
        if all(Path(row.directory) != directory for row in _read(path).deployments):
            continue
        with files.locked(folder / f"{FILE}.lock", "the list of deployments"):
            rows = _read(path).deployments
            _write(path, tuple(row for row in rows if Path(row.directory) != directory))
        gone = True
    return gone


def _write(path: Path, rows: tuple[Row, ...]) -> None:
    files.sweep(path)
    files.write_atomic(path, msgspec.toml.encode(Register(deployments=rows)), mode=0o644)


def choose(wanted: str | None) -> Path:
    """The directory of the deployment that is meant.

    Args:
        wanted: A name or a directory; None for the environment's, else the current directory,
            else the only known one.

    Raises:
        UsageError: The wanted one is not known.
        NoDeploymentError: None is known, or several are and none was named.
    """
    wanted = wanted or os.environ.get("MLFLOW_CONSOLE_DEPLOYMENT") or None
    if wanted:
        return _named(wanted)
    here = _here()
    if here and is_deployment(here):
        return here
    every = known()
    # Nobody else's server is a reason to ask: only what this account may open counts.
    usable = [each for each in every if _usable(each)]
    if len(usable) == 1:
        return usable[0].directory
    if every:
        names = ", ".join(f"{each.name} ({each.directory})" for each in usable or every)
        several = (
            "Several deployments are known" if usable else "Only deployments of others are known"
        )
        raise SeveralDeploymentsError(f"{several}: {names}", "Choose with --deployment NAME|DIR.")
    raise NoDeploymentError(
        "There is no deployment yet", "Set one up with `mlflow-console init DIRECTORY`."
    )


def _usable(candidate: Known) -> bool:
    """Whether this account may open it, and take it without its being named.

    Any account can start a process that looks like a supervisor: what is only found running must
    be root's or this account's own. And root opens nothing of anybody else's.
    """
    try:
        owner = candidate.directory.stat().st_uid
    except OSError:
        return False
    own = owner in (0, os.geteuid())
    listed = candidate.source != "running" and os.geteuid() != 0
    return (own or listed) and is_deployment(candidate.directory)


def _here() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None  # it was removed under us


def _named(wanted: str) -> Path:
    by_name = {each.directory for each in known() if each.name == wanted}
    directory = _real(Path(os.path.expanduser(wanted)))
    if len(by_name) > 1 and is_deployment(directory):
        return directory  # of several with that name, the one in the folder we stand in
    if len(by_name) > 1:
        raise UsageError(
            f"Several deployments are called {wanted}: {', '.join(map(str, sorted(by_name)))}",
            "Name the directory.",
        )
    if by_name:
        return by_name.pop()
    if directory.is_dir() or "/" in wanted:
        return directory
    raise UsageError(
        f"No deployment is called {wanted}", "`mlflow-console deployments` lists them."
    )


def is_deployment(directory: Path) -> bool:
    """Whether a directory holds a deployment that this account can see."""
    try:
        return (directory / "console.toml").is_file()
    except PermissionError:
        return False

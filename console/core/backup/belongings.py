"""What a deployment's own folder holds: settings, users, certificates, secrets."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.backup.place import MARKER
from console.core.backup.snapshot import DEPLOYMENT, Manifest, Part

if TYPE_CHECKING:
    from console.core.deployment import Deployment

USERS = "htpasswd"
SECRETS = "secrets"
# Locks and what is known of running processes; what the services said.
PASSING = ("run", "logs")
_SQLITE = b"SQLite format 3\x00"
_BESIDE_SQLITE = ("-wal", "-shm", "-journal")
# While a restore goes on, and in the safety snapshot of it (stack/nginx/maintenance.conf).
_CLOSED = ".maintenance"


def names(deployment: Deployment, parts: Collection[Part]) -> Iterator[str]:
    """The files that belong to these parts, relative to the deployment's folder.

    Left out is what the drivers name (`Driver.data_folders`): it is in the dump and the artifacts,
    or is made anew; and every place of snapshots, which would be copied into each new one. A link
    counts as the file that it leads to; one that leads nowhere is left out.
    """
    root = deployment.directory
    left_out = {root / name for name in PASSING} | set(deployment.driver.data_folders())
    for folder, folders, found in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders
            if here / name not in left_out and not os.path.isfile(here / name / MARKER)
        )  # fmt: skip
        for name in sorted(found):
            path = here / name
            part: Part = "users" if _is_users(path.relative_to(root)) else "settings"
            if part in parts and _is_kept(path):
                yield str(path.relative_to(root))


def _is_users(path: Path) -> bool:
    return path.parts[0] == USERS or path.parts[0] == SECRETS


def _is_kept(path: Path) -> bool:
    """A file, and not the half of a write or of a SQLite database."""
    if path.name.endswith((*_BESIDE_SQLITE, ".lock")) or path.name == _CLOSED:
        return False
    if path.name.startswith(".") and path.name.endswith(".tmp"):
        return False
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def collect(deployment: Deployment, parts: Collection[Part], target: Path) -> dict[str, str]:
    """Copy these files, each as it is at one moment.

    Args:
        deployment: Whose.
        parts: Which.
        target: The folder for them, made anew.

    Returns:
        The mode of each, as "0644", by its name.

    Raises:
        AccessError: One is not for this account.
        DiskFullError: The target is full.
    """
    modes = {}
    with files.explained(target):
        shutil.rmtree(target, ignore_errors=True)
        files.make_folder(target, lenient=True)
        for name in names(deployment, parts):
            source, copy = deployment.directory / name, target / name
            with files.explained(source):
                _folders(deployment.directory, target, Path(name))
                mode = stat.S_IMODE(source.stat().st_mode)
                _copy(source, copy)
            files.set_mode(copy, mode, lenient=True)
            modes[name] = f"{mode:04o}"
    return modes


def _folders(source: Path, target: Path, name: Path) -> None:
    """Make the folders of a file as they are: `cp -a` brings back what containers can read."""
    for folder in reversed(name.parents[:-1]):
        mode = stat.S_IMODE((source / folder).stat().st_mode) | 0o700
        files.make_folder(target / folder, mode, lenient=True)


def _copy(source: Path, target: Path) -> None:
    """A SQLite database by its own backup, since somebody may be writing it; the rest as it is."""
    with source.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        shutil.copyfile(source, target)
        return
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def restore(snapshot: Path, manifest: Manifest, target: Path) -> None:
    """Put the files of a snapshot where they were in the deployment's folder, with their modes.

    Raises:
        AccessError: This account may not write there.
        DiskFullError: The target is full.
    """
    source = snapshot / DEPLOYMENT
    with files.explained(target):
        for name, mode in manifest.modes.items():
            copy = target / name
            for folder in reversed(copy.relative_to(target).parents[:-1]):
                # The accounts of containers read some of them; the deployment's own is 0700.
                files.make_folder(target / folder, 0o700 if folder == Path(SECRETS) else 0o755)
            shutil.copyfile(source / name, copy)
            copy.chmod(int(mode, 8))

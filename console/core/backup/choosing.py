"""Making a folder the place of the snapshots."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import files, machine, settings
from console.core.backup import disk
from console.core.backup.lock import FILE, GUARD
from console.core.backup.place import (
    MARKER,
    Marker,
    read_marker,
    rival,
)
from console.core.errors import AccessError, ConsoleError, NotOursError, UsageError
from console.core.settings import Settings

if TYPE_CHECKING:
    from console.core.deployment import Deployment

# What an empty disk holds, and what of ours is nobody's.
EMPTY = ("lost+found", FILE, GUARD)


def choose(deployment: Deployment, folder: Path) -> None:
    """Make a folder the place, in console.toml, whose comments and order stay.

    Raises:
        ConsoleError: It cannot be used, and why; nothing was changed.
    """
    if not folder.is_absolute():
        raise UsageError(f"{folder} is not the whole path of a folder", "Begin it with /.")
    folder, path = Path(os.path.normpath(folder)), deployment.paths.settings
    if files.printable(folder) != str(folder):
        raise UsageError(
            f"{files.printable(folder)} has a name that no settings can hold",
            "Choose a folder with another name.",
        )
    _refuse(deployment, folder)
    made = not folder.is_dir()
    files.make_folder(folder, lenient=True)
    try:
        with files.explained(folder):
            files.set_mode(folder, 0o700, lenient=True)
        _see_that_it_is_private(folder)
        files.make_folder(deployment.paths.run)
        with files.locked(deployment.paths.run / "settings.lock", "the settings"):
            settings.load(path, Settings)  # one that makes no sense is left alone
            _mark(deployment, folder)
            settings.edit(path, "backup", {"place": str(folder)})
            loaded = settings.load(path, Settings)
    except BaseException:
        if made:
            _remove_when_empty(folder)
        raise
    deployment.settings = loaded


@contextlib.contextmanager
def tried(deployment: Deployment, folder: Path) -> Iterator[None]:
    """Make a folder the place; when the block fails, the place is what it was before.

    Raises:
        ConsoleError: As `choose`.
    """
    before = deployment.settings.backup.place
    with files.explained(folder):
        made = not folder.exists()
    marker = None if made else read_marker(folder)
    choose(deployment, folder)
    try:
        yield
    except BaseException:
        _undo(deployment, folder, before, marker)
        if made:
            _remove_when_empty(folder)
        raise


def _undo(deployment: Deployment, folder: Path, before: str, marker: Marker | None) -> None:
    path = deployment.paths.settings
    with files.locked(deployment.paths.run / "settings.lock", "the settings"):
        settings.edit(path, "backup", {"place": before})
        deployment.settings = settings.load(path, Settings)
    if marker is not None:
        _write_marker(folder, marker)
        return
    with files.explained(folder):
        (folder / MARKER).unlink(missing_ok=True)


def _refuse(deployment: Deployment, folder: Path) -> None:
    """Say why a folder cannot be the place, before anything is made of it."""
    files.refuse_as_root(folder)
    with files.explained(folder):
        there = folder.exists()
        if there and not folder.is_dir():
            raise UsageError(f"{folder} is no folder")
        if not folder.parent.is_dir():
            raise ConsoleError(
                f"{folder.parent} does not exist", "Make it, or mount its disk, then do it again."
            )
        real, root = Path(os.path.realpath(folder)), Path(os.path.realpath(deployment.directory))
        _refuse_inside(real, root)
        names = {entry.name for entry in folder.iterdir()} if there else set()
    if "console.toml" in names:
        raise NotOursError(f"{folder} is a deployment", "Choose a folder of its own.")
    for parent in real.parents:
        if (parent / MARKER).is_file():
            raise NotOursError(f"{folder} is inside a place of snapshots, {parent}")
    marker = read_marker(folder) if there else None
    if marker is None:
        strange = sorted(
            name for name in names if name not in EMPTY and not name.startswith(disk.PROBE)
        )
        if strange:
            raise NotOursError(
                f"{folder} is not empty: it holds {files.printable(Path(strange[0]))}",
                "Choose an empty folder, or the name of a new one in it.",
            )
    elif not _may_take(marker, deployment, folder):
        raise NotOursError(
            f"{folder} holds the snapshots of {marker.words}",
            f"Choose another folder; or, if that deployment is no more, remove {MARKER} there.",
        )


def _refuse_inside(real: Path, root: Path) -> None:
    """Keep out of the deployment's folder: who removes that one removes what is in it."""
    if real == root:
        raise NotOursError(f"{real} is the deployment itself", "Choose a folder of its own.")
    if root in real.parents:
        raise NotOursError(
            f"{real} is inside the deployment's own folder, which its snapshots should outlive",
            "Choose a folder outside of it, best on another disk.",
        )


def _may_take(marker: Marker, deployment: Deployment, folder: Path) -> bool:
    """Whether a place is ours: it was, or it is one of the same name that is no more here."""
    here = marker.directory == str(deployment.directory)
    same_machine = marker.machine == machine.machine_id()
    named = marker.deployment == deployment.name
    return (named or (here and same_machine)) and not rival(marker, deployment, folder)


def _see_that_it_is_private(folder: Path) -> None:
    """Where modes are kept, nobody else reads what is in it: secrets are."""
    try:
        keeps_modes = disk.try_out(folder).keeps_modes
    except AccessError:
        raise AccessError(
            f"This account may not write in {folder}",
            "Choose a folder of your own; it may be a new one in one of yours.",
        ) from None
    with files.explained(folder):
        mode = folder.stat().st_mode
    if keeps_modes and mode & 0o077:
        raise AccessError(
            f"{folder} belongs to {files.owner(folder)}, and others may read what is in it",
            "Choose a folder of your own; it may be a new one in there.",
        )


def _mark(deployment: Deployment, folder: Path) -> None:
    marker = Marker(
        deployment=deployment.name,
        directory=files.printable(deployment.directory),
        host=machine.host_name(),
        machine=machine.machine_id(),
        chosen_at=datetime.now(UTC),
    )
    _write_marker(folder, marker)


def _write_marker(folder: Path, marker: Marker) -> None:
    said = msgspec.json.format(msgspec.json.encode(marker), indent=2) + b"\n"
    files.write_atomic(folder / MARKER, said, lenient=True)


def _remove_when_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return

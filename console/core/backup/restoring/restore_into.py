"""Bringing a snapshot back as a deployment of its own, in an empty directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from console.core import audit, files, register, settings, setup
from console.core.backup.belongings import restore as put_belongings
from console.core.backup.place import MARKER
from console.core.backup.records import load_snapshot
from console.core.backup.restoring.restore_journal import Journal, read, write
from console.core.backup.restoring.restore_plan import refuse_broken
from console.core.backup.snapshot import Manifest, Part, Snapshot
from console.core.deployment import Deployment, Paths
from console.core.errors import ConsoleError, NotOursError, UsageError
from console.core.progress import Progress
from console.core.settings import Settings
from console.core.stack.drivers import settler

NEEDED: tuple[Part, ...] = ("database", "users", "settings")
BEGUN = "console.toml.coming"
"""There while the deployment's own files are being copied."""


def into(snapshot: Path, directory: Path, cancel: threading.Event) -> Iterator[Progress]:
    """Make a deployment of a snapshot; one that was interrupted is gone on with.

    The deployment's own files are copied here, what takes long is done by a process of its own,
    which outlives this one.

    Args:
        snapshot: Its folder.
        directory: Must not exist, be empty, or hold an interrupted call of the same.
        cancel: Leaves off; the same call goes on.

    Raises:
        NotOursError: The directory is somebody else's.
        UsageError: The snapshot does not hold enough, or another one was begun there.
        ConsoleError: It is broken, or a step failed; the same call goes on.
    """
    directory = Path(os.path.realpath(directory.expanduser()))
    found = load_snapshot(Path(os.path.realpath(snapshot.expanduser())))
    manifest = _usable(found)
    paths = Paths(directory)
    with files.explained(directory):
        there = paths.settings.exists()
    begun = read(paths) if there else None
    if begun is None:
        _refuse_used(directory)
        refuse_broken(found)
        yield from _prepare(found, manifest, directory)
    elif Path(begun.snapshot) != found.path or not begun.fresh:
        raise UsageError(
            f"{directory} holds a deployment that {begun.snapshot} is being brought back to",
            "Choose another directory, or finish that first.",
        )
    deployment = Deployment.open(str(directory))
    try:
        yield from deployment.backup.perform("backup.restore", {"wanted": str(found.path)}, cancel)
    except ConsoleError as error:
        error.hint = f"{error.hint} The same command goes on where it stopped.".strip()
        raise
    yield Progress(f"{deployment.name} is there: {deployment.driver.url}")


def _usable(found: Snapshot) -> Manifest:
    if found.manifest is None:
        raise ConsoleError(found.problem, "Choose another snapshot.")
    lacking = [part for part in NEEDED if part not in found.manifest.parts]
    if lacking:
        raise UsageError(
            f"{found.id} cannot become a deployment: it holds no {' and no '.join(lacking)}",
            "Take one that was made without --only.",
        )
    return found.manifest


def _refuse_used(directory: Path) -> None:
    with files.explained(directory):
        files.refuse_as_root(directory)
        for folder in directory.parents:
            if (folder / MARKER).is_file():
                raise NotOursError(
                    f"{folder} holds snapshots, and a deployment in it would be among them",
                    "Choose a directory elsewhere; nothing was changed.",
                )
        if not directory.exists():
            return
        if not directory.is_dir():
            raise NotOursError(f"{directory} is not a directory", "Choose another one.")
        held = {entry.name for entry in directory.iterdir()}
    if held and BEGUN not in held:
        raise NotOursError(
            f"{directory} is not empty (it holds {min(held)})",
            "Choose a directory that does not exist yet; nothing was changed.",
        )


def _prepare(found: Snapshot, manifest: Manifest, directory: Path) -> Iterator[Progress]:
    """Copy the deployment's own files, and settle what this machine has given to others."""
    files.make_folder(directory)
    coming, paths = directory / BEGUN, Paths(directory)
    with files.explained(directory):
        coming.touch(mode=0o600)
        put_belongings(found.path, manifest, directory)
        # The settings last: with them it is a deployment.
        held = paths.settings.rename(coming)
    said = settler(manifest.driver)(directory, held, setup.ports_of_others(directory))
    own = settings.load(held, Settings)
    if own.backup.place and register.is_deployment(Path(manifest.directory)):
        settings.edit(held, "backup", {"place": ""})
        said.append("it has no place for snapshots yet: that of the other deployment stays its own")
    write(paths, Journal(
        snapshot=str(found.path), fresh=True, parts=tuple(
            part for part in ("database", "artifacts") if part in manifest.parts
        ), by=audit.account(), started_at=datetime.now(UTC),
    ))  # fmt: skip
    with files.explained(directory):
        held.rename(paths.settings)
    if any(each.name == own.name for each in register.known()):
        said.append(f"there is another {own.name} here: mean this one by its directory")
    register.add(own.name, directory)
    yield Progress(f"{directory}: settings, users, certificates and secrets are there")
    for sentence in said:
        yield Progress(sentence)

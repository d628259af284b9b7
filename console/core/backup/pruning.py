"""Removing snapshots: whole or not at all, and never what a link leads to."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.backup import retention
from console.core.backup.place import Place
from console.core.backup.snapshot import PRUNING, Snapshot
from console.core.errors import CancelledError, ConsoleError
from console.core.format import count, plural, size
from console.core.progress import Progress

if TYPE_CHECKING:
    from console.core.deployment import Deployment


def prune(
    deployment: Deployment, ids: Sequence[str], cancel: threading.Event
) -> Iterator[Progress]:
    """Remove exactly these, and what an interrupted call has left; see `BackupService.prune`."""
    place = Place.of(deployment)
    place.require()
    with place.lock.holding(f"prune of {deployment.name}") as taken_over:
        if taken_over:
            yield Progress(taken_over)
        there = place.snapshots()
        leftovers = _leftovers(place.path)
        wanted = _wanted(deployment, ids, there, leftovers)
        total = len(wanted) + len(leftovers)
        for done, folder in enumerate([*leftovers, *(place.path / each for each in wanted)]):
            name = folder.name.removeprefix(PRUNING)
            yield Progress(f"removing {name}", done, total, "snapshots")
            _check(cancel, done)
            with files.explained(folder):
                _remove(_renamed(folder), cancel, done)
        free = size(place.free_bytes)
        yield Progress(f"{plural(len(ids), 'snapshot')} removed; {free} are free there")


def _wanted(
    deployment: Deployment, ids: Sequence[str], there: Sequence[Snapshot], leftovers: list[Path]
) -> list[str]:
    """Which of these are still there to be removed.

    Raises:
        ConsoleError: One of them must stay by now, or there is none of that name.
    """
    needed = retention.needed(deployment)
    decided = retention.decide(deployment.settings.backup, there, needed)
    staying = {each.id: each.why for each in decided.staying}
    going = {each.id for each in decided.going}
    begun = {path.name.removeprefix(PRUNING) for path in leftovers}
    wanted = []
    for each in dict.fromkeys(ids):
        if each in staying:
            raise ConsoleError(
                f"{each} stays: {staying[each]}; nothing was removed",
                "`mlflow-console backup prune --dry-run` shows what can go.",
            )
        if each in going:
            wanted.append(each)
        elif each not in begun:
            raise ConsoleError(f"There is no snapshot {each}; nothing was removed")
    return wanted


def _leftovers(place: Path) -> list[Path]:
    with files.explained(place):
        return sorted(path for path in place.glob(f"{PRUNING}*") if not path.is_symlink())


def _renamed(folder: Path) -> Path:
    """Let it be no snapshot any more before the first of its files is gone."""
    if folder.name.startswith(PRUNING):
        return folder
    target = folder.with_name(PRUNING + folder.name)
    folder.rename(target)
    files.sync_folder(folder.parent)
    return target


def _remove(folder: Path, cancel: threading.Event, done: int) -> None:
    """Remove a folder, a part of it at a time; what a link leads to is left alone."""
    for part in _folders(folder):
        for each in _folders(part):
            _check(cancel, done)
            shutil.rmtree(each)
    shutil.rmtree(folder)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _check(cancel: threading.Event, done: int) -> None:
    if cancel.is_set():
        raise CancelledError(
            f"Stopped; {count(done)} removed",
            "What was begun is no snapshot any more; the next `mlflow-console backup prune` "
            "removes the rest of it.",
        )

"""The folder that the snapshots of one deployment are in."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import files, machine, settings
from console.core.backup import disk
from console.core.backup.lock import Lock
from console.core.backup.records import (
    load_manifest,
    load_snapshot,
    load_state,
    save_manifest,
    save_state,
)
from console.core.backup.snapshot import MAKING, MANIFEST, PRUNING, Part, Snapshot
from console.core.errors import ConsoleError, NotOursError, UsageError
from console.core.format import plural
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment

__all__ = ["Place", "choose", "find", "load_manifest", "load_state", "save_manifest", "save_state"]

FORMAT = 1
MARKER = "place.json"
HOW_TO_CHOOSE = "`mlflow-console backup create --to DIR` chooses one."
LATEST, ALL = "latest", "all"
_ID = re.compile(r"\d{8}-\d{6}(-\d+)?")
# The beginning of an id, which is typed for the whole of it.
_BEGINNING = re.compile(r"\d+|\d{8}-\d*")
_LABEL = re.compile(r"[^\W_](?:[\w .,+@=:-]{0,98}[\w.+=])?")


class Marker(msgspec.Struct, frozen=True):
    """place.json: whose snapshots these are.

    Attributes:
        deployment, directory: Name and folder of the deployment.
        host, machine: The machine that writes here.
        chosen_at: UTC.
    """

    deployment: str
    directory: str
    host: str
    machine: str
    chosen_at: datetime
    format: int = FORMAT

    @property
    def words(self) -> str:
        """Whose it is, for a sentence."""
        return f"{clean(self.deployment)} in {clean(self.directory)} on {clean(self.host)}"


class Place:
    """Where the snapshots of a deployment are.

    Args:
        path: The folder.
        deployment: Whose; None when snapshots are only read.
    """

    def __init__(self, path: Path, deployment: Deployment | None = None) -> None:
        self.path = path
        self._deployment = deployment

    @classmethod
    def of(cls, deployment: Deployment) -> Place:
        """The chosen one; it may be missing, as a disk that is not mounted.

        Raises:
            ConsoleError: None was chosen yet.
        """
        chosen = deployment.settings.backup.place
        if not chosen:
            raise ConsoleError(
                f"No place was chosen for the snapshots of {deployment.name}", HOW_TO_CHOOSE
            )
        return cls(Path(chosen), deployment)

    # Whether it is there, and ours

    @property
    def marker(self) -> Marker:
        """Whose it is.

        Raises:
            ConsoleError: It is not there.
        """
        found = read_marker(self.path)
        if found is None:
            raise ConsoleError(
                f"The place of the snapshots, {self.path}, is not there"
                if not self.path.is_dir()
                else f"{self.path} holds no snapshots any more: its {MARKER} is missing",
                "Mount its disk, or choose a place: " + HOW_TO_CHOOSE,
            )
        return found

    def require(self) -> None:
        """See that this deployment, and no other one, may write here.

        Raises:
            ConsoleError: It is not there.
            NotOursError: Another deployment writes here.
        """
        if self._deployment is None:
            raise NotOursError(f"{self.path} is not the place of a deployment")
        other = self.marker
        here = str(self._deployment.directory)
        elsewhere = "" not in (other.machine, machine.machine_id()) and (
            other.machine != machine.machine_id()
        )
        if elsewhere or rival(other, self._deployment, self.path):
            raise NotOursError(
                f"{self.path} is used by {other.words}",
                "Choose another place, or this one again if that deployment is no more: "
                + HOW_TO_CHOOSE,
            )
        if not _same(other, self._deployment):
            raise NotOursError(
                f"{self.path} is used by {other.words}, not by {here}", HOW_TO_CHOOSE
            )

    @property
    def lock(self) -> Lock:
        """Who works here; raises ConsoleError when the place is not there."""
        _ = self.marker
        return Lock(self.path)

    # The snapshots

    def snapshots(self) -> list[Snapshot]:
        """Those that are here, newest first; of a broken one its `problem` says why.

        Raises:
            ConsoleError: The place is not there.
        """
        _ = self.marker
        with files.explained(self.path), os.scandir(self.path) as entries:
            names = [entry.name for entry in entries if _is_snapshot(entry)]
        every = [load_snapshot(self.path / name) for name in names]
        ordered = sorted(
            (each for each in every if each.manifest),
            key=lambda each: (each.manifest.sequence if each.manifest else 0, each.id),
            reverse=True,
        )
        for broken in sorted((each for each in every if not each.manifest), key=lambda it: it.id):
            older = (place for place, each in enumerate(ordered) if each.id < broken.id)
            ordered.insert(next(older, len(ordered)), broken)
        return ordered

    def newest(self, part: Part | None = None) -> Snapshot | None:
        """The newest usable one, or the newest that holds a part."""
        for each in self.snapshots():
            if each.manifest and (part is None or part in each.manifest.parts):
                return each
        return None

    def find(self, wanted: str) -> Snapshot:
        """The one that is meant.

        Args:
            wanted: Its id, the beginning of one, its label, or "latest": the newest that holds
                everything and was asked for, else the newest. Or a path: a snapshot's folder
                anywhere.

        Raises:
            ConsoleError: There is none, it cannot be used, or several are meant.
        """
        if is_path(wanted):
            return _at(Path(wanted))
        every = self.snapshots()
        found = _meant(wanted, every)
        if len(found) > 1:
            names = ", ".join(each.id for each in found[:3])
            raise UsageError(
                f"{clean(wanted)} can be {plural(len(found), 'snapshot')}: {names}"
                + ("…" if len(found) > 3 else ""),
                "Give more of its id.",
            )
        if not found:
            said = f"There is no snapshot {clean(wanted)}" if every else "There is no snapshot yet"
            raise ConsoleError(
                f"{said} in {self.path}",
                "`mlflow-console backup list` shows them."
                if every
                else "`mlflow-console backup create` makes one.",
            )
        if found[0].problem:
            raise ConsoleError(f"{found[0].id} cannot be used: {found[0].problem}")
        return found[0]

    def refuse_label(self, label: str) -> None:
        """See that a label names one snapshot and can be typed.

        Raises:
            UsageError: It cannot.
        """
        taken = label in (LATEST, ALL) or _ID.match(label) or _BEGINNING.fullmatch(label)
        if taken or not _LABEL.fullmatch(label):
            raise UsageError(
                f'"{clean(label)}" cannot be a label',
                "A label is of letters, digits and . , + @ = : - _, at most 100 of them; it begins "
                "with a letter or a digit, and is neither a date nor digits only, neither latest "
                "nor all.",
            )
        for each in self.snapshots():
            if each.manifest and each.manifest.label == label:
                raise UsageError(f'{each.id} has the label "{label}" already', "Take another one.")

    # The disk under it

    @property
    def free_bytes(self) -> int:
        """What this account can still write there."""
        return files.free_bytes(self.path)

    @functools.cached_property
    def _traits(self) -> disk.Traits:
        return disk.try_out(self.path)

    @property
    def keeps_modes(self) -> bool:
        """Who may read a file stays as it was written."""
        return self._traits.keeps_modes

    @property
    def keeps_links(self) -> bool:
        """A file can be in two snapshots and take the room of one."""
        return self._traits.keeps_links

    def same_disk(self, deployment: Deployment) -> list[str]:
        """What of the live data is on this place's disk, as far as this machine can know."""
        return disk.shared(self.path, deployment.driver)

    def notes(self, deployment: Deployment) -> list[str]:
        """What a person should know of the place, one sentence each."""
        notes = []
        shared = self.same_disk(deployment)
        if shared:
            notes.append(
                f"It is the same disk as {' and '.join(shared)}: what takes that disk takes the "
                "snapshots with it"
            )
        if not self.keeps_links:
            notes.append("Its file system keeps no hard links: every snapshot takes all its room")
        if not self.keeps_modes:
            notes.append(
                "Its file system does not keep who may read a file: guard the disk, the secrets "
                "of the deployment are in every snapshot"
            )
        return notes


def find(deployment: Deployment, wanted: str) -> Snapshot:
    """The snapshot that is meant; one with a path needs no place, as on a fresh machine."""
    return _at(Path(wanted)) if is_path(wanted) else Place.of(deployment).find(wanted)


def choose(deployment: Deployment, folder: Path) -> None:
    """Make a folder the place of the snapshots, in console.toml; see `choosing.choose`."""
    from console.core.backup import choosing  # noqa: PLC0415  # seldom needed

    choosing.choose(deployment, folder)


def is_path(wanted: str) -> bool:
    """Whether a snapshot is named by where it is."""
    return "/" in wanted or wanted in (".", "..")


def read_marker(folder: Path) -> Marker | None:
    """Whose place a folder is; None when it is nobody's.

    Raises:
        ConsoleError: It cannot be read.
    """
    path = folder / MARKER
    with files.explained(path):
        try:
            said = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        found = msgspec.json.decode(said, type=Marker)
    except msgspec.DecodeError as error:
        raise ConsoleError(
            f"{path} is not as it was written: {error}",
            "Remove it, then choose the place again: " + HOW_TO_CHOOSE,
        ) from error
    if found.format > FORMAT:
        raise ConsoleError(
            f"{path} has format {found.format}, this version knows formats up to {FORMAT}",
            "It was written by a newer mlflow-console: upgrade this one.",
        )
    return found


def rival(marker: Marker, deployment: Deployment, folder: Path) -> bool:
    """Whether another deployment of this machine has the folder for its place."""
    directory = Path(marker.directory)
    try:
        if not (directory / "console.toml").is_file():
            return False
        if os.path.samefile(directory, deployment.directory):  # by another name, perhaps
            return False
    except OSError:
        return False  # who may not look there is another account, which may not write here
    try:
        loaded = settings.load(directory / "console.toml", settings.Settings)
    except ConsoleError:
        return True  # it is there, whatever is wrong with it
    return bool(loaded.backup.place) and Path(loaded.backup.place) == folder


def _same(marker: Marker, deployment: Deployment) -> bool:
    return marker.deployment == deployment.name or marker.directory == str(deployment.directory)


def _is_snapshot(entry: os.DirEntry[str]) -> bool:
    if entry.name == MAKING or entry.name.startswith((PRUNING, ".")):
        return False
    if not entry.is_dir(follow_symlinks=False):
        return False
    return bool(_ID.fullmatch(entry.name)) or os.path.lexists(os.path.join(entry.path, MANIFEST))


def _at(folder: Path) -> Snapshot:
    found = load_snapshot(Path(os.path.abspath(folder)))
    if found.problem:
        raise ConsoleError(found.problem)
    if found.id == MAKING or found.id.startswith(PRUNING):
        raise ConsoleError(f"{found.path} is no whole snapshot: it is being made, or removed")
    return found


def _meant(wanted: str, every: Sequence[Snapshot]) -> list[Snapshot]:
    if wanted == LATEST:
        usable = [each for each in every if each.manifest]
        whole = [each for each in usable if each.manifest and each.manifest.complete
                 and each.manifest.reason != "safety"]  # fmt: skip
        return (whole or usable)[:1]
    for exact in (
        [each for each in every if each.id == wanted],
        [each for each in every if each.manifest and wanted and each.manifest.label == wanted],
    ):
        if exact:
            return exact
    return [each for each in every if wanted and each.id.startswith(wanted)]

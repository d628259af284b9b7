"""Making a snapshot: the dump first, then the artifacts.

MLflow makes a run, a model or a trace in the database before its first artifact. So what the dump
knows of was in the store, as far as it was uploaded, when the copying began: nothing that the dump
references is missing unless a client has deleted it meanwhile. The other way round, all that was
logged between the copy and the dump would be lost.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import console
from console.core import files
from console.core.backup import belongings, sums
from console.core.backup.artifacts import copying
from console.core.backup.dumping import dumps
from console.core.backup.place import Place
from console.core.backup.records import save_manifest
from console.core.backup.restoring import restore_journal
from console.core.backup.snapshot import (
    DATABASE,
    DEPLOYMENT,
    MAKING,
    PARTS,
    Artifacts,
    Dump,
    Manifest,
    Part,
    Snapshot,
)
from console.core.errors import CancelledError, DiskFullError, UsageError
from console.core.format import plural, size
from console.core.progress import Progress

if TYPE_CHECKING:
    from console.core.deployment import Deployment

Reason = Literal["asked", "scheduled", "safety"]

# What a snapshot takes beside the dump and the artifacts: lists, and the deployment's own files.
BESIDE_BYTES = 20_000_000
LISTED_BYTES = 400
GO_ON = "`mlflow-console backup create` goes on where this stopped."


@dataclass(frozen=True, slots=True)
class Needs:
    """What a snapshot would need, and what is there.

    Attributes:
        needed_bytes: At most; what is unchanged since the newest snapshot needs nothing.
        free_bytes: Of the place's disk, for this account.
        artifacts, artifact_bytes: All that the store holds.
        new_bytes: Of them what the newest snapshot does not have.
        notes: What a person should know of the place, one sentence each.
    """

    needed_bytes: int
    free_bytes: int
    artifacts: int
    artifact_bytes: int
    new_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """It fits."""
        return self.needed_bytes <= self.free_bytes


def needs(deployment: Deployment, parts: Collection[Part] = PARTS) -> Needs:
    """Look at database and store; walks the store once."""
    place = Place.of(deployment)
    found = copying.Estimate()
    if "artifacts" in parts:
        found = copying.estimate(deployment.storage.store, place.newest("artifacts"))
    dump = dumps.source(deployment).room() if "database" in parts else 0
    listed = found.objects * LISTED_BYTES
    return Needs(
        needed_bytes=dump + found.new_bytes + listed + BESIDE_BYTES,
        free_bytes=files.free_bytes(place.path),
        artifacts=found.objects,
        artifact_bytes=found.bytes,
        new_bytes=found.new_bytes,
        notes=tuple(place.notes(deployment)),
    )


def refuse_without_room(place: Path, needs: Needs) -> None:
    """Refuse what does not fit, unless something is there already to go on with."""
    if not needs.enough and not existing(place):
        raise DiskFullError(
            f"{place} has too little room for it: it needs at most {size(needs.needed_bytes)}, "
            f"{size(needs.free_bytes)} are free; nothing was begun",
            "Free some space there, or choose another disk: `--to DIR`.",
        )


def run(
    deployment: Deployment, parts: Sequence[Part], label: str, reason: Reason,
    cancel: threading.Event,
) -> Iterator[Progress]:  # fmt: skip
    """Make a snapshot; see `BackupService.create`."""
    restore_journal.refuse_half_restored(deployment.paths)
    if reason == "scheduled":  # nobody has looked before
        yield Progress("looking what it needs")
        refuse_without_room(Place.of(deployment).path, needs(deployment, parts))
    made = yield from snapshot(deployment, parts, label, reason, cancel)
    yield Progress(f"{made.id}: {summary(made)}")
    if reason == "scheduled":
        yield from _look_after(deployment, made, cancel)


def snapshot(
    deployment: Deployment, parts: Sequence[Part], label: str, reason: Reason,
    cancel: threading.Event,
) -> Generator[Progress, None, Manifest]:  # fmt: skip
    """Make a snapshot; the generator's return value is it (`yield from`)."""
    wanted = tuple(part for part in PARTS if part in parts)
    if not wanted or len(wanted) < len(set(parts)):
        raise UsageError(
            f"A snapshot holds {', '.join(PARTS)}: {' '.join(map(str, parts)) or 'nothing'} "
            "is something else"
        )
    place = Place.of(deployment)
    place.require()
    with place.lock.holding(f"backup of {deployment.name}") as taken_over:
        if taken_over:
            yield Progress(taken_over)
        if label:
            place.refuse_label(label)
        try:
            return (yield from _Making(deployment, place, wanted, cancel).run(label, reason))
        except CancelledError as error:
            raise CancelledError("Stopped; what was copied is kept", GO_ON) from error
        except DiskFullError as error:
            raise DiskFullError(error.message, f"Free some space there; {GO_ON}") from error


def summary(made: Manifest) -> str:
    """What is in a snapshot, in a line."""
    held = []
    if made.database:
        held.append(plural(made.database.runs, "run"))
    if made.artifacts:
        held.append(plural(made.artifacts.objects, "artifact"))
    if not made.complete:
        held.append(f"only {', '.join(made.parts)}")
    return f"{', '.join(held)}; {size(made.bytes)}, {size(made.new_bytes)} of them new"


class _Making:
    """One snapshot while it is made, or gone on with."""

    def __init__(
        self, deployment: Deployment, place: Place, parts: tuple[Part, ...],
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._deployment = deployment
        self._place = place
        self._parts = parts
        self._cancel = cancel
        self._folder = place.path / MAKING

    def run(self, label: str, reason: Reason) -> Generator[Progress, None, Manifest]:
        began = datetime.now(UTC)
        previous = self._place.newest("artifacts")
        sequence = max((each.manifest.sequence for each in self._place.snapshots()
                        if each.manifest), default=0) + 1  # fmt: skip
        yield Progress("looking at the deployment")
        driver = self._deployment.driver
        versions, images = driver.versions(), driver.images()
        self._begin()
        dump: Dump | None = None
        artifacts: Artifacts | None = None
        clock = self._deployment.storage.store.clock() if "artifacts" in self._parts else 0
        if "database" in self._parts:
            dump = yield from self._dump()
        modes = belongings.collect(self._deployment, self._parts, self._folder / DEPLOYMENT)
        if "artifacts" in self._parts:
            artifacts = yield from self._artifacts(previous, clock)
        yield Progress("writing the list of checksums")
        others = sums.bytes_beside_artifacts(self._folder)
        manifest = Manifest(
            id=self._id(began), sequence=sequence, label=label, reason=reason,
            deployment=self._deployment.name, driver=self._deployment.settings.driver,
            directory=files.printable(self._deployment.directory),
            created_at=began, completed_at=datetime.now(UTC), console=console.__version__,
            versions=versions, images=images, parts=self._parts, database=dump,
            artifacts=artifacts, modes=modes,
            bytes=others + (artifacts.bytes if artifacts else 0),
            new_bytes=others + (artifacts.new_bytes if artifacts else 0),
        )  # fmt: skip
        save_manifest(self._folder, manifest)
        sums.write(self._folder)
        self._check_cancelled()
        self._finish(manifest.id)
        return manifest

    def _begin(self) -> None:
        """Make the folder, or clear what a former call has left but for its artifacts."""
        files.make_folder(self._folder, lenient=True)
        with files.explained(self._folder):
            for entry in self._folder.iterdir():
                if entry.name in copying.KEPT:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    def _dump(self) -> Generator[Progress, None, Dump]:
        source = dumps.source(self._deployment)
        files.need_room(self._place.path, source.room() + BESIDE_BYTES, "The dump of the database")
        files.make_folder(self._folder / DATABASE, lenient=True)
        dump = yield from source.take(self._folder, self._cancel)
        self._check_cancelled()
        return dump

    def _artifacts(
        self, previous: Snapshot | None, clock: int
    ) -> Generator[Progress, None, Artifacts]:
        def room(new_bytes: int, objects: int) -> None:
            needed = new_bytes + objects * LISTED_BYTES + BESIDE_BYTES
            files.need_room(self._place.path, needed, "What is new in the artifact store")

        store = self._deployment.storage.store
        return (yield from copying.copy(
            store, self._folder, previous, clock=clock, room=room, cancel=self._cancel,
            older=self._brought_back(previous),
        ))  # fmt: skip

    def _brought_back(self, previous: Snapshot | None) -> list[Snapshot]:
        """Whose artifacts a restore may have written anew since the previous one was made."""
        if not (previous and previous.manifest and previous.manifest.reason == "safety"):
            return []
        every = self._place.snapshots()
        holding = [each for each in every if each.manifest and each.manifest.artifacts]
        return [each for each in holding if each.id != previous.id]

    def _check_cancelled(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("Stopped")

    def _id(self, began: datetime) -> str:
        """The moment; numbered where the clock was set back onto an old snapshot's."""
        name = f"{began:%Y%m%d-%H%M%S}"
        numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, 10_000))
        return next(each for each in numbered if not (self._place.path / each).exists())

    def _finish(self, name: str) -> None:
        """Let it exist: everything is on the disk before it has its name."""
        with files.explained(self._folder):
            for leftover in copying.LOGS:
                with contextlib.suppress(FileNotFoundError):
                    (self._folder / leftover).unlink()
            files.sync_file_system(self._folder)
            self._folder.rename(self._place.path / name)
            files.sync_folder(self._place.path)


def _look_after(
    deployment: Deployment, made: Manifest, cancel: threading.Event
) -> Iterator[Progress]:
    """What a scheduled snapshot brings with it: fewer old ones, and now and then the proof.

    A drill looks at a sample of the artifacts; what of the others has rotted on the disk, and would
    be linked into every snapshot to come, is found by reading them.
    """
    going = [each.id for each in deployment.backup.prune_plan().going]
    if going:
        yield from deployment.backup.prune(ids=going, cancel=cancel)
        yield Progress(f"{plural(len(going), 'older one', 'older ones')} removed")
    days = deployment.settings.backup.drill_days
    last = max((each.state.drilled_at for each in deployment.backup.list()
                if each.state.drilled_at), default=None)  # fmt: skip
    due = last is None or (datetime.now(UTC) - last).days >= days
    if days and due and made.complete:
        yield from deployment.backup.verify(wanted=made.id, cancel=cancel)
        yield from deployment.backup.drill(wanted=made.id, cancel=cancel)


def existing(folder: Path) -> bool:
    """Whether an interrupted call has left something to go on with."""
    return (folder / MAKING).is_dir()

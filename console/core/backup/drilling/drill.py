"""The drill: a snapshot is restored into scratch parts, looked at through MLflow, thrown away.

Nothing of the live deployment is touched, but for the memory and the time that the scratch parts
take of its machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from console.core import files
from console.core.backup import place, verify
from console.core.backup.artifacts import index
from console.core.backup.drilling.drill_sample import Sample
from console.core.backup.dumping import dumps
from console.core.backup.lock import Lock
from console.core.backup.records import load_state, save_state
from console.core.backup.snapshot import Dump, Entry, Manifest, Snapshot
from console.core.errors import (
    AccessError,
    BusyError,
    CancelledError,
    ConsoleError,
    DiskFullError,
    UnreachableError,
    UsageError,
)
from console.core.format import count, plural
from console.core.progress import Progress
from console.core.stack.scratch import TooSmallError
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment
    from console.core.stack.driver_backup import Scratch

FOLDER = ".drill-"
REPORT_EACH = 20_000
MOST_RUNS = 10_000
"""So many runs are counted through the client, of whole experiments; all are in the database."""
SOME_RUNS = 20
# What is no word about the snapshot.
NO_VERDICT = (
    CancelledError, TooSmallError, UnreachableError, DiskFullError, AccessError, BusyError,
)  # fmt: skip
# Keys that MLflow's client takes as they are; the rest is read past it.
_PLAIN = re.compile(r"[\w .,+=@()-]+(?:/[\w .,+=@()-]+)*", re.ASCII)
_HINT = "`mlflow-console backup verify` shows what else is broken; drill another snapshot."


T = TypeVar("T")


class Schema(msgspec.Struct, frozen=True):
    """What MLflow says of its schema."""

    head: str
    known: list[str]


class Rows(msgspec.Struct, frozen=True):
    """What the scratch database says; counts by stage, and by experiment and stage.

    Attributes:
        default: The experiment with the id 0 is there; a server that starts makes it.
        some: Runs with how many parameters and metrics they have.
    """

    rows: dict[str, int]
    revision: str
    experiments: list[tuple[str, int]]
    runs: list[tuple[int | str, str, int]]
    default: bool
    some: list[tuple[str, int, int]]


class Fetched(msgspec.Struct, frozen=True):
    """An artifact as the client got it."""

    sha256: str = ""
    size: int = 0
    error: str = ""


class Visit(msgspec.Struct, frozen=True):
    """What MLflow's client says."""

    experiments: dict[str, int]
    runs: dict[str, dict[str, int]]
    some: list[tuple[str, int, int]]
    artifacts: list[Fetched]


def run(deployment: Deployment, wanted: str, cancel: threading.Event) -> Iterator[Progress]:
    """Restore a snapshot into scratch parts, and compare; see `BackupService.drill`."""
    snapshot = place.find(deployment, wanted)
    manifest = snapshot.manifest
    if manifest is None or manifest.database is None:
        raise UsageError(
            f"{snapshot.id} holds no database, so that nothing of it can be tried",
            "Drill a snapshot that was made without --only.",
        )
    with _alone(snapshot, deployment.name):
        drill = _Drill(deployment, snapshot, manifest, manifest.database, cancel)
        try:
            harm = verify.harm(snapshot)
            if harm:
                raise ConsoleError(harm, "`mlflow-console backup create` makes a whole one.")
            said = yield from drill.run()
        except NO_VERDICT:
            raise
        except ConsoleError as error:
            _note(snapshot, error.message)
            raise ConsoleError(
                f"{snapshot.id} does not restore: {error.message}", error.hint or _HINT
            ) from error
        _note(snapshot, "")
    yield Progress(f"{snapshot.id} restores: {said}")


def _alone(snapshot: Snapshot, name: str) -> contextlib.AbstractContextManager[object]:
    """The lock of the place that it is in; a snapshot that was copied elsewhere needs none."""
    folder = snapshot.path.parent
    if place.read_marker(folder) is None:
        return contextlib.nullcontext()
    return Lock(folder).holding(f"drill of {name}")


def _note(snapshot: Snapshot, error: str) -> None:
    """Write down how it ended; a drill that passed before stays told."""
    now, state = datetime.now(UTC), load_state(snapshot.path)
    if error:
        changed = msgspec.structs.replace(state, drill_failed_at=now, drill_error=error)
    else:
        changed = msgspec.structs.replace(
            state, drilled_at=now, drill_failed_at=None, drill_error=""
        )
    with contextlib.suppress(AccessError):  # what cannot be written to can be drilled all the same
        save_state(snapshot.path, changed)


class _Drill:
    def __init__(
        self, deployment: Deployment, snapshot: Snapshot, manifest: Manifest, dump: Dump,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._deployment = deployment
        self._snapshot = snapshot
        self._manifest = manifest
        self._dump = dump
        self._cancel = cancel

    def run(self) -> Generator[Progress, None, str]:
        """Do it; the return value says what was found right."""
        yield Progress("looking whether this machine has room for a drill")
        parent = self._snapshot.path.parent
        for left in parent.glob(f"{FOLDER}*"):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = parent / f"{FOLDER}{secrets.token_hex(4)}"
        files.make_folder(folder, lenient=True)
        try:
            with self._deployment.driver.scratch(folder, self._cancel) as scratch:
                return (yield from self._rehearse(scratch))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _rehearse(self, scratch: Scratch) -> Generator[Progress, None, str]:
        yield from dumps.check(self._snapshot.path, self._dump, self._cancel)
        sample = yield from self._choose()
        yield Progress("asking MLflow whether it knows the dump's schema")
        schema = _ask(scratch, Schema, "schema")
        self._refuse_newer(schema)
        yield from scratch.load(self._dump, self._snapshot.path / self._dump.file)
        yield Progress("counting rows")
        tables = sorted(self._dump.rows)
        rows = _ask(scratch, Rows, "rows", tables=tables, some=SOME_RUNS)
        self._compare_rows(rows)
        if rows.revision != schema.head:
            yield Progress("bringing the schema up to date")
            _ask(scratch, dict, "migrate")
        yield Progress("starting a scratch MLflow server")
        through = {
            entry.name: entry for entry in sample if not entry.path and _PLAIN.fullmatch(entry.name)
        }
        scratch.start({name: self._path(entry) for name, entry in through.items()})
        yield Progress(
            f"looking through MLflow's client: {plural(len(sample), 'artifact')} of "
            f"{count(self._manifest.artifacts.objects if self._manifest.artifacts else 0)}"
        )
        chosen = _some_experiments(rows)
        visit = _ask(
            scratch, Visit, "visit", experiments=chosen, some=[run for run, _, _ in rows.some],
            artifacts=list(through),
        )  # fmt: skip
        _compare_visit(rows, visit)
        self._compare_artifacts(list(through.values()), visit.artifacts)
        self._compare_past_it([entry for entry in sample if entry.name not in through])
        return (
            f"{plural(self._dump.experiments, 'experiment')}, {plural(self._dump.runs, 'run')}, "
            f"{plural(len(sample), 'artifact')} looked at"
        )

    # The artifacts

    def _path(self, entry: Entry) -> Path:
        return self._snapshot.path / entry.file

    def _choose(self) -> Generator[Progress, None, list[Entry]]:
        """See that every artifact has a file of its size, and draw the sample."""
        if self._manifest.artifacts is None:
            return []
        total, seen = self._manifest.artifacts.objects, 0
        label = "looking for every artifact"
        sample = Sample(secrets.token_hex(8))
        lacking: list[str] = []
        yield Progress(label, 0, total, "objects")
        for entry in index.read(self._snapshot.path):
            seen += 1
            wrong = self._lacks(entry)
            if wrong:
                lacking.append(wrong)
            else:
                sample.add(entry)
            if seen % REPORT_EACH == 0:
                self._leave_off_when_asked()
                yield Progress(label, seen, total, "objects")
        if lacking:
            more = f", and {plural(len(lacking) - 1, 'other')} as well" if lacking[1:] else ""
            raise ConsoleError(f"{lacking[0]}{more}")
        if seen != total:
            raise ConsoleError(
                f"its list names {plural(seen, 'artifact')}, its manifest {count(total)}"
            )
        yield Progress(label, total, total, "objects")
        return sample.chosen()

    def _leave_off_when_asked(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("Cancelled")

    def _lacks(self, entry: Entry) -> str:
        try:
            found = os.lstat(self._path(entry)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return f"the artifact {clean(entry.key)} is missing"
        except OSError as error:
            return f"the artifact {clean(entry.key)} cannot be read: {error.strerror}"
        return "" if found == entry.size else f"the artifact {clean(entry.key)} has another size"

    def _compare_artifacts(self, wanted: list[Entry], found: list[Fetched]) -> None:
        for entry, each in zip(wanted, found, strict=True):
            if each.error:
                raise ConsoleError(
                    f"the artifact {clean(entry.key)} does not come through MLflow: "
                    f"{clean(each.error, 300)}"
                )
            if each.sha256 != entry.sha256:
                raise ConsoleError(f"the artifact {clean(entry.key)} has another content")

    def _compare_past_it(self, wanted: list[Entry]) -> None:
        for entry in wanted:
            self._leave_off_when_asked()
            with files.explained(self._path(entry)), self._path(entry).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                    raise ConsoleError(f"the artifact {clean(entry.key)} has another content")

    # The database

    def _refuse_newer(self, schema: Schema) -> None:
        revision = self._dump.revision
        if revision not in schema.known:
            version = self._deployment.driver.versions().get("tracking", "")
            made_by = self._manifest.versions.get("tracking", "")
            raise ConsoleError(
                f"its schema ({clean(revision or 'none')}"
                + (f", of MLflow {clean(made_by)}" if made_by else "")
                + f") is newer than what this server's MLflow {clean(version)} knows".rstrip(),
                "It restores into a server with the MLflow that it was made by, or a newer one.",
            )

    def _compare_rows(self, found: Rows) -> None:
        for table, wanted in self._dump.rows.items():
            have = found.rows[table]
            if have != wanted:
                raise ConsoleError(
                    f"the table {clean(table)} holds "
                    + (plural(have, "row") if have >= 0 else "nothing")
                    + f" after loading, {count(wanted)} were dumped"
                )
        if found.revision != self._dump.revision:
            raise ConsoleError(
                f"the dump's schema is {clean(found.revision)}, its manifest says "
                f"{clean(str(self._dump.revision))}"
            )


def _some_experiments(rows: Rows) -> list[str]:
    """Whole experiments, the small ones first, with not too many runs together."""
    each: dict[str, int] = {}
    for experiment, _, runs in rows.runs:
        each[str(experiment)] = each.get(str(experiment), 0) + runs
    chosen, total = [], 0
    for experiment, runs in sorted(each.items(), key=lambda it: it[1]):
        total += runs
        if total > MOST_RUNS:
            break
        chosen.append(experiment)
    return chosen


def _compare_visit(rows: Rows, visit: Visit) -> None:
    experiments = dict(rows.experiments)
    if not rows.default:
        experiments["active"] = experiments.get("active", 0) + 1
    _compare("experiments", experiments, visit.experiments)
    wanted: dict[str, dict[str, int]] = {}
    for experiment, stage, runs in rows.runs:
        wanted.setdefault(str(experiment), {})[stage] = runs
    for experiment, seen in visit.runs.items():
        _compare(f"runs of experiment {experiment}", wanted.get(experiment, {}), seen)
    for (run, *counted), (_, *seen_of_it) in zip(rows.some, visit.some, strict=True):
        if counted != seen_of_it:
            raise ConsoleError(f"the run {clean(run)} lacks parameters or metrics through MLflow")


def _compare(what: str, wanted: Mapping[str, int], seen: Mapping[str, int]) -> None:
    for stage in sorted({*wanted, *seen}):
        if wanted.get(stage, 0) != seen.get(stage, 0):
            raise ConsoleError(
                f"MLflow shows {count(seen.get(stage, 0))} {clean(stage)} {clean(what)}, the dump "
                f"holds {count(wanted.get(stage, 0))}"
            )


def _ask(scratch: Scratch, kind: type[T], what: str, **more: object) -> T:
    said = scratch.ask(msgspec.json.encode({"what": what, **more}))
    try:
        return msgspec.json.decode(said, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConsoleError(f"the rehearsal says something that nobody asked: {error}") from error

"""How snapshots are written: the shapes for scripts, and the rows for people."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec

from console.cli.context import Session
from console.cli.tables import LONG_NAME, Cell, Column, Marked, Tone
from console.core.backup.snapshot import (
    Artifacts,
    Dump,
    Experiment,
    Manifest,
    Run,
    Snapshot,
)
from console.core.format import count, elapsed, exact, plural, size
from console.core.text import clean

T = TypeVar("T")

WIDE, WIDE_WITH_LABELS = 92, 102
SNAPSHOTS = (
    Column("SNAPSHOT", keep=True), Column("AGE", right=True), Column("SIZE", right=True),
    Column("NEW", right=True),
    Column("OBJECTS", right=True), Column("RUNS", right=True), Column("VERIFIED"),
    Column("DRILLED"), Column("STATE"), Column("LABEL", most=LONG_NAME),
)  # fmt: skip
REASONS = {"asked": "by hand", "scheduled": "by the timer", "safety": "before a restore"}
EXPERIMENTS = (
    Column("ID", keep=True), Column("NAME", most=LONG_NAME), Column("STAGE"), Column("ARTIFACTS"),
)  # fmt: skip
RUNS = (
    Column("RUN", keep=True), Column("EXPERIMENT", keep=True), Column("NAME", most=LONG_NAME),
    Column("STATUS", keep=True), Column("STARTED"), Column("TOOK", right=True), Column("USER"),
)  # fmt: skip
RUN_TONES = {"FINISHED": Tone.GOOD, "FAILED": Tone.BAD, "KILLED": Tone.BAD, "RUNNING": Tone.WARN}


class DatabaseShape(msgspec.Struct, frozen=True):
    """The dump in a snapshot."""

    kind: str
    revision: str | None
    bytes: int
    runs: int
    experiments: int
    rows: dict[str, int]
    began_at: datetime


class SnapshotShape(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot, as `backup list --json` writes it; fields may be added, none is renamed."""

    id: str
    label: str
    created_at: datetime | None
    bytes: int | None
    new_bytes: int | None
    artifacts: int | None
    database: DatabaseShape | None
    versions: dict[str, str]
    verified_at: datetime | None
    drilled_at: datetime | None
    complete: bool
    state: Literal["ok", "broken", "unreadable"]
    parts: tuple[str, ...]
    reason: str
    changed: int
    gone: int
    unread: int
    broken: tuple[str, ...]
    broken_count: int
    drill_error: str
    drill_failed_at: datetime | None
    problem: str
    completed_at: datetime | None
    sequence: int | None
    console: str
    images: dict[str, str]
    path: str


NO_MANIFEST = Manifest(
    id="", sequence=0, deployment="", driver="", directory="", console="", versions={}, images={},
    parts=(), created_at=datetime.min.replace(tzinfo=UTC),
    completed_at=datetime.min.replace(tzinfo=UTC),
)  # fmt: skip


def state_of(snapshot: Snapshot) -> Literal["ok", "broken", "unreadable"]:
    """What is known of a snapshot, in one word."""
    if snapshot.manifest is None or snapshot.problem:
        return "unreadable"
    return "broken" if snapshot.state.broken_count else "ok"


def shape(snapshot: Snapshot) -> SnapshotShape:
    """A snapshot for scripts."""
    there = snapshot.manifest is not None
    manifest, state = snapshot.manifest or NO_MANIFEST, snapshot.state
    artifacts = manifest.artifacts or Artifacts(objects=0, bytes=0, new_bytes=0)
    return SnapshotShape(
        id=shown(snapshot.id),
        label=manifest.label,
        created_at=manifest.created_at if there else None,
        bytes=manifest.bytes if there else None,
        new_bytes=manifest.new_bytes if there else None,
        artifacts=artifacts.objects if manifest.artifacts else None,
        database=_database(manifest.database),
        versions=manifest.versions,
        verified_at=state.verified_at,
        drilled_at=state.drilled_at,
        complete=manifest.complete,
        state=state_of(snapshot),
        parts=manifest.parts,
        reason=manifest.reason if there else "",
        changed=artifacts.changed,
        gone=artifacts.gone,
        unread=artifacts.unread,
        broken=state.broken,
        broken_count=state.broken_count,
        drill_error=state.drill_error,
        drill_failed_at=state.drill_failed_at,
        problem=snapshot.problem,
        completed_at=manifest.completed_at if there else None,
        sequence=manifest.sequence if there else None,
        console=manifest.console,
        images=manifest.images,
        path=shown(str(snapshot.path)),
    )


def _database(dump: Dump | None) -> DatabaseShape | None:
    if dump is None:
        return None
    return DatabaseShape(
        dump.kind, dump.revision, dump.bytes, dump.runs, dump.experiments, dump.rows, dump.began_at
    )


def shown(path: str) -> str:
    """A path whose bytes may be no text at all, as text."""
    return os.fsencode(path).decode(errors="replace")


def show(call: Session, snapshots: Sequence[Snapshot], empty: str) -> None:
    """Write the list for people."""
    left_out = _left_out(call.output.columns(), snapshots)

    def shown_of(cells: Sequence[T]) -> list[T]:
        return [cell for cell, column in zip(cells, SNAPSHOTS, strict=True)
                if column.title not in left_out]  # fmt: skip

    call.output.table(
        shown_of(SNAPSHOTS), snapshots, lambda each: shown_of(_row(call, each)), empty
    )
    for each in snapshots:
        if each.problem:
            call.output.warn(each.problem)


def _left_out(width: int | None, snapshots: Sequence[Snapshot]) -> set[str]:
    """The columns that there is nothing for, or no room."""
    labelled = any(each.manifest and each.manifest.label for each in snapshots)
    narrow = width is not None and width < (WIDE_WITH_LABELS if labelled else WIDE)
    if labelled:
        return {"AGE", "NEW"} if narrow else set()
    return {"AGE", "LABEL"} if narrow else {"LABEL"}


def _row(call: Session, snapshot: Snapshot) -> list[Cell]:
    found, manifest = snapshot.state, snapshot.manifest
    if manifest is None:
        return [snapshot.id, *["-"] * 7, state_cell(snapshot), ""]
    return [
        snapshot.id, elapsed(manifest.created_at), size(manifest.bytes), size(manifest.new_bytes),
        count(manifest.artifacts.objects if manifest.artifacts else None),
        count(manifest.database.runs if manifest.database else None),
        call.output.time(found.verified_at), _drilled(call, snapshot), state_cell(snapshot),
        manifest.label,
    ]  # fmt: skip


def _drilled(call: Session, snapshot: Snapshot) -> Cell:
    if snapshot.state.drill_error:
        return Marked("failed", Tone.BAD)
    return call.output.time(snapshot.state.drilled_at)


def state_cell(snapshot: Snapshot) -> Cell:
    """How a snapshot is, and what makes it a special one."""
    state, manifest = state_of(snapshot), snapshot.manifest
    if manifest is None or state == "unreadable":
        return Marked("unreadable", Tone.BAD)
    if state == "broken":
        words = f"broken: {plural(snapshot.state.broken_count, 'file')}"
        tone = Tone.BAD
    else:
        words, tone = "ok", Tone.GOOD if manifest.complete else Tone.WARN
    named = [f"only {', '.join(manifest.parts)}"] if not manifest.complete else []
    named += ["before a restore"] if manifest.reason == "safety" else []
    return Marked(", ".join([words, *named]), tone)


def facts(snapshot: Snapshot) -> Iterator[tuple[str, Cell]]:
    """All that is known of a snapshot."""
    state, manifest = snapshot.state, snapshot.manifest
    yield "snapshot", snapshot.id
    yield "folder", shown(str(snapshot.path))
    yield "state", state_cell(snapshot)
    yield "broken", ", ".join(clean(name, 100) for name in state.broken[:5])
    if manifest is not None:
        yield from _contents(manifest)
    yield "verified", exact(state.verified_at)
    yield "drilled", exact(state.drilled_at)
    if state.drill_error:
        yield "drill", Marked(f"failed {exact(state.drill_failed_at)}: {state.drill_error}",
                              Tone.BAD)  # fmt: skip


def _contents(manifest: Manifest) -> Iterator[tuple[str, Cell]]:
    yield "label", manifest.label
    yield "made", f"{exact(manifest.created_at)} {REASONS[manifest.reason]}"
    yield "took", elapsed(manifest.created_at, manifest.completed_at)
    yield "of", f"{manifest.deployment} ({manifest.driver}) in {manifest.directory}"
    yield "holds", ", ".join(manifest.parts) + ("" if manifest.complete else ": not complete")
    yield "size", f"{size(manifest.bytes)}, {size(manifest.new_bytes)} of them new"
    dump, artifacts = manifest.database, manifest.artifacts
    if dump is not None:
        yield (
            "database",
            (
                f"{dump.kind}, {size(dump.bytes)}, {plural(dump.experiments, 'experiment')}, "
                f"{plural(dump.runs, 'run')}, schema {dump.revision or 'unknown'}"
            ),
        )
        yield "as of", exact(dump.began_at)
    if artifacts is not None:
        yield "artifacts", f"{plural(artifacts.objects, 'object')}, {size(artifacts.bytes)}"
        yield "meanwhile", ", ".join(
            f"{number:,} {what}" for number, what in (
                (artifacts.changed, "changed"), (artifacts.gone, "gone"),
                (artifacts.unread, "not readable"),
            ) if number
        )  # fmt: skip
    for name, versions in (("versions", manifest.versions), ("images", manifest.images)):
        yield name, ", ".join(f"{part} {value}" for part, value in sorted(versions.items()))


def experiment_row(experiment: Experiment) -> list[Cell]:
    """An experiment in a dump."""
    gone = experiment.lifecycle_stage == "deleted"
    return [
        experiment.experiment_id, experiment.name,
        Marked("deleted", Tone.QUIET) if gone else experiment.lifecycle_stage,
        experiment.artifact_location,
    ]  # fmt: skip


class RunShape(msgspec.Struct, frozen=True, gc=False):
    """A run in a dump; the names of the fields are those of `runs list --json`."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    lifecycle_stage: str
    started_at: datetime | None
    ended_at: datetime | None
    user: str


def run_shape(run: Run) -> RunShape:
    """A run in a dump for scripts."""
    return RunShape(
        run.run_id, run.experiment_id, run.name, run.status, run.lifecycle_stage,
        moment(run.started), moment(run.ended), run.user,
    )  # fmt: skip


def run_row(call: Session, run: Run) -> list[Cell]:
    """A run in a dump for people."""
    started, ended = moment(run.started), moment(run.ended)
    took = elapsed(started, ended) if started and ended else "-"
    return [
        run.run_id, run.experiment_id, run.name, status_of(run), call.output.time(started), took,
        run.user,
    ]  # fmt: skip


def status_of(run: Run) -> Cell:
    """How a run in a dump was."""
    if run.lifecycle_stage == "deleted":
        return Marked("deleted", Tone.QUIET)
    return Marked(run.status, RUN_TONES[run.status]) if run.status in RUN_TONES else run.status


def moment(milliseconds: int | None) -> datetime | None:
    """What MLflow has for a time; None for what no calendar has."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None

"""`mlflow-console backup`: snapshots of everything, and the proof that they restore."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli import backup_tables as tables
from console.cli.backup_comparing import diff, find
from console.cli.backup_keeping import prune, schedule, unlock
from console.cli.backup_restore import restore
from console.cli.backup_wanted import Newest, Only, Several, Wanted, found, parts_of
from console.cli.context import (
    Json,
    JsonLines,
    Session,
    absolute,
    on_terminal,
    one_form,
    session,
    verb,
)
from console.core import files
from console.core.backup.snapshot import MAKING
from console.core.errors import CancelledError, ConsoleError, DiskFullError, UsageError
from console.core.format import plural, size
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.backup.service import BackupService
    from console.core.backup.snapshot import Part, Snapshot

app = typer.Typer(
    help="Snapshots of everything, and the proof that they restore.", rich_markup_mode=None
)

FIRST = (
    "`mlflow-console backup drill` proves that it restores; `mlflow-console backup schedule 03:00` "
    "makes one every night."
)
UNFINISHED = "An unfinished snapshot is there; `mlflow-console backup create` goes on with it."


@verb(app, "backup.create")
def create(
    context: typer.Context,
    *,
    to: Annotated[
        str, typer.Option(metavar="DIR", help="The folder of the snapshots, from now on; better "
                          "on another disk than the deployment.")
    ] = "",
    only: Only = "",
    label: Annotated[
        str, typer.Option(metavar="NAME", help="Name it; one with a name is never pruned.")
    ] = "",
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="As the timer does: also prune, and drill when "
                           "that is due.")
    ] = False,
    json: Json = False,
) -> None:  # fmt: skip
    call = session(context)
    parts = parts_of(only)
    backup = call.to_change("backup.create").backup
    if label and backup.chosen:
        backup.place.refuse_label(label)
    folder = _new_place(call, backup, to)
    if folder is not None:
        _choose(call, backup, folder, parts)
    elif not scheduled:
        _tell_needs(call, backup, parts)
    before = backup.list()
    reason = "scheduled" if scheduled else "asked"
    options: dict[str, object] = {"parts": list(parts), "label": label, "reason": reason}
    call.work(
        functools.partial(backup.perform, "backup.create", options),
        "What was copied is kept; `mlflow-console backup create` goes on.",
        goes_on=True,
    )
    known = {each.id for each in before}
    made = next((each for each in backup.list() if each.id not in known), None)
    if json:
        call.output.json(made and tables.shape(made))
    elif made and _whole(made) and not any(map(_whole, before)) and not scheduled:
        call.output.note(FIRST)


def _whole(snapshot: Snapshot) -> bool:
    return snapshot.manifest is not None and snapshot.manifest.complete


def _new_place(call: Session, backup: BackupService, to: str) -> Path | None:
    """The folder that is given or, where there is no place yet, typed; None for the present one."""
    if not to:
        if backup.chosen:
            return None
        if not on_terminal():
            raise UsageError(
                "There is no place for snapshots yet",
                "`mlflow-console backup create --to DIR`: a folder on another disk.",
            )
        call.output.always(
            "Where shall the snapshots be? A folder on another disk outlives this one's; it is "
            "made when it is not there."
        )
        to = call.output.ask("Folder:")
        if not to:
            raise CancelledError("Nothing was changed")
    folder = Path(os.path.normpath(absolute(to)))
    return None if _is_chosen(backup, folder) else folder


def _is_chosen(backup: BackupService, folder: Path) -> bool:
    """Whether it is the place already, or would be if its disk were mounted."""
    if not backup.chosen or backup.place.path != folder:
        return False
    with files.explained(folder):
        if not folder.exists():
            return True
    try:
        backup.place.require()
    except ConsoleError:
        return False  # emptied, or another disk: it is asked for all the same
    return True


def _choose(call: Session, backup: BackupService, folder: Path, parts: Sequence[Part]) -> None:
    """Make a folder the place, if there is room in it."""
    from console.core.backup import choosing  # noqa: PLC0415  # every command waits for it

    old = backup.place.path if backup.chosen else None
    try:
        with choosing.tried(backup.deployment, folder):
            _tell_needs(call, backup, parts)
    except DiskFullError as error:
        raise DiskFullError(
            f"{error.message}; the place of the snapshots was not changed", error.hint
        ) from error
    call.output.note(f"Snapshots go to {folder}.")
    if old not in (None, folder):
        call.output.note(f"Those in {old} stay there and are no longer listed or pruned.")


def _tell_needs(call: Session, backup: BackupService, parts: Sequence[Part]) -> None:
    from console.core.backup import create  # noqa: PLC0415  # every command waits for it

    call.output.note("Looking what it needs …")
    needs = backup.needs(parts)
    call.output.note(
        f"It needs at most {size(needs.needed_bytes)}, {size(needs.free_bytes)} are free: "
        f"{plural(needs.artifacts, 'artifact')} of {size(needs.artifact_bytes)}, "
        f"{size(needs.new_bytes)} of them new."
    )
    for note in needs.notes:
        call.output.warn(note)
    create.refuse_without_room(backup.place.path, needs)


@verb(app, "backup.list")
def list_(context: typer.Context, json: Json = False, jsonl: JsonLines = False) -> None:
    call = session(context)
    backup = call.deployment.backup
    snapshots = backup.list()
    if json or jsonl:
        call.listing(
            map(tables.shape, snapshots), tables.SNAPSHOTS, lambda _: [], empty="", json=json,
            jsonl=jsonl,
        )  # fmt: skip
        return
    place = "" if backup.chosen else " --to DIR"
    tables.show(
        call, snapshots,
        f"There is no snapshot yet: `mlflow-console backup create{place}` makes one.",
    )  # fmt: skip
    if backup.chosen and (backup.place.path / MAKING).is_dir():
        holder = backup.holder()
        if holder is None or holder.alive is False:
            call.output.note(UNFINISHED)
    going_on = backup.current()
    if going_on is not None:
        call.output.note(f"{going_on.by} has begun `{going_on.words}`, and it goes on.")


@verb(app, "backup.show")
def show(
    context: typer.Context,
    wanted: Wanted,
    *,
    runs: Annotated[bool, typer.Option("--runs", help="The runs in its dump instead.")] = False,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="The experiments in its dump instead.")
    ] = False,
    experiment: Annotated[
        str, typer.Option(metavar="EXPERIMENT", help="With --runs: only of this one, by its id or "
                          "name.")
    ] = "",
    json: Json = False,
    jsonl: JsonLines = False,
) -> None:  # fmt: skip
    from console.core.backup import catalog  # noqa: PLC0415  # every command waits for it

    call = session(context)
    if runs and experiments:
        raise UsageError("--runs and --experiments are two lists", "Leave one of them out.")
    if experiment and not runs:
        raise UsageError("--experiment picks runs", "Give --runs as well.")
    snapshot = found(call, wanted)
    if runs:
        _runs(call, snapshot, experiment, json, jsonl)
    elif experiments:
        call.listing(
            catalog.experiments(_readable(snapshot)), tables.EXPERIMENTS, tables.experiment_row,
            empty="There are no experiments in it.", json=json, jsonl=jsonl,
        )  # fmt: skip
    elif json or jsonl:
        one_form(json, jsonl)
        call.output.json(tables.shape(snapshot))
    else:
        call.output.facts(tables.facts(snapshot))


def _readable(snapshot: Snapshot) -> Path:
    """The folder of a snapshot that has a dump."""
    if snapshot.manifest is None:
        raise ConsoleError(snapshot.problem, "Choose another snapshot.")
    if snapshot.manifest.database is None:
        raise ConsoleError(f"{snapshot.id} holds no database, only what --only named")
    return snapshot.path


def _runs(call: Session, snapshot: Snapshot, experiment: str, json: bool, jsonl: bool) -> None:
    from console.core.backup import catalog  # noqa: PLC0415  # as above

    folder = _readable(snapshot)
    there = catalog.runs(folder, _experiment_id(folder, experiment) if experiment else None)
    if json or jsonl:
        call.listing(
            map(tables.run_shape, there), tables.RUNS, lambda _: [], empty="", json=json,
            jsonl=jsonl,
        )  # fmt: skip
        return
    call.output.table(
        tables.RUNS, there, functools.partial(tables.run_row, call), "There are no runs in it."
    )


def _experiment_id(folder: Path, wanted: str) -> str:
    """The id of an experiment in the dump, by its id, else its name."""
    from console.core.backup import catalog  # noqa: PLC0415  # as above

    there = catalog.experiments(folder)
    for each in there:
        if each.experiment_id == wanted:
            return wanted
    for each in there:
        if each.name == wanted:
            return each.experiment_id
    raise UsageError(
        f"There is no experiment {clean(wanted)} in {folder.name}",
        "`mlflow-console backup show SNAPSHOT --experiments` shows them.",
    )


@verb(app, "backup.verify")
def verify(context: typer.Context, wanted: Several = "latest", json: Json = False) -> None:
    _prove(context, "backup.verify", wanted, json,
           "What was found broken is marked; the same command begins anew.")  # fmt: skip


@verb(app, "backup.drill")
def drill(context: typer.Context, wanted: Newest = "latest", json: Json = False) -> None:
    _prove(context, "backup.drill", wanted, json, "What it made is thrown away.")


def _prove(
    context: typer.Context, operation_id: str, wanted: str, json: bool, stopped: str
) -> None:
    """Do what may find something wrong; what is known then is written in any case."""
    from console.core.backup.records import load_snapshot  # noqa: PLC0415  # as above

    call = session(context)
    backup = call.to_change(operation_id).backup
    every = wanted == "all" and operation_id == "backup.verify"
    # What "latest" is now; a newer one may come meanwhile.
    meant = backup.list() if every else [backup.show(wanted)]
    options: dict[str, object] = {"wanted": wanted}
    try:
        call.work(functools.partial(backup.perform, operation_id, options), stopped, goes_on=True)
    finally:
        if json:
            call.output.json([tables.shape(load_snapshot(each.path)) for each in meant])


for operation_id, command in (
    ("backup.restore", restore), ("backup.diff", diff), ("backup.find", find),
    ("backup.prune", prune), ("backup.schedule", schedule), ("backup.unlock", unlock),
):  # fmt: skip
    verb(app, operation_id)(command)

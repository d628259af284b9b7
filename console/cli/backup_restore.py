"""`mlflow-console backup restore`: all of it, single runs, or into a new directory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.backup_wanted import Wanted, found, parts_of
from console.cli.context import Json, Session, absolute, session
from console.core import deployment as core
from console.core.errors import UsageError
from console.core.files import free_bytes
from console.core.format import size
from console.core.operations import OPERATIONS
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.backup.restoring.restore_plan import RestorePlan
    from console.core.backup.service import BackupService
    from console.core.backup.snapshot import Part

# What restores is imported by the commands: every call of the command line would wait for it.
SPEC = OPERATIONS["backup.restore"]


def restore(
    context: typer.Context,
    wanted: Wanted,
    *,
    only: Annotated[
        str, typer.Option(metavar="PART,...", help="Of database, artifacts, users only these.")
    ] = "",
    into: Annotated[
        str, typer.Option(metavar="DIR", help="Make a new deployment of it in this directory, "
                          "which is empty or not there yet. Needs no deployment: SNAPSHOT is then "
                          "its folder.")
    ] = "",
    run: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="Only this run, as a new one beside "
                                       "what is there; give it again for more.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change.")
    ] = False,
    json: Json = False,
) -> None:  # fmt: skip
    call = session(context)
    if sum(map(bool, (only, into, run))) > 1:
        raise UsageError("--only, --into and --run are three ways to restore", "Give one of them.")
    if dry_run and (into or run):
        raise UsageError(
            "--dry-run compares a snapshot with what is there", "Leave --into and --run out."
        )
    if json and not dry_run:
        raise UsageError("--json shows what would change", "Give --dry-run as well.")
    if into:
        _into(call, wanted, absolute(into))
    elif run:
        _runs(call, wanted, run)
    elif dry_run:
        _show(call, call.deployment.backup.restore_plan(wanted, _parts(only)), json)
    else:
        _back(call, wanted, _parts(only))


def _parts(only: str) -> tuple[Part, ...] | None:
    return parts_of(only) if only else None


def _show(call: Session, plan: RestorePlan, json: bool) -> None:
    if json:
        call.output.json({
            "snapshot": plan.snapshot.id, "parts": plan.parts, "lines": plan.lines,
            "warnings": plan.warnings, "needed_bytes": plan.needed_bytes,
            "free_bytes": plan.free_bytes,
        })  # fmt: skip
        return
    for line in plan.lines:
        call.output.line(clean(line, 1_000))
    for line in _room(plan):
        call.output.line(line)
    for warning in plan.warnings:
        call.output.warn(warning)


def _room(plan: RestorePlan) -> list[str]:
    if not plan.needed_bytes:  # a safety snapshot is there
        return []
    return [
        f"the safety snapshot needs at most {size(plan.needed_bytes)}, "
        f"{size(plan.free_bytes)} are free"
    ]


def _back(call: Session, wanted: str, parts: tuple[Part, ...] | None) -> None:
    """Into the deployment that is there, after a look at what would change and who is at work."""
    backup = call.to_change("backup.restore").backup
    options = _agreed(call, backup, wanted, parts)
    call.work(
        functools.partial(backup.perform, "backup.restore", options),
        "Everything is as it was before.",
        goes_on=True,
    )


def _agreed(
    call: Session, backup: BackupService, wanted: str, parts: tuple[Part, ...] | None
) -> dict[str, object]:
    call.output.note("Looking what would change …")
    plan = backup.restore_plan(wanted, parts)
    for warning in plan.warnings:
        call.output.warn(warning)
    going = [*plan.lines, *_room(plan), *call.deployment.stack.at_work()]
    call.confirm(SPEC, going, f"Interrupt the service and restore {plan.snapshot.id}?")
    # By its folder: what "latest" means is another one after the safety snapshot.
    return {"wanted": str(plan.snapshot.path), "parts": list(plan.parts)}


def _runs(call: Session, wanted: str, run_ids: list[str]) -> None:
    """Single runs, into the live server and as new ones: nobody is interrupted."""
    backup = call.to_change("backup.restore").backup
    call.work(
        lambda cancel: backup.restore_runs(wanted, list(dict.fromkeys(run_ids)), cancel),
        "Runs that were brought back stay.",
    )


def _into(call: Session, wanted: str, directory: Path) -> None:
    """A deployment of its own."""
    from console.core.backup.restoring import restore_into, restore_plan  # noqa: PLC0415  # as above

    core.refuse_when_read_only(SPEC, core.read_only_reason(call.read_only))
    snapshot = found(call, wanted)
    held = size(snapshot.manifest.bytes if snapshot.manifest else None)
    for warning in restore_plan.doubts(snapshot):
        call.output.warn(warning)
    call.output.note(f"It holds {held}; {size(free_bytes(directory))} are free in {directory}.")
    call.work(
        lambda cancel: restore_into.into(snapshot.path, directory, cancel),
        "The same command goes on with it.",
        goes_on=True,
    )
    call.output.note(f"`mlflow-console --deployment {directory}` opens it.")

"""`mlflow-console backup prune`, `schedule` and `unlock`: which snapshots there are, and when."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.context import Json, session
from console.cli.tables import Cell, Column, Marked, Tone
from console.core.backup.snapshot import PRUNING
from console.core.errors import UsageError
from console.core.format import exact, plural, size
from console.core.operations import OPERATIONS

if TYPE_CHECKING:
    from console.core.backup.retention import Fate, PrunePlan
    from console.core.backup.schedule import ScheduleState

PLANNED = (
    Column("SNAPSHOT", keep=True), Column("GOES"), Column("MADE"), Column("SIZE", right=True),
    Column("WHY"),
)  # fmt: skip
NONE = "off"


def prune(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, what stays, and why.")
    ] = False,
    json: Json = False,
) -> None:
    call = session(context)
    backup = (call.deployment if dry_run else call.to_change("backup.prune")).backup
    place = backup.place  # without one nothing can go
    plan = backup.prune_plan()
    if json and not dry_run:
        raise UsageError("--json shows what would go", "Give --dry-run as well.")
    if json:
        call.output.json(_shape(plan))
    elif dry_run:
        rows = [("yes", each) for each in plan.going] + [("no", each) for each in plan.staying]
        call.output.table(
            PLANNED, rows, lambda each: _planned(*each), "There is no snapshot yet."
        )  # fmt: skip
        if plan.going:
            call.output.note(_freed(plan))
    if dry_run:
        return
    begun = any(place.path.glob(f"{PRUNING}*"))
    if not (plan.going or begun):
        call.output.note("Nothing goes: the rules keep every snapshot.")
        return
    ids = [each.id for each in plan.going]
    if ids:
        call.confirm(
            OPERATIONS["backup.prune"], [f"{each.id}: {each.why}" for each in plan.going],
            f"Remove {plural(len(ids), 'snapshot')}? {_freed(plan)}",
        )  # fmt: skip
    call.work(
        functools.partial(backup.perform, "backup.prune", {"ids": ids}),
        "What was removed is gone, whole; `mlflow-console backup prune` removes the rest.",
        goes_on=True,
    )


def _freed(plan: PrunePlan) -> str:
    return f"{'' if plan.exact else 'At least '}{size(plan.freed_bytes)} become free."


def _planned(goes: str, each: Fate) -> list[Cell]:
    made = each.snapshot.manifest
    sign: Cell = Marked(goes, Tone.WARN) if goes == "yes" else goes
    return [
        each.id, sign, exact(made.created_at if made else None),
        size(made.bytes if made else None), each.why,
    ]  # fmt: skip


def _shape(plan: PrunePlan) -> dict[str, object]:
    def those(fates: Sequence[Fate]) -> list[dict[str, object]]:
        return [{"id": each.id, "reasons": each.reasons} for each in fates]

    return {
        "going": those(plan.going), "staying": those(plan.staying),
        "freed_bytes": plan.freed_bytes, "exact": plan.exact,
    }  # fmt: skip


When = Annotated[
    str, typer.Argument(metavar="WHEN|off", show_default=False,
                        help='When: "03:00" for every day, or as systemd writes it, '
                        '"Mon..Fri 06,18:00"; off for never. Without it the timer is shown.')
]  # fmt: skip


def schedule(context: typer.Context, when: When = "", json: Json = False) -> None:
    call = session(context)
    if when:
        backup = call.to_change("backup.schedule").backup
        now = backup.schedule("" if when == NONE else when)
    else:
        now = call.deployment.backup.scheduled()
    if json:
        call.output.json(now)
    else:
        call.output.facts(_timer(now))


def unlock(context: typer.Context) -> None:
    call = session(context)
    held = call.to_change("backup.unlock").backup.unlock()
    if held is None:
        call.output.note("Nobody holds the lock.")
    else:
        call.output.note(f"The lock is gone; it was held by {held.words}.")


def _timer(now: ScheduleState) -> Iterator[tuple[str, Cell]]:
    if not now.installed:
        how = "" if now.note else "; `mlflow-console backup schedule 03:00` makes one"
        yield "timer", Marked(f"there is none{how}", Tone.QUIET)
        yield from _notes(now)
        return
    yield "timer", now.unit
    yield "when", now.at
    if not (now.active and now.enabled):
        yield "state", Marked("it does not run", Tone.WARN)
    if now.last_run:
        code = now.last_exit_code
        how = "goes on" if code is None else "" if code == 0 else f"exit code {code}"
        yield "last run", f"{exact(now.last_run)}  {how}".rstrip()
    if now.next_run:
        yield "next run", exact(now.next_run)
    yield from _notes(now)


def _notes(now: ScheduleState) -> Iterator[tuple[str, Cell]]:
    yield "note", now.note
    if now.cron:
        yield "instead", "cron does the same, a line for `crontab -e`:"
        yield "", now.cron

"""`mlflow-console backup diff` and `find`: what changed, and which snapshots hold a run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from console.cli import backup_tables as tables
from console.cli.backup_wanted import HELP
from console.cli.context import Json, JsonLines, Session, session
from console.cli.tables import LONG_NAME, Cell, Column, Marked, Tone
from console.core.format import plural, size
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.backup.compare import Changes, Difference, Holding, Item

TONES = {"came": Tone.GOOD, "went": Tone.BAD, "changed": Tone.WARN}
KINDS = ("experiments", "runs", "artifacts", "users", "versions")
ITEMS = (
    Column("KIND", keep=True), Column("WHAT", keep=True), Column("ID", most=2 * LONG_NAME),
    Column("NAME", most=LONG_NAME), Column("HOW"),
)  # fmt: skip
HOLDINGS = (
    Column("SNAPSHOT", keep=True), Column("LABEL", most=LONG_NAME), Column("MADE"),
    Column("RUN", keep=True), Column("NAME", most=LONG_NAME), Column("STATUS", keep=True),
    Column("EXPERIMENT", most=LONG_NAME),
)  # fmt: skip


def diff(
    context: typer.Context,
    older: Annotated[str, typer.Argument(metavar="OLDER", help=HELP)],
    newer: Annotated[str, typer.Argument(metavar="NEWER", help=HELP)],
    json: Json = False,
) -> None:
    call = session(context)
    found = call.deployment.backup.diff(older, newer)
    if json:
        call.output.json(found)
        return
    for line in _summary(found):
        call.output.line(line)
    rows = list(_items(found))
    if rows:
        call.output.line()
        call.output.table(ITEMS, rows, lambda each: _row(*each), "")
    for note in found.notes:
        call.output.warn(note)


def _summary(found: Difference) -> Iterator[str]:
    for kind, changes in _kinds(found):
        said = [
            f"{number:,} {word}" + (f" ({size(amount)})" if amount else "")
            for word, number, amount in (
                ("came", changes.came, changes.came_bytes),
                ("went", changes.went, changes.went_bytes),
                ("changed", changes.changed, changes.changed_bytes),
            )
            if number
        ]
        unnamed = plural(changes.unnamed, "is not", "are not")
        more = f"; {unnamed} named below" if changes.unnamed > 0 else ""
        yield f"{kind}: {', '.join(said) or 'the same'}{more}"
    if found.revision:
        yield f"schema: {clean(' → '.join(found.revision))}"


def _kinds(found: Difference) -> Iterator[tuple[str, Changes]]:
    for kind in KINDS:
        changes = getattr(found, kind)
        if changes is not None:
            yield kind, changes


def _items(found: Difference) -> Iterator[tuple[str, Item]]:
    for kind, changes in _kinds(found):
        for item in changes.items:
            yield kind, item


def _row(kind: str, item: Item) -> list[Cell]:
    return [kind, Marked(item.what, TONES[item.what]), item.id, item.name, item.detail]


class HoldingShape(msgspec.Struct, frozen=True):
    """One snapshot that holds a run, for scripts."""

    snapshot: str
    label: str
    created_at: datetime | None
    run: tables.RunShape | None
    experiment: str
    problem: str


def find(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, the beginning of one, or its "
                                       "name.")],
    json: Json = False,
    jsonl: JsonLines = False,
) -> None:  # fmt: skip
    call = session(context)
    backup = call.deployment.backup
    _ = backup.place  # without one there is nothing to look through
    there = backup.find(run)
    if json or jsonl:
        call.listing(
            map(_shape, there), HOLDINGS, lambda _: [], empty="", json=json, jsonl=jsonl
        )  # fmt: skip
        return
    call.output.table(
        HOLDINGS, _readable(call, there), functools.partial(_holding, call),
        f"No snapshot holds a run {clean(run)}.",
    )  # fmt: skip


def _readable(call: Session, there: Iterator[Holding]) -> Iterator[Holding]:
    for each in there:
        if each.problem:
            call.output.warn(f"{each.snapshot} was not looked through: {each.problem}")
        else:
            yield each


def _holding(call: Session, each: Holding) -> list[Cell]:
    run = each.run
    if run is None:
        return [each.snapshot, each.label, call.output.time(each.created_at), "-", "", "", ""]
    return [
        each.snapshot, each.label, call.output.time(each.created_at), run.run_id, run.name,
        tables.status_of(run), each.experiment,
    ]  # fmt: skip


def _shape(each: Holding) -> HoldingShape:
    return HoldingShape(
        each.snapshot, each.label, each.created_at,
        tables.run_shape(each.run) if each.run else None, each.experiment, each.problem,
    )  # fmt: skip

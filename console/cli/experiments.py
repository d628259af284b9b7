"""`mlflow-console experiments`: what was tried."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from console.cli.context import Json, Session, session, verb
from console.cli.tables import Cell, Column, Marked, Tone
from console.core.experiments.service import Experiment
from console.core.format import count, exact

app = typer.Typer(help="The experiments.", rich_markup_mode=None)

WithDeleted = Annotated[bool, typer.Option("--deleted", help="The deleted ones too.")]
Which = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its id or name.")]

COLUMNS = (
    Column("ID", keep=True), Column("NAME"), Column("RUNS", right=True), Column("LAST CHANGE"),
    Column("STAGE"),
)  # fmt: skip


@verb(app, "experiments.list")
def list_(context: typer.Context, deleted: WithDeleted = False, json: Json = False) -> None:
    call = session(context)
    call.listing(
        call.deployment.experiments.list(deleted), COLUMNS, functools.partial(_row, call),
        json=json,
        empty="There are no experiments yet: log a run, or `mlflow-console demo`.",
    )  # fmt: skip


def stage(of: str) -> Cell:
    """A lifecycle stage; what is deleted stands back."""
    return Marked(of, Tone.QUIET) if of == "deleted" else of


def _row(call: Session, each: Experiment) -> list[Cell]:
    return [
        each.experiment_id, each.name, count(each.runs), call.output.time(each.updated_at),
        stage(each.lifecycle_stage),
    ]  # fmt: skip


@verb(app, "experiments.show")
def show(context: typer.Context, experiment: Which, json: Json = False) -> None:
    call = session(context)
    found = call.deployment.experiments.show(experiment)
    if json:
        call.output.json(found)
        return
    call.output.facts([
        ("name", found.name), ("id", found.experiment_id), ("stage", stage(found.lifecycle_stage)),
        ("runs", count(found.runs)), ("created", exact(found.created_at)),
        ("last change", exact(found.updated_at)), ("artifacts", found.artifact_location),
        *((f"tag {name}", value) for name, value in sorted(found.tags.items())),
    ])  # fmt: skip

"""`mlflow-console runs`: the runs of an experiment."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Annotated

import typer

from console.cli.context import Json, JsonLines, Session, session, verb
from console.cli.experiments import Which, WithDeleted, stage
from console.cli.tables import Cell, Column, Marked, Tone
from console.core.experiments.service import Run
from console.core.format import elapsed, exact, metric

app = typer.Typer(help="The runs of an experiment.", rich_markup_mode=None)

SHOWN_METRICS = 3
TONES = {"FINISHED": Tone.GOOD, "FAILED": Tone.BAD, "KILLED": Tone.BAD, "RUNNING": Tone.WARN}
COLUMNS = (
    Column("RUN", keep=True), Column("NAME"), Column("STATUS", keep=True), Column("STARTED"),
    Column("TOOK", right=True), Column("USER"), Column("METRICS"),
)  # fmt: skip


@verb(app, "runs.list")
def list_(
    context: typer.Context, experiment: Which, deleted: WithDeleted = False, json: Json = False,
    jsonl: JsonLines = False,
) -> None:  # fmt: skip
    call = session(context)
    found = iter(call.deployment.runs.list(experiment, deleted))
    # The first page says whether the experiment exists; nothing is written before it does.
    first = list(itertools.islice(found, 1))
    call.listing(
        itertools.chain(first, found), COLUMNS, functools.partial(_row, call),
        json=json, jsonl=jsonl,
        empty="This experiment has no runs yet.",
    )  # fmt: skip


def _status(run: Run) -> Cell:
    if run.lifecycle_stage == "deleted":
        return Marked("deleted", Tone.QUIET)
    tone = TONES.get(run.status)
    return Marked(run.status, tone) if tone else run.status


def _row(call: Session, run: Run) -> list[Cell]:
    shown = [f"{name}={metric(value)}" for name, value in sorted(run.metrics.items())]
    more = ["…"] if len(shown) > SHOWN_METRICS else []
    return [
        run.run_id, run.name, _status(run), call.output.time(run.started_at), _took(run), run.user,
        " ".join(shown[:SHOWN_METRICS] + more),
    ]  # fmt: skip


def _took(run: Run) -> str:
    if run.ended_at is None and run.status != "RUNNING":
        return "-"
    return elapsed(run.started_at, run.ended_at)


@verb(app, "runs.show")
def show(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Its id.")],
    json: Json = False,
) -> None:
    call = session(context)
    run = call.deployment.runs.show(run_id)
    if json:
        call.output.json(run)
        return
    call.output.facts([
        ("run", run.run_id), ("name", run.name), ("experiment", run.experiment_id),
        ("status", _status(run)), ("stage", stage(run.lifecycle_stage)), ("user", run.user),
        ("started", exact(run.started_at)), ("ended", exact(run.ended_at)),
        ("took", _took(run)), ("nested in", run.parent_run_id or ""),
        ("description", run.description),
    ])  # fmt: skip
    _pairs(call, "Metrics", {name: metric(value) for name, value in run.metrics.items()})
    _pairs(call, "Parameters", run.params)
    _pairs(call, "Tags", run.tags)


def _pairs(call: Session, title: str, pairs: Mapping[str, str]) -> None:
    if pairs:
        call.output.line()
        call.output.line(call.output.tone(title, Tone.TITLE))
        call.output.facts((f"  {name}", value or "-") for name, value in sorted(pairs.items()))

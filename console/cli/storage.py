"""`mlflow-console storage`: what the artifacts occupy, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from console.cli.context import Json, JsonLines, Session, cancelling, one_form, session, verb
from console.cli.experiments import stage
from console.cli.tables import Cell, Column
from console.core.errors import CancelledError
from console.core.format import count, exact, plural, share, size
from console.core.progress import Progress
from console.core.storage.service import Usage

app = typer.Typer(help="The artifact storage.", rich_markup_mode=None)

COLUMNS = (
    Column("BYTES", right=True), Column("SHARE", right=True), Column("OBJECTS", right=True),
    Column("NAME"), Column("ID", keep=True), Column("STAGE"),
)  # fmt: skip


@verb(app, "storage.usage")
def usage(
    context: typer.Context,
    runs: Annotated[bool, typer.Option("--runs", help="Every run as well.")] = False,
    json: Json = False,
    jsonl: JsonLines = False,
) -> None:
    one_form(json, jsonl)
    call = session(context)
    walked = _walk(call)
    if walked is None:
        call.output.note("There is nothing in the storage.")
    elif json:
        call.output.json(walked)
    elif jsonl:
        call.output.json_lines(walked.experiments)
    else:
        _show(call, walked, runs)
    if walked is None or not walked.complete:
        raise CancelledError(
            "Stopped: these are the figures so far", "The same command walks anew."
        )


def _walk(call: Session) -> Usage | None:
    """The last figures of a walk; those so far when it was stopped."""
    latest: Usage | None = None
    deployment = call.deployment
    with cancelling() as cancel, call.output.progress() as show:
        try:
            for latest in deployment.storage.usage(cancel=cancel):
                show(Progress("walking the artifacts", latest.objects, None, "objects"))
        except (CancelledError, KeyboardInterrupt):
            if latest is None:
                raise
    return latest


def _show(call: Session, walked: Usage, runs: bool) -> None:
    call.output.table(
        COLUMNS, _rows(walked, runs), list,
        "There are no experiments yet: log a run, or `mlflow-console demo`.",
    )  # fmt: skip
    if walked.experiments:
        call.output.line()
    free = "" if walked.free_bytes is None else f", {size(walked.free_bytes)} are free"
    for name, amount in (
        ("all", walked), ("trash", walked.trash), ("orphans", walked.orphans),
        ("unknown", walked.unknown), ("incomplete uploads", walked.incomplete_uploads),
    ):  # fmt: skip
        if name == "all" or amount.objects:
            noun = "upload" if amount is walked.incomplete_uploads else "object"
            call.output.line(f"{name}: {size(amount.bytes)} in {plural(amount.objects, noun)}")
    call.output.note(f"Walked in {walked.seconds:.1f} s, {exact(walked.scanned_at)}{free}.")
    for problem in walked.problems:
        call.output.warn(problem)


def _rows(walked: Usage, runs: bool) -> Iterator[list[Cell]]:
    for each in walked.experiments:
        yield [
            size(each.bytes), share(each.bytes, walked.bytes), count(each.objects), each.name,
            each.experiment_id, stage(each.lifecycle_stage),
        ]  # fmt: skip
        if not runs:
            continue
        for run in each.runs:
            yield [
                size(run.bytes), share(run.bytes, walked.bytes), count(run.objects),
                f"  {run.name}", run.run_id, stage(run.lifecycle_stage),
            ]  # fmt: skip
        for kind, amount in (("models", each.models), ("traces", each.traces)):
            if amount.objects:
                yield [
                    size(amount.bytes), share(amount.bytes, walked.bytes), count(amount.objects),
                    f"  {kind}", "", "",
                ]  # fmt: skip

"""`mlflow-console users activity`: who was here, and why logging is slow."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.context import Json, Session, cancelling, session
from console.cli.tables import Cell, Column
from console.core import format as fmt
from console.core.errors import UsageError
from console.core.text import clean
from console.core.users.activity_answers import Deleted, Slow, Tried
from console.core.users.report import Activity, Report

PEOPLE = (
    Column("NAME"), Column("LAST SEEN"), Column("FIRST SEEN"), Column("TODAY", right=True),
    Column("30 DAYS", right=True), Column("FAILED", right=True), Column("SENT", right=True),
    Column("ADDRESSES"), Column("CLIENT"),
)  # fmt: skip
TRIED = (
    Column("NAME"), Column("ADDRESS"), Column("TIMES", right=True), Column("LAST"), Column("HOST"),
)  # fmt: skip
SLOW = (
    Column("USER"), Column("ENDPOINT"), Column("REQUESTS", right=True),
    Column("MEDIAN", right=True), Column("95 %", right=True), Column("MLFLOW", right=True),
    Column("95 %", right=True),
)  # fmt: skip
DELETED = (
    Column("AT"), Column("WHO"), Column("ADDRESS"), Column("STATUS"), Column("WHAT", keep=True),
)  # fmt: skip


def activity(
    context: typer.Context,
    *,
    unseen: Annotated[
        int | None, typer.Option("--unseen", metavar="DAYS", min=1, help="Only users who were not "
                                 "here for so many days, as far as the logs prove it.")
    ] = None,
    tried: Annotated[
        bool, typer.Option("--tried", help="Unknown names that somebody tried to log in with.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="How long requests took in the last week, in all and in "
                           "MLflow, by user and endpoint.")
    ] = False,
    deletions: Annotated[
        bool, typer.Option("--deletions", help="Every call that deletes: when, who, from where.")
    ] = False,
    json: Json = False,
) -> None:  # fmt: skip
    if tried + slow + deletions > 1:
        raise UsageError("--tried, --slow and --deletions cannot be had together", "Choose one.")
    call = session(context)
    with cancelling() as cancel:
        found = call.deployment.users.activity(unseen, cancel)
    if json:
        call.output.json(found)
        return
    if found.note:
        call.output.warn(found.note)
    if tried:
        call.output.table(TRIED, found.tried, lambda each: _tried(call, each), "None was tried.")
    elif slow:
        call.output.table(SLOW, found.slow, _slow, "No request was measured yet.")
    elif deletions:
        call.output.table(
            DELETED, found.deletions, lambda each: _deleted(call, each),
            "No call that deletes is known.",
        )  # fmt: skip
    else:
        _people(call, found)
    call.output.note(f"The {found.covers}.")


def _people(call: Session, found: Report) -> None:
    call.output.table(
        PEOPLE, found.people, lambda each: _person(call, each),
        "Nobody, as far as the logs prove it.",
    )  # fmt: skip


def _person(call: Session, each: Activity) -> list[Cell]:
    where = f"{len(each.addresses)}{'+' if each.more_addresses else ''}"
    last = each.addresses[0].address if each.addresses else ""
    return [
        clean(each.name) if each.host else f"({clean(each.name)})",
        call.output.time(each.last_seen), call.output.time(each.first_seen),
        fmt.count(each.today), fmt.count(each.month), fmt.count(each.failures),
        fmt.size(each.sent), f"{where}, last {clean(last, 60)}" if last else "",
        clean(each.client, 60),
    ]  # fmt: skip


def _tried(call: Session, each: Tried) -> list[Cell]:
    return [
        clean(each.name, 60), clean(each.address, 60), fmt.count(each.attempts),
        call.output.time(each.last), clean(each.host, 60),
    ]  # fmt: skip


def _slow(each: Slow) -> list[Cell]:
    return [
        clean(each.user, 60), clean(each.endpoint, 80), fmt.count(each.requests),
        *map(_seconds, (each.median, each.p95, each.upstream_median, each.upstream_p95)),
    ]  # fmt: skip


def _seconds(value: float | None) -> str:
    return fmt.NEVER if value is None else f"{value:.3f} s"


def _deleted(call: Session, each: Deleted) -> list[Cell]:
    return [
        call.output.time(each.at), clean(each.user, 60), clean(each.address, 60),
        str(each.status), f"{each.method} {clean(each.path, 300)}",
    ]  # fmt: skip

"""`mlflow-console users activity`: who was here, and why logging is slow."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.context import Json, Session, cancelling, session
from console.cli.tables import Cell, Column
from console.core import format as fmt
from console.core.errors import UsageError
from console.core.text import clean
from console.core.users.activity_answers import (
    Address,
    Deleted,
    Person,
    Slow,
    Sum,
    Tried,
    dominates,
)
from console.core.users.report import SLOW_DAYS, Asked, Report

PEOPLE = (
    Column("NAME"), Column("LAST SEEN"), Column("FIRST SEEN"), Column("TODAY", right=True),
    Column("30 DAYS", right=True), Column("FAILED", right=True), Column("SENT", right=True),
    Column("ADDRESSES"), Column("CLIENT"),
)  # fmt: skip
ADDRESSES = (
    Column("ADDRESS"), Column("LAST"), Column("FIRST"), Column("REQUESTS", right=True),
    Column("CLIENT"),
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
NOBODY = "Nobody, as far as the logs prove it."
OWN = "{name} is the console's own account: its checks are not counted."


def activity(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False,
                                   help="This user alone, and all that is known of them.")
    ] = None,
    *,
    unseen: Annotated[
        int | None, typer.Option("--unseen", metavar="DAYS", min=1, max=3650, help="Only users "
                                 "who were not here for so many days, as far as the logs prove it.")
    ] = None,
    tried: Annotated[
        bool, typer.Option("--tried", help="Unknown names that somebody tried to log in with; of "
                           "one user the log-ins that failed.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="How long requests took in the last week, in all and in "
                           "MLflow, by user and endpoint.")
    ] = False,
    deletions: Annotated[
        bool, typer.Option("--deletions", help="Every call that deletes: when, who, from where.")
    ] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", show_default=False,
                                 help="The users of this host name's own file alone.")
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    if (unseen is not None) + tried + slow + deletions > 1:
        raise UsageError(
            "--unseen, --tried, --slow and --deletions cannot be had together", "Choose one."
        )
    call = session(context)
    with cancelling() as cancel:
        found = call.deployment.users.activity(Asked(name, host, unseen), cancel)
    if json:
        call.output.json(found)
        return
    if found.note:
        call.output.warn(found.note)
    if tried:
        call.output.table(TRIED, found.tried, lambda each: _tried(call, each), "None was tried.")
        _covered(call, found, found.days)
    elif slow:
        call.output.table(SLOW, found.slow, _slow, "No request was measured yet.")
        if words := dominates(found.slow):
            call.output.note(f"{words}.")
        _covered(call, found, SLOW_DAYS)
    elif deletions:
        call.output.table(
            DELETED, found.deletions, lambda each: _deleted(call, each),
            "No call that deletes is known.",
        )  # fmt: skip
        _covered(call, found, found.days)
    else:
        own = name == call.deployment.settings.users.service_user
        empty = OWN.format(name=name) if own else NOBODY
        _people(call, found, empty, one=name is not None and unseen is None)


def _covered(call: Session, found: Report, days: int) -> None:
    call.output.note(f"The {found.coverage.last(days).sentence}.")


def _people(call: Session, found: Report, empty: str, one: bool) -> None:
    if one and len(found.people) == 1:
        _one(call, found.people[0])
    else:
        call.output.table(PEOPLE, found.people, lambda each: _person(call, each), empty)
    call.output.note(f"The {found.covers}.")


def _one(call: Session, who: Person) -> None:
    call.output.facts((
        ("last seen", call.output.time(who.last_seen)),
        ("first seen", call.output.time(who.first_seen)),
        ("today", _sum(who.today)), ("30 days", _sum(who.month)),
        ("failed log-ins", f"{fmt.count(who.month.refused)} in 30 days"),
        ("client", clean(who.client)),
    ))  # fmt: skip
    if who.addresses:
        call.output.line()
        call.output.table(ADDRESSES, who.addresses, lambda each: _address(call, each), "")
    if who.more_addresses:
        call.output.note(f"There were more than {len(who.addresses)} addresses.")


def _sum(did: Sum) -> str:
    return (
        f"{fmt.plural(did.requests, 'request')}, {fmt.size(did.received)} received, "
        f"{fmt.size(did.sent)} sent"
    )


def _person(call: Session, each: Person) -> list[Cell]:
    where = f"{len(each.addresses)}{'+' if each.more_addresses else ''}"
    last = each.addresses[0].address if each.addresses else ""
    return [
        clean(each.name) if each.host else f"({clean(each.name)})",
        call.output.time(each.last_seen), call.output.time(each.first_seen),
        fmt.count(each.today.requests), fmt.count(each.month.requests),
        fmt.count(each.month.refused), fmt.size(each.month.sent),
        f"{where}, last {clean(last, 60)}" if last else "", clean(each.client, 60),
    ]  # fmt: skip


def _address(call: Session, each: Address) -> list[Cell]:
    return [
        clean(each.address, 60), call.output.time(each.last), call.output.time(each.first),
        fmt.count(each.requests), clean(each.client, 60),
    ]  # fmt: skip


def _tried(call: Session, each: Tried) -> list[Cell]:
    return [
        clean(each.name, 60), clean(each.address, 60), fmt.count(each.attempts),
        call.output.time(each.last), clean(each.host, 60),
    ]  # fmt: skip


def _slow(each: Slow) -> list[Cell]:
    return [
        clean(each.user, 60), clean(each.endpoint, 80), fmt.count(each.requests),
        *map(fmt.duration, (each.median, each.p95, each.upstream_median, each.upstream_p95)),
    ]  # fmt: skip


def _deleted(call: Session, each: Deleted) -> list[Cell]:
    return [
        call.output.time(each.at), clean(each.user, 60), clean(each.address, 60),
        str(each.status), f"{each.method} {clean(each.path, 300)}",
    ]  # fmt: skip

"""What the table of users says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from console.core import format as fmt
from console.core.text import clean
from console.core.users.activity_answers import Person, Tried, unseen
from console.core.users.report import UNSEEN_DAYS, Report
from console.core.users.user import User
from console.core.users.user_files import SHARED
from console.tui.statistics import bars
from console.tui.widgets.table import Cell, Column

COLUMNS = (
    Column("name", 14, 40), Column("last seen", 9), Column("today", 5, right=True),
    Column("30 days", 7, right=True), Column("failed", 6, right=True), Column("hash", 12, 15),
    Column("", 9), Column("24 hours", 24, wide=104), Column("from", 15, wide=120),
    Column("client", 27, 40, wide=150),
)  # fmt: skip
# A row of bars that is full at fewer requests an hour would make noise look like work.
LEAST_BUSY = 8
# Somebody who mistypes a password now and then is not being attacked.
MANY_FAILED = 20
TRIED_SHOWN = 3
OWN = (Cell("the console's own checks", "dim"), Cell(""), Cell(""))


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """One user in the table; what it says is made when it is drawn.

    Attributes:
        person: What the log says of the user; None when it says nothing.
        text: The name in small letters.
        unseen: Was not seen for `UNSEEN_DAYS`; None when nobody can know.
    """

    key: str
    user: User
    person: Person | None
    text: str
    unseen: bool | None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The user in the order of `COLUMNS`; who is disabled stands in brackets."""
        user, name = self.user, clean(named(self.user), 100)
        scheme = clean(user.scheme, 20) + ("" if user.cost is None else f" {user.cost}")
        return (
            Cell(name if user.enabled else f"({name})"),
            *_seen(self.person),
            Cell(f"! {scheme}", "warn") if user.weak else Cell(scheme),
            _note(user),
            *(OWN if user.service_user else _more(self.person)),
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """Everybody, ready to be shown.

    Attributes:
        rows: By their keys, in the order of the files.
        people: How many there are but the console's own account.
        weak, disabled: How many of all.
        unseen: How many are proven not to have been seen for `UNSEEN_DAYS`.
        covers: How much of the figures' time the logs cover; "" before they were read.
        covers_unseen: How much of `UNSEEN_DAYS`.
        notes: Names that no file holds, and why the newest lines are not read.
    """

    rows: dict[str, UserRow]
    people: int
    weak: int
    disabled: int
    unseen: int
    covers: str
    covers_unseen: str
    notes: tuple[str, ...]

    def wanted(self, text: str, only_unseen: bool) -> list[UserRow]:
        """The rows that a filter leaves.

        Args:
            text: What the name holds, in small letters.
            only_unseen: Leave out everybody of whom it is not proven.
        """
        return [
            row
            for row in self.rows.values()
            if text in row.text and (row.unseen or not only_unseen)
        ]


def listing(users: Sequence[User], found: Report | None) -> Listing:
    """Put users and what the log says of them side by side.

    Args:
        users: In the order of their files.
        found: What the log says; None where it was not read yet.
    """
    seen = {(each.host, each.name): each for each in found.people if each.host} if found else {}
    rows: dict[str, UserRow] = {}
    for user in users:
        key = f"{user.host}/{user.name}"  # a host name has no slash
        person = seen.get((user.host, user.name))
        away = _away(user, person, found)
        rows.setdefault(key, UserRow(key, user, person, user.name.casefold(), away))
    everybody = [row.user for row in rows.values()]
    return Listing(
        rows=rows,
        people=sum(not each.service_user for each in everybody),
        weak=sum(each.weak for each in everybody),
        disabled=sum(not each.enabled for each in everybody),
        unseen=sum(row.unseen is True for row in rows.values()),
        covers=found.covers if found else "",
        covers_unseen=found.coverage.last(UNSEEN_DAYS).sentence if found else "",
        notes=tuple(_notes(found)) if found else (),
    )


def named(user: User) -> str:
    return user.name if user.host == SHARED else f"{user.name} at {user.host}"


def _away(user: User, person: Person | None, found: Report | None) -> bool | None:
    if found is None or user.service_user:
        return None
    return unseen(person.last_seen if person else None, UNSEEN_DAYS, found.coverage)


def _notes(found: Report) -> Iterator[str]:
    """What the log says that is no user's."""
    if found.tried:
        yield f"Unknown names tried: {_tried(found.tried)}"
    if found.note:
        yield clean(found.note)


def _tried(found: Sequence[Tried]) -> str:
    """The last names that were tried, and how many more there are."""
    last = found[:TRIED_SHOWN]
    names = ", ".join(
        f"{clean(each.name, 30)} {fmt.count(each.attempts)} from {clean(each.address, 40)}"
        for each in last
    )
    return f"{names} and {len(found) - len(last):,} more" if len(found) > len(last) else names


def _note(user: User) -> Cell:
    if not user.enabled:
        return Cell("disabled", "dim")
    return Cell("weak", "warn") if user.weak else Cell("")


def _seen(seen: Person | None) -> Iterable[Cell]:
    if seen is None:
        return (Cell(fmt.NEVER),) * 4
    failed = seen.month.refused
    many = failed >= MANY_FAILED
    return (
        Cell(fmt.when(seen.last_seen)),
        Cell(fmt.few(seen.today.requests)),
        Cell(fmt.few(seen.month.requests)),
        Cell(f"! {fmt.few(failed)}", "warn") if many else Cell(fmt.few(failed)),
    )


def _more(seen: Person | None) -> Iterable[Cell]:
    if seen is None:
        return (Cell(""),) * 3
    return (
        Cell(bars(seen.series, LEAST_BUSY) if any(seen.series) else "", "accent"),
        Cell(came_from(seen)),
        Cell(clean(seen.client, 60)),
    )


def came_from(seen: Person) -> str:
    """The address, or how many there are: many may be a shared account."""
    if len(seen.addresses) == 1:
        return clean(seen.addresses[0].address, 60)
    more = "+" if seen.more_addresses else ""
    return f"{len(seen.addresses)}{more} addresses" if seen.addresses else ""

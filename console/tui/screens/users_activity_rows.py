"""What the screen of one user's activity says, or of everybody's; made on a thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from console.core import format as fmt
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
from console.core.users.report import SLOW_DAYS, Report
from console.core.users.user import User
from console.tui.screens.users_rows import named
from console.tui.widgets.facts import Part
from console.tui.widgets.table import Cell, Column

T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]

AT = 19
WHO = Column("who", 10, 24)
ADDRESS = Column("from", 15, 26)
TIMES = Column("times", 6, right=True)
LAST, FIRST = Column("last", AT), Column("first", AT, wide=100)
CLIENT = Column("client", 27, 50)
ADDRESSES = (ADDRESS, LAST, Column("requests", 8, right=True), FIRST, CLIENT)
FAILED = (ADDRESS, TIMES, LAST, FIRST, Column("to", 12, 30))
TRIED = (Column("name", 14, 40), *FAILED)
SLOW = (
    Column("endpoint", 20, 60), Column("times", 5, right=True), Column("median", 6, right=True),
    Column("95 %", 6, right=True), Column("MLflow", 6, right=True), Column("95 %", 6, right=True),
)  # fmt: skip
DELETIONS = (Column("at", AT), ADDRESS, Column("", 3), Column("what", 16, 90))
# So many machines of one person are unusual.
MANY_ADDRESSES = 5
# The web page's own calls and those of clients go to the same endpoints by two ways.
_API = re.compile(r"/(ajax-)?api/[\d.]+/(?:mlflow/)?")


class FoundRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a table: thousands may be no user's name, or slow.

    Attributes:
        text: All that it says, in small letters.
    """

    key: str
    cells: tuple[Cell, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """One tab.

    Attributes:
        columns: Of its table.
        rows: All of them; the key is a row's number.
        says: A sentence on all of it, and how much of its time the logs cover.
        empty: What is said where there is no row.
        detail: Title and facts of a row, given its key.
    """

    columns: tuple[Column, ...]
    rows: tuple[FoundRow, ...]
    says: str
    empty: str
    detail: Callable[[str], tuple[str, Pairs]]

    def wanted(self, text: str) -> list[FoundRow]:
        """The rows that hold a text, given in small letters."""
        return [row for row in self.rows if text in row.text]


@dataclass(frozen=True, slots=True)
class Did:
    """Everything on the screen.

    Attributes:
        about: Who it is about, and the sums.
        pages: By the ids of their tabs.
    """

    about: tuple[Part, ...]
    pages: dict[str, Page]


def did(found: Report, user: User | None) -> Did:
    """What is known of one user.

    Args:
        found: The report about this user, or about everybody.
        user: None for everybody.
    """
    slow = _slow(found, user is None)
    deletions = _deletions(found, user is None)
    if user is None:
        pages = {"tried": _tried(found), "slow": slow, "deletions": deletions}
        return Did((("Who did what", "bold"), *_note(found)), pages)
    person = next((each for each in found.people if each.host == user.host), Person(user.name))
    pages = {"addresses": _addresses(found, person), "slow": slow, "deletions": deletions,
             "failed": _failed(found)}  # fmt: skip
    return Did((*_about(user, person, found), *_note(found)), pages)


def _about(user: User, person: Person, found: Report) -> list[Part]:
    state = "" if user.enabled else "   disabled"
    parts: list[Part] = [(clean(named(user), 100), "bold"), state]
    if user.weak:
        parts.append(("   ! weak", "warn"))
    if user.service_user:
        return [*parts, ("\nThe console's own checks: nobody counts them.", "dim")]
    failed = fmt.plural(person.month.refused, "failed log-in")
    first, last = fmt.exact(person.first_seen), fmt.exact(person.last_seen)
    for name, value in (
        ("seen", f"first {first}, last {last}" if person.first_seen else "never"),
        ("today", _sum(person.today)),
        ("30 days", f"{_sum(person.month)}, {failed}"),
        ("client", clean(person.client, 200)),
    ):
        if value:
            parts += [(f"\n{name:>7}  ", "dim"), value]
    return [*parts, (f"\n{'':>9}The {found.covers}.", "dim")]


def _sum(did: Sum) -> str:
    requests = fmt.plural(did.requests, "request")
    return f"{requests}, {fmt.size(did.received)} received, {fmt.size(did.sent)} sent"


def _note(found: Report) -> list[Part]:
    return ["\n", ("! ", "warn"), (clean(found.note), "dim")] if found.note else []


def _page(
    columns: Sequence[Column], items: Sequence[T], cells: Callable[[T], Iterable[Cell]],
    facts: Callable[[T], tuple[str, Pairs]], *, says: str, empty: str,
) -> Page:  # fmt: skip
    rows = []
    for number, item in enumerate(items):
        made = tuple(cells(item))
        text = " ".join(cell.text for cell in made).casefold()
        rows.append(FoundRow(str(number), made, text))
    return Page(tuple(columns), tuple(rows), says, empty, lambda key: facts(items[int(key)]))


def _covered(found: Report, days: int) -> str:
    return f"The {found.coverage.last(days).sentence}."


# The tabs


def _addresses(found: Report, person: Person) -> Page:
    def cells(each: Address) -> Iterable[Cell]:
        return (
            Cell(clean(each.address, 60)), Cell(fmt.exact(each.last)),
            Cell(fmt.count(each.requests)), Cell(fmt.exact(each.first)),
            Cell(clean(each.client, 100)),
        )  # fmt: skip

    def facts(each: Address) -> tuple[str, Pairs]:
        return each.address, (
            ("last", fmt.exact(each.last)), ("first", fmt.exact(each.first)),
            ("requests", fmt.count(each.requests)), ("client", each.client),
        )  # fmt: skip

    number = len(person.addresses)
    many = f"{number}{'+' if person.more_addresses else ''} addresses: is the account shared? "
    one = "Through an SSH forward or a port on loopback all come from one address. "
    says = (many if number >= MANY_ADDRESSES else one if number else "") + _covered(
        found, found.days
    )
    return _page(ADDRESSES, person.addresses, cells, facts, says=says, empty="From nowhere yet.")


def _slow(found: Report, everybody: bool) -> Page:
    def cells(each: Slow) -> Iterable[Cell]:
        times = (each.median, each.p95, each.upstream_median, each.upstream_p95)
        who = (Cell(clean(each.user, 60)),) if everybody else ()
        return (
            *who, Cell(_endpoint(each.endpoint)), Cell(fmt.few(each.requests)),
            *(Cell(fmt.duration(seconds)) for seconds in times),
        )  # fmt: skip

    def facts(each: Slow) -> tuple[str, Pairs]:
        return each.endpoint, (
            ("who", each.user), ("requests", fmt.count(each.requests)),
            ("in all", _both(each.median, each.p95)),
            ("MLflow, with its database and store", _both(each.upstream_median, each.upstream_p95)),
            ("", dominates([each])),
        )  # fmt: skip

    words = dominates(found.slow)
    says = (f"{words}. " if words else "") + _covered(found, SLOW_DAYS)
    columns = (WHO, *SLOW) if everybody else SLOW
    return _page(columns, found.slow, cells, facts, says=says, empty="No request was measured yet.")


def _both(median: float | None, p95: float | None) -> str:
    if median is None:
        return ""
    return f"half within {fmt.duration(median)}, 95 % within {fmt.duration(p95)}"


def _endpoint(path: str) -> str:
    """An endpoint without what all of them have in common."""
    found = _API.match(path)
    if found is None:
        return clean(path, 300)
    return clean(path[found.end() :], 300) + (" (web)" if found[1] else "")


def _deletions(found: Report, everybody: bool) -> Page:
    def cells(each: Deleted) -> Iterable[Cell]:
        tone = "" if each.status < 400 else "dim"
        who = (Cell(clean(each.user, 60), tone),) if everybody else ()
        method = "" if each.method == "POST" else f"{clean(each.method, 20)} "
        return (
            Cell(fmt.exact(each.at), tone), *who, Cell(clean(each.address, 60), tone),
            Cell(str(each.status), tone), Cell(method + _endpoint(each.path), tone),
        )  # fmt: skip

    def facts(each: Deleted) -> tuple[str, Pairs]:
        done = "done" if each.status < 400 else "not done"
        return f"{each.method} {each.path}", (
            ("at", fmt.exact(each.at)), ("who", each.user), ("from", each.address),
            ("host", each.host), ("answer", f"{each.status}, {done}"), ("run", each.run_id),
            ("experiment", each.experiment_id), ("client", each.client),
        )  # fmt: skip

    columns = (DELETIONS[0], WHO, *DELETIONS[1:]) if everybody else DELETIONS
    says = "Which run it was is mostly in the body of the request, which no log has. "
    return _page(
        columns, found.deletions, cells, facts,
        says=(says if found.deletions else "") + _covered(found, found.days),
        empty="No call that deletes is known.",
    )  # fmt: skip


def _tried(found: Report) -> Page:
    return _page(
        TRIED, found.tried, lambda each: (Cell(clean(each.name, 100)), *_attempt(each)),
        lambda each: (each.name, _attempts(each)), says=_covered(found, found.days),
        empty="No name was tried that is not there.",
    )  # fmt: skip


def _failed(found: Report) -> Page:
    return _page(
        FAILED, found.tried, _attempt, lambda each: (each.address, _attempts(each)),
        says=_covered(found, found.days), empty="No log-in failed.",
    )  # fmt: skip


def _attempt(each: Tried) -> Iterable[Cell]:
    return (
        Cell(clean(each.address, 60)), Cell(fmt.few(each.attempts)), Cell(fmt.exact(each.last)),
        Cell(fmt.exact(each.first)), Cell(clean(each.host, 60)),
    )  # fmt: skip


def _attempts(each: Tried) -> Pairs:
    return (
        ("from", each.address), ("times", fmt.count(each.attempts)),
        ("last", fmt.exact(each.last)), ("first", fmt.exact(each.first)), ("host", each.host),
    )  # fmt: skip

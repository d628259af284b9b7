"""What the table of users says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from console.core import format as fmt
from console.core.text import clean
from console.core.users.report import Activity, Report
from console.core.users.user import User
from console.core.users.user_files import SHARED
from console.tui.statistics import bars
from console.tui.widgets.table import Cell, Column, Row

NAME = Column("name", 18, 40)
HOST = Column("host", 12, 30)
HASH = Column("hash", 11, 16)
NOTE = Column("", 26, 40, wide=110)
SEEN = (
    Column("last seen", 9), Column("today", 7, right=True), Column("30 days", 7, right=True),
    Column("failed", 6, right=True),
)  # fmt: skip
MORE = (
    Column("24 hours", 24, wide=110), Column("addresses", 9, right=True, wide=140),
    Column("client", 20, 34, wide=170),
)  # fmt: skip
# A row of bars that is full at fewer requests an hour would make noise look like work.
LEAST_BUSY = 8
TRIED_SHOWN = 3


def columns(hosts: bool, counted: bool) -> tuple[Column, ...]:
    """The columns.

    Args:
        hosts: There are users of several files.
        counted: The access log was read.
    """
    first = (NAME, HOST) if hosts else (NAME,)
    return (*first, *SEEN, HASH, *MORE, NOTE) if counted else (*first, HASH, replace(NOTE, wide=0))


def key(user: User) -> str:
    """Of the row; a host name has no slash."""
    return f"{user.host}/{user.name}"


def named(user: User) -> str:
    return user.name if user.host == SHARED else f"{user.name} at {user.host}"


def sentences(found: Report) -> Iterable[str]:
    """What the log says that is no user's, and how much of the time it covers."""
    if found.tried:
        last = found.tried[:TRIED_SHOWN]
        names = ", ".join(
            f"{clean(each.name, 30)} {each.attempts:,} from {clean(each.address, 40)}"
            for each in last
        )
        more = f" and {len(found.tried) - len(last)} more" if len(found.tried) > len(last) else ""
        yield f"Unknown names tried: {names}{more}"
    yield f"In 30 days the {found.covers}."
    if found.note:
        yield clean(found.note)


def row(user: User, hosts: bool, counted: bool, seen: Activity | None) -> Row:
    """A user's row for `columns`; a person who is disabled stands in brackets.

    Args:
        user: Who.
        hosts: As for `columns`.
        counted: As for `columns`.
        seen: What the log says of the user; None when it says nothing.
    """
    scheme = clean(user.scheme, 20) + ("" if user.cost is None else f" {user.cost}")
    kept = Cell(f"! {scheme}", "warn") if user.weak else Cell(scheme)
    name = clean(user.name, 100)
    first = [Cell(name if user.enabled else f"({name})")]
    if hosts:
        first.append(Cell("" if user.host == SHARED else clean(user.host, 60)))
    if not counted:
        return Row(key(user), (*first, kept, _note(user)))
    return Row(key(user), (*first, *_seen(seen), kept, *_more(seen), _note(user)))


def _note(user: User) -> Cell:
    if not user.enabled:
        return Cell("disabled", "dim")
    if user.service_user:
        return Cell("the console's own account", "dim")
    return Cell("weak: give a new password", "warn") if user.weak else Cell("")


def _seen(seen: Activity | None) -> tuple[Cell, ...]:
    if seen is None:
        return (Cell(fmt.NEVER), *(Cell(fmt.NEVER) for _ in SEEN[1:]))
    return (
        Cell(fmt.when(seen.last_seen)),
        Cell(fmt.count(seen.today)),
        Cell(fmt.count(seen.month)),
        Cell(fmt.count(seen.failures), "warn" if seen.failures else ""),
    )


def _more(seen: Activity | None) -> tuple[Cell, ...]:
    if seen is None:
        return tuple(Cell("") for _ in MORE)
    addresses = f"{len(seen.addresses)}{'+' if seen.more_addresses else ''}"
    return (
        Cell(bars(seen.series, LEAST_BUSY) if any(seen.series) else "", "accent"),
        Cell(addresses if seen.addresses else ""),
        Cell(clean(seen.client, 60)),
    )

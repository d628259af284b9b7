"""Who was here: reads what is new in the access log, remembers it, and answers questions."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from msgspec.structs import replace

from console.core import files
from console.core.stack.access_sources import Piece, Source
from console.core.users import durations
from console.core.users.activity_answers import (
    Address,
    Coverage,
    Deleted,
    Person,
    Scope,
    Slow,
    Sum,
    Tried,
    merged,
)
from console.core.users.activity_store import (
    DAY,
    ActivityStore,
    BrokenError,
    histograms,
    transaction,
)
from console.core.users.digest import Digest
from console.core.users.durations import Histogram
from console.core.users.lookups import HOUR

BATCH_LINES = 500_000  # between two commits
MONTH_DAYS = 30
SERIES_HOURS = 24
ALL = Scope()


@dataclass(frozen=True, slots=True)
class Collected:
    """What was new in the log.

    Attributes:
        lines: Requests.
        bad: Lines that say nothing that is understood.
        future: Requests from later than now: the clock of the log's machine or of this one is
            wrong. They count as of now.
        note: A sentence about a database that was broken and put aside, or "".
    """

    lines: int
    bad: int
    future: int
    note: str = ""


class Activity:
    """The activity of the users of one deployment.

    Args:
        path: The database.
        lock: A file to lock while it is filled, also against other consoles.
        days: For how long figures are remembered.
        own: The service user of the console's own checks, who is no person.
    """

    def __init__(self, path: Path, lock: Path, days: int, own: str) -> None:
        self._store = ActivityStore(path, days)
        self._lock = lock
        self._own = own
        self.days = days

    # Filling

    def collect(
        self, source: Source, cancel: threading.Event | None = None, now: float | None = None
    ) -> Collected:
        """Read what is new in a log and remember what it says.

        Args:
            source: The log.
            cancel: Leaves off; what was read by then is kept, and the next call goes on there.
            now: Seconds since 1970, for tests.

        Raises:
            BusyError: Another console has been reading for ten seconds.
            ConsoleError: The log cannot be read now, or the database cannot be used.
        """
        cancel = cancel or threading.Event()
        with files.locked(self._lock, "what is known of the users' activity"):
            try:
                return self._collect(source, cancel, now)
            except BrokenError:
                return self._collect(source, cancel, now)

    def _collect(self, source: Source, cancel: threading.Event, now: float | None) -> Collected:
        total = Collected(0, 0, 0, self._store.note)
        with self._store.writing() as connection:
            row = connection.execute(
                "SELECT position, span FROM sources WHERE name = ?", (source.name,)
            ).fetchone()
            position, span = row or (None, None)
            reading = source.read(position, cancel)
            ended = False
            while not ended:
                moment = time.time() if now is None else now
                digest = Digest(moment, self._own)
                reached, gap, ended = _feed(digest, reading)
                if reached is None:
                    break
                digest.finish()
                until = moment if ended and not cancel.is_set() else digest.last
                with transaction(connection):
                    span = _cover(connection, None if gap else span, digest.first, until, moment)
                    self._store.add(connection, digest)
                    connection.execute(
                        "INSERT OR REPLACE INTO sources VALUES (?, ?, ?)",
                        (source.name, reached, span),
                    )
                    if ended:
                        self._store.prune(connection, moment)
                total = Collected(
                    total.lines + digest.lines, total.bad + digest.bad,
                    total.future + digest.future, total.note,
                )  # fmt: skip
        return total

    # Asking

    def people(
        self, scope: Scope = ALL, today: datetime | None = None, now: float | None = None
    ) -> dict[str, Person]:
        """Everybody of whom something is known, by name as in the log.

        Args:
            scope: The hosts that are meant.
            today: When the viewer's day began; this machine's midnight when left out.
            now: Seconds since 1970, for tests.
        """
        moment = time.time() if now is None else now
        if today is None:
            local = datetime.fromtimestamp(moment).astimezone()
            today = local.replace(hour=0, minute=0, second=0, microsecond=0)
        found: dict[str, Person] = {}
        with self._store.reading() as connection:
            for host, user, first, last, more in connection.execute("SELECT * FROM people"):
                if scope.has(host):
                    one = found.get(user) or Person(user)
                    found[user] = replace(
                        one, first_seen=min(one.first_seen or _at(first), _at(first)),
                        last_seen=max(one.last_seen or _at(last), _at(last)),
                        more_addresses=one.more_addresses or bool(more),
                    )  # fmt: skip
            self._add_hours(connection, scope, found, today, moment)
            self._add_addresses(connection, scope, found)
        return found

    @staticmethod
    def _add_hours(
        connection: sqlite3.Connection, scope: Scope, found: dict[str, Person], today: datetime,
        now: float,
    ) -> None:  # fmt: skip
        this = int(now) // HOUR
        midnight = int(today.timestamp()) // HOUR
        series: dict[str, list[int]] = {}
        for since in (this - MONTH_DAYS * 24 + 1, midnight):
            rows = connection.execute(
                "SELECT host, user, sum(requests), sum(unproven), sum(refused), sum(received), "
                "sum(sent) FROM hours WHERE hour >= ? GROUP BY host, user", (since,),
            )  # fmt: skip
            for host, user, *figures in rows:
                if scope.has(host):
                    one = found.get(user) or Person(user)
                    if since == midnight:
                        found[user] = replace(one, today=one.today + Sum(*figures))
                    else:
                        found[user] = replace(one, month=one.month + Sum(*figures))
        rows = connection.execute(
            "SELECT host, user, hour, requests FROM hours WHERE hour > ?", (this - SERIES_HOURS,)
        )
        for host, user, hour, requests in rows:
            if scope.has(host) and hour <= this:
                each = series.setdefault(user, [0] * SERIES_HOURS)
                each[hour - this - 1] += requests
        for user, each in series.items():
            found[user] = replace(found[user], series=tuple(each))

    @staticmethod
    def _add_addresses(
        connection: sqlite3.Connection, scope: Scope, found: dict[str, Person]
    ) -> None:
        rows = connection.execute(
            "SELECT user, host, address, first, last, requests, client FROM faces "
            "ORDER BY user, last"
        )
        for user, faces in groupby(rows, key=itemgetter(0)):
            known: dict[str, Address] = {}
            for _, host, address, first, last, requests, client in faces:
                if not scope.has(host):
                    continue
                before = known.pop(address, None)  # at another host; the later of both comes last
                begin, count = _at(first), requests
                if before is not None:
                    begin, count = min(before.first, begin), before.requests + count
                known[address] = Address(address, begin, _at(last), count, client)
            if known:
                latest = tuple(reversed(known.values()))
                found[user] = replace(found[user], addresses=latest, client=latest[0].client)

    def tried(self, known: Collection[str] = (), scope: Scope = ALL) -> list[Tried]:
        """Names that somebody failed to log in with, the last first.

        Args:
            known: The names that there are, as in the log; they are left out.
            scope: The hosts that are meant.
        """
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT host, user, address, first, last, max(refused, told), unknown "
                "FROM attempts ORDER BY last DESC"
            ).fetchall()
        return [
            Tried(host, user, address, _at(first), _at(last), attempts,
                  None if unknown is None else bool(unknown))
            for host, user, address, first, last, attempts, unknown in rows
            if scope.has(host) and user not in known
        ]  # fmt: skip

    def slow(self, days: int = 7, user: str | None = None, now: float | None = None) -> list[Slow]:
        """How long requests took, by user and endpoint; who waited longest in all comes first.

        Args:
            days: How far back, to whole days of UTC.
            user: This one alone.
            now: Seconds since 1970, for tests.
        """
        moment = time.time() if now is None else now
        query = "SELECT user, endpoint, histograms FROM times WHERE day > ?"
        values: list[object] = [int(moment) // DAY - days]
        if user is not None:
            query, values = query + " AND user = ?", [*values, user]
        sums: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        with self._store.reading() as connection:
            for name, endpoint, data in connection.execute(query, values):
                into = sums.setdefault((name, endpoint), ({}, {}))
                for each, other in zip(into, histograms(data), strict=True):
                    durations.add(each, other)
        found = [_slow(*key, *each) for key, each in sums.items() if each[0]]
        return sorted(found, key=lambda each: -each.median * each.requests)

    def deletions(
        self, *, run_id: str = "", experiment_id: str = "", user: str = "",
        since: datetime | None = None, until: datetime | None = None,
    ) -> list[Deleted]:  # fmt: skip
        """Calls that delete, the last first; all of what is given must fit.

        A call whose path names no run may still have deleted it; ask by time for those.
        """
        wanted = [
            ("run_id = ?", run_id), ("experiment_id = ?", experiment_id), ("user = ?", user),
            ("at >= ?", since.timestamp() if since else ""),
            ("at < ?", until.timestamp() if until else ""),
        ]  # fmt: skip
        conditions = [(words, value) for words, value in wanted if value != ""]
        where = " AND ".join(words for words, _ in conditions) or "1"
        with self._store.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM deletions WHERE {where} ORDER BY at DESC, rowid DESC",  # noqa: S608  # words of ours
                [value for _, value in conditions],
            ).fetchall()
        return [Deleted(_at(at), *others) for at, *others in rows]

    def coverage(self, days: int, now: float | None = None) -> Coverage:
        """Which part of the last days the logs cover."""
        moment = time.time() if now is None else now
        since = moment - days * DAY
        with self._store.reading() as connection:
            spans = connection.execute("SELECT first, last FROM spans").fetchall()
        until = _at(moment)
        return Coverage(
            until - timedelta(days=days), until,
            tuple((_at(first), _at(last)) for first, last in merged(spans, since, moment)),
        )  # fmt: skip


def _feed(digest: Digest, reading: Iterator[Piece]) -> tuple[bytes | None, bool, bool]:
    """Sum up a batch of a log.

    Returns:
        Where it goes on, None when there was nothing; whether something before it may be lost; and
        whether it was the last batch.
    """
    lines, gap, position = 0, False, None
    for piece in reading:
        position, gap = piece.position, gap or piece.gap
        digest.feed(piece.lines)
        lines += len(piece.lines)
        if lines >= BATCH_LINES:
            return position, gap, False
    return position, gap, True


def _cover(
    connection: sqlite3.Connection, span: int | None, first: float | None, until: float | None,
    now: float,
) -> int:  # fmt: skip
    """Note that the log is known up to a moment: a further one of a span, or of a new span."""
    if span is not None:
        connection.execute("UPDATE spans SET last = max(last, ?) WHERE id = ?", (until or 0, span))
        return span
    end = now if until is None else until
    began = end if first is None else min(first, end)
    added = connection.execute("INSERT INTO spans (first, last) VALUES (?, ?)", (began, end))
    assert added.lastrowid is not None  # noqa: S101  # an INSERT has one
    return added.lastrowid


def _slow(user: str, endpoint: str, request: Histogram, upstream: Histogram) -> Slow:
    return Slow(
        user, endpoint, sum(request.values()),
        durations.quantile(request, 0.5) or 0.0, durations.quantile(request, 0.95) or 0.0,
        durations.quantile(upstream, 0.5), durations.quantile(upstream, 0.95),
    )  # fmt: skip


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""The database that remembers what the access logs said: SQLite, in the deployment's folder.

Figures and the position in the log are committed together, so that a kill at any moment neither
loses a line nor counts one twice. It has no write-ahead log, which who only reads would have to
make a file for. Times are seconds since 1970, hours and days count from there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from console.core import files
from console.core.errors import BusyError, ConsoleError
from console.core.users import durations
from console.core.users.digest import Digest
from console.core.users.durations import Histogram
from console.core.users.lookups import HOUR

FORMAT = 1
DAY = 86_400
BUSY_SECONDS = 10.0
MOST_ADDRESSES = 50  # of a user; the last ones are kept
MOST_TRIED = 5_000
LARGEST = 2**48  # of a sum: sums of sums stay within SQLite's integers

_SCHEMA = """
CREATE TABLE people (
  host TEXT, user TEXT, first REAL, last REAL, more INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (host, user)) WITHOUT ROWID;
CREATE TABLE hours (
  host TEXT, user TEXT, hour INTEGER, requests INTEGER, unproven INTEGER, refused INTEGER,
  received INTEGER, sent INTEGER, PRIMARY KEY (host, user, hour)) WITHOUT ROWID;
CREATE INDEX hours_by_time ON hours (hour);
CREATE TABLE faces (
  host TEXT, user TEXT, address TEXT, first REAL, last REAL, requests INTEGER, client TEXT,
  PRIMARY KEY (host, user, address)) WITHOUT ROWID;
CREATE TABLE attempts (
  host TEXT, user TEXT, address TEXT, first REAL, last REAL, refused INTEGER, told INTEGER,
  unknown INTEGER, PRIMARY KEY (host, user, address)) WITHOUT ROWID;
CREATE TABLE times (
  day INTEGER, user TEXT, endpoint TEXT, histograms BLOB,
  PRIMARY KEY (day, user, endpoint)) WITHOUT ROWID;
CREATE TABLE deletions (
  at REAL, host TEXT, user TEXT, address TEXT, method TEXT, path TEXT, run_id TEXT,
  experiment_id TEXT, status INTEGER, client TEXT);
CREATE INDEX deletions_by_time ON deletions (at);
CREATE TABLE spans (id INTEGER PRIMARY KEY, first REAL, last REAL);
CREATE TABLE sources (name TEXT PRIMARY KEY, position BLOB, span INTEGER) WITHOUT ROWID;
"""

_ADD_PERSON = """INSERT INTO people (host, user, first, last) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)"""
_ADD_HOUR = f"""INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
requests = requests + excluded.requests, unproven = unproven + excluded.unproven,
refused = refused + excluded.refused, received = min({LARGEST}, received + excluded.received),
sent = min({LARGEST}, sent + excluded.sent)"""  # noqa: S608  # a number of ours
_ADD_FACE = """INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
client = CASE WHEN excluded.last >= last THEN excluded.client ELSE client END,
first = min(first, excluded.first), last = max(last, excluded.last),
requests = requests + excluded.requests"""
_ADD_ATTEMPT = """INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
first = min(first, excluded.first), last = max(last, excluded.last),
refused = refused + excluded.refused, told = told + excluded.told,
unknown = coalesce(excluded.unknown, unknown)"""
_BEYOND = """SELECT host, user, address FROM (SELECT host, user, address,
row_number() OVER (PARTITION BY host, user ORDER BY last DESC) AS place FROM faces)
WHERE place > ?"""


class BrokenError(ConsoleError):
    """The database cannot be used any more."""


class ActivityStore:
    """Opens and fills the database of one deployment.

    Args:
        path: Its file; it need not be there yet.
        days: For how long figures are kept. When somebody was seen first and last is kept for good.

    Attributes:
        note: A sentence about a database that could not be used and was put aside, or "".
    """

    def __init__(self, path: Path, days: int) -> None:
        self._path = path
        self._days = days
        self.note = ""

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries that cannot write; an empty database where there is none yet.

        Raises:
            ConsoleError: The database is newer, broken, or not for this account.
        """
        with files.explained(self._path):
            there = self._path.exists()
        if there:
            with self._opened(f"file:{quote(str(self._path))}?mode=ro") as connection:
                if self._format(connection):
                    yield connection
                    return
        with self._opened(":memory:") as connection:
            self._make(connection)
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits what it is told to; call it under the lock of the activity.

        Raises:
            BrokenError: It was broken and is put aside, `note` says so; the next one is new.
            ConsoleError: The database is newer, or not for this account.
        """
        with files.explained(self._path), contextlib.suppress(FileExistsError):
            # Made here, because SQLite would make it readable for everybody. One that is there is
            # not opened: to close it again would drop the locks of those in this process who read
            # it (https://www.sqlite.org/howtocorrupt.html, 2.2).
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self._path, flags, 0o600))
        try:
            with self._opened(f"file:{quote(str(self._path))}") as connection:
                if not self._format(connection):
                    self._make(connection)
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except BrokenError as error:
            self._put_aside()
            raise BrokenError(self.note, "Look again: what the log still holds is read.") from error

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, uri=True)
            ) as connection:
                yield connection
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _format(self, connection: sqlite3.Connection) -> int:
        """The database's format; 0 when nothing is in it yet."""
        number = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if number > FORMAT:
            raise ConsoleError(
                f"{self._path} has format {number}, this version knows formats up to {FORMAT}",
                "It was written by a newer mlflow-console: upgrade this one.",
            )
        return number

    @staticmethod
    def _make(connection: sqlite3.Connection) -> None:
        with transaction(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _explained(self, error: sqlite3.Error) -> ConsoleError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return BusyError(f"{self._path} is in use by another process", "Try again.")
        if code == sqlite3.SQLITE_READONLY:
            return ConsoleError(
                f"{self._path} holds a change that a crash cut short",
                "The next look at the access log takes it back.",
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error):
            return BrokenError(
                f"{self._path} is broken: {error}",
                "The next look at the access log puts it aside and begins a new one.",
            )
        return ConsoleError(f"{self._path}: {error}")

    def _put_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.broken-{time.time_ns() // 1_000_000}")
        with files.explained(self._path):
            for end in ("-journal", ""):  # the database last: a kill before it begins anew
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{end}").rename(f"{aside}{end}")
        self.note = (
            f"{self._path} was broken and is now {aside.name}; "
            "what is left of the access log was read again"
        )

    # Filling it

    def add(self, connection: sqlite3.Connection, digest: Digest) -> None:
        """Add what was summed up; call it in a transaction."""
        many = connection.executemany
        seen: dict[tuple[str, str], tuple[float, float]] = {}
        for (host, user, _), face in digest.faces.items():
            first, last = seen.get((host, user), (face.first, face.last))
            seen[host, user] = min(first, face.first), max(last, face.last)
        many(_ADD_PERSON, ((*who, *when) for who, when in seen.items()))
        many(_ADD_HOUR, (
            (*key, each.requests, each.unproven, each.refused, _sane(each.received),
             _sane(each.sent)) for key, each in digest.hours.items()
        ))  # fmt: skip
        many(_ADD_FACE, (
            (*key, each.first, each.last, each.requests, each.client)
            for key, each in digest.faces.items()
        ))  # fmt: skip
        many(_ADD_ATTEMPT, (
            (*key, each.first, each.last, each.refused, each.told, each.unknown)
            for key, each in digest.attempts.items()
        ))  # fmt: skip
        many("INSERT INTO deletions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
            (each.at, each.host, each.user, each.address, each.method, each.path, each.run_id,
             each.experiment_id, each.status, each.client) for each in digest.deletions
        ))  # fmt: skip
        for key, times in digest.times.items():
            self._add_times(connection, key, [times.request, times.upstream])

    @staticmethod
    def _add_times(
        connection: sqlite3.Connection, key: tuple[int, str, str], added: list[Histogram]
    ) -> None:
        found = connection.execute(
            "SELECT histograms FROM times WHERE day = ? AND user = ? AND endpoint = ?", key
        ).fetchone()
        if found is not None:
            for into, other in zip(added, histograms(found[0]), strict=True):
                durations.add(into, other)
        data = msgspec.msgpack.encode(added)
        connection.execute("INSERT OR REPLACE INTO times VALUES (?, ?, ?, ?)", (*key, data))

    def prune(self, connection: sqlite3.Connection, now: float) -> None:
        """Forget what is older than it is kept for, and what is more than is kept."""
        since = now - self._days * DAY
        for statement, oldest in (
            ("DELETE FROM hours WHERE hour < ?", since // HOUR),
            ("DELETE FROM times WHERE day < ?", since // DAY),
            ("DELETE FROM deletions WHERE at < ?", since),
            ("DELETE FROM attempts WHERE last < ?", since),
            ("DELETE FROM faces WHERE last < ?", since),
            ("DELETE FROM spans WHERE (last < ? OR last <= first) "
             "AND id NOT IN (SELECT span FROM sources)", since),
        ):  # fmt: skip
            connection.execute(statement, (oldest,))
        beyond = connection.execute(_BEYOND, (MOST_ADDRESSES,)).fetchall()
        connection.executemany(
            "DELETE FROM faces WHERE host = ? AND user = ? AND address = ?", beyond
        )
        connection.executemany(
            "UPDATE people SET more = 1 WHERE host = ? AND user = ?", {each[:2] for each in beyond}
        )
        connection.execute(
            "DELETE FROM attempts WHERE (host, user, address) IN (SELECT host, user, address "
            "FROM attempts ORDER BY last DESC LIMIT -1 OFFSET ?)", (MOST_TRIED,),
        )  # fmt: skip


def histograms(data: bytes) -> list[Histogram]:
    """The two distributions of a row: of requests in all, and of MLflow's part."""
    return msgspec.msgpack.decode(data, type=list[Histogram])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _sane(amount: int) -> int:
    """A sum of bytes: a line may claim anything."""
    return max(0, min(LARGEST, amount))

"""Reading a SQLite database that nobody writes: a copy of one, or what a dump holds."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from console.core.backup import gzipped
from console.core.backup.dumping.dump_reader import Only, Row
from console.core.files import explained, free_bytes

MOST_VALUES = 400  # in a query; SQLite may take 999


def opened(path: Path) -> sqlite3.Connection:
    """A database that nobody writes, and that is opened without any file beside it."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str:
    """As SQLite holds it: UTF-8 by convention only."""
    return raw.decode("utf-8", "backslashreplace")


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """The rows of every table."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    ).fetchall()
    counts = {}
    for (table,) in tables:
        query = f"SELECT COUNT(*) FROM {_quoted(table)}"  # noqa: S608  # quoted
        (counts[table],) = connection.execute(query).fetchone()
    return counts


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables."""
    return {name for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'")}  # fmt: skip


def select(
    connection: sqlite3.Connection, query: str, values: tuple[str, ...] = ()
) -> Iterator[Row]:  # fmt: skip
    cursor = connection.execute(query, values)
    names = [each[0] for each in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def rows(file: Path, tables: Collection[str], only: Only) -> Iterator[tuple[str, Row]]:
    """Rows out of a dump; see `dumps.rows`."""
    with _unpacked(file) as connection:
        there = tables_of(connection)
        for table in sorted(there.intersection(tables)):
            for query, values in _queries(connection, table, only):
                for row in select(connection, query, values):
                    yield table, row


def _queries(
    connection: sqlite3.Connection, table: str, only: Only
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What gives the rows that are asked for; few values a query, as SQLite has a limit."""
    query = f"SELECT * FROM {_quoted(table)}"  # noqa: S608  # quoted
    if table not in only:
        yield query, ()
        return
    asked, among = only[table]
    columns = [name for name in _columns(connection, table) if name in asked]
    ids = sorted(among)
    for at in range(0, len(ids), MOST_VALUES):
        some = ids[at : at + MOST_VALUES]
        places = f"IN ({', '.join('?' * len(some))})"
        condition = " OR ".join(f"{_quoted(name)} {places}" for name in columns)
        yield f"{query} WHERE {condition}", tuple(some) * len(columns)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _unpacked(file: Path) -> Iterator[sqlite3.Connection]:
    """The database in a dump, unpacked beside the snapshots or where there is room.

    The file has a name for the moment only in which SQLite opens it: no kill leaves it behind.
    """
    place = file.parent.parent.parent
    if not os.access(place, os.W_OK) or free_bytes(place) < 20 * file.stat().st_size:
        place = Path(tempfile.gettempdir())
    name = place / f".reading-{secrets.token_hex(8)}"
    with explained(place), open(_new(name), "wb") as out:
        try:
            for piece in gzipped.Reader(file).pieces():
                out.write(piece)
            out.flush()
            if not name.exists():
                # open(2), O_TMPFILE; with a folder, which counts for nothing here, as Python lets
                # links be followed only then.
                number = out.fileno()
                os.link(f"/proc/self/fd/{number}", name, src_dir_fd=number, follow_symlinks=True)
            connection = opened(name)
        finally:
            name.unlink(missing_ok=True)
    with contextlib.closing(connection):
        yield connection


def _new(name: Path) -> int:
    """A new file without a name, or with this one where the file system knows none without."""
    try:
        return os.open(name.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

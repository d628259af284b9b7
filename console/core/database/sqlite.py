"""MLflow's backend store in a SQLite file, opened so that it cannot be written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from console.core.database.sql import Row, SchemaError, SqlDatabase
from console.core.errors import BusyError, ConsoleError, UnreachableError
from console.core.files import explained

BUSY_SECONDS = 2.0  # how long a writer may make us wait before we say so


class SqliteDatabase(SqlDatabase):
    """A SQLite file; each call opens it anew, so that any thread may ask.

    The file is opened with `mode=ro` (https://www.sqlite.org/uri.html): it is never created and
    no lock of ours lets a writer wait, as every answer is fetched whole before it is handed on.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def _ask(self, query: str, *values: object) -> list[Row]:
        self._check_there()
        # Not `as_uri`: a name with `?` or `#` in it must stay part of the path.
        uri = f"file:{quote(str(self.path))}?mode=ro"
        try:
            with contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)
            ) as connection:
                connection.text_factory = _text
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _check_there(self) -> None:
        """Say what SQLite's "unable to open database file" hides.

        The file is not opened for that: closing any descriptor of it would drop the locks that
        other connections of this process hold (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        with explained(self.path):
            try:
                self.path.stat()
            except FileNotFoundError as error:
                raise UnreachableError(
                    f"There is no database {self.path} yet",
                    "The server makes it when it starts: `mlflow-console up`.",
                ) from error
            if not self.path.is_file():
                raise ConsoleError(f"{self.path} is no file, so it is no SQLite database")
            if not os.access(self.path, os.R_OK):
                raise PermissionError(13, "Permission denied", str(self.path))

    def _explained(self, error: sqlite3.Error) -> ConsoleError:
        # The primary result code is the low byte (https://www.sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = str(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return BusyError(
                f"The database {self.path} stayed locked for {BUSY_SECONDS:.0f} seconds",
                "The server is writing much; try again in a moment.",
            )
        if code == sqlite3.SQLITE_READONLY:
            return UnreachableError(
                f"The database {self.path} holds a change that a crash cut short",
                "The server finishes it when it starts: `mlflow-console up`.",
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return ConsoleError(
                f"{self.path} is damaged, or no SQLite database ({text})",
                "Stop the server and restore it from a backup.",
            )
        if "no such table" in text or "no such column" in text:
            return SchemaError(f"The database {self.path}", text)
        return UnreachableError(f"The database {self.path} cannot be read: {text}")


def _text(raw: bytes) -> str:
    """Text as SQLite holds it: UTF-8 by convention only, other programs can write any bytes."""
    return raw.decode("utf-8", "backslashreplace")

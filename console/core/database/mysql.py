"""MLflow's backend store in a MySQL database, asked so that nothing can be written."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from console.core.database.sql import Row, SchemaError, SqlDatabase
from console.core.errors import AccessError, BusyError, ConsoleError, UnreachableError
from console.core.stack.places import MysqlServer
from console.core.text import clean

if TYPE_CHECKING:
    import pymysql

CONNECT_SECONDS = 5
READ_SECONDS = 30
BUSY_SECONDS = 2  # how long a migration may make us wait before we say so
PAGE = 10_000  # rows

# https://dev.mysql.com/doc/mysql-errors/9.7/en/server-error-reference.html, and for the client
# https://dev.mysql.com/doc/mysql-errors/9.7/en/client-error-reference.html
_NO_ANSWER = (2002, 2003, 2005)
_BROKE_OFF = (1053, 2006, 2013, 2014, 4031)
_NOT_IN = (1045, 1698, 1820, 1862, 3118)
_NOT_ALLOWED = (1044, 1142, 1143, 1227)
_FULL = (1040, 1203, 1226)
_LOCKED = (1205, 1213)
_UNKNOWN_DATABASE = 1049
_OTHER_SCHEMA = (1054, 1146)


class MysqlDatabase(SqlDatabase):
    """A MySQL database; each call has a connection of its own, so that any thread may ask.

    The session is read-only (`SET SESSION TRANSACTION READ ONLY`), whatever the account may do.
    Each statement is a transaction of its own.

    Large tables are read in pages along their primary key. A cursor that streams would keep its
    view of the table, and the table's definition locked against a migration, for as long as the
    reader likes; between two pages nothing is held. A row that is added meanwhile is seen or not,
    as if it had come a little earlier or later.

    Args:
        server: Where it is.
    """

    def __init__(self, server: MysqlServer) -> None:
        self._server = server
        self._name = f"The database {clean(server.name)} at {clean(server.host)}:{server.port}"

    def version(self) -> str:
        """What the server calls itself: "9.7.4", "11.8.2-MariaDB"."""
        return clean(str(self._ask("SELECT VERSION()")[0][0]), 80)

    def data_bytes(self) -> int:
        """About how many bytes the rows of its tables take, without indexes."""
        with self._asking() as ask:
            ask("SET SESSION information_schema_stats_expiry = 0")  # or it is a day old
            ((found,),) = ask(
                "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables "
                "WHERE table_schema = DATABASE()"
            )
        return int(found)

    def _ask(self, query: str, *values: object) -> list[Row]:
        with self._asking() as ask:
            return ask(query, *values)

    def _each(self, query: str, key: str) -> Iterator[Row]:
        with self._asking() as ask:
            page = ask(f"{query} ORDER BY {key} LIMIT ?", PAGE)
            yield from page
            while len(page) == PAGE:
                last = page[-1][0]
                page = ask(f"{query} WHERE {key} > ? ORDER BY {key} LIMIT ?", last, PAGE)
                yield from page

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Callable[..., list[Row]]]:
        """A connection for one question, or one table, and its failures as sentences."""
        import pymysql  # noqa: PLC0415  # first use

        try:
            with contextlib.closing(self._connect()) as connection:
                cursor = connection.cursor()

                def ask(query: str, *values: object) -> list[Row]:
                    cursor.execute(query.replace("?", "%s"), values)
                    return list(cursor.fetchall())

                ask(f"SET SESSION lock_wait_timeout = {BUSY_SECONDS}")
                yield ask
        except pymysql.MySQLError as error:
            raise self._explained(error) from error

    def _connect(self) -> pymysql.Connection:
        import pymysql  # noqa: PLC0415  # first use

        server = self._server
        try:
            return pymysql.connect(
                host=server.host, port=server.port, database=server.name, user=server.user,
                # As bytes: of text that is no Latin-1 the driver makes an error that holds it.
                password=server.password.reveal().encode(),
                charset="utf8mb4", autocommit=True, program_name="mlflow-console",
                init_command="SET SESSION TRANSACTION READ ONLY", connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS, write_timeout=READ_SECONDS,
            )  # fmt: skip
        except (struct.error, IndexError, NameError, ValueError) as error:
            # What the driver makes of a greeting that is no MySQL.
            raise self._no_mysql() from error

    def _explained(self, error: Exception) -> ConsoleError:
        if len(error.args) < 2 or not isinstance(error.args[0], int):
            return self._no_mysql()
        code, said = error.args[0], clean(f"{error.args[1]}, {error.args[0]}")
        if code in _OTHER_SCHEMA:
            return SchemaError(self._name, said)
        if code in _LOCKED or code in _FULL:
            return self._busy(code, said)
        if code in _NOT_IN or code in _NOT_ALLOWED:
            return self._denied(code, said)
        if code == _UNKNOWN_DATABASE:
            return ConsoleError(
                f"{self._name} does not exist: the MySQL server runs without it",
                "It is made when the server starts for the first time; if it held something, "
                "put that back from a backup.",
            )
        return self._unreachable(code, said)

    def _busy(self, code: int, said: str) -> BusyError:
        if code in _LOCKED:
            return BusyError(
                f"{self._name} stayed locked for {BUSY_SECONDS} seconds",
                "A server that starts may be bringing it up to date; try again in a moment.",
            )
        return BusyError(f"{self._name} has no connection left ({said})", "Try again in a moment.")

    def _denied(self, code: int, said: str) -> AccessError:
        user = clean(self._server.user)
        if code in _NOT_IN:
            return AccessError(
                f"{self._name} does not let {user} in ({said})",
                "The database and the deployment must hold the same password: it was changed on "
                "one side only.",
            )
        return AccessError(
            f"{self._name} does not let {user} read it ({said})",
            f"Give {user} the right to SELECT there.",
        )

    def _unreachable(self, code: int, said: str) -> UnreachableError:
        hint = "`mlflow-console status` shows whether it runs."
        if "timed out" in said:
            return UnreachableError(f"{self._name} does not answer in time", hint)
        if code in _NO_ANSWER:
            return UnreachableError(f"{self._name} does not run: nothing answers there", hint)
        if code in _BROKE_OFF:
            return UnreachableError(f"{self._name} broke off in the middle of an answer", hint)
        return UnreachableError(f"{self._name} cannot be read ({said})", hint)

    def _no_mysql(self) -> ConsoleError:
        where = f"{clean(self._server.host)}:{self._server.port}"
        return ConsoleError(
            f"What answers at {where} is no MySQL server", "Look whether its port is right."
        )

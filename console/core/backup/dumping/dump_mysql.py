"""The dump of a MySQL database: what `mysqldump` writes in one transaction, and `mysql` reads.

Both run where the database runs, so that they have its version.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.backup import catalog, gzipped
from console.core.backup.dumping.dump_reader import TABLES, Only, Reader, Row
from console.core.backup.snapshot import DATABASE, Dump
from console.core.database.mysql import MysqlDatabase
from console.core.errors import CancelledError, ConsoleError, UnreachableError
from console.core.files import make_folder
from console.core.progress import Progress
from console.core.stack.driver import Role
from console.core.stack.places import MysqlServer

if TYPE_CHECKING:
    from console.core.deployment import Deployment

FILE = f"{DATABASE}/mlflow.sql.gz"
LEVEL = 3
REPORT_BYTES = 16 << 20
_CAUGHT = ("alembic_version", "experiments", "runs")

# MLflow's own account has every right on its database and none beside it. So no tablespaces, no
# GTIDs and no masking policies: mysqldump asks other tables for them, and 9.7 fails without
# --masking-policies=0. "loose" options are ignored by the versions that have them not.
DUMP_OPTIONS = (
    "--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces",
    "--loose-set-gtid-purged=OFF", "--loose-masking-policies=0", "--hex-blob", "--complete-insert",
    "--extended-insert", "--triggers", "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)  # fmt: skip
LOAD_OPTIONS = (
    "--batch", "--skip-column-names", "--unbuffered", "--binary-mode",
    "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
)  # fmt: skip

# MariaDB's images have the programs under its own names.
_ANY = 'program=$(command -v "$0" || command -v "$1" || echo "$0"); shift; exec "$program" "$@"'
PASSWORD = "MYSQL_PWD"  # noqa: S105  # the variable's name

# A dump that names who made a trigger or a view loads for that account alone.
_TRIGGER = re.compile(rb"(/\*!50003 CREATE\*/ )/\*!50017 DEFINER=`[^`]*`@`[^`]*`\*/ ")
_VIEW = re.compile(rb"/\*!50013 DEFINER=`[^`]*`@`[^`]*` SQL SECURITY DEFINER \*/\n")

# Whoever was killed while it loaded may have left a client that still has something to do; nobody
# else has this lock. A subquery with two rows is an error, which ends the client.
BEFORE = b"""\
SET SESSION lock_wait_timeout = 60, SESSION group_concat_max_len = 16777216;
DO IF(GET_LOCK(LEFT(CONCAT('mlflow-console ', DATABASE()), 64), 60), 1,
      (SELECT 1 UNION SELECT 2));
SET FOREIGN_KEY_CHECKS = 0;
SELECT CONCAT('DROP VIEW ', GROUP_CONCAT('`', REPLACE(table_name, '`', '``'), '`')) INTO @views
  FROM information_schema.tables
  WHERE table_schema = DATABASE() AND table_type = 'VIEW';
SET @views = COALESCE(@views, 'DO 0');
PREPARE gone FROM @views;
EXECUTE gone;
SELECT CONCAT('DROP TABLE ', GROUP_CONCAT('`', REPLACE(table_name, '`', '``'), '`')) INTO @tables
  FROM information_schema.tables
  WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE';
SET @tables = COALESCE(@tables, 'DO 0');
PREPARE gone FROM @tables;
EXECUTE gone;
DEALLOCATE PREPARE gone;
"""


def dump_command(user: str, database: str) -> tuple[str, ...]:
    """What dumps a database; the password comes in the variable PASSWORD."""
    program = ("sh", "-c", _ANY, "mysqldump", "mariadb-dump")
    return (*program, f"--user={user}", *DUMP_OPTIONS, database)


def load_command(user: str, database: str) -> tuple[str, ...]:
    """What executes a `script`; the password comes in the variable PASSWORD."""
    program = ("sh", "-c", _ANY, "mysql", "mariadb")
    return (*program, f"--user={user}", *LOAD_OPTIONS, database)


def script(file: Path, rows: Mapping[str, int], cancel: threading.Event) -> Iterator[bytes]:
    """What `load_command` reads: it empties the database, loads a dump and counts.

    The client then writes how much of the file is loaded, a number a line, and in the end "whole".
    It fails when a table has not as many rows as the dump.

    Args:
        file: The dump.
        rows: What the dump holds, by table.
        cancel: Leaves off; the database is then left with a part of the dump.
    """
    yield BEFORE
    reader = gzipped.Reader(file, cancel)
    reported = 0
    for line in reader.lines():
        yield line
        if reader.position - reported >= REPORT_BYTES // 8 and line.startswith(b"INSERT INTO `"):
            reported = reader.position
            yield b"SELECT %d;\n" % reported
    for table, expected in rows.items():
        name = table.replace("`", "``")
        counted = f"(SELECT COUNT(*) FROM `{name}`) = {expected}"  # noqa: S608  # quoted
        yield f"DO IF({counted}, 1, (SELECT 1 UNION SELECT 2));\n".encode()
    yield b"SELECT 'whole';\n"


class MysqlSource:
    """A MySQL database as what is dumped and loaded.

    Args:
        deployment: Whose.
        server: Where it is.
    """

    kind = "mysql"

    def __init__(self, deployment: Deployment, server: MysqlServer) -> None:
        self._deployment = deployment
        self._server = server

    def room(self) -> int:
        """About how much a dump takes at most: as much as the rows in the database."""
        return MysqlDatabase(self._server).data_bytes()

    def take(self, folder: Path, cancel: threading.Event) -> Generator[Progress, None, Dump]:
        """Dump it; see `DumpSource`."""
        began = datetime.now(UTC)
        reader = Reader(_CAUGHT)
        revision: list[str] = []
        make_folder(folder / DATABASE)
        with contextlib.ExitStack() as stack:
            packed = stack.enter_context(gzipped.Writer(folder / FILE, LEVEL))
            listed = stack.enter_context(catalog.Writer(folder))

            def caught(table: str, row: Row) -> None:
                if table == "alembic_version":
                    revision.append(str(row["version_num"]))
                else:
                    listed.add(table, row)

            yield from self._dumped(reader, packed, caught, cancel)
            _check(reader)
        return Dump(
            kind="mysql", file=FILE, bytes=(folder / FILE).stat().st_size,
            revision=revision[0] if revision else None, rows=reader.counts, began_at=began,
        )  # fmt: skip

    def _dumped(
        self, reader: Reader, packed: gzipped.Writer, caught: Callable[[str, Row], None],
        cancel: threading.Event,
    ) -> Iterator[Progress]:  # fmt: skip
        label = "dumping the database"
        written = reported = 0
        yield Progress(label, 0, None, "bytes")
        command = dump_command(self._server.user, self._server.name)
        for line in gzipped.lines(self._pipe("dumped", command, None, cancel)):
            kept = _without_owner(line)
            packed.write(kept)
            for table, row in reader.read(kept):
                caught(table, row)
            written += len(kept)
            if written - reported >= REPORT_BYTES:
                reported = written
                yield Progress(label, written, None, "bytes")
        yield Progress(label, written, written, "bytes")

    def load(self, file: Path, dump: Dump, cancel: threading.Event) -> Iterator[Progress]:
        """Replace everything in it; see `DumpSource`."""
        label, total = "loading the database", file.stat().st_size
        yield Progress(label, 0, total, "bytes")
        command = load_command(self._server.user, self._server.name)
        feed = script(file, dump.rows, cancel)
        word = b""
        for line in gzipped.lines(self._pipe("loaded", command, feed, cancel)):
            word = line.strip()
            if word.isdigit():
                yield Progress(label, int(word), total, "bytes")
        if word != b"whole":
            raise ConsoleError("The database was not loaded to the end of the dump")
        yield Progress(label, total, total, "bytes")

    def _pipe(
        self, what: str, command: tuple[str, ...], feed: Iterator[bytes] | None,
        cancel: threading.Event,
    ) -> Iterator[bytes]:  # fmt: skip
        # In the environment and in no file: a kill leaves nothing behind.
        secret = {PASSWORD: self._server.password.reveal()}
        try:
            yield from self._deployment.driver.pipe(Role.DATABASE, command, secret, feed, cancel)
        except (CancelledError, UnreachableError):
            raise
        except ConsoleError as error:
            raise ConsoleError(f"The database cannot be {what}: {explained(error)}",
                               error.hint or _hint(error.message)) from error  # fmt: skip


def explained(error: ConsoleError) -> str:
    """What the client said; of what a script's own checks make an error, what it means."""
    if "ERROR 1242" in error.message:
        return "it has other rows than the dump, or something else is being loaded"
    if error.message in ("sh ended with 137", "sh ended with 143"):  # SIGKILL, SIGTERM
        return "its container was stopped in the middle"
    return error.message


def _hint(said: str) -> str:
    if "able definition has changed" in said:
        return "A server that starts was changing the schema meanwhile; do it again."
    if "Lock wait timeout" in said:
        return "Something else uses it; stop the tracking server, then do it again."
    if "not found" in said:
        return "The database's container has no client programs of MySQL in it."
    return "`mlflow-console logs` shows what the database says."


def _without_owner(line: bytes) -> bytes:
    if line.startswith(b"/*!50003 CREATE*/ "):
        return _TRIGGER.sub(rb"\1", line)
    return b"" if line.startswith(b"/*!50013 ") and _VIEW.fullmatch(line) else line


def _check(reader: Reader) -> None:
    """See that a dump is whole and of MLflow."""
    if not reader.complete:
        raise ConsoleError(
            "mysqldump ended before the dump was whole",
            "`mlflow-console logs` shows what the database says.",
        )
    missing = [table for table in TABLES if table not in reader.counts]
    if missing:
        raise ConsoleError(
            f"The database has not the tables of MLflow: {', '.join(missing)} missing",
            "A server that starts makes them: `mlflow-console up`.",
        )


def check(file: Path, cancel: threading.Event) -> Iterator[Progress]:
    """Read a dump to its end; raises ConsoleError when it is cut or damaged."""
    label, total = "reading the dump", file.stat().st_size
    reader, packed = Reader(), gzipped.Reader(file, cancel)
    reported = 0
    yield Progress(label, 0, total, "bytes")
    for line in packed.lines():
        for _ in reader.read(line):
            pass
        if packed.position - reported >= REPORT_BYTES:
            reported = packed.position
            yield Progress(label, reported, total, "bytes")
    if not reader.complete:
        raise ConsoleError(f"{file} ends before the dump was whole", "Restore another snapshot.")


def rows(file: Path, tables: Collection[str], only: Only) -> Iterator[tuple[str, Row]]:
    """Rows out of a dump; see `dumps.rows`."""
    reader = Reader(tables, only)
    for line in gzipped.Reader(file).lines():
        yield from reader.read(line)

"""The dump of a SQLite database: a copy by SQLite's own backup, packed.

https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from console.core.backup import catalog, gzipped
from console.core.backup.dumping.dump_reader import TABLES
from console.core.backup.dumping.dump_sqlite_reader import count_rows, opened, select
from console.core.backup.snapshot import DATABASE, Dump
from console.core.database.sqlite import SqliteDatabase
from console.core.errors import BusyError, CancelledError, ConsoleError
from console.core.files import explained, make_folder, sync_folder
from console.core.progress import Progress

FILE = f"{DATABASE}/mlflow.db.gz"
LEVEL = 3
REPORT_BYTES = 64 << 20
STEP_PAGES = 16_384  # 64 MB of usual pages
RESTARTS = 3
BUSY_SECONDS = 60.0
BESIDE = ("-journal", "-wal", "-shm")


class SqliteSource:
    """A SQLite file as what is dumped and loaded.

    Args:
        path: The file.
    """

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = f"The database {path}"

    def room(self) -> int:
        """How much a dump takes at most: the copy, and what is packed of it."""
        with explained(self._path):
            sizes = (Path(f"{self._path}{end}") for end in ("", "-wal"))
            return 2 * sum(each.stat().st_size for each in sizes if each.exists())

    def take(self, folder: Path, cancel: threading.Event) -> Generator[Progress, None, Dump]:
        """Dump it; see `DumpSource`."""
        if not self._path.is_file():
            SqliteDatabase(self._path).roots()  # raises with the sentence for that
        began = datetime.now(UTC)
        make_folder(folder / DATABASE)
        copy = folder / DATABASE / ".copy"
        try:
            with explained(copy):
                copy.unlink(missing_ok=True)
                os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            yield from self._copy(copy, cancel)
            revision, rows = self._look(copy, folder)
            with gzipped.Writer(folder / FILE, LEVEL) as packed:
                yield from _pack(copy, packed, cancel)
        finally:
            copy.unlink(missing_ok=True)
        return Dump(
            kind="sqlite", file=FILE, bytes=(folder / FILE).stat().st_size, revision=revision,
            rows=rows, began_at=began,
        )  # fmt: skip

    def _copy(self, copy: Path, cancel: threading.Event) -> Iterator[Progress]:
        """Copy it as it is at one moment.

        In steps, so that nobody who writes has to wait; but each write starts the copy anew. After
        a few of those it is copied in one go, during which others read and do not write. With a
        write-ahead log nobody waits anyway.
        """
        yield Progress("copying the database")
        live = self._connect()
        try:
            with contextlib.closing(live), contextlib.closing(sqlite3.connect(copy)) as target:
                target.execute("PRAGMA synchronous = OFF")  # it is packed next, and thrown away
                (mode,) = live.execute("PRAGMA journal_mode").fetchone()
                if mode == "wal" or not _copied_in_steps(live, target, cancel):
                    live.backup(target, pages=-1, progress=_Steps(cancel, 0))
        except _StuckError as error:
            raise BusyError(
                f"{self._name} stayed locked for {BUSY_SECONDS:.0f} seconds",
                "The server is writing much; try again in a moment.",
            ) from error
        except sqlite3.Error as error:
            raise ConsoleError(f"{self._name} cannot be copied: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        """Open it; for writing only where a crash has left something that SQLite must finish."""
        for mode in ("ro", "rw"):
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode={mode}", uri=True, timeout=BUSY_SECONDS
            )
            try:
                connection.execute("PRAGMA schema_version").fetchone()
            except sqlite3.Error as error:
                connection.close()
                if mode == "rw" or (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_READONLY:
                    raise ConsoleError(f"{self._name} cannot be read: {error}") from error
            else:
                return connection
        raise AssertionError  # the loop has ended it

    def _look(self, copy: Path, folder: Path) -> tuple[str | None, dict[str, int]]:
        """See that a copy is sound and MLflow's; count its rows and write the catalog."""
        try:
            with contextlib.closing(opened(copy)) as connection:
                _require_sound(connection, self._name)
                counts = count_rows(connection)
                missing = [table for table in TABLES if table not in counts]
                if missing:
                    raise ConsoleError(
                        f"{self._name} has not the tables of MLflow: {', '.join(missing)} missing",
                        "A server that starts makes them: `mlflow-console up`.",
                    )
                (revision,) = connection.execute(
                    "SELECT max(version_num) FROM alembic_version"
                ).fetchone()
                catalog.write(
                    folder,
                    select(connection, "SELECT * FROM experiments ORDER BY experiment_id"),
                    select(connection, "SELECT * FROM runs ORDER BY run_uuid"),
                )
        except sqlite3.Error as error:
            raise ConsoleError(f"{self._name} is damaged: {error}") from error
        return revision, counts

    def load(self, file: Path, dump: Dump, cancel: threading.Event) -> Iterator[Progress]:
        """Replace it; see `DumpSource`. Its server must be stopped."""
        fresh = self._path.with_name(f".{self._path.name}.restored")
        make_folder(self._path.parent)
        try:
            yield from unpack(file, fresh, cancel)
            require_as_dumped(fresh, dump)
            if cancel.is_set():
                raise CancelledError("Cancelled")
            self._replace(fresh)
        finally:
            fresh.unlink(missing_ok=True)

    def _replace(self, fresh: Path) -> None:
        with explained(self._path):
            with contextlib.suppress(FileNotFoundError):
                fresh.chmod(self._path.stat().st_mode & 0o7777)
            # A journal beside another database than its own would be worked into that. So it is
            # worked into its own first, if that can be read at all.
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(
                    sqlite3.connect(f"file:{quote(str(self._path))}?mode=rw", uri=True)
                ) as old,
            ):
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                old.execute("PRAGMA schema_version").fetchone()
            for end in BESIDE:
                Path(f"{self._path}{end}").unlink(missing_ok=True)
            fresh.replace(self._path)
            sync_folder(self._path.parent)


class _StuckError(Exception):
    """A copy does not come to an end: it is locked, or begun anew too often."""


class _Steps:
    """Looks on as SQLite copies: leaves off when asked to, or when it gets nowhere.

    Args:
        cancel: Asks for it.
        restarts: How often it may begin anew.
    """

    def __init__(self, cancel: threading.Event, restarts: int) -> None:
        self._cancel = cancel
        self._left = restarts
        self._remaining: int | None = None

    def __call__(self, status: int, remaining: int, total: int) -> None:
        if self._cancel.is_set():
            raise CancelledError("Cancelled")
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # after BUSY_SECONDS
            raise _StuckError
        if self._remaining is not None and remaining >= self._remaining and remaining > 0:
            self._left -= 1
            if self._left < 0:
                raise _StuckError
        self._remaining = remaining


def _copied_in_steps(
    live: sqlite3.Connection, target: sqlite3.Connection, cancel: threading.Event
) -> bool:
    try:
        live.backup(target, pages=STEP_PAGES, sleep=0.001, progress=_Steps(cancel, RESTARTS))
    except _StuckError:
        return False
    return True


def _require_sound(connection: sqlite3.Connection, name: str) -> None:
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise ConsoleError(
            f"{name} is damaged: {said}", "Stop the server and restore it from a backup."
        )


def _pack(
    copy: Path, packed: gzipped.Writer, cancel: threading.Event
) -> Iterator[Progress]:  # fmt: skip
    label, total, done = "packing the database", copy.stat().st_size, 0
    yield Progress(label, 0, total, "bytes")
    with copy.open("rb") as file:
        while piece := file.read(gzipped.PIECE):
            if cancel.is_set():
                raise CancelledError("Cancelled")
            packed.write(piece)
            done += len(piece)
            if done % REPORT_BYTES == 0:
                yield Progress(label, done, total, "bytes")
    yield Progress(label, total, total, "bytes")


def check(file: Path, cancel: threading.Event) -> Iterator[Progress]:
    """Read a dump to its end; raises ConsoleError when it is cut or damaged."""
    label, total = "reading the dump", file.stat().st_size
    packed = gzipped.Reader(file, cancel)
    reported = 0
    yield Progress(label, 0, total, "bytes")
    for _ in packed.pieces():
        if packed.position - reported >= REPORT_BYTES:
            reported = packed.position
            yield Progress(label, reported, total, "bytes")


def unpack(file: Path, target: Path, cancel: threading.Event | None = None) -> Iterator[Progress]:
    """Unpack a dump into a new file, 0600 and on the disk."""
    label, total = "unpacking the database", file.stat().st_size
    packed = gzipped.Reader(file, cancel)
    reported = 0
    yield Progress(label, 0, total, "bytes")
    with explained(target):
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as out:
            for piece in packed.pieces():
                out.write(piece)
                if packed.position - reported >= REPORT_BYTES:
                    reported = packed.position
                    yield Progress(label, reported, total, "bytes")
            out.flush()
            os.fsync(out.fileno())
    yield Progress(label, total, total, "bytes")


def require_as_dumped(path: Path, dump: Dump) -> None:
    """See that an unpacked dump is sound and holds what was counted.

    Raises:
        ConsoleError: It does not.
    """
    try:
        with contextlib.closing(opened(path)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            counts = count_rows(connection) if said == "ok" else {}
        if said == "ok" and path.stat().st_size != _whole_size(path):
            said = "it is cut short"
    except sqlite3.Error as error:
        said, counts = str(error), {}
    if said != "ok":
        raise ConsoleError(f"The dump {dump.file} is damaged: {said}", "Restore another snapshot.")
    if counts != dump.rows:
        raise ConsoleError(
            f"The dump {dump.file} has other rows than were counted", "Restore another snapshot."
        )


def _whole_size(path: Path) -> int:
    """How long a database says that it is: https://www.sqlite.org/fileformat.html, 1.3."""
    with path.open("rb") as file:
        header = file.read(32)
    page = int.from_bytes(header[16:18], "big")
    return (65_536 if page == 1 else page) * int.from_bytes(header[28:32], "big")

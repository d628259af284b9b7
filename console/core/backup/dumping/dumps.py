"""The contract of what is dumped, and which one a deployment has.

One implementation a kind of backend store: another database is another module of this form, and a
line in `source` and `_MODULES`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from console.core.backup.dumping import dump_mysql, dump_sqlite, dump_sqlite_reader
from console.core.backup.dumping.dump_reader import Only, Row
from console.core.backup.snapshot import Dump
from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.core.stack.places import MysqlServer, SqliteFile

if TYPE_CHECKING:
    from console.core.deployment import Deployment

_NAMES = {"sqlite": "SQLite", "mysql": "MySQL"}


class DumpSource(Protocol):
    """A backend store as what is dumped and loaded."""

    @property
    def kind(self) -> str:
        """What it is, as `Dump.kind` has it."""

    def room(self) -> int:
        """How many bytes `take` needs at most, as far as that can be told."""

    def take(self, folder: Path, cancel: threading.Event) -> Generator[Progress, None, Dump]:
        """Write it as it is at one moment, while others write; the return value is the dump.

        The dump and the catalog (`catalog.py`) are files of mode 0600, on the disk when this
        ends; the rows are counted in the dump itself.

        Args:
            folder: Of the snapshot.
            cancel: Leaves off; nothing is left of it then.

        Raises:
            UnreachableError: It does not run.
            DiskFullError: The snapshot's place is full.
            ConsoleError: It could not be dumped whole, and why.
        """

    def load(self, file: Path, dump: Dump, cancel: threading.Event) -> Iterator[Progress]:
        """Replace all that it holds by a dump of its own kind, and count.

        What is interrupted can be done again, from whatever state.

        Args:
            file: The dump, which was read to its end before.
            dump: What it holds.
            cancel: Leaves off; what is in it then is of no use.

        Raises:
            ConsoleError: It could not be loaded whole, and why.
        """


def source(deployment: Deployment) -> DumpSource:
    """The backend store of a deployment; raises as `Driver.backend_store`."""
    place = deployment.driver.backend_store()
    match place:
        case SqliteFile():
            return dump_sqlite.SqliteSource(place.path)
        case MysqlServer():
            return dump_mysql.MysqlSource(deployment, place)


def check(snapshot: Path, dump: Dump, cancel: threading.Event) -> Iterator[Progress]:
    """Read a dump to its end.

    Args:
        snapshot: The folder of the snapshot.
        dump: Its dump.
        cancel: Leaves off.

    Raises:
        ConsoleError: It is missing, damaged, or was cut short.
    """
    file = snapshot / dump.file
    if not file.is_file():
        raise ConsoleError(f"{file} is missing", "Restore another snapshot.")
    check_one = dump_mysql.check if dump.kind == "mysql" else dump_sqlite.check
    yield from check_one(file, cancel)


def load(
    deployment: Deployment, snapshot: Path, dump: Dump, cancel: threading.Event
) -> Iterator[Progress]:
    """Replace what the live backend store holds by a dump, which is read to its end before.

    The tracking server must be stopped, or nobody writes. What is interrupted can be done again.

    Args:
        deployment: Whose.
        snapshot: The folder of the snapshot.
        dump: Its dump.
        cancel: Leaves off; after the first destructive step, what is in the store is of no use.

    Raises:
        ConsoleError: Nothing was changed if the dump is not sound or of another kind of database;
            else the store has to be loaded again.
    """
    target = source(deployment)
    refuse_other_kind(target, dump)
    yield from check(snapshot, dump, cancel)
    yield from target.load(snapshot / dump.file, dump, cancel)


def refuse_other_kind(target: DumpSource, dump: Dump) -> None:
    """Refuse a dump that this backend store cannot load.

    Raises:
        ConsoleError: It is of another kind of database.
    """
    if target.kind != dump.kind:
        raise ConsoleError(
            f"The dump is of {_NAMES[dump.kind]}, and this deployment keeps its runs in "
            f"{_NAMES.get(target.kind, target.kind)}",
            "Restore it into a deployment of the same driver; single runs come back into any.",
        )


def rows(
    snapshot: Path,
    dump: Dump,
    tables: Collection[str],
    only: Only | None = None,
) -> Iterator[tuple[str, Row]]:
    """Rows of some tables, by column, as the dump is read from its beginning to its end.

    Args:
        snapshot: The folder of the snapshot.
        dump: Its dump.
        tables: Which tables; those that the dump does not have are left out.
        only: Which rows of them, where not all are asked for.

    Yields:
        The table and the row; tables by their names.

    Raises:
        ConsoleError: The dump is damaged.
    """
    read = dump_mysql.rows if dump.kind == "mysql" else dump_sqlite_reader.rows
    yield from read(snapshot / dump.file, tables, only or {})

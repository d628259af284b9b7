r"""What mysqldump writes, read as it streams.

Of the SQL only what mysqldump makes of a table's rows is understood: one statement a line,

    INSERT INTO `runs` (`run_uuid`, `name`, ...) VALUES ('a','it\'s'),('b',NULL);

with the columns named (`--complete-insert`). In a string a line end is `\n`, so that lines need no
look at strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from console.core.errors import ConsoleError

TABLES = ("alembic_version", "experiments", "runs", "metrics", "params", "tags")
"""A dump without one of these is not of MLflow's database."""
TRAILER = b"-- Dump completed"

Value = None | int | float | str | bytes
Row = dict[str, Value]
Only = Mapping[str, tuple[Collection[str], Collection[str]]]
"""By table: columns, and the values that are asked for, ids of plain ASCII."""

_INSERT, _VALUES, _CREATE = b"INSERT INTO `", b") VALUES ", b"CREATE TABLE `"
_STRING = rb"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"
_VALUE = rb"((?:_\w+ )?" + _STRING + rb"|[^',();]+)"
# https://dev.mysql.com/doc/refman/9.7/en/string-literals.html
_ESCAPED = re.compile(rb"\\(.)|''", re.DOTALL)
_NAMED = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}


class DumpError(ConsoleError):
    """A dump is not as mysqldump writes it."""


class Reader:
    """Reads a dump line by line.

    Attributes:
        counts: The rows of each table so far.
        complete: The last line was that of a whole dump.

    Args:
        wanted: The tables whose rows are asked for.
        only: Of these tables only the rows that have one of some values in one of some columns.
    """

    def __init__(
        self,
        wanted: Collection[str] = (),
        only: Only | None = None,
    ) -> None:
        self.counts: dict[str, int] = {}
        self.complete = False
        self._wanted = frozenset(wanted)
        self._only = dict(only or {})
        self._rows: dict[int, re.Pattern[bytes]] = {}

    def read(self, line: bytes) -> Iterator[tuple[str, Row]]:
        """The wanted rows in the next line, by table; must be read to their end.

        Raises:
            DumpError: It cannot be understood.
        """
        if not line.startswith(_INSERT):
            self._look(line)
            return
        head, values = _split(line)
        table, columns = head
        found = self._count(table, values)
        if table not in self._wanted:
            return
        seen = 0
        for row in self._parsed(table, columns, values):
            seen += 1
            if row is not None:
                yield table, row
        if table not in self._only and seen != found:
            raise DumpError(f"The dump's rows of {table} cannot be told apart")

    def _look(self, line: bytes) -> None:
        if line.startswith(_CREATE):
            name = line[len(_CREATE) : line.rindex(b"`")].replace(b"``", b"`")
            self.counts.setdefault(name.decode("utf-8", "replace"), 0)
        self.complete = line.startswith(TRAILER) or (self.complete and not line.strip())

    def _count(self, table: str, values: bytes) -> int:
        found = count(values)
        self.counts[table] = self.counts.get(table, 0) + found
        self.complete = False
        return found

    def _parsed(self, table: str, columns: list[str], values: bytes) -> Iterator[Row | None]:
        """Every row; None for one that is not asked for."""
        if table not in self._only:
            for found in self._matches(len(columns), values):
                yield dict(zip(columns, map(decode, found.groups()), strict=True))
            return
        asked, among = self._only[table]
        literals = {_quoted(value) for value in among}
        if not any(each in values for each in literals):
            return
        places = [number for number, column in enumerate(columns, 1) if column in asked]
        for found in self._matches(len(columns), values):
            if literals.isdisjoint(found.group(*places, 0)):
                yield None
            else:
                yield dict(zip(columns, map(decode, found.groups()), strict=True))

    def _matches(self, columns: int, values: bytes) -> Iterator[re.Match[bytes]]:
        pattern = self._rows.get(columns)
        if pattern is None:
            row = rb"\(" + rb",".join([_VALUE] * columns) + rb"\)[,;]"
            pattern = self._rows[columns] = re.compile(row, re.DOTALL)
        at = 0
        while at < len(values):
            found = pattern.match(values, at)
            if found is None:
                raise DumpError("A row of the dump cannot be understood")
            yield found
            at = found.end()


def _quoted(value: str) -> bytes:
    r"""An id as mysqldump writes it: ids hold nothing that needs a backslash."""
    return b"'" + value.encode() + b"'"


def _split(line: bytes) -> tuple[tuple[str, list[str]], bytes]:
    """Table and columns of an INSERT, and its rows up to the semicolon.

    Raises:
        DumpError: It is another one than mysqldump's.
    """
    table_ends = line.find(b"` (`")
    columns_end = line.find(_VALUES)
    values = line[columns_end + len(_VALUES) :].rstrip(b"\n")
    if not 0 < table_ends < columns_end or not values.endswith(b");"):
        raise DumpError("A statement of the dump cannot be understood, or is cut short")
    columns = line[table_ends + 4 : columns_end - 1].decode("utf-8", "replace").split("`, `")
    table = line[len(_INSERT) : table_ends].replace(b"``", b"`").decode("utf-8", "replace")
    return (table, columns), values


def count(values: bytes) -> int:
    """How many rows `(...),(...);` are; what looks like one in a string is none."""
    if b"\\" in values:
        values = values.replace(b"\\\\", b"").replace(b"\\'", b"")
    # Now every quote begins or ends a string, or is one half of a doubled one.
    return 1 + b"".join(values.split(b"'")[::2]).count(b"),(")


def decode(literal: bytes) -> Value:
    """What a literal stands for.

    Raises:
        DumpError: It is none that mysqldump writes.
    """
    if literal == b"NULL":
        return None
    if literal.startswith(b"'"):
        return _text(literal).decode("utf-8", "replace")
    try:
        if literal.startswith(b"0x"):
            return bytes.fromhex(literal[2:].decode())
        if literal.startswith(b"_"):
            return _text(literal[literal.index(b"'") :])
        return _number(literal.decode())
    except ValueError as error:
        raise DumpError("A value of the dump cannot be understood") from error


def _text(literal: bytes) -> bytes:
    inner = literal[1:-1]
    return _ESCAPED.sub(_plain, inner) if b"\\" in inner or b"'" in inner else inner


def _plain(found: re.Match[bytes]) -> bytes:
    escaped: bytes | None = found[1]
    return b"'" if escaped is None else _NAMED.get(escaped, escaped)


def _number(literal: str) -> int | float:
    convert: Callable[[str], int | float] = int if literal.lstrip("-").isdigit() else float
    return convert(literal)

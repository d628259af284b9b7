"""What mysqldump writes by its documentation; what it really writes is in tests/contract."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.backup import gzipped
from console.core.backup.dumping.dump_reader import DumpError, Only, Reader, Row, count, decode

# https://dev.mysql.com/doc/c-api/9.7/en/mysql-real-escape-string.html
ESCAPES = {0: b"\\0", 10: b"\\n", 13: b"\\r", 26: b"\\Z", 34: b'\\"', 39: b"\\'", 92: b"\\\\"}

texts = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="'\"\\,();\n\0\r\x1aN ", max_size=30),
    st.sampled_from(["),(", "'),('", "\\'),(\\'", "NULL", "-- Dump completed", "😀", "\\", "'"]),
)
values = st.one_of(
    st.none(), texts, st.integers(-(2**63), 2**63), st.binary(min_size=1, max_size=8),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=9)
)


def literal(value: object) -> bytes:
    match value:
        case None:
            return b"NULL"
        case str():
            return b"'" + b"".join(ESCAPES.get(x, bytes([x])) for x in value.encode()) + b"'"
        case bytes():
            return b"0x" + value.hex().upper().encode()
    return repr(value).encode()


def insert(table: str, rows: list[list[object]]) -> bytes:
    columns = ", ".join(f"`c{number}`" for number in range(len(rows[0])))
    tuples = b",".join(b"(" + b",".join(map(literal, row)) + b")" for row in rows)
    return f"INSERT INTO `{table}` ({columns}) VALUES ".encode() + tuples + b";\n"  # noqa: S608


def read(reader: Reader, *lines: bytes) -> list[tuple[str, Row]]:
    return [found for line in lines for found in reader.read(line)]


@given(tables)
def test_rows_come_back_as_they_were(rows: list[list[object]]) -> None:
    reader = Reader(["a `b"])
    found = read(reader, insert("a ``b", rows))
    assert [list(row.values()) for _, row in found] == rows
    assert {table for table, _ in found} == {"a `b"}
    assert list(found[0][1]) == [f"c{number}" for number in range(len(rows[0]))]
    assert reader.counts == {"a `b": len(rows)}


@given(tables)
def test_rows_are_counted_without_being_read(rows: list[list[object]]) -> None:
    line = insert("t", rows)
    reader = Reader()
    assert read(reader, line, line) == []
    assert reader.counts == {"t": 2 * len(rows)}


@given(st.text())
def test_a_doubled_quote_is_one(text: str) -> None:
    doubled = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    assert decode(doubled.encode("utf-8", "replace")) == text.encode("utf-8", "replace").decode()
    assert count(f"(1,{doubled}),(2,NULL);".encode("utf-8", "replace")) == 2


def test_only_some_rows() -> None:
    rows: list[list[object]] = [["a", "x"], ["b", "a"], ["c", "bb"], ["d", "b"]]
    only: Only = {"t": (("c0", "c1"), {"a", "b"})}
    found = read(Reader(["t"], only), insert("t", rows), insert("t", [["e", "f"]]))
    assert [row["c0"] for _, row in found] == ["a", "b", "d"]
    assert read(Reader(["t"], {"t": (("c0",), {"x"})}), insert("t", rows)) == []


@given(tables, st.data())
def test_what_is_cut_short_is_never_taken_for_whole(
    rows: list[list[object]], data: st.DataObject
) -> None:
    whole = insert("t", rows)
    cut = whole[: data.draw(st.integers(len(b"INSERT INTO `"), len(whole) - 2))]
    with pytest.raises(DumpError):
        read(Reader(["t"]), cut + b"\n")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_a_sentence(data: bytes) -> None:
    reader = Reader(["t"])
    for start in (b"", b"INSERT INTO `", b"INSERT INTO `t` (`a`) VALUES ", b"CREATE TABLE `"):
        line = start + data.replace(b"\n", b"") + b"\n"
        with contextlib.suppress(DumpError):
            read(reader, line)


def test_the_last_line_makes_it_whole() -> None:
    reader = Reader()
    read(reader, b"CREATE TABLE `runs` (\n", b"-- Dump completed on 2026-11-28  8:00:00\n")
    assert (reader.complete, reader.counts) == (True, {"runs": 0})
    read(reader, b"\n")
    assert reader.complete
    read(reader, insert("runs", [[1]]))
    assert not reader.complete


def test_numbers_and_binary() -> None:
    assert decode(b"-12") == -12
    assert decode(b"1e-7") == 1e-7
    assert decode(b"1.7976931348623157e308") == 1.7976931348623157e308
    assert not math.isinf(float(str(decode(b"1.7976931348623157e308"))))
    assert decode(b"_binary 'a\\0\\\\'") == b"a\0\\"
    assert decode(b"''") == ""


@given(st.lists(st.binary(max_size=12)))
def test_lines_of_pieces(pieces: list[bytes]) -> None:
    found = list(gzipped.lines(pieces))
    assert b"".join(found) == b"".join(pieces)
    assert all(line.endswith(b"\n") for line in found[:-1])
    assert all(line and b"\n" not in line[:-1] for line in found)

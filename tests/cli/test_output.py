"""Tables, JSON and narration."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.cli.output import BLOCK, Output
from console.cli.tables import GAP, Column, Layout, Marked, Tone, width_of
from console.core.progress import Progress


class Screen(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was written."""
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@dataclass(frozen=True)
class Value:
    text: str
    number: float = 0.0


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), min_size=1, max_size=9))
def test_rows_are_one_safe_line_of_one_width(rows: list[tuple[str, str]]) -> None:
    columns = [Column("A"), Column("B")]
    layout = Layout(columns, rows, terminal=40)
    for line in [layout.head(), *layout.lines(rows)]:
        assert len(line.splitlines()) <= 1
        assert "\x1b" not in line
        assert width_of(line) <= 40


def test_what_is_copied_is_never_cut() -> None:
    layout = Layout([Column("ID", keep=True), Column("N")], [("x" * 32, "y" * 50)], terminal=50)
    assert layout.line(("x" * 32, "y" * 50)) == "x" * 32 + GAP + "y" * 15 + "…"


def test_one_long_name_makes_no_other_row_long() -> None:
    columns, rows = [Column("NAME", most=6), Column("N")], [("x" * 9, "1"), ("abc", "2")]
    lines = Layout(columns, rows).lines(rows)
    assert [*lines] == ["xxxxxxxxx  1", "abc     2"]
    lines = Layout(columns, rows, terminal=200).lines(rows)
    assert [*lines] == ["xxxxx…  1", "abc     2"]


def test_wide_letters_count_twice() -> None:
    layout = Layout([Column("A"), Column("B")], [("日本", "x"), ("abcd", "y")])
    assert [*layout.lines([("日本", "x"), ("abcd", "y")])] == ["日本  x", "abcd  y"]


def test_numbers_stand_at_the_right_and_colour_does_not_shift() -> None:
    rows: list[list[str | Marked]] = [[Marked("9", Tone.BAD), "a"], ["10", "b"]]
    layout = Layout([Column("N", right=True), Column("T")], rows, colour=True)
    assert [*layout.lines(rows)] == [" \x1b[31m9\x1b[0m  a", "10  b"]


def test_markup_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([Column("A")], ["[/b] [red]x"], lambda text: [text], "")
    assert capsys.readouterr().out == "A\n[/b] [red]x\n"


def test_long_tables_are_written_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[str]:
        for number in range(BLOCK * 2):
            yield str(number)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Output().table([Column("A")], rows(), lambda text: [text], "")
    assert len(capsys.readouterr().out.splitlines()) == 1 + BLOCK * 2


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_null(capsys: pytest.CaptureFixture[str], number: float) -> None:
    Output().json(Value("x", number))
    assert capsys.readouterr().out == '{"text":"x","number":null}\n'


@given(st.text())
def test_json_is_the_same_text_and_safe_on_a_terminal(text: str) -> None:
    screen = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        Output().json(Value(text))
    shown = screen.text()
    assert json.loads(shown)["text"] == text
    assert not [
        letter for letter in shown
        if (ord(letter) < 32 and letter != "\n") or 127 <= ord(letter) < 160
        or letter in "\u202e\u2066\u2028"
    ]  # fmt: skip


def test_json_is_pretty_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    Output().json(Value("x"))
    assert screen.text() == '{\n  "text": "x",\n  "number": 0.0\n}\n'


def test_an_array_that_breaks_off_is_not_closed(capsys: pytest.CaptureFixture[str]) -> None:
    def values() -> Iterator[Value]:
        yield Value("one")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Output().json_array(values())
    out = capsys.readouterr().out
    assert out.startswith('[{"text":"one"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)


def test_paths_that_are_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output().json({"path": Path("/a/\udcff")})
    assert json.loads(capsys.readouterr().out) == {"path": "/a/\ufffd"}


def test_quiet_keeps_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.note("a note")
    output.warn("a warning\x1b[2J")
    output.problem("a problem", "a hint")
    assert capsys.readouterr().err == "Warning: a warning\nError: a problem\na hint\n"


def test_narration_that_nobody_reads_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    output = Output()
    output.note("to nobody")
    with output.progress() as show:
        show(Progress("to nobody either"))


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("console.cli.output.REDRAW_SECONDS", 0)
    with Output().progress() as show:
        show(Progress("fetching", 1, 4, "packages"))
        show(Progress("fetching", 2, 4, "packages"))
        show(Progress("walking", 1_234, None, "objects"))
    shown = screen.text()
    assert f"\r\x1b[Kfetching  {'━' * 6}{'─' * 18} 25 %" in shown
    assert f"\r\x1b[Kfetching  {'━' * 12}{'─' * 12} 50 %" in shown
    assert "walking  1,234 objects" in shown
    assert shown.endswith("\r\x1b[Kwalking\n")


def test_a_bar_says_amount_and_keeps_no_line_of_each_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("console.cli.output.REDRAW_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "100")
    with Output().progress() as show:
        for each in range(1, 5):
            show(Progress(f"copying {each} of 4 artifacts", each * 10**9, 4 * 10**9, "bytes"))
    shown = screen.text()
    assert f"copying 1 of 4 artifacts  {'━' * 6}{'─' * 18} 25 %  1.0 GB of 4.0 GB" in shown
    assert shown.count("\n") == 1
    assert shown.endswith("\r\x1b[Kcopying 4 of 4 artifacts\n")


@pytest.mark.parametrize(("columns", "bar"), [(120, 24), (100, 21), (80, 0)])
def test_a_narrow_terminal_has_the_numbers_first(
    monkeypatch: pytest.MonkeyPatch, columns: int, bar: int
) -> None:
    screen, clock = Screen(), iter(range(0, 1000, 5))
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("console.cli.output.time.monotonic", lambda: next(clock))
    monkeypatch.setenv("COLUMNS", str(columns))
    with Output().progress() as show:
        for each in (1, 2):
            show(Progress("artifacts: 6,487 of 8,119 copied", each * 10**9, 4 * 10**9, "bytes"))
    last = screen.text().split("\r\x1b[K")[-2]
    assert len(last) < columns
    assert last.count("━") + last.count("─") == bar
    assert last.endswith(" 50 %  2.0 GB of 4.0 GB, 200 MB/s, 10 s left")


def test_without_a_terminal_each_step_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress() as show:
        for each in range(1, 5):
            show(Progress(f"copying {each} of 4 artifacts", each, 4, "bytes"))
        for each in range(2):
            show(Progress(f"2026112{each}-080000: every byte is as it was written"))
    assert capsys.readouterr().err.splitlines() == [
        "copying 1 of 4 artifacts",
        "20261120-080000: every byte is as it was written",
        "20261121-080000: every byte is as it was written",
    ]


def test_times_are_short_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert Output().time(long_ago) == "2001-02-03 04:05:06"
    monkeypatch.setattr(sys, "stdout", Screen())
    assert Output().time(long_ago) == "Feb 2001"

"""A million lines in a store: what goes in comes out, whatever it is; regular expressions."""

from __future__ import annotations

import random
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.regular import Regular
from console.core.stack import log_export, log_levels
from console.core.stack.log_filter import Selection, Shown, Wanted, picked
from console.core.stack.log_levels import Level
from console.core.stack.log_lines import KEPT_BYTES, LONGEST_LINE, Raw, parse
from console.core.stack.log_store import LogStore
from console.core.text import clean

STAMP = b"2026-11-23T14:02:11.123456789Z "
UNSAFE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]"

TEXTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"", b"ERROR: no", b" goes on", b"needle", b"[/foo]", b"\x1b[31mneedle\x1b[0m",
        b"\x1b]0;title", "\u202eright\u2067 to left".encode(), b"x" * 20_000, b"INFO needle",
    ]),
).map(lambda text: text.replace(b"\n", b""))  # fmt: skip
LINES = st.lists(
    st.tuples(st.builds(lambda stamped, text: (STAMP if stamped else b"") + text,
                        st.booleans(), TEXTS), st.sampled_from(["one", "two", "three"])),
    max_size=60,
)  # fmt: skip
BATCHES = st.lists(LINES, max_size=6)
WANTED = st.builds(
    Wanted, st.none() | st.sampled_from(["needle", "^$", "n.*e", "x*", "two", "ERROR", "o$"]
                                        ).map(Regular),
    st.booleans(), st.none() | st.sampled_from(Level),
    st.sampled_from([frozenset(), frozenset({"one"}), frozenset({"two", "none"})]),
)  # fmt: skip


def numbers(selection: Selection) -> list[int]:
    return [selection.number(index) for index in range(len(selection))]


@given(BATCHES, st.integers(1, 7))
@settings(deadline=None)
def test_what_goes_in_comes_out(batches: list[list[Raw]], block: int) -> None:
    store = LogStore(block_lines=block)
    for batch in batches:
        store.add(batch)
    lines = [line for batch in batches for line in batch]
    assert (store.first, store.end, store.count) == (0, len(lines), len(lines))
    for number, raw in enumerate(lines):
        line, expected = store.line(number), parse(*raw)
        assert line is not None
        assert (line.service, line.at, line.text) == (
            expected.service, expected.at, expected.text,
        )  # fmt: skip
    assert store.line(len(lines)) is None
    assert store.line(-1) is None


@given(BATCHES, WANTED, WANTED, st.integers(1, 7), st.integers(5, 200))
@settings(deadline=None)
def test_a_selection_is_what_looking_at_each_line_finds(
    batches: list[list[Raw]], wanted: Wanted, other: Wanted, block: int, most: int
) -> None:
    store = LogStore(most_lines=most, block_lines=block)
    selection = Selection(store, wanted, other)
    for batch in batches:
        store.add(batch)
        selection.update()
    late = Selection(store, wanted, other)
    late.update()
    expected = [n for n in range(store.first, store.end)
                if _right(store, n, wanted) and _right(store, n, other)]  # fmt: skip
    assert numbers(selection) == numbers(late) == expected
    assert selection.number(len(expected)) in (-1, store.end)
    for number in range(store.first, store.end):
        above = [each for each in expected if each < number]
        below = [each for each in expected if each > number]
        assert selection.beyond(number, down=True) == (below[0] if below else -1)
        assert selection.beyond(number, down=False) == (above[-1] if above else -1)
        assert selection.index(number) == len(above)


def _right(store: LogStore, number: int, wanted: Wanted) -> bool:
    line = store.line(number)
    assert line is not None
    if wanted.services and line.service not in wanted.services:
        return False
    if line.code not in log_levels.CODES[wanted.level]:
        return False
    if wanted.pattern is None:
        return True
    pattern = wanted.pattern
    matches = pattern.matches(line.raw) or pattern.matches(line.service.encode())
    return matches != wanted.inverse


@given(BATCHES, WANTED)
@settings(deadline=None)
def test_the_command_line_picks_what_the_console_shows(
    batches: list[list[Raw]], wanted: Wanted
) -> None:
    store = LogStore()
    for batch in batches:
        store.add(batch)
    selection = Selection(store, wanted)
    selection.update()
    shown = [store.line(number) for number in numbers(selection)]
    got = list(picked(iter([batch for batch in batches if batch]), wanted))
    assert [(line.service, line.at, line.text) for line in got] == [
        (line.service, line.at, line.text) for line in shown if line
    ]


def test_the_oldest_lines_go_and_their_numbers_stay() -> None:
    store = LogStore(most_lines=100, block_lines=10)
    selection = Selection(store, Wanted(Regular("[05]$")))
    every = Selection(store)
    for number in range(1_000):
        store.add([(b"%d" % number, "one")])
        if number % 13 == 0:
            selection.update()
    selection.update()
    assert (store.first, store.end) == (900, 1_000)
    assert [int(store.line(n).raw) for n in numbers(selection)] == list(  # type: ignore[union-attr]
        range(900, 1_000, 5)
    )
    assert (len(every), every.gone, every.number(0)) == (100, 900, 900)
    assert selection.gone == 180
    assert store.line(899) is None


def test_few_bytes_are_kept_whatever_comes() -> None:
    store = LogStore(most_bytes=300_000, block_lines=100)
    source = random.Random(1)  # noqa: S311  # not a secret
    for _ in range(300):
        store.add([(source.randbytes(500).replace(b"\n", b""), "one") for _ in range(20)])
    assert store.bytes < 600_000
    assert 0 < store.first < store.end == 6_000
    store.add([(b"x" * 5_000_000, "one")])
    line = store.line(store.end - 1)
    assert line is not None
    assert (len(line.raw), len(line.text)) == (KEPT_BYTES, LONGEST_LINE)


def test_a_thousand_services_have_names() -> None:
    store = LogStore()
    store.add([(b"text", f"service {n}") for n in range(1_000)])
    assert [line.service for n in range(3) if (line := store.line(n))] == [
        "service 0", "service 1", "service 2",
    ]  # fmt: skip
    assert store.line(999) is not None


def test_lines_are_added_while_they_are_looked_for() -> None:
    shown, done = Shown(), threading.Event()

    def add() -> None:
        for number in range(300):
            shown.add([(b"line %d" % each, "one") for each in range(number, number + 50)])
        done.set()

    threading.Thread(target=add, daemon=True).start()
    while not done.is_set():
        shown.select(Wanted(Regular("7$")), threading.Event())
        for index in range(min(5, len(shown.selection))):
            number = shown.selection.number(index)
            line = shown.store.line(number)
            assert line is None or line.raw.endswith(b"7")
    selection = shown.select(Wanted(Regular("7$")), threading.Event())
    assert len(selection) == sum(
        str(each).endswith("7") for number in range(300) for each in range(number, number + 50)
    )
    assert shown.selection is selection


def test_what_is_left_off_is_not_shown() -> None:
    shown, cancel = Shown(), threading.Event()
    shown.add([(b"line", "one")])
    cancel.set()
    before = shown.selection
    shown.select(Wanted(Regular("x")), cancel)
    assert shown.selection is before


# Regular expressions


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("needle", [0, 1, 2]), ("Needle", [1]), (r"NEEDLE\s+here", [2]), ("^$", [3]),
        (r"\Sdle", [0, 1, 2]), ("here$", [2, 4]), (r"needle\s+here", [2]), ("a\nb", []),
        ("[^x]*$", [0, 1, 2, 3, 4]), ("(a+)+$", []), ("ÜBER|zz", []),
    ],
)  # fmt: skip
def test_lines_that_match(words: str, rows: list[int]) -> None:
    texts = [b"a needle", b"Needle", b"NEEDLE  here", b"", b"here"]
    assert Regular(words).rows(b"\n".join(texts)) == rows
    assert [n for n, text in enumerate(texts) if Regular(words).matches(text)] == rows


@given(st.text(max_size=20), st.text(max_size=60))
@settings(deadline=None)
def test_any_expression_is_one_or_is_refused(words: str, text: str) -> None:
    try:
        pattern = Regular(words)
    except UsageError:
        return
    end = 0
    for first, last in pattern.spans(text):
        assert end <= first <= last <= len(text)
        end = last
    pattern.rows(text.encode())


def test_a_hopeless_expression_is_done_at_once() -> None:
    text = b"\n".join([b"a" * 5_000 + b"b"] * 500)
    assert Regular("(a+)+$").rows(text) == []
    assert Regular("(x+x+)+y").rows(text) == []


def test_spans_count_characters() -> None:
    assert Regular("ü.").spans("ü😀 xü€") == [(0, 2), (4, 6)]
    assert Regular("x*").spans("axxa") == [(1, 3)]


# Levels


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("INFO:     Uvicorn is running", "I"),
        ("ERROR:    Exception in ASGI application", "E"),
        ("WARNING mlflow.server: insecure", "W"),
        ('INFO:     1.2.3.4:5 - "GET /x HTTP/1.1" 500 Internal Server Error', "E"),
        ('INFO:     1.2.3.4:5 - "GET /ERROR HTTP/1.1" 404 Not Found', "W"),
        ('INFO:     1.2.3.4:5 - "GET /ERROR HTTP/1.1" 200 OK', "I"),
        ("0 [Warning] [MY-010068] [Server] CA certificate ca.pem is self signed.", "W"),
        ("0 [ERROR] [MY-010119] [Server] Aborting", "E"),
        ("0 [System] [MY-010116] [Server] starting; error log goes to stderr", "I"),
        ("[error] 29#29: *1 connect() failed", "E"),
        ("[notice] 1#1: signal 3 (SIGQUIT) received", "I"),
        ("502\tGET\tlab\t1.2.3.4", "E"), ("403\tGET\tlab\t1.2.3.4", "W"),
        ("200\tGET\tlab\t502", "I"), ("API: SYSTEM()", "I"), ("Error: disk (*fmt.wrapError)", "E"),
        ("FATAL Unable to initialize backend", "E"), ("WARNING: Detected default", "W"),
        ('{"level":"ERROR","msg":"x"}', "E"), ("time=1 level=warn msg=x", "W"),
        ("Traceback (most recent call last):", "E"), ("mysql.OperationalError: gone", "E"),
        ("DEBUG:root:x", "D"), ("no errors were found", "I"), ("", "I"),
    ],
)  # fmt: skip
def test_levels(text: str, code: str) -> None:
    assert chr(log_levels.of_line(text.encode())) == code
    assert log_levels.of_lines([text.encode()], ["x"], {}) == code.encode()


def test_what_goes_on_belongs_to_the_line_before_of_its_service() -> None:
    texts = [b"ERROR: a", b"INFO: other", b"  more of a", b"Traceback (most recent call last):",
             b"  File x", b"ValueError: x", b"INFO: b", b"  more of b"]  # fmt: skip
    services = ["one", "two", *["one"] * 6]
    before: dict[str, int] = {}
    assert log_levels.of_lines(texts, services, before) == b"EIeeeeIi"
    assert log_levels.of_lines([b"  more", b" x"], ["two", "one"], before) == b"ii"
    assert before == {"one": ord("i"), "two": ord("i")}


# Files and moments


def test_what_is_shown_is_saved(tmp_path: Path) -> None:
    shown, path = Shown(), tmp_path / "lab.log"
    shown.add([(STAMP + b"needle \x1b[31mred\x1b[0m [/x]", "one"), (b"hay", "two"),
               (b"needle\xff\r", "two")])  # fmt: skip
    selection = shown.select(Wanted(Regular("needle")), threading.Event())
    assert log_export.save(path, selection, threading.Event()) == 2
    assert path.read_text() == (
        "2026-11-23T14:02:11.123456789Z one needle red [/x]\ntwo needle\ufffd\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="is there already"):
        log_export.save(path, Selection(shown.store), threading.Event())
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        log_export.save(tmp_path / "other.log", selection, cancel)
    with pytest.raises(ConsoleError):
        log_export.save(tmp_path / "none" / "x.log", selection, threading.Event())
    assert [each.name for each in tmp_path.iterdir()] == ["lab.log"]
    for wrong in (path, tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(ConsoleError):
            log_export.check_folder(wrong)


NOW = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "ago"),
    [("10m", timedelta(minutes=10)), ("2h", timedelta(hours=2)), ("90s", timedelta(seconds=90)),
     ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)), (" 1H ", timedelta(hours=1)),
     ("2026-11-23T13:02:00Z", timedelta(hours=1)),
     ("2026-11-23T15:02:00+02:00", timedelta(hours=1))],
)  # fmt: skip
def test_moments(typed: str, ago: timedelta) -> None:
    assert log_export.since(typed, NOW) == NOW - ago


def test_a_moment_without_a_zone_is_of_the_viewers() -> None:
    local = NOW.astimezone().replace(tzinfo=None)
    assert log_export.since(local.isoformat(), NOW) == NOW


@pytest.mark.parametrize("typed", ["", "soon", "10", "m", "-1h", "99999999999999d", "2026-13-01"])
def test_no_moments(typed: str) -> None:
    with pytest.raises(UsageError, match="is no moment"):
        log_export.since(typed, NOW)


# The sanitiser


@given(st.text(max_size=300), st.integers(1, 200))
def test_nothing_harmful_is_left(text: str, limit: int) -> None:
    safe = clean(text, limit)
    assert not re.search(UNSAFE, safe)
    assert len(safe) <= limit
    assert clean(safe, limit) == safe


@given(st.binary(max_size=300))
def test_any_bytes_of_a_line_are_harmless(data: bytes) -> None:
    line = parse(data.replace(b"\n", b""), "x")
    assert not re.search(UNSAFE, line.text)

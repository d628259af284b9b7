"""Children that are fed bytes: all of them arrive, and nobody is left behind."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core import pipes, process
from console.core.errors import CancelledError, ConsoleError

ENV = process.environment({})


def stream(
    argv: list[str], feed: list[bytes] | Iterator[bytes] | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[bytes]:  # fmt: skip
    return pipes.stream(argv, ENV, feed, cancel or threading.Event())


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("pipe-")]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=200_000), max_size=6))
def test_what_goes_in_comes_out(pieces: list[bytes]) -> None:
    found = list(stream(["cat"], pieces))
    assert b"".join(found) == b"".join(pieces)
    assert all(0 < len(piece) <= pipes.PIECE for piece in found)


def test_much_more_than_memory_should_hold_goes_through() -> None:
    piece, sent, seen = os.urandom(1 << 20), hashlib.sha256(), hashlib.sha256()
    for _ in range(200):
        sent.update(piece)
    before = psutil.Process().memory_info().rss
    for each in stream(["cat"], (piece for _ in range(200))):
        seen.update(each)
    assert seen.digest() == sent.digest()
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_without_a_feed_there_is_nothing_to_read() -> None:
    assert b"".join(stream(python("import sys; print(len(sys.stdin.read()))"))) == b"0\n"


def test_a_child_that_reads_nothing_stops_nobody() -> None:
    endless = iter(lambda: b"x" * 65536, b"")
    assert b"".join(stream(["echo", "done"], endless)) == b"done\n"
    assert threads() == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; print('warning', file=sys.stderr); sys.exit('why\\x1b[31m it failed')",
         "why it failed"),
        ("raise SystemExit(7)", "python3 ended with 7"),
        ("import os; os.kill(os.getpid(), 9)", "python3 was ended by signal 9"),
    ],
)  # fmt: skip
def test_how_it_failed_is_said(script: str, said: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        list(pipes.stream(python(script), ENV, None, threading.Event(), named="python3"))
    assert caught.value.message == said


def test_it_may_say_much_on_stderr() -> None:
    script = "import sys\nfor _ in range(20000): print('x' * 99, file=sys.stderr)\nprint('whole')"
    assert b"".join(stream(python(script))) == b"whole\n"


def test_what_is_no_program_cannot_be_started() -> None:
    with pytest.raises(ConsoleError, match="cannot be started: No such file"):
        list(stream(["/nonexistent/program"]))


def test_lines_that_somebody_takes_are_no_reason() -> None:
    heard: list[str] = []

    def listen(line: str) -> bool:
        heard.append(line)
        return line.startswith("pid")

    script = "import sys; print('why', file=sys.stderr); sys.exit('pid 7')"
    with pytest.raises(ConsoleError, match=r"^why$"):
        list(pipes.stream(python(script), ENV, None, threading.Event(), listen=listen))
    assert heard == ["why", "pid 7"]


def test_a_feed_that_breaks_off_ends_the_child() -> None:
    def feed() -> Iterator[bytes]:
        yield b"half"
        raise ConsoleError("the file cannot be read")

    with pytest.raises(ConsoleError, match="the file cannot be read"):
        # It would go on for ever with what it has got.
        list(stream(["sh", "-c", "cat; exec sleep 60"], feed()))
    assert threads() == []


def children(tmp_path: Path) -> list[str]:
    """A child that has a child of its own, and writes both of their numbers."""
    script = f"sleep 60 & echo $! > {tmp_path}/inner; echo $$ > {tmp_path}/outer; cat; wait"
    return ["sh", "-c", script]


def ended(path: Path) -> bool:
    try:
        return psutil.Process(int(path.read_text())).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_cancelled_child_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    cancel, asked = threading.Event(), []
    endless = iter(lambda: b"x" * 65536, b"")
    pieces = pipes.stream(
        children(tmp_path),
        ENV,
        endless,
        cancel,
        ended=lambda: asked.append(ended(tmp_path / "outer")),
    )
    next(pieces)
    cancel.set()
    with pytest.raises(CancelledError):
        list(pieces)
    assert asked == [True]
    assert ended(tmp_path / "outer")
    wait_until(lambda: ended(tmp_path / "inner"))
    assert threads() == []


def test_a_child_that_is_left_early_is_ended(tmp_path: Path) -> None:
    asked: list[bool] = []
    endless = iter(lambda: b"x" * 65536, b"")
    pieces = pipes.stream(
        children(tmp_path),
        ENV,
        endless,
        threading.Event(),
        ended=lambda: asked.append(ended(tmp_path / "outer")),
    )
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert asked == [True]
    assert ended(tmp_path / "outer")
    wait_until(lambda: ended(tmp_path / "inner"))
    assert threads() == []

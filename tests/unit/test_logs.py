"""Logs as the real supervisor's log file writes them: turned over, hostile, very long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow_console_server.logfile import LINE_BYTES, LogFile

from console.core.errors import AccessError
from console.core.stack import logs
from console.core.stack.driver import LogLine
from console.core.streams import Stream
from tests.support import machine


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.log"


class Collected:
    """What a following stream has given so far."""

    def __init__(self, stream: Stream[LogLine]) -> None:
        self.texts: list[str] = []
        self.stream = stream
        stream.listen(lambda line: self.texts.append(line.text), lambda error: None)

    def wait(self, true: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + 10
        while not true(self.texts):
            assert time.monotonic() < deadline, self.texts[-5:]
            time.sleep(0.01)


def test_nothing_yet(path: Path) -> None:
    assert logs.tail(path, "tracking", 10) == []
    assert list(logs.stream(path, "tracking", 10, follow=False)) == []


@pytest.mark.parametrize("last", [0, 1, 7, 150, 1000])
def test_the_last_lines_reach_back_over_rotations(path: Path, last: int) -> None:
    file = LogFile(path, file_bytes=1_500)
    everything = [f"line {number}" for number in range(300)]
    for line in everything:
        file.feed(line.encode() + b"\n")
    assert len(list(path.parent.iterdir())) == 5
    got = texts(logs.tail(path, "tracking", last))
    assert got == (everything[-len(got) :] if got else [])
    held = sum(each.read_bytes().count(b"\n") for each in path.parent.iterdir())
    assert len(got) == min(last, held)
    assert texts(list(logs.stream(path, "tracking", last, follow=False))) == got


def test_times_and_lines_without_one(path: Path) -> None:
    LogFile(path).feed(b"with a time\n")
    with path.open("ab") as raw:
        raw.write(b"no time here\n2026-99-99T00:00:00Z broken\n\n")
    lines = logs.tail(path, "tracking", 10)
    assert lines[0].at is not None
    assert abs((datetime.now(UTC) - lines[0].at).total_seconds()) < 60
    assert texts(lines) == [
        "with a time", "no time here", "2026-99-99T00:00:00Z broken", "",
    ]  # fmt: skip
    assert [line.at for line in lines[1:]] == [None, None, None]


def test_hostile_bytes_and_endless_lines(path: Path) -> None:
    file = LogFile(path)
    file.feed(b"\x1b[2Jgone?\x1b]0;title\x07\xff\xfe\r\n")
    file.feed(b"\xe2\x80\xaereversed\x00\n")
    file.feed(b"x" * (3 * LINE_BYTES) + b"\nafter\n")
    shown = texts(logs.tail(path, "tracking", 10))
    assert shown[:2] == ["gone?��", "�reversed␀"]
    assert shown[2] == "x" * (logs.LONGEST_LINE - 1) + "…"
    assert shown[3] == "after"


def test_many_very_long_lines_are_read_in_time(path: Path) -> None:
    with path.open("wb") as raw:
        for _ in range(160):
            raw.write(b"2026-11-23T00:00:00.000Z " + b"x" * 65_000 + b"\n")
    began = time.monotonic()
    assert len(logs.tail(path, "tracking", 100)) == 100
    assert time.monotonic() - began < 5


def test_following_misses_nothing_and_repeats_nothing_over_rotations(path: Path) -> None:
    file = LogFile(path, file_bytes=2_000)
    for number in range(50):
        file.feed(f"old {number}\n".encode())
    following = Collected(logs.stream(path, "tracking", 5, follow=True))
    following.wait(lambda got: len(got) == 5)
    # As fast as it goes: several rotations happen between two looks, but none is dropped.
    for number in range(400):
        file.feed(f"new {number}\n".encode())
        if number % 150 == 149:
            time.sleep(0.3)
    following.wait(lambda got: got[-1] == "new 399")
    assert following.texts == [f"old {number}" for number in range(45, 50)] + [
        f"new {number}" for number in range(400)
    ]
    following.stream.close()


def test_a_line_that_is_half_written_comes_whole(path: Path) -> None:
    with path.open("ab", buffering=0) as raw:
        raw.write(b"2026-11-23T00:00:00.000Z whole\n2026-11-23T00:00:01.000Z ha")
        following = Collected(logs.stream(path, "tracking", 5, follow=True))
        following.wait(lambda got: got == ["whole"])
        raw.write(b"lf\n")
        following.wait(lambda got: got == ["whole", "half"])
        following.stream.close()


def test_a_log_that_begins_later_and_one_that_is_emptied(path: Path) -> None:
    following = Collected(logs.stream(path, "tracking", 5, follow=True))
    time.sleep(0.05)
    file = LogFile(path)
    file.feed(b"first\n" * 3)
    following.wait(lambda got: got == ["first"] * 3)
    os.truncate(path, 0)
    time.sleep(0.6)
    file.feed(b"after\n")
    following.wait(lambda got: got == ["first"] * 3 + ["after"])
    path.unlink()
    file.feed(b"new file\n")
    following.wait(lambda got: got[-1] == "new file")
    following.stream.close()


def test_closing_ends_the_thread_soon(path: Path) -> None:
    before = threading.active_count()
    streams = [logs.stream(path, "tracking", 5, follow=True) for _ in range(5)]
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_that_is_not_for_us() -> None:
    with machine.common_folder() as folder:
        log = folder / "tracking.log"
        log.write_text("secret\n")
        log.chmod(0o600)
        with pytest.raises(AccessError):
            machine.as_nobody(lambda: list(logs.stream(log, "tracking", 5, follow=False)))


def test_the_programs_own_time_is_left_out() -> None:
    line = b"2026-11-23T04:18:10.123Z 2026/11/23 04:18:10 INFO:     Uvicorn is running"
    assert logs.parse(line, "tracking").text == "INFO:     Uvicorn is running"
    assert logs.parse(b"2026-11-23T04:18:10.123Z at 2026/11/23 04:18:10 it", "x").text == (
        "at 2026/11/23 04:18:10 it"
    )

"""The log file: what goes in comes out, whatever it is, even past a full disk."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_console_server.logfile import LINE_BYTES, LogFile

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


def lines(path: Path) -> list[bytes]:
    """Return the lines without their times; each must have one."""
    found = path.read_bytes().splitlines()
    assert all(STAMP.match(line) for line in found)
    return [STAMP.sub(b"", line) for line in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.log"


def test_lines_get_a_time_and_keep_their_bytes(path: Path) -> None:
    log = LogFile(path)
    for piece in (b"one\ntw", b"o\r\n", b"\xff\xfe\x1b[0m\n\n", b"rest"):
        log.feed(piece)
    assert lines(path) == [b"one", b"two", b"\xff\xfe\x1b[0m", b""]
    log.flush()
    assert lines(path)[-1] == b"rest"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("piece", [1000, LINE_BYTES - 1, LINE_BYTES, 1_000_000])
def test_a_very_long_line_is_cut(path: Path, piece: int) -> None:
    log = LogFile(path)
    data = b"x" * (3 * LINE_BYTES) + b"\nnext\n"
    for start in range(0, len(data), piece):
        log.feed(data[start : start + piece])
    assert lines(path) == [b"x" * LINE_BYTES + b" [cut]", b"next"]


def test_a_full_file_is_put_aside_and_the_oldest_goes(path: Path) -> None:
    log = LogFile(path, file_bytes=200, files=3)
    for number in range(40):
        log.feed(b"line %02d\n" % number)
    names = sorted(entry.name for entry in path.parent.iterdir())
    assert names == ["tracking.log", "tracking.log.1", "tracking.log.2"]
    files = [path.with_name(name) for name in reversed(names)]
    kept = [line for file in files for line in lines(file)]
    assert kept == [b"line %02d" % number for number in range(40 - len(kept), 40)]
    assert all(file.stat().st_size <= 200 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_a_new_supervisor_goes_on_in_the_same_file(path: Path) -> None:
    LogFile(path).feed(b"first\n")
    LogFile(path).feed(b"second\n")
    assert lines(path) == [b"first", b"second"]


def test_a_removed_file_is_made_again(path: Path) -> None:
    log = LogFile(path)
    log.feed(b"first\n")
    path.unlink()
    log.feed(b"second\n")
    assert lines(path) == [b"second"]


@pytest.fixture
def no_room(path: Path) -> Iterator[None]:
    """A limit of 110 bytes a file: the kernel then refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (110, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("no_room")
def test_a_full_disk_loses_lines_and_says_how_many(path: Path) -> None:
    log = LogFile(path)
    for number in range(10):
        log.feed(b"this is line %d\n" % number)
    # 40 bytes each: two fit, of the third three quarters, the others not at all.
    before = path.read_bytes()
    assert len(before) == 110
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.feed(b"room again\nand more\n")
    assert lines(path)[:2] == [b"this is line 0", b"this is line 1"]
    assert lines(path)[3:] == [
        b"supervisor: 8 lines were lost: they could not be written",
        b"room again",
        b"and more",
    ]
    assert path.read_bytes().startswith(before)


def test_a_missing_folder_only_loses_lines(path: Path) -> None:
    log = LogFile(path.parent / "gone" / "tracking.log")
    log.feed(b"lost\n")
    os.mkdir(path.parent / "gone")
    log.feed(b"kept\n")
    kept = lines(path.parent / "gone" / "tracking.log")
    assert kept == [b"supervisor: 1 lines were lost: they could not be written", b"kept"]

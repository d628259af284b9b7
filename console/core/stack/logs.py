"""Log files that a supervisor writes and turns over: their tail, and what comes next."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from console.core.stack.driver import LogLine
from console.core.streams import Stream
from console.core.text import clean

LONGEST_LINE = 10_000
LOOK_SECONDS = 0.25
WAITING_LINES = 10_000


def stream(path: Path, service: str, last: int, follow: bool) -> Stream[LogLine]:
    """The last lines of a log, then with `follow` the new ones, over rotations.

    Args:
        path: The current file; older ones carry .1, .2 and so on.
        service: Whose log it is.
        last: How many lines to begin with.
        follow: Go on until the stream is closed.
    """

    def produce(cancel: threading.Event, emit: Callable[[LogLine], None]) -> None:
        start = path.stat() if path.exists() else None
        for line in tail(path, service, last):
            emit(line)
        if follow:
            _follow(path, service, start, cancel, emit)

    return Stream(produce, keep=max(last, WAITING_LINES))


def tail(path: Path, service: str, last: int) -> list[LogLine]:
    """The last lines, reaching back into older files as far as needed."""
    kept: deque[bytes] = deque()
    for file in _youngest_first(path):
        lines = _last_lines(file, last - len(kept))
        kept.extendleft(reversed(lines))
        if len(kept) >= last:
            break
    return [parse(line, service) for line in kept]


def _youngest_first(path: Path) -> Iterator[Path]:
    yield path
    number = 1
    while (older := path.with_name(f"{path.name}.{number}")).exists():
        yield older
        number += 1


def _last_lines(path: Path, count: int, block: int = 65536) -> list[bytes]:
    """The last `count` whole lines of a file, read backwards in blocks."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    with file:
        position = file.seek(0, os.SEEK_END)
        data = b""
        while position > 0 and data.count(b"\n") <= count:
            size = min(block, position)
            position -= size
            file.seek(position)
            data = file.read(size) + data
    lines = data.split(b"\n")[:-1]
    return lines[-count:] if count > 0 else []


def _follow(
    path: Path, service: str, start: os.stat_result | None, cancel: threading.Event,
    emit: Callable[[LogLine], None],
) -> None:  # fmt: skip
    file: BinaryIO | None = None
    rest = b""
    try:
        if start is not None:
            file = path.open("rb")
            file.seek(start.st_size if os.fstat(file.fileno()).st_ino == start.st_ino else 0)
        while not cancel.is_set():
            if file is None and path.exists():
                file = path.open("rb")
            data = file.read(1 << 20) if file else b""
            if data:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    emit(parse(line, service))
            elif file and _turned_over(file, path):
                file.close()
                file = None
            else:
                cancel.wait(LOOK_SECONDS)
    finally:
        if file:
            file.close()


def _turned_over(file: BinaryIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return False


def parse(line: bytes, service: str) -> LogLine:
    """One line as the supervisor wrote it: the time, a space, the text."""
    stamp, _, text = line.decode(errors="replace").partition(" ")
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return LogLine(service, None, clean(line.decode(errors="replace"), LONGEST_LINE))
    return LogLine(service, at, clean(text, LONGEST_LINE))

"""Log files that a supervisor writes and turns over: their tail, and what comes next."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

from console.core.files import explained
from console.core.stack.driver import LogLine
from console.core.stack.log_lines import LONGEST_LINE, moment, parse, split
from console.core.stack.log_stream import BATCH_LINES, Emit, LogStream

__all__ = ["LONGEST_LINE", "LogStream", "parse", "stream", "tail"]

LOOK_SECONDS = 0.25
EVERY = 1 << 40
BLOCK_BYTES = 65_536
PIECE_BYTES = 1 << 20


def stream(
    path: Path, service: str, last: int | None, follow: bool, since: datetime | None = None
) -> LogStream:
    """The last lines of a log, then with `follow` the new ones, over rotations.

    Args:
        path: The current file; older ones carry .1, .2 and so on.
        service: Whose log it is.
        last: How many lines to begin with; None for all that are kept.
        follow: Go on until the stream is closed.
        since: None of those that are older.
    """

    def produce(cancel: threading.Event, emit: Emit) -> None:
        with explained(path), _Reader(path) as reader:
            lines = _since(reader.tail(EVERY if last is None else last), since)
            for at in range(0, len(lines), BATCH_LINES):
                emit([(line, service) for line in lines[at : at + BATCH_LINES]])
            while follow and not cancel.is_set():
                new = reader.more()
                if new:
                    emit([(line, service) for line in new])
                else:
                    cancel.wait(LOOK_SECONDS)

    return LogStream(produce)


def tail(path: Path, service: str, last: int) -> list[LogLine]:
    """The last lines, reaching back into older files as far as needed."""
    with explained(path), _Reader(path) as reader:
        return [parse(line, service) for line in reader.tail(last)]


def _since(lines: list[bytes], since: datetime | None) -> list[bytes]:
    """The lines from a moment on; one without a time belongs to the one before it."""
    if since is None:
        return lines
    for row, line in enumerate(lines):
        at = moment(split(line)[0])
        if at is not None and at >= since:
            return lines[row:]
    return []


class _Reader:
    """Reads a log that turns over: no line twice, none left out, none in two halves.

    It holds the file that it reads open, so it goes on where it was whatever the file is called
    by now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def tail(self, last: int) -> list[bytes]:
        """The last whole lines; `more` goes on behind them."""
        kept: deque[bytes] = deque()
        if self._file:
            kept.extend(_last_lines(self._file, last))
        older = self._age() + 1
        while len(kept) < last and (file := _opened(_numbered(self._path, older))):
            with file:
                kept.extendleft(reversed(_last_lines(file, last - len(kept))))
            older += 1
        return list(kept)

    def more(self) -> list[bytes]:
        """The whole lines that came since; none when there is nothing new at the moment."""
        if self._file is None:
            self._file = _opened(self._path)
        if self._file is None:
            return []
        turned = not self._is_current()  # before reading: what was written until then is read
        data = self._file.read(PIECE_BYTES)
        if data:
            *lines, self._rest = (self._rest + data).split(b"\n")
            return lines or self.more()
        if turned:
            return self._next()
        if self._file.tell() > os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)  # somebody emptied it
            self._rest = b""
        return []

    def _next(self) -> list[bytes]:
        """Go on with the next younger file; a line without an end gets none any more."""
        rest, age = self._rest, self._age()
        self._close()
        self._rest = b""
        self._file = _opened(_numbered(self._path, max(age - 1, 0)))
        return [rest] if rest else self.more()

    def _is_current(self) -> bool:
        try:
            return self._same(self._path)
        except FileNotFoundError:
            return True  # between two files: the next one is about to be made

    def _age(self) -> int:
        """What number the open file carries by now; 0 for the current one and for none."""
        number = 0
        with contextlib.suppress(FileNotFoundError):
            while self._file and not self._same(_numbered(self._path, number)):
                number += 1
            return number
        return 0

    def _same(self, path: Path) -> bool:
        return self._file is not None and os.path.samestat(
            os.fstat(self._file.fileno()), path.stat()
        )

    def _close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return None


def _last_lines(file: BinaryIO, count: int) -> list[bytes]:
    """The last whole lines of a file, read backwards; it then stands behind the last of them."""
    position = file.seek(0, os.SEEK_END)
    data = b""
    while position > 0 and data.count(b"\n") <= count:
        size = min(BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        data = file.read(size) + data
    file.seek(position + data.rfind(b"\n") + 1)
    lines = data.split(b"\n")[:-1]
    return lines[-count:] if count > 0 else []

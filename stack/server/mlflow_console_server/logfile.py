"""A log file that turns over by size and survives a full disk. Standard library only."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

#: Bytes after which a file is put aside.
FILE_BYTES = 10 * 1024 * 1024

#: Files in all: ``tracking.log`` and ``tracking.log.1`` (the youngest) to ``.4``.
FILES = 5

#: Bytes of a line that are kept.
LINE_BYTES = 64 * 1024

_CUT = b" [cut]"


def now() -> str:
    """Return the time as ISO 8601 in UTC with milliseconds: ``2026-11-23T03:46:00.123Z``."""
    moment = datetime.fromtimestamp(time.time(), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LogFile:
    """Takes a program's raw output and writes it as lines with a time before each.

    Bytes are kept as they are: what is no UTF-8 survives. When a line cannot be written (a full
    disk), it is dropped and counted, and the count stands in the file once there is room again.
    """

    def __init__(self, path: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        """Remember where to write; the file is opened by the first line.

        Args:
            path: The current file; older ones get ``.1``, ``.2`` and so on appended.
            file_bytes: Size in bytes at which a file is put aside.
            files: Number of files in all.
        """
        self._path = path
        self._file_bytes = file_bytes
        self._files = files
        self._descriptor: int | None = None
        self._size = 0
        self._rest = b""
        self._skipping = False
        self._torn = False
        self._lost = 0

    def feed(self, data: bytes) -> None:
        """Take output as it came; unfinished lines wait for their end.

        Args:
            data: Any bytes.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._finish(line)
        if len(rest) > LINE_BYTES and not self._skipping:
            self._line(rest[:LINE_BYTES] + _CUT)
            self._skipping = True
        self._rest = b"" if self._skipping else rest

    def flush(self) -> None:
        """Write what is left of an unfinished line: its writer is gone."""
        if self._rest or self._skipping:
            self._finish(self._rest)
        self._rest = b""

    def say(self, sentence: str) -> None:
        """Write a line of the supervisor's own.

        Args:
            sentence: What happened.
        """
        self.flush()
        self._line(b"supervisor: " + sentence.encode())

    def append(self, lines: bytes) -> None:
        """Append whole lines as they are, without a time before them.

        Args:
            lines: Each with its end.

        Raises:
            OSError: If not all of it could be written.
        """
        self._write(b"\n" + lines if self._torn else lines)

    def _finish(self, line: bytes) -> None:
        """Write a line whose end has come, unless its beginning was already cut and written."""
        if self._skipping:
            self._skipping = False
        elif len(line) > LINE_BYTES:
            self._line(line[:LINE_BYTES] + _CUT)
        else:
            self._line(line)

    def _line(self, line: bytes) -> None:
        """Write one line with its time, or count it as lost."""
        stamp = now().encode() + b" "
        record = stamp + line.rstrip(b"\r") + b"\n"
        if self._lost:
            words = f"supervisor: {self._lost} lines were lost: they could not be written"
            record = stamp + words.encode() + b"\n" + record
        if self._torn:
            record = b"\n" + record
        try:
            self._write(record)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def _write(self, record: bytes) -> None:
        """Append a record.

        Raises:
            OSError: If not all of it could be written.
        """
        descriptor = self._open()
        if self._size and self._size + len(record) > self._file_bytes:
            self._turn_over()
            descriptor = self._open()
        written = os.write(descriptor, record)
        self._size += written
        self._torn = written < len(record)
        if self._torn:
            raise OSError("only a part was written")

    def _open(self) -> int:
        """Return the descriptor of the current file, for its owner alone."""
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            # Somebody removed the file: what went into it would be seen by nobody.
            os.close(self._descriptor)
            self._descriptor = None
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            os.fchmod(self._descriptor, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        return self._descriptor

    def _turn_over(self) -> None:
        """Put the current file aside; the oldest one goes."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._files))]
        for older, younger in reversed(list(zip(names[1:], names, strict=False))):
            if younger.exists():
                younger.replace(older)

"""Logs in a file, and moments as a person types them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.core import files
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.stack.log_filter import Selection
from console.core.stack.log_store import Stored
from console.core.text import clean

WRITTEN_LINES = 2_000
_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.IGNORECASE)


def since(typed: str, now: datetime | None = None) -> datetime:
    """The moment that is meant by "10m", "1h30m", "2d" or an ISO time.

    Args:
        typed: A time without a zone is one of the viewer's zone.
        now: The present.

    Raises:
        UsageError: It is neither.
    """
    now = now or datetime.now(UTC)
    words = typed.strip()
    ago = _AGO.fullmatch(words)
    try:
        if words and ago is not None:
            days, hours, minutes, seconds = (int(each or 0) for each in ago.groups())
            return now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return datetime.fromisoformat(words).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{clean(words, 60) or 'Nothing'} is no moment",
            "Give how long ago, 10m, 2h or 1d, or a time like 2026-11-23T14:02.",
        ) from error


def save(path: Path, selection: Selection, cancel: threading.Event) -> int:
    """Write lines to a new file, whole or not at all; returns how many.

    Raises:
        UsageError: There is something of that name already.
        CancelledError: It was left off; nothing is left behind.
        ConsoleError: It could not be written.
    """
    with files.explained(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                count = 0
                for line in _lines(selection, cancel):
                    file.write(line)
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            _put(name, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    return count


def _put(name: str, path: Path) -> None:
    """Give a file its name, unless something else has it."""
    try:
        try:
            os.link(name, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.replace(name, path)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", "Choose another name.") from error


def _lines(selection: Selection, cancel: threading.Event) -> Iterator[str]:
    store, number = selection.store, selection.number(0)
    while number >= 0:
        if cancel.is_set():
            raise CancelledError("Nothing was saved")
        line = store.line(number)
        if line is not None:
            yield as_text(line) + "\n"
        number = selection.beyond(number, down=True)


def as_text(line: Stored) -> str:
    """A line for a file: the exact time, the service, the text."""
    stamp = f"{clean(line.stamp.decode(), 40)} " if line.stamp else ""
    return f"{stamp}{clean(line.service, 60)} {line.text}"


def check_folder(path: Path) -> None:
    """See that a file can be made there.

    Raises:
        ConsoleError: Its folder is none.
    """
    if not path.parent.is_dir():
        raise ConsoleError(f"There is no folder {path.parent}", "Choose another path.")
    if path.is_dir():
        raise ConsoleError(f"{path} is a folder", "Give the name of a file in it.")
    if path.exists():
        raise UsageError(f"{path} is there already", "Choose another name.")

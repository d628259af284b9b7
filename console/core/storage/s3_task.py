"""One object that is being fetched from a bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from console.core.storage.landing import Part
from console.core.storage.s3_wire import Answer
from console.core.storage.store import Item


class Task:
    """One object, until it is there.

    Attributes:
        read: The object as it is being read.
        part: What was read of it, unless that is all.
        tries: How often that failed.
        due: When it is asked for again, in seconds of the monotonic clock.
    """

    __slots__ = ("due", "item", "part", "path", "read", "tries")

    def __init__(self, item: Item, path: Path) -> None:
        self.item = item
        self.path = path
        self.read = item
        self.part: Part | None = None
        self.tries = 0
        self.due = 0.0

    @property
    def headers(self) -> str:
        """What asks for the rest of what was read before a connection broke; "" for all."""
        if self.part is None or not self.part.size or not self.read.mark:
            return ""
        return f'Range: bytes={self.part.size}-\r\nIf-Match: "{self.read.mark}"\r\n'

    def begin(self, answer: Answer) -> None:
        """See which object it is that is read; what was read of another one goes."""
        if answer.status == 200 or self.part is None:
            self.drop()
            size = answer.length or 0
            if (self.item.mark, self.item.size) == (answer.mark, size):
                self.read = self.item
            else:
                self.read = Item(self.item.key, size, _milliseconds(answer.modified), answer.mark)

    def drop(self) -> None:
        """Leave nothing of it."""
        if self.part:
            self.part.drop()
            self.part = None


class FileError(Exception):
    """A file could not be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Tell failures of a file from those of a socket."""
    try:
        yield
    except OSError as error:
        raise FileError(error) from error


def _milliseconds(modified: str) -> int:
    """What HTTP writes as a time; 0 for what is none."""
    try:
        return int(parsedate_to_datetime(modified).timestamp()) * 1000
    except ValueError:
        return 0

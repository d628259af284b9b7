"""Files that appear whole: written elsewhere on the same disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
from pathlib import Path

from console.core.files import explained

MOST_REMEMBERED = 50_000  # folders that need not be made again
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR,
               errno.EEXIST, errno.ENOTEMPTY)  # fmt: skip
"""Errors of a file's name, and not of the disk."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Landing:
    """Where fetched objects become files, 0600, in folders of 0700.

    Args:
        parts: A folder on the same disk, for what is not whole; made when it is missing.
        prefix: Of the names there, where several share the folder.
    """

    def __init__(self, parts: Path, prefix: str = "") -> None:
        with explained(parts):
            parts.mkdir(mode=0o700, exist_ok=True)
        self._parts = f"{os.fspath(parts)}/{prefix}"
        self._numbers = itertools.count()  # of which each thread gets another one
        self._made: set[str] = set()

    def begin(self) -> Part:
        """Begin a file; raises OSError."""
        return Part(self, f"{self._parts}{next(self._numbers)}")

    def place(self, part: str, path: str) -> None:
        """Give a whole file its name; raises OSError."""
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            self._make(folder)
        os.rename(part, path)

    def _make(self, folder: str) -> None:
        if len(self._made) >= MOST_REMEMBERED:
            self._made.clear()
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        except FileNotFoundError:
            self._make(folder.rpartition("/")[0])
            with contextlib.suppress(FileExistsError):  # of several threads one is the first
                os.mkdir(folder, 0o700)
        self._made.add(folder)


class Part:
    """A file that has no name as yet; use it up with `finish` or `drop`."""

    __slots__ = ("_digest", "_handle", "_landing", "_path", "size")

    def __init__(self, landing: Landing, path: str) -> None:
        self._landing = landing
        self._path = path
        self._handle = os.open(path, _NEW, 0o600)
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes that were written so far."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add to it; raises OSError."""
        view = memoryview(data)
        self._digest.update(view)
        self.size += len(view)
        written = os.write(self._handle, view)
        while written < len(view):
            view = view[written:]
            written = os.write(self._handle, view)

    def finish(self, path: Path, modified: int) -> str:
        """Let it be a file.

        Args:
            path: Its name; the folders that it needs are made.
            modified: The time that it gets, milliseconds since 1970.

        Returns:
            The SHA-256 of its content.

        Raises:
            OSError: It cannot be, and nothing is left.
        """
        try:
            os.utime(self._handle, ns=(modified * 1_000_000, modified * 1_000_000))
            os.close(self._handle)
            self._handle = -1
            self._landing.place(self._path, os.fspath(path))
        except OSError:
            self.drop()
            raise
        return self._digest.hexdigest()

    def drop(self) -> None:
        """Leave nothing of it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        with contextlib.suppress(OSError):
            os.unlink(self._path)

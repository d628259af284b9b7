"""One htpasswd file on the disk: read, and changed under a lock so that nobody loses an edit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from console.core import files
from console.core.errors import BusyError, ConsoleError
from console.core.users.htpasswd import Htpasswd
from console.core.users.journal import Change, Journal

# Apache's `htpasswd` takes no lock: an edit of its own is seen and worked in so many times.
ATTEMPTS = 5


class UserFile:
    """The user file of one host name, or the shared one.

    Args:
        path: Where it lies.
        lock: The lock file of all user files of the deployment.
        written: Called under the lock after each write.
        alone: It is mounted into a container by itself and not with its folder: the container
            holds on to this very file, so it is rewritten in place and never replaced.
    """

    def __init__(
        self, path: Path, lock: Path, written: Callable[[], None], alone: bool = False
    ) -> None:
        self.path = path
        self._lock = lock
        self._written = written
        self._alone = alone
        self._journal = Journal(lock.with_name(f"{path.name}.users-journal"))

    def read(self) -> Htpasswd:
        """The file as it is; one that is missing is empty, of one half rewritten what it shall be.

        Raises:
            AccessError: The file is not for this account.
        """
        content = b""
        for _ in range(ATTEMPTS):
            seen, content = self._content()
            change = self._journal.read()
            if change is not None and change.left(content):
                return Htpasswd.parse(change.after)
            if seen == self.state():
                break  # else it may have been read in the middle
        return Htpasswd.parse(content)

    def change(self, change: Callable[[Htpasswd], Htpasswd]) -> None:
        """Read, change and write under the lock.

        Args:
            change: Called again with the newer file when somebody who takes no lock, such as
                Apache's `htpasswd`, edited it meanwhile. What is left of such a race is the
                moment between a look at the file and its replacement, well under a millisecond.

        Raises:
            BusyError: Another process holds the lock, or edits the file without end.
        """
        with self._locked():
            for _ in range(ATTEMPTS):
                seen, before = self._content()
                after = bytes(change(Htpasswd.parse(before)))
                if after == before or self._write(Change(before, after), seen):
                    return
        raise BusyError(
            f"Somebody edits {self.path} again and again while it is being changed",
            "Do it again when they have finished.",
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, and first bring to its end what a killed console has begun."""
        files.make_folder(self._lock.parent)
        with files.locked(self._lock, "the users"):
            self._finish()
            yield

    def _write(self, change: Change, seen: tuple[int, ...]) -> bool:
        """Write the file whole.

        Args:
            change: What it holds, and what it shall hold.
            seen: What it looked like before; when that is no longer so, nothing is written and
                False returned.
        """

        def edited() -> bool:
            return seen != self.state()

        # A proxy's unprivileged worker reads both; the deployment's own folder is 0700.
        files.make_folder(self.path.parent, 0o755)
        if self._alone:
            return self._write_in_place(change, edited)
        target = self.path.resolve()  # a link stays one: others may read what it leads to
        files.sweep(target)
        done = files.write_atomic(target, change.after, mode=0o644, unless=edited)
        if done:
            self._written()
        return done

    def _content(self) -> tuple[tuple[int, ...], bytes]:
        """What the file looks like from outside, taken before it is read; and its bytes."""
        with files.explained(self.path):
            state = self.state()
            try:
                return state, self.path.read_bytes()
            except FileNotFoundError:
                return (), b""

    def state(self) -> tuple[int, ...]:
        """What it looks like from outside; another one when it was changed, () when missing."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return ()
        return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)

    # In place

    def _write_in_place(self, change: Change, edited: Callable[[], bool]) -> bool:
        """What it shall hold goes to a journal first; a kill in between is mended by `_finish`."""
        if not self._journal.begin(change, unless=edited):
            return False
        try:
            self._make_room(len(change.after))
        except ConsoleError:
            self._journal.end()  # or what was refused would be done by the next start
            raise
        self._overwrite(change.after)
        return True

    def _finish(self) -> None:
        """Do what a journal says that was to be done, unless somebody has edited the file since."""
        change = self._journal.read()
        if change is not None and change.left(self._content()[1]):
            self._make_room(len(change.after))
            self._overwrite(change.after)
        else:
            self._journal.end()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        with files.explained(self.path):
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                yield handle
            finally:
                os.close(handle)

    def _make_room(self, size: int) -> None:
        """A full disk must be found out before the old content is gone."""
        with self._opened() as handle:
            before = os.fstat(handle).st_size
            try:
                os.posix_fallocate(handle, 0, max(1, size))
            except OSError:
                os.ftruncate(handle, before)  # some file systems leave what they could get
                raise

    def _overwrite(self, content: bytes) -> None:
        with self._opened() as handle:
            written = 0
            while written < len(content):
                written += os.pwrite(handle, content[written:], written)
            os.ftruncate(handle, len(content))
            os.fsync(handle)
        self._written()
        self._journal.end()

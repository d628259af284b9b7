"""One htpasswd file on the disk: read, and changed under a lock so that nobody loses an edit."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from console.core import files
from console.core.errors import BusyError
from console.core.users.htpasswd import Htpasswd

# Apache's `htpasswd` takes no lock: an edit of its own is seen and worked in so many times.
ATTEMPTS = 5
JOURNAL_MARK = b"mlflow-console user file 1 "


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

    def read(self) -> Htpasswd:
        """The file as it is; one that is missing is empty.

        Raises:
            AccessError: The file is not for this account.
        """
        return Htpasswd.parse(self._content()[1])

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
                if after == before or self._write(after, seen):
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

    def _write(self, content: bytes, seen: tuple[int, ...]) -> bool:
        """Write the file whole.

        Args:
            content: All of it.
            seen: What it looked like before; when that is no longer so, nothing is written and
                False returned.
        """
        # A proxy's unprivileged worker reads both; the deployment's own folder is 0700.
        files.make_folder(self.path.parent, 0o755)
        if self._alone:
            return self._write_in_place(content, seen)
        files.sweep(self.path)
        done = files.write_atomic(
            self.path, content, mode=0o644, unless=lambda: seen != self._state()
        )
        if done:
            self._written()
        return done

    def _content(self) -> tuple[tuple[int, ...], bytes]:
        """What the file looks like from outside, taken before it is read; and its bytes."""
        with files.explained(self.path):
            state = self._state()
            try:
                return state, self.path.read_bytes()
            except FileNotFoundError:
                return (), b""

    def _state(self) -> tuple[int, ...]:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return ()
        return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)

    # In place

    @property
    def _journal(self) -> Path:
        return self._lock.with_name(f"{self.path.name}.users-journal")

    def _write_in_place(self, content: bytes, seen: tuple[int, ...]) -> bool:
        """What it shall hold goes to a journal first; a kill in between is mended by `_finish`."""
        files.sweep(self._journal)
        sealed = JOURNAL_MARK + hashlib.sha256(content).hexdigest().encode() + b"\n" + content
        files.write_atomic(self._journal, sealed)
        if seen != self._state():
            self._journal.unlink()
            return False
        self._overwrite(content)
        return True

    def _finish(self) -> None:
        """Write what a journal says that shall be written."""
        if not self._alone or not self._journal.exists():
            return
        with files.explained(self._journal):
            head, _, content = self._journal.read_bytes().partition(b"\n")
        if head == JOURNAL_MARK + hashlib.sha256(content).hexdigest().encode():
            self._overwrite(content)

    def _overwrite(self, content: bytes) -> None:
        with files.explained(self.path):
            # Room for it first: a full disk must be found out before the old content is gone.
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if content:
                    os.posix_fallocate(handle, 0, len(content))
                written = 0
                while written < len(content):
                    written += os.pwrite(handle, content[written:], written)
                os.ftruncate(handle, len(content))
                os.fsync(handle)
            finally:
                os.close(handle)
            self._journal.unlink()
        self._written()

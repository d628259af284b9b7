"""Who works in a place: one at a time, by name, whatever machine and whatever kill.

The lock is a file that is made with O_EXCL and says who has it. Its holder keeps a flock on it,
which ends with the process, and renews its time, a sign of life for those on other machines. Only
who has the flock of a second file beside it makes the lock, takes it over, or takes it away: so two
that find a dead holder's lock at once do not both win.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from console.core import audit, files, machine, process
from console.core.errors import BusyError
from console.core.text import clean

FORMAT = 1
FILE, GUARD = "lock.json", ".lock.guard"
BEAT_SECONDS = 30.0
GUARD_SECONDS = 10.0
LOOK_SECONDS = 0.02
MOST_BYTES = 65_536
# What a file system without such locks answers (flock(2), and FUSE and old NFS).
NO_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Record(msgspec.Struct, frozen=True):
    """lock.json.

    Attributes:
        by: The account that holds it.
        machine, boot: Where its process runs, and since which start of it.
        ticks: When that process started, in the kernel's ticks since boot.
        since: When it took the lock, UTC.
        what: What it does, in words.
    """

    by: str
    host: str
    machine: str
    boot: str
    pid: int
    ticks: int
    since: datetime
    what: str
    format: int = FORMAT


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock.

    Attributes:
        by, host, pid, since, what: As its record says; "" and 0 where it holds none, because its
            holder was killed while it wrote.
        seen_at: Its last sign of life, every half minute.
        alive: None where nobody on this machine can tell.
    """

    by: str
    host: str
    pid: int
    since: datetime
    what: str
    seen_at: datetime
    alive: bool | None

    @property
    def words(self) -> str:
        """Who it is and since when, for a sentence."""
        if not self.by:
            return f"somebody, since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"{clean(self.by, 60)} on {clean(self.host, 80)} (process {self.pid}), since "
            f"{self.since:%Y-%m-%d %H:%M:%S} UTC, for: {clean(self.what, 80)}"
        )


class _Held:
    """The locks that this process has, by their files."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.depth: dict[Path, tuple[int, int]] = {}

    def enter(self, path: Path) -> bool:
        """Whether this thread has the lock already; it is then held once more."""
        with self.guard:
            thread, depth = self.depth.get(path, (0, 0))
            if thread != threading.get_ident():
                return False
            self.depth[path] = (thread, depth + 1)
            return True

    def begin(self, path: Path) -> None:
        with self.guard:
            self.depth[path] = (threading.get_ident(), 1)

    def leave(self, path: Path) -> bool:
        """Whether it was held once and no longer is."""
        with self.guard:
            thread, depth = self.depth[path]
            if depth > 1:
                self.depth[path] = (thread, depth - 1)
                return False
            del self.depth[path]
            return True


_HELD = _Held()


class Lock:
    """The lock of a place.

    Args:
        folder: The place.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._guard = folder / GUARD

    @contextlib.contextmanager
    def holding(self, what: str) -> Iterator[str]:
        """Hold it; who has it in this thread already just goes on.

        Args:
            what: What for, in words.

        Yields:
            A sentence when it was taken over from a dead holder; "" otherwise.

        Raises:
            BusyError: Somebody has it, and lives, or nobody here can tell.
        """
        if _HELD.enter(self._file):
            try:
                yield ""
            finally:
                _HELD.leave(self._file)
            return
        handle, dead = self._take(what)
        _HELD.begin(self._file)
        over = threading.Event()
        beat = threading.Thread(target=_beat, args=(handle, over), name="lock-beat", daemon=True)
        beat.start()
        try:
            yield f"Took over the lock of a process that was killed: {dead.words}" if dead else ""
        finally:
            over.set()
            beat.join()
            _HELD.leave(self._file)
            self._give_back(handle)

    def holder(self) -> Holder | None:
        """Who has it, and whether that one lives; None when nobody has."""
        with files.explained(self._file):
            found = self._look()
            if found is not None and not found.by and found.alive is False:
                time.sleep(LOOK_SECONDS)  # it may be about to say who it is
                found = self._look()
        return found

    def clear(self) -> Holder | None:
        """Take it away from a holder that is provably dead.

        Returns:
            Who had it; None when nobody had.

        Raises:
            BusyError: The holder lives, or nobody here can tell.
        """
        with files.explained(self._file), self._guarded() as sure:
            found = self._look()
            if found is None:
                return None
            if found.alive is not False:
                raise self._busy(found)
            if not sure and self._look() != found:
                raise BusyError("Somebody else is just taking this lock", "Look again.")
            self._file.unlink(missing_ok=True)
            return found

    def _take(self, what: str) -> tuple[int, Holder | None]:
        """The open file of the lock, which is ours now, and whose it was."""
        with files.explained(self._file), self._guarded() as sure:
            found = self._look()
            if found is not None:
                if found.alive is not False or not sure:
                    raise self._busy(found)
                self._file.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                handle = os.open(self._file, flags, 0o600)
            except FileExistsError:  # where there is no flock, nobody waits for the guard
                raise BusyError("Somebody else has just begun to work there") from None
            try:
                _flock(handle, fcntl.LOCK_EX, GUARD_SECONDS)
                _say(handle, _ours(what))
            except BaseException:
                self._file.unlink(missing_ok=True)
                os.close(handle)
                raise
            return handle, found

    def _give_back(self, handle: int) -> None:
        """Take our lock away; one that is somebody else's by now stays."""
        try:
            with contextlib.suppress(OSError, BusyError), self._guarded():
                ours, there = os.fstat(handle), self._file.lstat()
                if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
                    self._file.unlink()
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[bool]:
        """Be the only one that makes or removes the lock; False where there is no flock."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._guard, flags, 0o600)
        try:
            sure = _flock(handle, fcntl.LOCK_EX, GUARD_SECONDS)
            if sure is None:
                raise BusyError(
                    "Another process has been taking the lock of the snapshots for ten seconds",
                    f"See who has {self._guard} open: fuser {self._guard}",
                )
            yield sure
        finally:
            os.close(handle)

    def _look(self) -> Holder | None:
        try:
            handle = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            free = _flock(handle, fcntl.LOCK_SH, 0)
            said = os.pread(handle, MOST_BYTES, 0)
            seen = datetime.fromtimestamp(os.fstat(handle).st_mtime, UTC)
        finally:
            os.close(handle)
        try:
            record = msgspec.json.decode(said, type=Record)
        except msgspec.DecodeError:  # it was killed while it wrote, or is writing
            return Holder("", "", 0, seen, "", seen, {None: True, True: False}.get(free))
        since = record.since if record.since.tzinfo else record.since.replace(tzinfo=UTC)
        alive = True if free is None else _lives(record)
        return Holder(record.by, record.host, record.pid, since, record.what, seen, alive)

    def _busy(self, found: Holder) -> BusyError:
        if found.alive:
            return BusyError(f"The snapshots are in use by {found.words}", "Wait for it.")
        if found.alive is False:
            return BusyError(
                f"The lock of the snapshots was left by a process that was killed: {found.words}",
                "`mlflow-console backup unlock` takes it away; this disk knows no locks that would "
                "make it safe to do so unasked.",
            )
        return BusyError(
            f"The snapshots are in use by {found.words}; its last sign of life was at "
            f"{found.seen_at:%Y-%m-%d %H:%M:%S} UTC",
            f"Whether it lives can be told on {clean(found.host, 80)} alone. "
            f"If it is gone for certain, remove {self._file}.",
        )


def _ours(what: str) -> Record:
    return Record(
        by=os.environ.get("SUDO_USER") or audit.account(),
        host=machine.host_name(),
        machine=machine.machine_id(),
        boot=machine.boot_id(),
        pid=os.getpid(),
        ticks=machine.ticks(),
        since=datetime.now(UTC),
        what=what,
    )


def _say(handle: int, record: Record) -> None:
    """Say who has it; on a full disk nobody does, so that something can be removed there."""
    try:
        os.write(handle, msgspec.json.encode(record) + b"\n")
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.ftruncate(handle, 0)


def _lives(record: Record) -> bool | None:
    """Whether the process of a record lives, as far as this machine can know.

    Two machines that were copied from each other can have one machine-id(5): the name tells them
    apart.
    """
    boot = machine.boot_id()
    if not boot or record.boot != boot:
        known = (machine.machine_id(), machine.host_name())
        provable = bool(boot and known[0] and record.boot)
        return False if provable and known == (record.machine, record.host) else None
    if process.find_by_ticks(record.pid, record.ticks, ()) is not None:
        return True
    try:
        os.kill(record.pid, 0)
    except PermissionError:  # another account's, which this one may not see
        ticks = machine.ticks(record.pid)
        return ticks == record.ticks if ticks else None
    except (OSError, OverflowError):
        pass
    return False


def _flock(handle: int, kind: int, seconds: float) -> bool | None:
    """Lock an open file.

    Returns:
        True when it is locked, None when somebody else has it locked all the while, False when its
        file system knows no such locks.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(LOOK_SECONDS)
        except OSError as error:
            if error.errno in NO_FLOCK:
                return False
            raise


def _beat(handle: int, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(handle)

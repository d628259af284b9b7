"""The door to the file system: atomic writes, locks, room on the disk."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from console.core.errors import AccessError, BusyError, ConsoleError, DiskFullError
from console.core.format import size

LOCK_SECONDS = 10.0


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `path` into sentences.

    Raises:
        DiskFullError: No space or quota is left.
        AccessError: This account may not, or the file system is read-only.
        ConsoleError: Any other failure of the file system.
    """
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> ConsoleError:
    """The sentence for what the operating system said about `path`."""
    where = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"The disk that holds {where} is full", "Free some space there, then do it again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        whose = owner(Path(str(where)))
        return AccessError(
            f"This account may not use {where}" + (f", which belongs to {whose}" if whose else ""),
            "Run it with sudo, or as the owner.",
        )
    return ConsoleError(f"{where}: {error.strerror or error}")


def owner(path: Path) -> str:
    """The account that a path, or what there is of it, belongs to; "" when it has no name."""
    for candidate in (path, *path.parents):
        try:
            return candidate.owner()
        except (OSError, KeyError):
            continue
    return ""


def refuse_as_root(folder: Path) -> None:
    """Let root stay out of a folder of somebody else's.

    Its owner decides what every name in it leads to, at any moment: a log that is a link to a
    file of root's, a Python that is another program.

    Raises:
        AccessError: This is root, and the folder is not root's.
    """
    if os.geteuid() == 0 and folder.exists() and folder.stat().st_uid != 0:
        whose = owner(folder)
        raise AccessError(
            f"{folder} belongs to {whose}, and root does not act in somebody else's folder",
            f"Act as {whose}: sudo -u {whose} mlflow-console --deployment {folder} ...",
        )


def write_atomic(
    path: Path, data: bytes, mode: int = 0o600, unless: Callable[[], bool] | None = None,
    lenient: bool = False,
) -> bool:  # fmt: skip
    """Replace a file whole or not at all, whatever happens in between.

    Args:
        path: An existing file keeps its owner, group and mode.
        data: All of it.
        mode: Of a new file.
        unless: Asked when everything is ready: True leaves the old file, and False is returned.
        lenient: As for `set_mode`.

    Raises:
        DiskFullError: The old file is still there, untouched.
        AccessError: This account may not write there.
    """
    with explained(path):
        try:
            before = path.stat()
        except FileNotFoundError:
            before = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        except OSError as error:
            error.filename = path.parent  # and no name that nobody has ever seen
            raise
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if before is None:
                    set_mode(file.fileno(), mode, lenient)
                else:
                    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                    set_mode(file.fileno(), before.st_mode & 0o7777, lenient)
                file.flush()
                os.fsync(file.fileno())
            if unless is not None and unless():
                os.unlink(name)
                return False
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Put on the disk which names a folder holds."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file_system(path: Path) -> None:
    """Put everything that was written to the file system of `path` on its disk (syncfs(2)).

    A hundred thousand files are synced by this in one go; each by itself takes minutes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


def printable(name: Path | str) -> str:
    """A path or a name as text that JSON can carry: it may be any bytes."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def sweep(path: Path) -> None:
    """Remove what a write of `path` left behind when it was killed; call it under the lock."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()


def append_line(path: Path, line: bytes) -> None:
    """Add one line, in a single write and under a lock: lines of several writers never mix.

    A line that a full disk or a kill cut short is ended first, so that it takes no other with it.

    Raises:
        OSError: The caller decides what a lost line means.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # another's half-written line is not a torn one
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        record = (b"\n" if torn else b"") + line.rstrip(b"\n") + b"\n"
        if os.write(handle, record) < len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while changing `what`, also against other consoles.

    Raises:
        BusyError: Another process has held it for ten seconds.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  # first use, not start-up

    with explained(path):
        try:
            with FileLock(path, timeout=LOCK_SECONDS, mode=0o600):
                yield
        except Timeout as error:
            raise BusyError(
                f"Another process is changing {what} and has not finished for ten seconds",
                f"Wait for it, or see who holds {path} (fuser {path}).",
            ) from error


def make_folder(path: Path, mode: int = 0o700, lenient: bool = False) -> None:
    """Make a folder with exactly this mode; one that exists is left as it is."""
    with explained(path):
        if not path.is_dir():
            path.mkdir(parents=True, mode=mode, exist_ok=True)  # two may come at once
            set_mode(path, mode, lenient)


def set_mode(target: Path | int, mode: int, lenient: bool = False) -> None:
    """Say who may read a file or a folder.

    Args:
        target: Its path, or an open file.
        mode: As for chmod(2).
        lenient: A file system that keeps no modes (FAT, exFAT) is no reason to fail.

    Raises:
        OSError: It cannot be.
    """
    try:
        os.chmod(target, mode)
    except OSError as error:
        if not lenient or error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise


def free_bytes(path: Path) -> int:
    """Bytes that this account can still write on the disk that holds, or would hold, `path`."""
    for candidate in (path, *path.parents):
        if candidate.exists():
            return shutil.disk_usage(candidate).free
    return 0


def need_room(path: Path, needed: int, what: str) -> None:
    """Refuse before the first byte when the disk cannot hold it.

    Args:
        path: Where it will be written.
        needed: Bytes.
        what: For the sentence, for instance "the server's environment".

    Raises:
        DiskFullError: Fewer than `needed` bytes are free.
    """
    free = free_bytes(path)
    if free < needed:
        raise DiskFullError(
            f"{what} needs {size(needed)} on the disk of {path}; {size(free)} are free",
            "Free some space, or choose a directory on another disk.",
        )

"""What the disk under a place can do, and what else is on it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.errors import ConsoleError
from console.core.stack.places import Folder, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.core.stack.driver import Driver, Room

PROBE = ".probe-"
HOUR_SECONDS = 3600.0
# Of a disk that is only known by its figures: they are asked for one after the other.
NEARLY_BYTES = 16 << 20
UNABLE = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a file system keeps.

    Attributes:
        keeps_modes: Who may read a file stays as it was written.
        keeps_links: A file can have two names.
    """

    keeps_modes: bool
    keeps_links: bool


def try_out(folder: Path) -> Traits:
    """Try it with files of our own; raises ConsoleError when nothing can be written there."""
    with files.explained(folder), _probe(folder) as probe:
        return Traits(_keeps_modes(probe), _keeps_links(probe))


def shared(folder: Path, driver: Driver) -> list[str]:
    """What of the live data is on the disk of a folder, as far as this machine can know."""
    with files.explained(folder):
        device = folder.stat().st_dev
    found = []
    for what, where in (("the database", driver.backend_store),
                        ("the artifact store", driver.artifact_store)):  # fmt: skip
        with contextlib.suppress(ConsoleError):
            data = where()
            if isinstance(data, SqliteFile | Folder) and _device(data.path) == device:
                found.append(what)
    if not found:
        with contextlib.suppress(ConsoleError):
            driver.services(measure=False)  # the rooms are those of the services as last seen
            found = [f"the data of {room.service}" for room in driver.rooms()
                     if is_under(room, folder)]  # fmt: skip
    return found


def is_under(room: Room, folder: Path) -> bool:
    """Whether a service keeps its data on the disk of a folder; raises OSError.

    Where this account does not reach what the service has mounted, the figures of the disk tell.
    """
    device = _device(Path(room.where)) if room.where.startswith("/") else None
    if device is not None:
        return device == folder.stat().st_dev
    sizes = os.statvfs(folder)
    free = sizes.f_frsize * sizes.f_bavail
    same_size = room.total_bytes == sizes.f_frsize * sizes.f_blocks
    return same_size and abs(room.free_bytes - free) < NEARLY_BYTES


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """A folder in a folder; what a kill has left of another one goes."""
    for leftover in folder.glob(PROBE + "*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.lstat().st_mtime > HOUR_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
    probe = Path(tempfile.mkdtemp(prefix=PROBE, dir=folder))
    try:
        yield probe
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def _keeps_modes(folder: Path) -> bool:
    path = folder / "mode"
    path.touch(0o600)
    try:
        for mode in (0o644, 0o600):
            path.chmod(mode)
            if stat.S_IMODE(path.stat().st_mode) != mode:
                return False
    except OSError as error:
        if error.errno in UNABLE:
            return False
        raise
    return True


def _keeps_links(folder: Path) -> bool:
    first, second = folder / "first", folder / "second"
    first.touch(0o600)
    try:
        os.link(first, second)
    except OSError as error:
        if error.errno in UNABLE:
            return False
        raise
    one, two = first.stat(), second.stat()
    return one.st_ino == two.st_ino and two.st_nlink == 2

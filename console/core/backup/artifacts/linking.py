"""Hard links from one folder into another, many of them."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from console.core.files import explain

_HANDLE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# The disk is to blame, and not the one file.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Linker:
    """Links files of a folder into another one, under the same names or others.

    Args:
        source, target: On the same disk.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._roots = os.fspath(source), os.fspath(target)
        self._last: tuple[str, str] | None = None
        self._handles: tuple[int, ...] = ()
        self._made = ""

    def link(self, file: str, name: str, size: int) -> bool:
        """Give a file a second name.

        Args:
            file: Relative to the source.
            name: Relative to the target; the folders that it needs are made, 0700.
            size: Of the file, in bytes; one of another size is not linked.

        Returns:
            Whether it has it now. It has not where the file is gone, has as many names as it can
            have, or the file system keeps no links.

        Raises:
            ConsoleError: Nothing can be written there.
        """
        folder, _, old = file.rpartition("/")
        to, _, new = name.rpartition("/")
        try:
            if self._last != (folder, to):
                self._open(folder, to)
            source, target = self._handles
            if os.stat(old, dir_fd=source, follow_symlinks=False).st_size != size:
                return False
            try:
                os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except FileExistsError:
                return self._instead(old, new)
        except OSError as error:
            if error.errno in _FATAL:
                raise explain(error, Path(self._roots[1])) from error
            return False
        return True

    def _instead(self, old: str, new: str) -> bool:
        """What an interrupted call has left under the name goes, unless it is the file itself."""
        source, target = self._handles
        one = os.stat(old, dir_fd=source, follow_symlinks=False)
        two = os.stat(new, dir_fd=target, follow_symlinks=False)
        if (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino):
            return True
        os.unlink(new, dir_fd=target)
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        return True

    def _open(self, folder: str, to: str) -> None:
        self.close()
        source = os.open(f"{self._roots[0]}/{folder}", _HANDLE)
        try:
            self._make(to)
            target = os.open(f"{self._roots[1]}/{to}", _HANDLE)
        except BaseException:
            os.close(source)
            raise
        self._handles, self._last = (source, target), (folder, to)

    def _make(self, folder: str) -> None:
        """Make a folder and those above it, below the target; those of the last one are there."""
        if not folder or self._made == folder or self._made.startswith(f"{folder}/"):
            return
        self._make(folder.rpartition("/")[0])
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{self._roots[1]}/{folder}", 0o700)
        self._made = folder

    def close(self) -> None:
        """Let go of the folders."""
        for handle in self._handles:
            os.close(handle)
        self._handles, self._last = (), None

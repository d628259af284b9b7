"""The way to a file below a folder, on which no link is followed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Below:
    """Folders below a root as open handles; the last one is kept, as most files follow their like.

    Whoever can write below the root could make a folder a link to elsewhere at any moment; a path
    that is looked at and then used leads there.

    Args:
        root: May be a link itself.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last: tuple[str, int] = ("", self._root)

    def folder(self, path: str, *, make: bool = False) -> int:
        """A folder's handle, which is good until the next call.

        Args:
            path: Relative to the root, "" for the root.
            make: Make what is missing.

        Raises:
            OSError: It is not there, or no folder, or a link.
        """
        if path == self._last[0]:
            return self._last[1]
        self._forget()
        handle = self._root
        try:
            for name in path.split("/") if path else ():
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=handle)
                following = os.open(name, _FOLDER, dir_fd=handle)
                if handle != self._root:
                    os.close(handle)
                handle = following
        except OSError:
            if handle != self._root:
                os.close(handle)
            raise
        self._last = path, handle
        return handle

    def _forget(self) -> None:
        if self._last[1] != self._root:
            os.close(self._last[1])
        self._last = "", self._root

    def close(self) -> None:
        """Let go of them."""
        self._forget()
        os.close(self._root)

"""How much room there is where containers keep their data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.core.engine import Engine
from console.core.errors import ConsoleError
from console.core.stack.driver import Room

if TYPE_CHECKING:
    from docker.models.containers import Container

DF_COLUMNS = 6


def room(engine: Engine, service: str, container: Container, path: str) -> Room | None:
    """The file system that a running container keeps its data on; None when nobody can tell.

    Args:
        engine: Whose it is.
        service: The name of its service.
        container: One that runs.
        path: Where in it the data is: "/data".
    """
    mount = next(
        (each for each in container.attrs.get("Mounts") or () if each["Destination"] == path), None
    )
    where = (mount.get("Name") or mount.get("Source") or path) if mount else path
    sizes = _on_this_machine(engine, mount) or _inside(engine, container, path)
    return Room(service, where, *sizes) if sizes else None


def _on_this_machine(engine: Engine, mount: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Total and free bytes, where this account reaches the folder itself."""
    if mount is None or not engine.shares_network:
        return None
    try:
        found = os.statvfs(mount["Source"])
    except OSError:
        return None
    return found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail


def _inside(engine: Engine, container: Container, path: str) -> tuple[int, int] | None:
    """What `df` says in the container; not every image has it."""
    try:
        code, said = engine.run_in(str(container.id), ["df", "-P", "-B1", path])
    except ConsoleError:
        return None
    words = said.rpartition("↵")[2].split()  # the last line
    if code != 0 or len(words) < DF_COLUMNS or not (words[1] + words[3]).isdigit():
        return None
    return int(words[1]), int(words[3])

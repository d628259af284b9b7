"""Backend stores without a deployment around them, for tests of their dumps."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from console.core import pipes
from console.core.backup.dumping import dumps
from console.core.backup.snapshot import Dump
from console.core.deployment import Deployment
from console.core.progress import Progress
from console.core.stack.places import BackendStore
from tests.support.mysql_server import Mysql


def deployment(store: BackendStore, server: Mysql | None = None) -> Deployment:
    """What a dump needs of a deployment: where its store is, and a way into the container."""

    def pipe(
        role: str, argv: Sequence[str], env: Mapping[str, str], feed: Iterable[bytes] | None,
        cancel: threading.Event,
    ) -> Iterator[bytes]:  # fmt: skip
        assert server is not None
        names = [word for name in env for word in ("--env", name)]
        command = ["docker", "exec", "--interactive", *names, server.container, *argv]
        yield from pipes.stream(command, {**os.environ, **env}, feed, cancel)

    driver = SimpleNamespace(backend_store=lambda: store, pipe=pipe)
    return cast(Deployment, SimpleNamespace(driver=driver))


def take(
    of: Deployment, folder: Path, cancel: threading.Event | None = None
) -> tuple[Dump, list[Progress]]:  # fmt: skip
    """Take a dump; returns it with what was reported."""
    told = []
    work = dumps.source(of).take(folder, cancel or threading.Event())
    while True:
        try:
            told.append(next(work))
        except StopIteration as ended:
            return ended.value, told


def load(into: Deployment, folder: Path, dump: Dump) -> list[Progress]:
    """Load a dump; returns what was reported."""
    return list(dumps.load(into, folder, dump, threading.Event()))

"""What an embedded deployment gives for its backups."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from console.core import pipes, process
from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.core.stack.driver import Role
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Paths
    from console.core.stack.environment import Environment


def pipe(
    paths: Paths, environment: Environment, role: Role, argv: Sequence[str], *,
    env: Mapping[str, str], feed: Iterable[bytes] | None, cancel: threading.Event,
) -> Iterator[bytes]:  # fmt: skip
    """See `BackupDriver.pipe`; the program is one of the server's environment."""
    if role is not Role.TRACKING:
        raise ConsoleError(f"An embedded deployment has no service in the role {role}")
    program = [str(environment.bin / argv[0]), *argv[1:]]
    yield from pipes.stream(program, process.environment(env), feed, cancel, directory=paths.root)


def migrate(paths: Paths, environment: Environment, cancel: threading.Event) -> Iterator[Progress]:
    """`mlflow db upgrade` of the server's environment."""
    label = "MLflow server: bringing the database's schema up to date"
    yield Progress(label)
    argv = [str(environment.bin / "mlflow"), "db", "upgrade", f"sqlite:///{paths.database}"]
    env = process.environment({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    for line in process.lines(argv, env, cancel, paths.root):
        if isinstance(line, str):
            yield Progress(label, said=clean(line.strip()))
        elif line.code != 0:
            last = line.errors.strip().splitlines()
            raise ConsoleError(
                "The database's schema cannot be brought up to date: "
                + (clean(last[-1], 500) if last else f"it ended with {line.code}")
            )

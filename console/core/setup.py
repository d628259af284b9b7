"""Setting up a new deployment: first the plan, then the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.core.progress import Progress
from console.core.secrets import Secret


@dataclass(frozen=True, slots=True)
class Plan:
    """What `init` would do; making one changes nothing.

    Attributes:
        directory: Where the deployment goes, absolute.
        name: What it will be called: the directory's name.
        port: The free port it will listen on.
        host_names: Further names the server may be called by.
        mlflow: The version of MLflow.
        steps: What will be done, one sentence each, for `--dry-run`.
        resumed: An interrupted `init` of the same directory goes on.
    """

    directory: Path
    name: str
    driver: str
    port: int
    host_names: tuple[str, ...]
    mlflow: str
    steps: tuple[str, ...]
    resumed: bool = False


def plan(
    directory: Path, driver: str = "embedded", port: int | None = None,
    host_names: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Check everything that can be checked before the first byte is written.

    Args:
        directory: Must not exist, be empty, or hold an interrupted `init`.
        port: None picks a free one, 5000 if it is.

    Raises:
        NotOursError: The directory is somebody else's, or the port is taken (says by whom).
        UsageError: The directory already holds a deployment.
        DiskFullError: It would not fit.
        AccessError: This account may not write there.
    """


def create(
    chosen: Plan, first_user: tuple[str, Secret] | None, cancel: threading.Event
) -> Iterator[Progress]:
    """Do what the plan says; an interrupted call goes on when it is made again."""

"""Scratch parts for a rehearsal."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

from console.core.deployment import Paths
from console.core.stack.driver_backup import Scratch
from console.core.stack.environment import Environment


def scratch(
    paths: Paths, environment: Environment, folder: Path, cancel: threading.Event
) -> AbstractContextManager[Scratch]:
    """See `BackupDriver.scratch`."""
    raise NotImplementedError

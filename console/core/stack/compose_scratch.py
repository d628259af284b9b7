"""Scratch parts for a rehearsal."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver_backup import Scratch


def scratch(
    project: ComposeProject, folder: Path, cancel: threading.Event
) -> AbstractContextManager[Scratch]:
    """See `BackupDriver.scratch`."""
    raise NotImplementedError

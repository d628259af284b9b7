"""What the scratch parts of every driver have in common."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path

from console.core.backup.drilling import rehearsal
from console.core.errors import CancelledError, ConsoleError
from console.core.format import size
from console.core.text import clean

# Where the server answers, in the containers.
PORT = 5000
START_SECONDS = 240.0
LOOK_SECONDS = 1.0
_RAISED = re.compile(r"[\w.]+(?:Error|Exception): ")
MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}  # fmt: skip


class TooSmallError(ConsoleError):
    """This machine has too little memory for a rehearsal now."""


def refuse_without_memory(needed: int, free: int, where: str) -> None:
    """Refuse before anything is started.

    Args:
        needed: Bytes that the scratch parts may use.
        free: Bytes that are free now.
        where: On which machine.

    Raises:
        TooSmallError: It is too little.
    """
    if free < needed:
        raise TooSmallError(
            f"A drill needs up to {size(needed)} of memory, and {where} has {size(free)} free: the "
            "live server would suffer",
            "Do it on one with more memory: `mlflow-console backup restore FOLDER --into DIR`.",
        )


def program(question: bytes) -> bytes:
    """The rehearsal with its question, for the stdin of a Python that has MLflow."""
    return Path(rehearsal.__file__).read_bytes() + b"\nanswer(%r)\n" % question


def pause(cancel: threading.Event) -> None:
    """Wait a moment.

    Raises:
        CancelledError: `cancel` was set.
    """
    if cancel.wait(LOOK_SECONDS):
        raise CancelledError("Cancelled")


def server(artifacts: str, port: int) -> list[str]:
    """What starts the server; its database comes by the environment."""
    return [
        "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--artifacts-destination", artifacts, "--serve-artifacts",
    ]  # fmt: skip


def reason(log: str) -> str:
    """What a server's log says of why it did not start, one line of it."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    found = raised or [line for line in lines if "error" in line.lower()] or lines
    return clean(found[-1], 300) if found else "it said nothing"


Artifacts = Mapping[str, Path]
"""Files by the keys that the server shall serve them under."""

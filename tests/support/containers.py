"""The containers of a stack from outside: their processes, and what these hold in memory."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from tests.support import engine, stacks


def ids(directory: Path) -> dict[str, str]:
    """The running containers of the stack in a folder, by service."""
    running = stacks.compose(directory, "ps", "--quiet").split()
    return {
        each["Config"]["Labels"]["com.docker.compose.service"]: each["Id"]
        for each in json.loads(engine.docker("inspect", *running))
    }


def pids(container: str) -> list[int]:
    """All processes of a container, as this machine numbers them."""
    lines = engine.docker("top", container, "-eo", "pid").splitlines()[1:]
    return [int(line) for line in lines]


def root(container: str) -> Path:
    """The files of a container as its own processes see them, volumes included; needs root."""
    pid = engine.docker("inspect", "--format", "{{.State.Pid}}", container).strip()
    return Path(f"/proc/{pid}/root")


def networks(container: str) -> list[str]:
    """The networks that a container is in."""
    form = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    return engine.docker("inspect", "--format", form, container).split()


def tracking_socket(directory: Path) -> Path:
    """MLflow's own socket in the running stack of a folder, past the proxy; needs root."""
    return root(ids(directory)["tracking"]) / "run/tracking/mlflow.sock"


def memory(container: str, field: str) -> int:
    """One line of smaps_rollup in bytes, summed over the processes of a container; needs root.

    Args:
        container: Its name or id.
        field: "Pss" counts shared pages by halves and thirds; "Anonymous" is a program's own.
    """
    total = 0
    for pid in pids(container):
        # A health check may have ended in between.
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1]) * 1024
    return total

"""Real deployments: set up by the console's own core, started, and ended with a proof."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from console.core import process, setup
from console.core.deployment import Deployment
from console.core.process import port_is_free
from console.core.secrets import Secret
from console.core.stack.embedded_setup import MARKER
from console.core.stack.environment import Environment
from tests.support.server_environment import link_bytecode


def free_port() -> int:
    """A free port of loopback, below those that the kernel gives to outgoing connections."""
    ports = random.SystemRandom()
    while True:
        port = ports.randrange(20_000, 32_000)
        if port_is_free(port):
            return port


def create(
    directory: Path,
    first_user: tuple[str, Secret] | None = None,
    host_names: Sequence[str] = (),
    port: int | None = None,
) -> Deployment:
    """Set a deployment up as `init` does."""
    chosen = setup.plan(directory, port=port or free_port(), host_names=host_names)
    for _ in setup.create(chosen, first_user, threading.Event()):
        pass
    if (environment := Environment(directory / "server")).complete:
        link_bytecode(environment.bin.parent)
    return Deployment.open(str(directory))


def up(deployment: Deployment, cancel: threading.Event | None = None) -> list[str]:
    """Start it; returns what was reported."""
    return [step.label for step in deployment.stack.up(cancel=cancel or threading.Event())]


def down(deployment: Deployment) -> list[str]:
    """Stop it; returns what was reported."""
    return [step.label for step in deployment.stack.down(cancel=threading.Event())]


def processes(directory: Path) -> list[int]:
    """The processes of a deployment: its marked ones, and supervisors that name it."""
    import psutil

    found = {each.pid for each in process.marked(MARKER, str(directory))}
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or []
        if "mlflow_console_server" in words and str(directory) in words:
            found.add(each.pid)
    return sorted(found)


@contextmanager
def ended(directory: Path) -> Iterator[None]:
    """Whatever happens in the block, no process of the deployment is left behind it."""
    try:
        yield
    finally:
        if (directory / "run").is_dir():
            # Opened anew: the test may have left the settings, or the records, in ruins.
            process.terminate(process.marked(MARKER, str(directory)), 10)
        left = processes(directory)
    assert left == []

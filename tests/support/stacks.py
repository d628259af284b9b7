"""Real stacks on Docker: set up by the console's own core, and removed whole with a proof."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from console.core import setup
from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.stack.driver import Role
from tests.support import engine
from tests.support.deployments import free_port


@contextmanager
def stack(
    directory: Path,
    first_user: tuple[str, Secret] | None = None,
    host_names: Sequence[str] = (),
    size: str = "small",
    certificates: Path | None = None,
) -> Iterator[Deployment]:
    """Set a stack up as `init` does, with the images for tests; nothing of it is left behind."""
    engine.require_engine()
    chosen = setup.plan(
        directory, "compose", port=free_port(), tls_port=free_port(), host_names=host_names,
        size=size, certificates=certificates,
    )  # fmt: skip
    for _ in setup.create(chosen, first_user, threading.Event()):
        pass
    add_images(directory)
    try:
        yield Deployment.open(str(directory))
    finally:
        remove(directory)


def add_images(directory: Path) -> None:
    """Name the images for tests in a deployment's .env, as a person would."""
    with (directory / ".env").open("a") as file:
        file.writelines(f"{name}={image}\n" for name, image in engine.images().items())


def compose(directory: Path, *arguments: str, check: bool = True) -> str:
    """What `docker compose` says in a folder, both streams."""
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def remove(directory: Path) -> None:
    """Remove containers, networks and volumes of the stack in a folder."""
    compose(directory, "down", "--volumes", "--timeout", "5", "--remove-orphans")
    assert compose(directory, "ps", "--all", "--quiet").strip() == ""


def run_in(deployment: Deployment, role: Role, argv: Sequence[str]) -> list[str]:
    """What a program says that runs where a service runs."""
    return list(deployment.driver.run_in(role, argv, {}, threading.Event()))

"""A deployment with the sample in it, for as long as a benchmark runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))


@contextlib.contextmanager
def home() -> Iterator[dict[str, str]]:
    """An environment in which the console knows one deployment, which is not made yet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        yield {
            "HOME": folder,
            "XDG_CONFIG_HOME": str(place / "config"),
            "MLFLOW_CONSOLE_MACHINE_CONFIG": str(place / "machine"),
            "MLFLOW_CONSOLE_DEPLOYMENT": str(place / place.name),
            # These belong to the person's own home.
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        }


@contextlib.contextmanager
def sample() -> Iterator[dict[str, str]]:
    """Set one up, log the sample, and yield the environment in which the console finds it."""
    with home() as env:
        console(["init", env["MLFLOW_CONSOLE_DEPLOYMENT"]], env)
        try:
            console(["up"], env)
            console(["demo"], env)
            yield env
        finally:
            console(["down", "--yes"], env)


def console(arguments: list[str], env: dict[str, str], says: str = "") -> None:
    """Run the console's command line; `says` is what it reads from stdin."""
    outside = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    subprocess.run([CONSOLE, "--quiet", *arguments], env={**outside, **env}, check=True,
                   input=says, text=True)  # fmt: skip

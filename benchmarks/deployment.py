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
def sample() -> Iterator[dict[str, str]]:
    """Set one up, log the sample, and yield the environment in which the console finds it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        env = {
            "HOME": folder,
            "XDG_CONFIG_HOME": str(place / "config"),
            "MLFLOW_CONSOLE_MACHINE_CONFIG": str(place / "machine"),
            "MLFLOW_CONSOLE_DEPLOYMENT": str(place / "lab"),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
        }
        _run(["init", str(place / "lab")], env)
        try:
            _run(["up"], env)
            _run(["demo"], env)
            yield env
        finally:
            _run(["down", "--yes"], env)


def _run(arguments: list[str], env: dict[str, str]) -> None:
    outside = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    subprocess.run([CONSOLE, "--quiet", *arguments], env={**outside, **env}, check=True,
                   stdin=subprocess.DEVNULL)  # fmt: skip

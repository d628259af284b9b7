"""A real Docker engine with the images for tests, and throwaway containers in it."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tests.images.recipes import RESULT, WANTED
from tests.support import unavailable

LABEL = "mlflow-console-test=1"

T = TypeVar("T")


def docker(*arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
    """What a docker command prints.

    Raises:
        AssertionError: It failed; shows what it said.
    """
    done = subprocess.run(
        ["docker", *arguments], input=stdin or "", capture_output=True, text=True, check=False,
        timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, f"docker {arguments[0]}: {done.stderr.strip()}"
    return done.stdout


def require_engine() -> None:
    """Skip the test where there is no engine, no Compose, or an image that is not there as yet."""
    for arguments, what in (
        (["version"], "no Docker engine answers"),
        (["compose", "version"], "docker has no compose plug-in"),
        (["image", "inspect", *images().values()], "an image is gone from the engine: make images"),
    ):
        try:
            docker(*arguments)
        except (AssertionError, FileNotFoundError) as error:
            unavailable(f"{what} ({error})")


def images() -> dict[str, str]:
    """Variables of a deployment's .env, and the images that they name.

    Skips the test when the images were not made, or of other recipes: a test of an old image says
    nothing about what the stack ships now.
    """
    if not RESULT.exists():
        unavailable("the images are not made: make images")
    made = dict(line.split("=", 1) for line in RESULT.read_text().splitlines())
    if made != {name: image.tag for name, image in WANTED.items()}:
        unavailable("the images are older than what they are made from: make images")
    return made


@contextmanager
def container(image: str, *command: str, run: Sequence[str] = ()) -> Iterator[str]:
    """A container in the background, removed with its volumes whatever happens.

    Args:
        image: What it is made from.
        command: What it runs, when not what the image says.
        run: More options of `docker run`.

    Yields:
        Its name.
    """
    name = f"mlflow-console-test-{secrets.token_hex(6)}"
    try:
        docker("run", "--detach", "--name", name, "--label", LABEL, *run, image, *command)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def wait_until(condition: Callable[[], T], seconds: float = 60, what: str = "") -> T:
    """Wait until something is true; returns it.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.1)
    return value

"""A real Docker engine with the images for tests, and throwaway containers in it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def own_engine(images: Sequence[str]) -> Iterator[OwnEngine]:
    """An engine of the test's own beside the machine's, which may be stopped; needs root.

    Args:
        images: What it is given from the machine's engine.
    """
    require_engine()
    if os.geteuid() != 0:
        unavailable("only root can start an engine")
    # A short path: those of sockets have at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="own-"))
    # With no bridge of its own it would take the machine's engine's away.
    bridge, network = f"own-{os.getpid()}", f"10.212.{os.getpid() % 256}.1/24"
    engine = OwnEngine(directory, bridge)
    for words in (["add", bridge, "type", "bridge"], ["set", bridge, "up"]):
        subprocess.run(["ip", "link", *words], check=True, capture_output=True)
    subprocess.run(["ip", "address", "add", network, "dev", bridge], check=True,
                   capture_output=True)  # fmt: skip
    try:
        engine.start()
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        subprocess.run(["docker", "--host", engine.address, "load"], stdin=save.stdout, check=True,
                       capture_output=True)  # fmt: skip
        assert save.wait() == 0
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(directory)
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


class OwnEngine:
    """A dockerd with a socket, data and networks of its own."""

    def __init__(self, directory: Path, bridge: str) -> None:
        self._directory = directory
        self._bridge = bridge
        self._child: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{directory}/docker.sock"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        root = self._directory
        # No address pool of its own: at its second start it would remove the machine's docker0.
        with (root / "engine.log").open("a") as log:
            self._child = subprocess.Popen(
                ["dockerd", "--host", self.address, "--data-root", f"{root}/data", "--exec-root",
                 f"{root}/exec", "--pidfile", f"{root}/pid", "--bridge", self._bridge],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, 60, f"the engine answers; {root}/engine.log")

    def _answers(self) -> bool:
        command = ["docker", "--host", self.address, "version"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def stop(self) -> None:
        """End it with everything that it runs; a second call does nothing."""
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            child.wait(60)

"""Parts of a machine: small disks, a second account, programs that are killed."""

from __future__ import annotations

import encodings.raw_unicode_escape  # noqa: F401  # pickle's, for a child that cannot read it
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support import unavailable

T = TypeVar("T")

NOBODY = 65534


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in memory; needs root.

    Args:
        folder: Where it goes; made when missing.
        size: As mount(8) takes it, for instance "1m".
    """
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        unavailable("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        unavailable(f"a small disk cannot be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        # Lazily: a process that the test is about to end may still stand in it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file until the disk is full, then give `leave` bytes back."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 0
        block = 1 << 16
        while block >= 512:
            try:
                size += file.write(b"x" * block)
            except OSError:
                block //= 2
    with ballast.open("r+b") as file:
        file.truncate(max(0, size - leave))
    return ballast


@contextmanager
def common_folder() -> Iterator[Path]:
    """A folder that other accounts can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="mlflow-console-common-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(function: Callable[[], T], groups: Sequence[int] = (), account: int = NOBODY) -> T:
    """Call a function as another account, in a child process; needs root.

    Args:
        function: What it imports on first use must have been imported before: that account may
            not be able to read the checkout.
        groups: Further groups of that account.
        account: Its number, also that of its group.

    """
    if os.geteuid() != 0:
        unavailable("only root can act as another account")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setgid(account)
            os.setuid(account)
            try:
                outcome: object = (True, function())
            except Exception as error:  # noqa: BLE001  # handed to the parent, which raises it
                outcome = (False, error)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(outcome, pipe)
        except BaseException:  # noqa: BLE001  # a child must not run the rest of the tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    worked, value = pickle.loads(data)  # noqa: S301  # written by our own child just now
    if not worked:
        raise value
    result: T = value
    return result


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A child Python that runs a script; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

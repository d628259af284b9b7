"""The Python environment of an MLflow server: its own, apart from the console's."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

import console
from console.core import files, process, shipped
from console.core.errors import CancelledError, ConsoleError, DiskFullError, UnreachableError
from console.core.progress import Progress

NEEDED_BYTES = 1_000_000_000
"""What making it takes: 0.65 GB for the environment, 0.2 GB for the downloads, some air."""

_NETWORK = re.compile(
    r"error sending request|dns error|failed to (fetch|download|lookup)|tcp connect error"
    r"|connection (refused|reset|closed)|timed out|network unreachable|request failed",
    re.IGNORECASE,
)


class Stamp(msgspec.Struct, frozen=True):
    """What a finished environment was made from."""

    format: int
    made_from: str


class Environment:
    """An environment in `folder`/env.

    Args:
        folder: The deployment's `server/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "env" / "bin"
        self._stamp = folder / "environment.json"

    @property
    def complete(self) -> bool:
        """It was made to its end, from what is shipped now."""
        try:
            stamp = msgspec.json.decode(self._stamp.read_bytes(), type=Stamp)
        except (OSError, msgspec.DecodeError):
            return False
        return stamp.made_from == _made_from() and (self.bin / "python").exists()

    def make(self, cancel: threading.Event) -> Iterator[Progress]:
        """Make it, or go on where an interrupted call stopped; nothing to do when complete.

        Raises:
            DiskFullError: There is no room for it.
            UnreachableError: The packages cannot be fetched.
            CancelledError: It was stopped; what was fetched is kept.
        """
        if self.complete:
            return
        files.make_folder(self.folder)
        with files.locked(self.folder / "environment.lock", "the server's environment"):
            if self.complete:
                return
            files.need_room(self.folder, NEEDED_BYTES, "The MLflow server's environment")
            yield from self._make(cancel)
            stamp = Stamp(format=1, made_from=_made_from())
            files.write_atomic(self._stamp, msgspec.json.encode(stamp))

    def _make(self, cancel: threading.Event) -> Iterator[Progress]:
        import uv  # noqa: PLC0415  # first use, not start-up

        program, python = uv.find_uv_bin(), str(self.bin / "python")
        target = shipped.server()
        lock = target / "requirements.lock"
        total = lock.read_text().count("==")
        steps = (
            (["venv", "--allow-existing", "--no-project", "--python", _base_python(),
              str(self.bin.parent)], "making an empty environment"),
            (["pip", "sync", "--python", python, "--require-hashes", str(lock)],
             f"fetching MLflow and {total - 1} packages"),
            (["pip", "install", "--python", python, "--no-deps", "--reinstall", str(target)],
             "adding the lock"),
        )  # fmt: skip
        for arguments, label in steps:
            yield Progress(f"MLflow server: {label}")
            yield from _uv([program, *arguments], cancel)


def _uv(argv: list[str], cancel: threading.Event) -> Iterator[Progress]:
    env = process.environment(_index(), prefixes=("UV_", "PIP_CERT"))
    env |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    try:
        for line in process.lines(argv, env, cancel):
            if isinstance(line, str):
                if line.startswith(("Downloading", "Prepared", "Installed")):
                    yield Progress(f"MLflow server: {line.strip()}")
            elif line.code != 0:
                raise _failure(line.errors)
    except CancelledError as error:
        raise CancelledError(
            "Cancelled while the server's environment was made",
            "Do it again to go on; what was fetched is kept.",
        ) from error


def _index() -> dict[str, str]:
    """A package index that was configured for pip serves uv as well."""
    index = os.environ.get("PIP_INDEX_URL")
    return {"UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in os.environ else {}


def _failure(said: str) -> ConsoleError:
    if "No space left on device" in said or "os error 28" in said:
        return DiskFullError(
            "The disk became full while the server's environment was made",
            "Free some space, then do it again; it goes on where it stopped.",
        )
    if "certificate" in said.lower():
        return UnreachableError(
            "The certificate of the package index is not trusted",
            "Behind a proxy that looks into TLS, give the authority's file in SSL_CERT_FILE, or "
            "UV_SYSTEM_CERTS=1 for the system's; then do it again.",
        )
    if _NETWORK.search(said):
        return UnreachableError(
            "The packages of the MLflow server cannot be fetched: no network, or no package index",
            "Check the connection (a proxy goes into HTTPS_PROXY, an index of yours into "
            "UV_DEFAULT_INDEX), then do it again.",
        )
    last = said.strip().splitlines()[-1] if said.strip() else "no reason given"
    return ConsoleError(f"The server's environment cannot be made: {last}")


def _base_python() -> str:
    """The interpreter below any environment of ours, which may be removed without harm."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _made_from() -> str:
    """A digest of everything that the environment is made from."""
    digest = hashlib.sha256(console.__version__.encode())
    source = shipped.server()
    parts = [source / "requirements.lock", source / "pyproject.toml"]
    for path in [*parts, *sorted((source / "mlflow_console_server").glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()

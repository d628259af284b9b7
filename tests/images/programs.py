"""Programs that the images are made by: run with a log, and ended when one of them failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

SHOWN_LINES = 30


class ImageError(Exception):
    """An image cannot be made; the message says why, and what to do where that is known."""


class Programs:
    """Runs programs for several threads.

    Args:
        logs: The folder of what they print, a file a name; emptied.
    """

    def __init__(self, logs: Path) -> None:
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        self._logs = logs
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def say(self, name: str, text: str) -> None:
        """A line of progress, with the seconds since the start."""
        print(f"{time.monotonic() - self._started:6.1f} s  {name:12}  {text}", flush=True)

    def run(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Run a program to its end.

        Args:
            name: Of what it works for: the name of the log.
            command: Program and arguments.
            env: What it finds in its environment besides our own.

        Raises:
            ImageError: It failed; shows the end of its output.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            output.write(f"$ {' '.join(map(str, command))}\n".encode())
            output.flush()
            with self._lock:
                if self._stopped:
                    raise ImageError(f"{name}: given up, since another image failed")
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=os.environ | (env or {}),
                )  # fmt: skip
                self._running.add(child)
            code = child.wait()
            with self._lock:
                self._running.discard(child)
        if code != 0:
            lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
            raise ImageError(
                "\n  ".join([f"{name}: {command[0]} ended with {code}; the end of {log}:", *lines])
            )

    def stop(self) -> None:
        """End what runs, and start nothing any more."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.terminate()

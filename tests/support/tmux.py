"""A real terminal: tmux, driven by keys and read as a person reads it."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Tmux:
    """One program in a tmux of its own.

    Args:
        argv: Program and arguments.
        env: Its whole environment.
        columns, rows: The size of the terminal.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self._socket = f"test-{os.getpid()}-{secrets.token_hex(4)}"
        # tmux itself gets the environment too: on a new socket it is what its programs inherit.
        self._env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", **env}
        command = f'{shlex.join(argv)}; echo "[ended $?]"; exec sleep 600'
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows),
                   "sh", "-c", command)  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        result = subprocess.run(
            ["tmux", "-L", self._socket, *arguments], env=self._env, check=True,
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        return result.stdout

    def send(self, *keys: str) -> None:
        """Press keys by tmux's names: "Enter", "Escape", "C-c", "a"."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-l", text)

    def record(self, path: Path) -> None:
        """Write to a file what the program writes from now on, byte by byte."""
        self._tmux("pipe-pane", "-O", f"cat > {shlex.quote(str(path))}")

    def screen(self) -> str:
        """What is on the screen now."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, *texts: str, seconds: float = 60.0) -> str:
        """Wait until all the texts are on the screen at once.

        Returns:
            The screen.

        Raises:
            AssertionError: They did not appear; shows the screen.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            shown = self.screen()
            if all(text in shown for text in texts):
                return shown
            time.sleep(0.1)
        missing = [text for text in texts if text not in shown]
        raise AssertionError(f"{missing} not on the screen after {seconds} s:\n{shown}")

    def wait_until_gone(self, text: str, seconds: float = 30.0) -> None:
        """Wait until a text is no longer on the screen."""
        deadline = time.monotonic() + seconds
        while text in (shown := self.screen()):
            assert time.monotonic() < deadline, f"{text!r} still on the screen:\n{shown}"
            time.sleep(0.1)

    def pane_pid(self) -> int:
        """The process id of the shell that runs the program."""
        return int(self._tmux("list-panes", "-F", "#{pane_pid}").strip())

    def close(self) -> None:
        """End this tmux and what runs in it."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], env=self._env, check=False,
                       capture_output=True, timeout=20)  # fmt: skip

    def __enter__(self) -> Tmux:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

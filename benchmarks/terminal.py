"""A program in a terminal of its own, and what it costs: time, bytes written, CPU, memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import psutil

_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_].*?\x1b\\|.)"
)


class Terminal:
    """Runs `argv` on a pseudo-terminal and reads what it draws.

    Args:
        argv: Program and arguments.
        env: Added to a small, fixed environment.
        columns, rows: The size of the terminal.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self._main, child_end = pty.openpty()
        fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        basics = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.started = time.perf_counter()
        self._child = subprocess.Popen(
            list(argv), stdin=child_end, stdout=child_end, stderr=child_end,
            env={**basics, "TERM": "xterm-256color", **env}, start_new_session=True,
        )  # fmt: skip
        os.close(child_end)
        self.process = psutil.Process(self._child.pid)
        self.written = 0
        self._seen = b""

    def read(self, seconds: float) -> None:
        """Take what is drawn for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            ready, _, _ = select.select([self._main], [], [], left)
            if ready and not self._take():
                return

    def _take(self) -> bool:
        try:
            data = os.read(self._main, 65536)
        except OSError:
            return False
        self.written += len(data)
        self._seen += data
        return bool(data)

    def wait_for(self, text: str, seconds: float = 30.0) -> float:
        """Read until `text` was drawn.

        Returns:
            Seconds since the program was started.

        Raises:
            TimeoutError: It was not drawn in time; says what was.
        """
        end = time.perf_counter() + seconds
        shown = ""
        while (left := end - time.perf_counter()) > 0:
            at = time.perf_counter()
            shown = _ESCAPES.sub(b"", self._seen).decode(errors="replace")
            if text in shown:
                return at - self.started
            # Asleep until something is drawn: a busy reader would slow what it measures.
            if select.select([self._main], [], [], left)[0] and not self._take():
                break
        raise TimeoutError(f"{text!r} was not drawn within {seconds} s; drawn: {shown[-2000:]!r}")

    def forget(self) -> None:
        """Look only at what is drawn from now on."""
        self._seen = b""

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._main, keys.encode())

    def pss(self) -> int:
        """Proportional set size of the program in bytes."""
        return int(self.process.memory_full_info().pss)

    def cpu_seconds(self) -> float:
        """CPU time that the program has used, children not included."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def wait_for_end(self, seconds: float = 10.0) -> float:
        """Read until the program has ended.

        Returns:
            Seconds that it took.
        """
        begin = time.perf_counter()
        while self._child.poll() is None:
            if time.perf_counter() - begin > seconds:
                raise TimeoutError(f"the program did not end within {seconds} s")
            self.read(0.005)
        return time.perf_counter() - begin

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        with contextlib.suppress(OSError):
            os.close(self._main)

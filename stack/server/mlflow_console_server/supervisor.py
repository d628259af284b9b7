"""Keeps one program running and its output in a log. Linux and standard library only.

There is one thread and one ``select``: signals arrive through a wake-up descriptor, the child's
output through a pipe, and everything else is a deadline.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow_console_server.logfile import LogFile, now
from mlflow_console_server.state import State, own_start, session_members

#: Set by who starts the supervisor, inherited by every child: by it they are found again when
#: the supervisor was killed.
MARKER_VARIABLE = "MLFLOW_CONSOLE_MARKER"

#: ``EX_TEMPFAIL`` of sysexits.h: another supervisor has this directory.
EXIT_BUSY = 75

_EXIT_NOT_STARTED = 127  # as a shell says it (POSIX, 2.8.2)
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_READ_BYTES = 64 * 1024
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class BusyError(Exception):
    """Another supervisor has the directory."""


@dataclass(frozen=True)
class Timing:
    """How patient a supervisor is; all in seconds.

    Attributes:
        backoff: Waits before the first, second, ... start after an exit; the last one stays.
        short_life: A child that lived shorter counts as a failed start.
        window: Failed starts within this time are counted together.
        limit: That many failed starts and it gives up.
        grace: Time between SIGTERM and SIGKILL.
    """

    backoff: tuple[float, ...] = (1, 2, 4, 8, 16, 30)
    short_life: float = 10
    window: float = 60
    limit: int = 5
    grace: float = 10


def take_lock(path: Path) -> int:
    """Take the lock of a directory; it is held until this process ends.

    Args:
        path: The lock file, which is made if need be. Its content means nothing.

    Returns:
        The descriptor that holds the lock. Children do not inherit it.

    Raises:
        BusyError: If another process holds it.
        OSError: If the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BusyError(f"Another supervisor runs in {path.parent.parent}.") from error
    return descriptor


class Supervisor:
    """Runs a program, starts it again when it ends, and ends it when told to."""

    def __init__(self, directory: Path, argv: list[str], timing: Timing | None = None) -> None:
        """Prepare; nothing is started and no signal is taken over yet.

        Args:
            directory: The deployment: has, or gets, the folders ``logs`` and ``run``.
            argv: The program and its arguments.
            timing: How patient to be.
        """
        self._argv = argv
        self._timing = timing or Timing()
        self._log = LogFile(directory / "logs" / "tracking.log")
        self._state_file = directory / "run" / "tracking.json"
        started, ticks = own_start()
        marker = os.environ.get(MARKER_VARIABLE)
        self._state = State(os.getpid(), started, ticks, marker)
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self._born = 0.0
        self._failures: deque[float] = deque(maxlen=self._timing.limit)
        # Made here and not in `_start`: a library that is loaded between fork and exec may wait
        # for a lock that nobody holds any more.
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._output, self._child_output = os.pipe()
        self._wakeup, self._wakeup_end = os.pipe()

    def run(self) -> int:
        """Supervise until a signal or too many failures.

        Returns:
            0 after SIGTERM or SIGINT, 1 when it gave up.
        """
        self._listen()
        attempt = 0
        while True:
            if not self._start():
                return 1
            self._pump(lambda: self._stopping or self._has_exited())
            if self._stopping:
                self._end("it was told to stop")
                return 0
            lived = time.monotonic() - self._born
            self._end(f"it ended by itself after {lived:.1f} s")
            attempt = 0 if lived >= self._timing.short_life else attempt + 1
            if self._gives_up(lived):
                self._log.say("it keeps failing, so it is not started again")
                return 1
            wait = self._timing.backoff[min(max(attempt - 1, 0), len(self._timing.backoff) - 1)]
            self._log.say(f"next start in {wait:g} s")
            self._pump(lambda: self._stopping, wait)
            if self._stopping:
                self._log.say("told to stop")
                return 0
            self._state.restarts += 1

    def _listen(self) -> None:
        """Turn signals and the child's output into something to select on."""
        for descriptor in (self._output, self._wakeup, self._wakeup_end):
            os.set_blocking(descriptor, False)
        for number in (*_STOPPING, signal.SIGCHLD):
            # Python writes a number to the wake-up descriptor only for signals with a handler.
            signal.signal(number, lambda *_: None)
        # An SSH session that ends must not take the server along; children inherit this.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        self._selector.register(self._output, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def _start(self) -> bool:
        """Start the child as the leader of a session of its own; say whether that worked."""
        parent = os.getpid()

        def before_exec() -> None:
            # Even SIGKILL of the supervisor then ends the child (prctl(2)). Between fork and
            # here the parent may have gone already.
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(_EXIT_NOT_STARTED)

        try:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=self._child_output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 - safe: this process has one thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._log.say(f"{self._argv[0]} cannot be started: {error}")
            self._state.exit_code, self._state.exited_at = _EXIT_NOT_STARTED, now()
            self._record()
            return False
        self._born = time.monotonic()
        self._state.child_pid, self._state.child_started_at = self._child.pid, now()
        self._state.exit_code = self._state.exited_at = None
        self._record()
        self._log.say(f"started process {self._child.pid}")
        return True

    def _has_exited(self) -> bool:
        """Say whether the child has ended; it is not reaped, so its number stays taken."""
        assert self._child is not None  # noqa: S101 - for the type checker; `_start` made it
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._child.pid, options) is not None

    def _pump(self, done: Callable[[], bool], seconds: float | None = None) -> bool:
        """Copy output and take signals until something is true or a time is over.

        Args:
            done: What is waited for; asked after every event.
            seconds: How long at most.

        Returns:
            Whether it became true in time.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            for key, _ in self._selector.select(left):
                if key.fd == self._output:
                    self._copy()
                else:
                    received = os.read(self._wakeup, _READ_BYTES)
                    self._stopping |= any(number in received for number in _STOPPING)
        return True

    def _copy(self) -> bool:
        """Copy one piece of output into the log; False when there is none at the moment."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return False
        self._log.feed(data)
        return bool(data)

    def _end(self, why: str) -> None:
        """End what is left of the child's session, reap the child, and record how it ended.

        Also after a child that ended by itself: what it left behind may hold the port.
        """
        assert self._child is not None  # noqa: S101 - for the type checker; `_start` made it
        child = self._child
        if not self._ends_after(signal.SIGTERM, self._timing.grace):
            self._log.say(f"still running after {self._timing.grace:g} s: killed")
            # Not even SIGKILL ends a process that waits in the kernel for a disk.
            self._ends_after(signal.SIGKILL, self._timing.grace)
        # A pipe holds 64 KiB, so this empties it, and ends even while somebody who left the
        # session goes on writing.
        for _ in range(16):
            if not self._copy():
                break
        self._log.flush()
        self._state.exit_code = child.poll()
        self._state.child_pid, self._state.exited_at = None, now()
        self._record()
        self._child = None
        self._log.say(f"process {child.pid} ended with {self._state.exit_code}: {why}")

    def _ends_after(self, number: signal.Signals, seconds: float) -> bool:
        """Send a signal to the whole session and wait for its end."""
        assert self._child is not None  # noqa: S101 - for the type checker; `_start` made it
        session = self._child.pid
        for pid in session_members(session):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        # Only the death of the child itself is told by a signal, that of its children is not.
        while session_members(session):
            if time.monotonic() >= deadline:
                return False
            self._pump(lambda: False, 0.05)
        return True

    def _gives_up(self, lived: float) -> bool:
        """Count a failed start; say whether there were too many in too short a time."""
        if lived >= self._timing.short_life:
            self._failures.clear()
            return False
        self._failures.append(time.monotonic())
        full = len(self._failures) == self._timing.limit
        return full and self._failures[-1] - self._failures[0] <= self._timing.window

    def _record(self) -> None:
        """Write the state file; without room for it the server still runs."""
        try:
            self._state.write(self._state_file)
        except OSError as error:
            self._log.say(f"{self._state_file.name} cannot be written: {error.strerror}")

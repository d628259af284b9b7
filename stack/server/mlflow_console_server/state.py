"""What a supervisor tells about itself: ``run/tracking.json``. Standard library only."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

#: The format of the file; a reader refuses a greater one.
FORMAT = 1


@dataclass
class State:
    """The supervisor and its child, as written to the file.

    Attributes:
        pid: The supervisor's process id.
        start_time: When it started, seconds since the epoch, computed as psutil computes
            ``Process.create_time()``; with the pid it names one process for good.
        start_ticks: The same as the kernel has it: clock ticks since boot, field 22 of
            ``/proc/PID/stat``. It does not move when the clock is set.
        marker: The value of the environment's MLFLOW_CONSOLE_MARKER, which every child inherits.
        child_pid: The process id of the running child, which leads a session of its own.
        child_started_at: When it was started, ISO 8601 UTC.
        restarts: How often a child had to be started again.
        exit_code: How the child ended: its status, ``-N`` for signal N, 127 when it could not be
            started at all; None while one runs.
        exited_at: When the child ended, ISO 8601 UTC; None while one runs. Whether another is
            about to be started is told by whether the supervisor lives.
    """

    pid: int
    start_time: float
    start_ticks: int
    marker: str | None
    child_pid: int | None = None
    child_started_at: str | None = None
    restarts: int = 0
    exit_code: int | None = None
    exited_at: str | None = None

    def write(self, path: Path) -> None:
        """Replace the file in one step; it is on the disk when this returns.

        Args:
            path: The file; it gets mode 0600.

        Raises:
            OSError: If it cannot be written; the old file then stands as it was.
        """
        temporary = path.with_name(path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            json.dump({"format": FORMAT, **asdict(self)}, file)
            file.write("\n")
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def stat_fields(pid: int | str) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third (the state) on.

    The second, the name, stands in parentheses and may contain anything (proc_pid_stat(5)).

    Args:
        pid: A process id, or ``self``.

    Raises:
        OSError: If there is no such process.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text[text.rindex(")") + 2 :].split()


def own_start() -> tuple[float, int]:
    """Return when this process started: seconds since the epoch, and clock ticks since boot."""
    ticks = int(stat_fields("self")[19])
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(float(line.split()[1]) for line in file if line.startswith("btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK"), ticks


def session_members(session: int) -> list[int]:
    """Return the living processes of a session, whatever process groups they made.

    Args:
        session: The process id of the session's leader. Until that one is reaped, the number
            can mean no other session.
    """
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = stat_fields(entry.name)
            except OSError:
                continue  # it ended while we looked
            if int(fields[3]) == session and fields[0] not in {"Z", "X"}:
                members.append(int(entry.name))
    return members

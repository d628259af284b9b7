"""Which machine this is, since which start, and what tells one of its processes from all others."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def machine_id() -> str:
    """What machine-id(5) says of this one; "" where nobody gave it one."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        found = _word(Path(path))
        if found:
            return found
    return ""


def boot_id() -> str:
    """What is another one after each start of the machine; "" where the kernel does not say."""
    return _word(Path("/proc/sys/kernel/random/boot_id"))


def host_name() -> str:
    """What people call this machine."""
    return socket.gethostname()


def ticks(pid: int | None = None) -> int:
    """When a process started, in clock ticks since boot, whatever the clock has done since.

    Args:
        pid: Whose; this one's by default.

    Returns:
        0 where it cannot be told.
    """
    try:
        stat = Path(f"/proc/{os.getpid() if pid is None else pid}/stat").read_text(errors="replace")
        return int(stat[stat.rindex(")") + 2 :].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

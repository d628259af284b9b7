"""The text of the timer and its service, and of the cron line where there is no systemd."""

from __future__ import annotations

import os
import re
from pathlib import Path

from console.core import systemd_units
from console.core.errors import UsageError
from console.core.systemd_units import Unit, unit_name

SHORTEST, LONGEST = 10, 86_400
USUAL = "5m"
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}

SERVICE = """\
{mark}
[Unit]
Description={description}

[Service]
Type=oneshot
ExecStart={command}
{environment}SuccessExitStatus=3 4
StandardOutput=null
TimeoutStartSec=180
Nice=10
"""
# No Persistent=: it is about OnCalendar alone. The first look is at once, and after a boot.
TIMER = """\
{mark}
[Unit]
Description={description}

[Timer]
OnBootSec={first}
OnUnitActiveSec={every}
RandomizedDelaySec={spread}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def interval(text: str) -> int:
    """Seconds of "30s", "5m", "1h".

    Raises:
        UsageError: It is none, or one that nobody can want.
    """
    found = re.fullmatch(r"([0-9]{1,6})(s|min|m|h|d)", text.strip())
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"{text!r} is no interval from {SHORTEST}s to 24h", "Give one like 5m.")
    return seconds


def units(folder: Path, name: str, directory: Path, every: int) -> tuple[Unit, Unit]:
    """The service and the timer of a deployment.

    Args:
        folder: Where systemd looks for them.
        name: Of the deployment.
        directory: Its folder.
        every: Seconds.

    Raises:
        ConsoleError: This installation has no program that systemd could start.
    """
    description = f"mlflow-console: what is wrong with {name}"
    about = {"mark": mark(directory), "description": description}
    service = SERVICE.format(
        **about,
        command=systemd_units.command_line(_words(directory)),
        environment=systemd_units.environment_lines(),
    )
    timer = TIMER.format(
        **about, first=f"{min(every, 60)}s", every=f"{every}s", spread=f"{min(30, every // 10)}s"
    )
    return (
        Unit(folder / f"{unit_name(name)}.service", service),
        Unit(folder / f"{unit_name(name)}.timer", timer),
    )


def mark(directory: Path) -> str:
    """The first line of our files; a file with another one belongs to somebody else."""
    return systemd_units.mark(directory, "notify on")


def _words(directory: Path) -> list[str]:
    return ["--deployment", os.fsdecode(directory), "status", "--notify", "--quiet"]


def cron_line(directory: Path, every: int) -> str:
    """A line for `crontab -e`, which knows minutes and hours only."""
    minutes, hours = max(1, every // 60), every // 3_600
    at = f"*/{minutes} * * * *" if not hours else f"0 */{hours} * * *"
    at = "0 0 * * *" if hours > 23 else at
    return systemd_units.cron_line(at, _words(directory))

"""Snapshots by a timer of systemd, which the console writes, shows and removes."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import process, systemd, systemd_units
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.systemd_units import Unit
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment

DAY_SECONDS = 86_400
USUAL = "03:00"
SHORTEST_SECONDS = 600
"""A snapshot every few minutes keeps nothing that one an hour does not."""
ANSWER_SECONDS = 10.0
ITERATIONS = 30
EXAMPLE = 'Give one like "03:00", for every day.'
EXAMPLES = 'Give one like "03:00", or as systemd.time(7) has it: "Mon..Fri 06,18:00".'
_DAILY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_EVERY_DAY = re.compile(r"\*-\*-\* (\d\d:\d\d):00", re.ASCII)
_MOMENT = re.compile(r"(?:Next elapse|Iter\. #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")

SERVICE = """\
{mark}
[Unit]
Description={description}

[Service]
Type=oneshot
ExecStart={command}
{environment}StandardOutput=null
TimeoutStartSec=infinity
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
"""
# X-…: systemd leaves it to others; it says how many seconds may lie between two snapshots.
TIMER = """\
{mark}
[Unit]
Description={description}

[Timer]
OnCalendar={calendar}
Persistent=true
RandomizedDelaySec=300
X-LongestSec={longest}

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """The timer as it is; the JSON shape of `backup schedule`.

    Attributes:
        unit: What it is called.
        installed: Our two files are there.
        active: systemd waits for its next moment.
        enabled: It comes back after a boot.
        at: "HH:MM" for every day, or as systemd's OnCalendar has it; "" without a timer.
        last_run: When it was begun.
        last_exit_code: Of the last run; None while it goes on.
        next_run: None while a run goes on.
        note: What a person should know of it; may be "".
        longest_seconds: How long it takes at most from one to the next; None where it is not
            known.
        cron: A line for `crontab -e` where there is no systemd; else "".
    """

    unit: str
    installed: bool
    active: bool = False
    enabled: bool = False
    at: str = ""
    last_run: datetime | None = None
    last_exit_code: int | None = None
    next_run: datetime | None = None
    note: str = ""
    longest_seconds: int | None = None
    cron: str = ""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Moments that come again.

    Attributes:
        text: As systemd writes it.
        longest_seconds: At most so many lie between two of them.
    """

    text: str
    longest_seconds: int

    @property
    def words(self) -> str:
        """As a person types it: "03:00" for every day."""
        return _typed(self.text)


def look(deployment: Deployment) -> ScheduleState:
    """The timer as it is now."""
    timer = _timer(deployment)
    now = timer.look()
    at, longest = _written(timer) if now.installed else ("", None)
    cron = ""
    if not timer.booted:
        with contextlib.suppress(ConsoleError):  # there is no program that cron could start
            cron = _cron_line(deployment, read(USUAL))
    return ScheduleState(
        timer.unit, now.installed, now.active, now.enabled, at, now.last_run, now.last_exit_code,
        now.next_run, now.note, longest, cron,
    )  # fmt: skip


def longest_seconds(deployment: Deployment) -> int | None:
    """How long it takes at most from one snapshot to the next; None without a timer. Asks nobody.

    Raises:
        ConsoleError: The timer's file cannot be read.
    """
    timer = _timer(deployment)
    return _written(timer)[1] if timer.installed else None


def change(deployment: Deployment, at: str) -> ScheduleState:
    """Make snapshots by a timer, or by none; see `BackupService.schedule`."""
    timer = _timer(deployment)
    if not at.strip():
        timer.remove()
        return look(deployment)
    calendar = read(at)
    deployment.backup.place.require()  # a timer cannot ask for one
    timer.refuse_foreign()
    planned = units(timer.folder, deployment.name, deployment.directory, calendar)
    if not timer.booted:
        does = "cron does the same, a line for `crontab -e`"
        if not _DAILY.fullmatch(calendar.words):
            does = f"cron does it at {USUAL} by this line for `crontab -e`; give it your own time"
        raise ConsoleError(
            "systemd does not run this machine, so there is no timer",
            f"{does}: {_cron_line(deployment, calendar)}",
        )
    timer.install(planned)
    return look(deployment)


def read(at: str) -> Calendar:
    """What was typed: "HH:MM" for every day, or as systemd's OnCalendar has it.

    Raises:
        UsageError: It is neither, or nobody can want it.
    """
    typed = at.strip()
    daily = _DAILY.fullmatch(typed)
    if daily is not None:
        return Calendar(f"*-*-* {int(daily[1]):02}:{daily[2]}:00", DAY_SECONDS)
    said = _analyzed(typed)
    form = re.search(r"Normalized form: (.+)", said)
    moments = [datetime.strptime(each, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
               for each in _MOMENT.findall(said)]  # fmt: skip
    if form is None or len(moments) < 2:
        raise UsageError(
            f"{clean(typed)} does not come again and again",
            'Give one like "03:00", or "Mon 06:00".',
        )
    spans = [round((later - earlier).total_seconds())
             for earlier, later in itertools.pairwise(moments)]  # fmt: skip
    if min(spans) < SHORTEST_SECONDS:
        raise UsageError(
            f"{clean(typed)} comes every {min(spans)} s", "Leave ten minutes between two snapshots."
        )
    return Calendar(form[1].strip(), max(spans))


def _analyzed(typed: str) -> str:
    """What `systemd-analyze calendar` says of it, in UTC.

    Raises:
        UsageError: It makes no sense, or there is no systemd that could tell.
    """
    if not typed.isprintable() or not typed.isascii() or "%" in typed:
        raise UsageError(f"{clean(typed)} is no time", EXAMPLES)
    if shutil.which("systemd-analyze") is None:
        raise UsageError(
            f"{clean(typed)} is no time like 03:00, and here is no systemd that knows others",
            EXAMPLE,
        )
    env = process.environment({"LC_ALL": "C", "TZ": "UTC"})
    cancel = threading.Event()
    watch = threading.Timer(ANSWER_SECONDS, cancel.set)
    watch.start()
    said: list[str] = []
    argv = ["systemd-analyze", "calendar", f"--iterations={ITERATIONS}", "--", typed]
    try:
        for line in process.lines(argv, env, cancel):
            if isinstance(line, str):
                said.append(line)
            elif line.code:
                why = clean(said[-1], 200) if said else "systemd does not know it"
                raise UsageError(f"{clean(typed)} is no time: {why}", EXAMPLES)
    except CancelledError as error:
        raise ConsoleError("systemd-analyze does not answer") from error
    finally:
        watch.cancel()
    return "\n".join(said)


def units(folder: Path, name: str, directory: Path, calendar: Calendar) -> tuple[Unit, Unit]:
    """The service and the timer of a deployment.

    Args:
        folder: Where systemd looks for them.
        name: Of the deployment.
        directory: Its folder.
        calendar: When.

    Raises:
        ConsoleError: This installation has no program that systemd could start.
    """
    about = {"mark": _mark(directory), "description": f"mlflow-console: a snapshot of {name}"}
    service = SERVICE.format(
        **about,
        command=systemd_units.command_line(_words(directory)),
        environment=systemd_units.environment_lines(),
    )
    timer = TIMER.format(**about, calendar=calendar.text, longest=calendar.longest_seconds)
    return (
        Unit(folder / f"{_unit_name(name)}.service", service),
        Unit(folder / f"{_unit_name(name)}.timer", timer),
    )


def _timer(deployment: Deployment) -> systemd.Timer:
    return systemd.Timer(_unit_name(deployment.name), _mark(deployment.directory))


def _unit_name(name: str) -> str:
    """No deployment's name has an @ in it, so that no other one's unit is called like this."""
    return f"{systemd_units.PROGRAM}-backup@{name}"


def _mark(directory: Path) -> str:
    return systemd_units.mark(directory, "backup schedule")


def _words(directory: Path) -> list[str]:
    deployment = ["--deployment", os.fsdecode(directory)]
    return [*deployment, "backup", "create", "--scheduled", "--quiet"]


def _written(timer: systemd.Timer) -> tuple[str, int | None]:
    """When, as a person types it, and how long it takes at most, as the timer's file has them."""
    longest = timer.found(rb"^X-LongestSec=(\d+)$")
    return _typed(timer.found(rb"^OnCalendar=(.+)$")), int(longest) if longest else None


def _typed(calendar: str) -> str:
    daily = _EVERY_DAY.fullmatch(calendar)
    return daily[1] if daily else calendar


def _cron_line(deployment: Deployment, calendar: Calendar) -> str:
    """Cron knows less: what is not once a day is to be put into its first five fields by hand."""
    hour, minute = (calendar.words if _DAILY.fullmatch(calendar.words) else USUAL).split(":")
    at = f"{int(minute)} {int(hour)} * * *"
    return systemd_units.cron_line(at, _words(deployment.directory))

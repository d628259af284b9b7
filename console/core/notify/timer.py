"""The systemd timer that takes the status and sends what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from console.core import systemd
from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.notify import units
from console.core.systemd_units import Unit, unit_name


@dataclass(frozen=True, slots=True)
class TimerState:
    """The timer as it is; part of the JSON of `notify show`.

    Attributes:
        unit: What it is called.
        installed: Our two files are there.
        active: systemd waits for its next moment.
        enabled: It comes back after a boot.
        every_seconds: None when it is not installed.
        last_run: When it was begun.
        last_exit_code: Of the last run; as for `status`, and 1 when a message was refused. None
            while it goes on.
        next_run: None while a run goes on.
        note: What a person should know of it; may be "".
    """

    unit: str
    installed: bool
    active: bool = False
    enabled: bool = False
    every_seconds: int | None = None
    last_run: datetime | None = None
    last_exit_code: int | None = None
    next_run: datetime | None = None
    note: str = ""


class Timer(systemd.Timer):
    """The timer and the service of one deployment.

    Args:
        deployment: Which one.
    """

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(unit_name(deployment.name), units.mark(deployment.directory))
        self._deployment = deployment

    def plan(self, every: int) -> tuple[Unit, Unit]:
        """What `install` would write.

        Raises:
            NotOursError: A unit of that name belongs to somebody else.
        """
        self.refuse_foreign()
        return units.units(self.folder, self._deployment.name, self._deployment.directory, every)

    def require_systemd(self, every: int) -> None:
        """Say what to do where nothing reads a timer.

        Raises:
            ConsoleError: systemd does not run this machine; with the line for cron.
        """
        if not self.booted:
            line = units.cron_line(self._deployment.directory, every)
            raise ConsoleError(
                "systemd does not run this machine, so there is no timer; the addresses are kept",
                f"cron does the same, a line for `crontab -e`: {line}",
            )

    def state(self) -> TimerState:
        """The timer as it is now."""
        now = self.look()
        every = self.found(rb"^OnUnitActiveSec=(\d+)s$")
        return TimerState(
            self.unit, now.installed, now.active, now.enabled,
            int(every) if now.installed and every else None,
            now.last_run, now.last_exit_code, now.next_run, now.note,
        )  # fmt: skip

"""The systemd timer of a deployment: written, shown and removed; only ever our own."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.core import audit, files, process
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, NotOursError
from console.core.notify import units
from console.core.notify.units import Unit

BOOTED = Path("/run/systemd/system")
"""There while systemd is the machine's init (sd_booted(3))."""

MACHINE = Path("/etc/systemd/system")
LINGERING = Path("/var/lib/systemd/linger")
ANSWER_SECONDS = 30.0
SPANS = {
    "y": 31_557_600.0, "month": 2_629_800.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0,
    "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6,
}  # fmt: skip


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


class Timer:
    """The timer and the service of one deployment.

    Args:
        deployment: Which one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._directory = deployment.directory
        self._name = deployment.name
        self._as_root = os.geteuid() == 0

    @property
    def unit(self) -> str:
        """Its name, with ".timer"."""
        return f"{units.unit_name(self._name)}.timer"

    @property
    def _service(self) -> str:
        return f"{units.unit_name(self._name)}.service"

    @property
    def folder(self) -> Path:
        """Where this account's units lie: the machine's for root, else a person's own."""
        if self._as_root:
            return MACHINE
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(config) / "systemd" / "user"

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files of the service and of the timer."""
        return self.folder / self._service, self.folder / self.unit

    def plan(self, every: int) -> tuple[Unit, Unit]:
        """What `install` would write.

        Raises:
            NotOursError: A unit of that name belongs to somebody else.
        """
        self.refuse_foreign()
        return units.units(self.folder, self._name, self._directory, every)

    def refuse_foreign(self) -> None:
        """Leave what is not ours alone.

        Raises:
            NotOursError: It is another deployment's, or somebody made it by hand.
        """
        for path in self.paths:
            if os.path.lexists(path) and not self._ours(path):
                raise NotOursError(
                    f"{path} was not made for this deployment, and is left alone",
                    "Give the deployment another name in console.toml, or remove that unit.",
                )

    def _ours(self, path: Path) -> bool:
        with files.explained(path):
            if path.is_symlink() or not path.is_file():
                return False
            first = path.read_bytes().partition(b"\n")[0]
        return first == units.mark(self._directory).encode()

    def require_systemd(self, every: int) -> None:
        """Say what to do where nothing reads a timer.

        Raises:
            ConsoleError: systemd does not run this machine; with the line for cron.
        """
        if not BOOTED.is_dir():
            line = units.cron_line(self._directory, every)
            raise ConsoleError(
                "systemd does not run this machine, so there is no timer; the addresses are kept",
                f"cron does the same, a line for `crontab -e`: {line}",
            )

    def install(self, planned: Sequence[Unit]) -> None:
        """Write the files and start the timer; what is there already is replaced."""
        self._systemctl("show-environment")  # before anything is written: is there a manager?
        files.make_folder(self.folder, 0o755)
        for unit in planned:
            files.write_atomic(unit.path, unit.text.encode(), 0o644)
        self._systemctl("daemon-reload")
        self._systemctl("enable", self.unit)
        self._systemctl("restart", self.unit)

    def remove(self) -> list[Path]:
        """Stop both, disable the timer and remove the files; returns what was removed."""
        self.refuse_foreign()
        there = [path for path in self.paths if path.exists()]
        if not there:
            return []
        running = BOOTED.is_dir()
        if running:
            self._systemctl("disable", "--now", self.unit)
            self._systemctl("stop", self._service)
        for path in there:
            with files.explained(path):
                path.unlink(missing_ok=True)
        if running:
            self._systemctl("daemon-reload")
            self._systemctl("reset-failed", self.unit, self._service, may_fail=True)
        return there

    def lingering(self) -> str:
        """What is missing for a timer that runs while its owner is logged out; "" for nothing."""
        name = audit.account()
        if self._as_root or (LINGERING / name).exists():
            return ""
        return (
            f"It ends when {name} logs out, unless lingering is on: loginctl enable-linger {name}"
        )

    def look(self) -> TimerState:
        """The timer as it is now."""
        installed = all(path.is_file() and self._ours(path) for path in self.paths)
        if not BOOTED.is_dir():
            return TimerState(self.unit, installed, note="systemd does not run this machine")
        if not installed:
            taken = any(os.path.lexists(path) and not self._ours(path) for path in self.paths)
            note = f"{self.folder} holds a unit of that name that is not ours" if taken else ""
            return TimerState(self.unit, False, note=note)
        try:
            timer = self._properties(self.unit)
            service = self._properties(self._service)
        except ConsoleError as error:
            return TimerState(self.unit, True, note=error.message)
        ended = _moment(service.get("ExecMainExitTimestamp", ""))
        return TimerState(
            self.unit, True,
            active=timer.get("ActiveState") == "active",
            enabled=timer.get("UnitFileState") == "enabled",
            every_seconds=self._every(),
            last_run=_moment(timer.get("LastTriggerUSec", "")),
            last_exit_code=int(service.get("ExecMainStatus") or 0) if ended else None,
            next_run=_from_now(timer.get("NextElapseUSecMonotonic", "")),
            note=self.lingering(),
        )  # fmt: skip

    def _every(self) -> int | None:
        found = re.search(rb"^OnUnitActiveSec=(\d+)s$", self.paths[1].read_bytes(), re.MULTILINE)
        return int(found[1]) if found else None

    def _properties(self, unit: str) -> dict[str, str]:
        """What systemd says of a unit."""
        wanted = (
            "ActiveState", "UnitFileState", "LastTriggerUSec", "NextElapseUSecMonotonic",
            "ExecMainExitTimestamp", "ExecMainStatus",
        )  # fmt: skip
        said = self._systemctl("show", f"--property={','.join(wanted)}", unit)
        return dict(line.split("=", 1) for line in said if "=" in line)

    def _systemctl(self, *arguments: str, may_fail: bool = False) -> list[str]:
        """The lines that systemctl prints.

        Raises:
            ConsoleError: It refuses, or does not answer.
        """
        manager = () if self._as_root else ("--user",)
        extra = {"LC_ALL": "C", "TZ": "UTC"}
        runtime = Path(f"/run/user/{os.geteuid()}")
        if not self._as_root and "XDG_RUNTIME_DIR" not in os.environ and runtime.is_dir():
            extra["XDG_RUNTIME_DIR"] = str(runtime)  # su and sudo do not set it
        env = process.environment(extra, ("DBUS_SESSION_",))
        cancel = threading.Event()
        watch = threading.Timer(ANSWER_SECONDS, cancel.set)
        watch.start()
        said: list[str] = []
        try:
            for line in process.lines(["systemctl", *manager, *arguments], env, cancel):
                if isinstance(line, str):
                    said.append(line)
                elif line.code and not may_fail:
                    raise self._refused(arguments[0], line.errors)
        except CancelledError as error:
            raise ConsoleError("systemd does not answer") from error
        finally:
            watch.cancel()
        return said

    def _refused(self, verb: str, said: str) -> ConsoleError:
        last = said.strip().rpartition("\n")[2]
        if not self._as_root and re.search("connect to bus|XDG_RUNTIME_DIR", said):
            name = audit.account()
            return ConsoleError(
                f"No systemd runs for {name}, who is not logged in and does not linger",
                f"As root: loginctl enable-linger {name}. Then do it again.",
            )
        return ConsoleError(f"systemctl {verb} failed: {last or 'it did not say why'}")


def _moment(text: str) -> datetime | None:
    """A moment as `systemctl show` prints it in UTC: "Wed 2026-11-25 07:00:36 UTC"."""
    try:
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None


def _from_now(text: str) -> datetime | None:
    """The moment at which the machine will have run for "2h 12min 3.5s"; None for "infinity"."""
    parts = [re.fullmatch(r"([\d.]+)([a-z]+)", part) for part in text.split()]
    if not parts or not all(part and part[2] in SPANS for part in parts):
        return None
    uptime = sum(float(part[1]) * SPANS[part[2]] for part in parts if part)
    return datetime.now(UTC) + timedelta(seconds=uptime - time.monotonic())

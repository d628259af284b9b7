"""The door to systemd: a timer and the service that it starts; only ever our own."""

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
from console.core.errors import CancelledError, ConsoleError, NotOursError
from console.core.systemd_units import Unit

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
class Looked:
    """A timer as it is.

    Attributes:
        installed: Our two files are there.
        active: systemd waits for its next moment.
        enabled: It comes back after a boot.
        last_run: When its service was begun.
        last_exit_code: Of the last run; None while it goes on.
        next_run: None while a run goes on.
        note: What a person should know of it; may be "".
    """

    installed: bool
    active: bool = False
    enabled: bool = False
    last_run: datetime | None = None
    last_exit_code: int | None = None
    next_run: datetime | None = None
    note: str = ""


class Timer:
    """A timer and its service.

    Args:
        name: What both are called, without ".timer".
        mark: The first line of our files.
    """

    def __init__(self, name: str, mark: str) -> None:
        self._name = name
        self._mark = mark
        self._as_root = os.geteuid() == 0

    @property
    def unit(self) -> str:
        """Its name, with ".timer"."""
        return f"{self._name}.timer"

    @property
    def _service(self) -> str:
        return f"{self._name}.service"

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
        return first == self._mark.encode()

    @property
    def installed(self) -> bool:
        """Whether our two files are there; raises ConsoleError when that cannot be told."""
        return all(path.is_file() and self._ours(path) for path in self.paths)

    @property
    def booted(self) -> bool:
        """Whether there is a systemd that reads a timer."""
        return BOOTED.is_dir()

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
        running = self.booted
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

    def look(self) -> Looked:
        """The timer as it is now."""
        installed = self.installed
        if not self.booted:
            return Looked(installed, note="systemd does not run this machine")
        if not installed:
            taken = any(os.path.lexists(path) and not self._ours(path) for path in self.paths)
            note = f"{self.folder} holds a unit of that name that is not ours" if taken else ""
            return Looked(False, note=note)
        try:
            timer = self._properties(self.unit)
            service = self._properties(self._service)
        except ConsoleError as error:
            return Looked(True, note=error.message)
        ended = _moment(service.get("ExecMainExitTimestamp", ""))
        return Looked(
            True,
            active=timer.get("ActiveState") == "active",
            enabled=timer.get("UnitFileState") == "enabled",
            last_run=_moment(timer.get("LastTriggerUSec", "")),
            last_exit_code=int(service.get("ExecMainStatus") or 0) if ended else None,
            next_run=_moment(timer.get("NextElapseUSecRealtime", ""))
            or _from_now(timer.get("NextElapseUSecMonotonic", "")),
            note=self.lingering(),
        )  # fmt: skip

    def found(self, pattern: bytes) -> str:
        """The first group of a pattern in the timer's file; "" without one, or without a file."""
        try:
            found = re.search(pattern, self.paths[1].read_bytes(), re.MULTILINE)
        except OSError:
            return ""
        return found[1].decode("utf-8", "replace") if found else ""

    def _properties(self, unit: str) -> dict[str, str]:
        """What systemd says of a unit."""
        wanted = (
            "ActiveState", "UnitFileState", "LastTriggerUSec", "NextElapseUSecMonotonic",
            "NextElapseUSecRealtime", "ExecMainExitTimestamp", "ExecMainStatus",
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

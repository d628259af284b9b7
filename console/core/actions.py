"""What is being done to a deployment: in a process of its own, which outlives who has asked for it.

A terminal that hangs up in the middle of `up` or `backup restore` would leave it half way. So the
verb runs in a worker (`console.core.worker`) in a session of its own; it writes what it does into
`run/action.json` and what it reports into `run/action.jsonl`, and any console follows that. Beside
what is done to the stack, one thing may be done to its backups: `run/backup.json` and
`run/backup.jsonl`. Restoring stops services, so it and the stack's verbs exclude each other.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from console.core import files, process
from console.core.errors import (
    AccessError,
    BusyError,
    CancelledError,
    ConsoleError,
    UnreachableError,
)
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    import psutil

    from console.core.deployment import Deployment, Paths

Area = Literal["stack", "backup"]

FORMAT = 1
RESTORE = "backup.restore"
BEGIN_SECONDS = 20.0
LOOK_SECONDS = 0.05
# What a worker needs to reach the same engine and to be known as the same person.
HANDED_ON = ("DOCKER_", "SSH_", "BUILDX_", "SUDO_", "MLFLOW_CONSOLE_", "XDG_")
# In a worker's command line: what tells it from a process that has its number after a reboot.
MODULE = "console.core.worker"
_NAMES: dict[Area, str] = {"stack": "action", "backup": "backup"}


class Action(msgspec.Struct, frozen=True):
    """run/action.json or run/backup.json: one action, and how it ended.

    Attributes:
        operation: "stack.up" and so on.
        by: The account that asked for it.
        pid: Of its worker, with the moment that one started (epoch seconds).
        exit_code: Of the error that it ended with.
        options: The keyword arguments of its method, as JSON has them; the stack's has none.
        ticks: When its worker started, in the kernel's ticks since boot, which no change of the
            clock moves; 0 where it is not known.
    """

    id: str
    operation: str
    services: tuple[str, ...]
    by: str
    pid: int
    start_time: float
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Literal["running", "done", "failed", "cancelled"] = "running"
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    format: int = FORMAT
    options: dict[str, Any] = {}
    ticks: int = 0

    @property
    def verb(self) -> str:
        """The name of its method."""
        return self.operation.partition(".")[2]

    @property
    def command(self) -> str:
        """The name of its command: "restart", "backup create"."""
        return command(self.operation)

    @property
    def words(self) -> str:
        """What is done to whom, as its command is typed: "restart tracking"."""
        wanted = Path(str(self.options.get("wanted", ""))).name
        return " ".join([self.command, *self.services, *([clean(wanted)] if wanted else [])])


def command(operation: str) -> str:
    """What an operation's command is called; the stack's verbs are commands of their own."""
    area, _, verb = operation.partition(".")
    return verb if area == "stack" else f"{area} {verb}"


def area_of(operation: str) -> Area:
    """Which of the two records an operation writes."""
    return "backup" if operation.startswith("backup.") else "stack"


def record(paths: Paths, area: Area = "stack") -> Path:
    """Where the newest action of an area stands."""
    return paths.run / f"{_NAMES[area]}.json"


def reports(paths: Paths, area: Area = "stack") -> Path:
    """Where it reports, one JSON document a line."""
    return paths.run / f"{_NAMES[area]}.jsonl"


def locks(paths: Paths, operation: str) -> list[Path]:
    """What its worker holds; restoring holds what the stack's verbs hold as well."""
    wanted: list[Area] = ["stack", "backup"] if operation == RESTORE else [area_of(operation)]
    return [paths.run / f"{_NAMES[area]}.lock" for area in wanted]


def newest(paths: Paths, area: Area = "stack") -> Action | None:
    """The newest action of an area, whether it goes on or not."""
    path = record(paths, area)
    with files.explained(path):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Action)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def current(deployment: Deployment, area: Area = "stack") -> Action | None:
    """The action of an area that goes on now."""
    action = newest(deployment.paths, area)
    return action if action and action.outcome == "running" and worker(action) else None


def stopping(deployment: Deployment) -> Action | None:
    """What starts and stops services now: a verb of the stack, or restoring."""
    action = current(deployment)
    if action is None:
        restoring = current(deployment, "backup")
        action = restoring if restoring and restoring.operation == RESTORE else None
    return action


def in_the_way(deployment: Deployment, operation: str) -> Action | None:
    """What goes on now and keeps an operation from being begun."""
    action = current(deployment, area_of(operation))
    if action is None and (area_of(operation) == "stack" or operation == RESTORE):
        action = stopping(deployment)
    return action


def busy(action: Action) -> BusyError:
    """The sentence for what is in the way."""
    long_ago = (datetime.now(UTC) - action.started_at).days >= 1
    since = (
        f"{action.started_at:%Y-%m-%d %H:%M:%S}" if long_ago else f"{action.started_at:%H:%M:%S}"
    )
    return BusyError(
        f"{action.by} has begun `{action.words}` at {since} UTC, and it goes on",
        f"Wait for it; `mlflow-console {action.words}` follows it, and ctrl-c there ends it."
        if area_of(action.operation) == "stack"
        else "Wait for it, or cancel it: the console shows it under Backup.",
    )


def begin(
    deployment: Deployment, operation: str, services: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
) -> Action:  # fmt: skip
    """Start an action, or find the same one that somebody else has begun.

    Args:
        deployment: Whose.
        operation: "stack.up" and so on.
        services: Of the stack's verbs: which ones.
        options: The keyword arguments of the others.

    Raises:
        BusyError: Another one goes on.
        ConsoleError: Its worker did not start.
    """
    area = area_of(operation)
    wanted = msgspec.json.encode(dict(options or {}))
    going_on = in_the_way(deployment, operation)
    if going_on is not None:
        same = (going_on.operation, going_on.services) == (operation, tuple(services))
        if same and going_on.options == msgspec.json.decode(wanted):
            return going_on
        raise busy(going_on)
    before = newest(deployment.paths, area)
    files.make_folder(deployment.paths.run)
    said = deployment.paths.run / ("worker.log" if area == "stack" else f"{area}-worker.log")
    argv = [sys.executable, "-m", MODULE, str(deployment.directory), operation, wanted.decode()]
    environment = process.environment({}, prefixes=HANDED_ON)
    pid = process.start_detached([*argv, *services], environment, deployment.directory, said)
    deadline = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        action = newest(deployment.paths, area)
        new = action is not None and (before is None or action.id != before.id)
        if new and action is not None and action.operation == operation:
            return action
        if process.ended(pid):
            break
        time.sleep(LOOK_SECONDS)
    going_on = in_the_way(deployment, operation)
    if going_on is not None:
        raise busy(going_on)  # somebody was quicker
    words = said.read_text(errors="replace").strip().splitlines()
    raise ConsoleError(
        f"{command(operation)} did not begin: "
        + (clean(words[-1], 300) if words else f"process {pid} said nothing"),
        f"See {said}.",
    )


def follow(deployment: Deployment, action: Action, cancel: threading.Event) -> Iterator[Progress]:
    """What an action reports, from its beginning to its end.

    Args:
        deployment: Whose action it is.
        action: Which one.
        cancel: Asks it to leave off; it is followed until it has.

    Raises:
        ConsoleError: As the verb that it does; with the same exit code.
    """
    area = area_of(action.operation)
    asked = False
    with reports(deployment.paths, area).open("rb") as file:
        rest = b""
        while True:
            if cancel.is_set() and not asked:
                asked = True
                _ask_to_end(action)
            now = newest(deployment.paths, area)
            over = now is None or now.id != action.id or now.outcome != "running"
            lost = not over and worker(action) is None
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=Progress)
            if over or lost:
                break
            time.sleep(LOOK_SECONDS)
    _raise_how_it_ended(action, now, lost)


def worker(action: Action) -> psutil.Process | None:
    """The process that does it, while there is one."""
    if action.ticks:
        return process.find_by_ticks(action.pid, action.ticks, [MODULE])
    return process.find(action.pid, action.start_time)


def _ask_to_end(action: Action) -> None:
    import psutil  # noqa: PLC0415  # first use

    found = worker(action)
    if found is None:
        return
    try:
        found.send_signal(signal.SIGTERM)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise AccessError(
            f"{clean(action.by)} has begun `{action.words}`, and this account may not stop it",
            f"Stop it as {clean(action.by)}, or with sudo.",
        ) from error


def _raise_how_it_ended(action: Action, now: Action | None, lost: bool) -> None:
    if lost or now is None or now.id != action.id:
        raise ConsoleError(
            f"{action.command} broke off: its process was killed",
            f"`mlflow-console {action.words}` goes on where it stopped.",
        )
    if now.outcome == "cancelled":
        raise CancelledError(now.error, now.hint)
    if now.outcome == "failed":
        raise _error(now)


def _error(action: Action) -> ConsoleError:
    kind = UnreachableError if action.exit_code == UnreachableError.exit_code else ConsoleError
    error = kind(action.error, action.hint)
    error.exit_code = action.exit_code
    return error

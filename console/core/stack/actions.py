"""What is being done to a stack: in a process of its own, so that it outlives who has asked for it.

A terminal that hangs up in the middle of `up` or `restart` would leave the stack half way. So the
verb runs in a worker (`console.core.stack.worker`) in a session of its own; it writes what it does
into `run/action.json` and what it reports into `run/action.jsonl`, and any console follows that.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from console.core import files, process
from console.core.errors import BusyError, CancelledError, ConsoleError, UnreachableError
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment, Paths

FORMAT = 1
BEGIN_SECONDS = 20.0
LOOK_SECONDS = 0.05
# What a worker needs to reach the same engine and to be known as the same person.
HANDED_ON = ("DOCKER_", "SSH_", "BUILDX_", "SUDO_", "MLFLOW_CONSOLE_", "XDG_")


class Action(msgspec.Struct, frozen=True):
    """run/action.json: one action, and how it ended.

    Attributes:
        operation: "stack.up" and so on.
        by: The account that asked for it.
        pid: Of its worker, with the moment that one started (epoch seconds).
        exit_code: Of the error that it ended with.
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

    @property
    def verb(self) -> str:
        """The name of its command."""
        return self.operation.partition(".")[2]

    @property
    def words(self) -> str:
        """What is done to whom, as its command is typed: "restart tracking"."""
        return " ".join([self.verb, *self.services])


def record(paths: Paths) -> Path:
    """Where the newest action stands."""
    return paths.run / "action.json"


def reports(paths: Paths) -> Path:
    """Where it reports, one JSON document a line."""
    return paths.run / "action.jsonl"


def newest(paths: Paths) -> Action | None:
    """The newest action, whether it goes on or not."""
    with files.explained(record(paths)):
        try:
            return msgspec.json.decode(record(paths).read_bytes(), type=Action)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def current(deployment: Deployment) -> Action | None:
    """The action that goes on now."""
    action = newest(deployment.paths)
    if action is None or action.outcome != "running":
        return None
    return action if process.find(action.pid, action.start_time) else None


def begin(deployment: Deployment, operation: str, services: Sequence[str]) -> Action:
    """Start an action, or find the same one that somebody else has begun.

    Raises:
        BusyError: Another one goes on.
        ConsoleError: Its worker did not start.
    """
    going_on = current(deployment)
    if going_on is not None:
        if (going_on.operation, going_on.services) == (operation, tuple(services)):
            return going_on
        raise BusyError(
            f"{going_on.by} has begun `{' '.join([going_on.verb, *going_on.services])}` at "
            f"{going_on.started_at:%H:%M:%S} UTC, and it goes on",
            f"Wait for it; `mlflow-console {' '.join([going_on.verb, *going_on.services])}` "
            "follows it, and ctrl-c there ends it.",
        )
    before = newest(deployment.paths)
    files.make_folder(deployment.paths.run)
    said = deployment.paths.run / "worker.log"
    argv = [sys.executable, "-m", "console.core.stack.worker", str(deployment.directory), operation]
    environment = process.environment({}, prefixes=HANDED_ON)
    pid = process.start_detached([*argv, *services], environment, deployment.directory, said)
    deadline = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        action = newest(deployment.paths)
        new = action is not None and (before is None or action.id != before.id)
        if new and action is not None and action.operation == operation:
            return action
        if process.ended(pid):
            break
        time.sleep(LOOK_SECONDS)
    words = said.read_text(errors="replace").strip().splitlines()
    raise ConsoleError(
        f"{operation.partition('.')[2]} did not begin: "
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
    asked = False
    with reports(deployment.paths).open("rb") as file:
        rest = b""
        while True:
            if cancel.is_set() and not asked:
                asked = True
                _ask_to_end(action)
            now = newest(deployment.paths)
            over = now is None or now.id != action.id or now.outcome != "running"
            lost = not over and process.find(action.pid, action.start_time) is None
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=Progress)
            if over or lost:
                break
            time.sleep(LOOK_SECONDS)
    _raise_how_it_ended(action, now, lost)


def _ask_to_end(action: Action) -> None:
    worker = process.find(action.pid, action.start_time)
    if worker is not None:
        worker.send_signal(signal.SIGTERM)


def _raise_how_it_ended(action: Action, now: Action | None, lost: bool) -> None:
    if lost or now is None or now.id != action.id:
        raise ConsoleError(
            f"{action.verb} broke off: its process was killed",
            f"`mlflow-console {action.verb}` goes on where it stopped.",
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

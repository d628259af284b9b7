"""The process that does one action.

`python -m console.core.worker FOLDER OPERATION OPTIONS SERVICE...`
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType

import msgspec

from console.core import actions, audit, files, machine
from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError
from console.core.progress import Progress


def main(arguments: Sequence[str]) -> int:
    """Do the action and write down how it ended.

    Args:
        arguments: The folder of the deployment, the operation's id, its options as JSON, the
            services.

    Returns:
        0 when it was done; the others are in the record.
    """
    folder, operation, options, *services = arguments
    cancel = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        deployment = Deployment.open(folder)
        action = _action(operation, services, msgspec.json.decode(options))
        with contextlib.ExitStack() as held:
            for lock in actions.locks(deployment.paths, operation):
                held.enter_context(files.locked(lock, f"the {actions.area_of(operation)}"))
            return _do(deployment, action, cancel)
    except ConsoleError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code


def _action(operation: str, services: Sequence[str], options: dict[str, object]) -> Action:
    import psutil  # noqa: PLC0415  # first use

    return Action(
        id=secrets.token_hex(8),
        operation=operation,
        services=tuple(services),
        by=os.environ.get("SUDO_USER") or audit.account(),
        pid=os.getpid(),
        start_time=psutil.Process().create_time(),
        started_at=datetime.now(UTC),
        options=options,
        ticks=machine.ticks(),
    )


def _do(deployment: Deployment, action: Action, cancel: threading.Event) -> int:
    going_on = actions.in_the_way(deployment, action.operation)
    if going_on is not None:
        raise actions.busy(going_on)
    area = actions.area_of(action.operation)
    with actions.reports(deployment.paths, area).open("wb", buffering=0) as reports:
        os.fchmod(reports.fileno(), 0o600)
        _write(deployment, action)
        try:
            for report in _reports(deployment, action, cancel):
                reports.write(msgspec.json.encode(report) + b"\n")
        except CancelledError as error:
            ended = _ended(action, "cancelled", error)
        except ConsoleError as error:
            ended = _ended(action, "failed", error)
        except Exception as error:  # noqa: BLE001  # whoever follows must learn of it
            words = f"This stopped by a defect: {type(error).__name__}: {error}"
            ended = _ended(action, "failed", ConsoleError(words, "Please report it."))
        else:
            ended = msgspec.structs.replace(action, outcome="done")
    _write(deployment, msgspec.structs.replace(ended, ended_at=datetime.now(UTC)))
    return ended.exit_code


def _reports(deployment: Deployment, action: Action, cancel: threading.Event) -> Iterator[Progress]:
    """What the method of the action's verb yields."""
    if actions.area_of(action.operation) == "stack":
        yield from getattr(deployment.stack, action.verb)(action.services, cancel=cancel)
    else:
        yield from getattr(deployment.backup, action.verb)(**action.options, cancel=cancel)


def _ended(action: Action, outcome: str, error: ConsoleError) -> Action:
    return msgspec.structs.replace(
        action, outcome=outcome, error=error.message, hint=error.hint, exit_code=error.exit_code
    )


def _write(deployment: Deployment, action: Action) -> None:
    path = actions.record(deployment.paths, actions.area_of(action.operation))
    files.write_atomic(path, msgspec.json.encode(action), mode=0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

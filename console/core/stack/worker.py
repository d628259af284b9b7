"""The process that does one action: `python -m console.core.stack.worker FOLDER OPERATION ...`."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType

import msgspec

from console.core import audit, files
from console.core.deployment import Deployment
from console.core.errors import BusyError, CancelledError, ConsoleError
from console.core.stack import actions
from console.core.stack.actions import Action


def main(arguments: Sequence[str]) -> int:
    """Do the action and write down how it ended.

    Args:
        arguments: The folder of the deployment, the operation's id, the services.

    Returns:
        0 when it was done; the others are in the record.
    """
    folder, operation, *services = arguments
    cancel = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        deployment = Deployment.open(folder)
        with files.locked(deployment.paths.run / "action.lock", "the stack"):
            return _do(deployment, operation, services, cancel)
    except ConsoleError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code


def _do(
    deployment: Deployment, operation: str, services: Sequence[str], cancel: threading.Event
) -> int:
    import psutil  # noqa: PLC0415  # first use

    going_on = actions.current(deployment)
    if going_on is not None:
        raise BusyError(f"{going_on.verb} goes on")
    action = Action(
        id=secrets.token_hex(8),
        operation=operation,
        services=tuple(services),
        by=os.environ.get("SUDO_USER") or audit.account(),
        pid=os.getpid(),
        start_time=psutil.Process().create_time(),
        started_at=datetime.now(UTC),
    )
    with actions.reports(deployment.paths).open("wb", buffering=0) as reports:
        os.fchmod(reports.fileno(), 0o600)
        _write(deployment, action)
        try:
            verb = getattr(deployment.stack, action.verb)
            for report in verb(services, cancel=cancel):
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


def _ended(action: Action, outcome: str, error: ConsoleError) -> Action:
    return msgspec.structs.replace(
        action, outcome=outcome, error=error.message, hint=error.hint, exit_code=error.exit_code
    )


def _write(deployment: Deployment, action: Action) -> None:
    files.write_atomic(actions.record(deployment.paths), msgspec.json.encode(action), mode=0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The audit trail: one JSON line for every change, never a secret."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from console.core import files
from console.core.operations import implements

Outcome = Literal["done", "failed", "cancelled"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        at: When it ended, UTC.
        user: The account that did it.
        sudo_user: Who called sudo, if anybody.
        ssh_client: The address that the person's SSH session came from, if any.
        operation: The verb's id.
        target: What was changed.
        deployment: Name and directory.
        outcome: How it ended.
        error: The sentence, when it failed.
    """

    at: datetime
    user: str
    sudo_user: str | None
    ssh_client: str | None
    operation: str
    target: str
    deployment: str
    directory: str
    outcome: Outcome
    error: str | None = None
    format: int = 1


def entry(
    operation: str, target: str, deployment: str, directory: Path, *,
    outcome: Outcome, error: str | None = None,
) -> Entry:  # fmt: skip
    """An entry for a change that this process has just made."""
    ssh = os.environ.get("SSH_CONNECTION", os.environ.get("SSH_CLIENT", "")).split()
    return Entry(
        at=datetime.now(UTC),
        user=account(),
        sudo_user=os.environ.get("SUDO_USER"),
        ssh_client=ssh[0] if ssh else None,
        operation=operation,
        target=files.printable(target),
        deployment=deployment,
        directory=files.printable(directory),
        outcome=outcome,
        error=None if error is None else files.printable(error),
    )


def account() -> str:
    """The name of the account that this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def write(path: Path, line: Entry) -> None:
    """Append an entry.

    Raises:
        OSError: The change stands all the same; the caller says that the trail lacks it.
    """
    files.append_line(path, msgspec.json.encode(line))


@implements("deployment.audit")
def read(path: Path) -> Iterator[Entry]:
    """The entries, oldest first; lines that a killed write cut short are left out."""
    with files.explained(path):
        if not path.exists():
            return
        lines = path.open("rb")
    with files.explained(path), lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Entry)
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue

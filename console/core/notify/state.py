"""What was told to whom: `run/notified.json`.

A message cannot be sent and written down in one step, and a kill may come in between. Exactly once
is therefore not to be had: it is at most once or at least once. Here it is at most once, since the
same alarm again and again is one that nobody reads: the intent is written before a message is
sent and taken back when it was refused. A kill in between leaves the mark `sending`, and the run
after it says that one message may be lost; that one is not sent again.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from console.core import files
from console.core.errors import ConsoleError
from console.core.stack.driver import Finding, Severity
from console.core.text import clean

FORMAT = 1


class Known(msgspec.Struct, frozen=True):
    """A finding that was told; `id` and `service` are what makes it the same one again."""

    id: str
    service: str
    severity: Severity
    title: str


class Target(msgspec.Struct, frozen=True):
    """What one address knows.

    Attributes:
        known: The findings that it was told of and that have not ended.
        sending: When a message to it was begun whose end nobody has written down.
    """

    known: tuple[Known, ...] = ()
    sending: datetime | None = None


class Sent(msgspec.Struct, frozen=True):
    """A message that was accepted."""

    at: datetime
    title: str


class Notified(msgspec.Struct, frozen=True):
    """run/notified.json.

    Attributes:
        looked_at: When the newest status that was told of was begun: an older one, which had to
            wait, tells nothing any more.
        targets: By `Address.key`. Each address has its own, so that one which refuses for a
            while misses nothing and the others hear nothing twice.
        last: The newest message that anybody accepted.
    """

    looked_at: datetime | None = None
    targets: dict[str, Target] = {}
    last: Sent | None = None
    format: int = FORMAT


def load(path: Path) -> Notified:
    """What was told so far.

    Raises:
        ConsoleError: It cannot be read, so that nobody can say what would come twice.
    """
    with files.explained(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return Notified()
    try:
        number = msgspec.json.decode(data, type=_Numbered).format
        if number > FORMAT:
            raise ConsoleError(
                f"{path} has format {number}, this version knows formats up to {FORMAT}",
                "It was written by a newer mlflow-console: upgrade this one.",
            )
        return msgspec.json.decode(data, type=Notified)
    except msgspec.DecodeError as error:
        raise ConsoleError(
            f"{path} does not say what was sent already: {error}",
            "Remove it: what is wrong now is then told once more.",
        ) from error


class _Numbered(msgspec.Struct):
    format: int


def save(path: Path, notified: Notified) -> None:
    """Replace it whole; call it under the lock."""
    files.write_atomic(path, msgspec.json.encode(notified) + b"\n")


def known(finding: Finding) -> Known:
    """What is kept of a finding."""
    return Known(
        clean(finding.id), clean(finding.service), finding.severity, clean(finding.title, 500)
    )

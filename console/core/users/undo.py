"""The last change of a user file, to be taken back once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from console.core import files
from console.core.errors import UsageError
from console.core.users.htpasswd import Htpasswd

HEAD = b"mlflow-console users undo 1"
NOTHING = UsageError("There is nothing to take back", "Only the last change of the users can be.")


@dataclass(frozen=True, slots=True)
class Last:
    """The last change.

    Attributes:
        host: Whose file was changed.
        after: The SHA-256 of what was written.
        before: What the file held before.
    """

    host: str
    after: str
    before: bytes


def save(path: Path, host: str, before: Htpasswd, after: Htpasswd) -> None:
    """Keep what is needed to take a change back, for this account alone: it holds hashes."""
    head = b"\t".join((HEAD, host.encode(), _digest(after).encode()))
    files.sweep(path)
    files.write_atomic(path, head + b"\n" + bytes(before), mode=0o600)


def load(path: Path) -> Last:
    """The last change.

    Raises:
        UsageError: None is known.
    """
    with files.explained(path):
        try:
            head, _, before = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise NOTHING from None
    fields = head.split(b"\t")
    if len(fields) != 3 or fields[0] != HEAD:
        raise NOTHING
    return Last(fields[1].decode(), fields[2].decode(), before)


def apply(last: Last, file: Htpasswd) -> Htpasswd:
    """The file as it was before the change.

    Raises:
        UsageError: It was changed since, so that more would be lost than this change.
    """
    if _digest(file) != last.after:
        raise UsageError(
            "The file was changed since, so nothing was taken back",
            "Change back by hand what should not be so.",
        )
    return Htpasswd.parse(last.before)


def _digest(file: Htpasswd) -> str:
    return hashlib.sha256(bytes(file)).hexdigest()

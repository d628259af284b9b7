"""The last change of a user file, to be taken back; the taking back is a change itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from console.core import audit, files
from console.core import format as fmt
from console.core.errors import UsageError
from console.core.text import clean
from console.core.users.htpasswd import Htpasswd, Line, display
from console.core.users.user_files import SHARED

FORMAT = 2
NOTHING = UsageError("There is nothing to take back", "Only the last change of the users can be.")
# More of them make no sentence.
MOST = 3


class What(msgspec.Struct, frozen=True):
    """A change in words.

    Attributes:
        names: Who was changed; `save` leaves out to whom nothing was done.
        done: What was done to them, for instance "removed".
        undone: It was taken back, and what can be taken back is that.
    """

    names: tuple[str, ...]
    done: str
    undone: bool = False


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """The last change.

    Attributes:
        host: Whose file was changed.
        what: What it was.
        means: What it means to take it back, one line a user.
        by: The account that did it; behind sudo, whose it was.
        at: When, UTC.
        after: The SHA-256 of what was written.
        before: What the file held before.
    """

    host: str
    what: What
    means: tuple[str, ...]
    by: str
    at: datetime
    after: str
    before: bytes
    format: int = FORMAT

    @property
    def mine(self) -> bool:
        """Whether this account did it."""
        return self.by == account()

    @property
    def question(self) -> str:
        """What to ask before it is taken back."""
        when = fmt.when(self.at)
        taken = ", taken back" if self.what.undone else ""
        at = f"at {when}" if ":" in when else when
        return f"{self.does}: {self._words}{taken} by {clean(self.by, 60)} {at}?"

    @property
    def does(self) -> str:
        """What the next `undo` does, in two words."""
        return "Do again" if self.what.undone else "Take back"

    @property
    def said(self) -> str:
        """What to say after it was taken back."""
        done = "Done again" if self.what.undone else "Taken back"
        return "; ".join((f"{done}: {self._words}", *filter(None, [_listed(self.means)])))

    @property
    def _words(self) -> str:
        where = "" if self.host == SHARED else f" for {clean(self.host, 60)}"
        return f"{_listed(self.what.names)} {clean(self.what.done, 100)}{where}"


def account() -> str:
    """Whose doing it is what this process does; behind sudo that of its caller."""
    return display(os.fsencode(os.environ.get("SUDO_USER") or audit.account()))


def save(path: Path, host: str, what: What, before: Htpasswd, after: Htpasswd) -> None:
    """Keep what is needed to take a change back, for this account alone: it holds hashes."""
    here, there = after.by_name(), before.by_name()
    changed = tuple(name for name in what.names if here.get(name) != there.get(name))
    last = Last(
        host=host, what=msgspec.structs.replace(what, names=changed),
        means=tuple(_means(here, there, what.undone)), by=account(), at=datetime.now(UTC),
        after=_digest(after), before=bytes(before),
    )  # fmt: skip
    files.sweep(path)
    files.write_atomic(path, msgspec.json.encode(last), mode=0o600)


def load(path: Path) -> Last:
    """The last change.

    Raises:
        UsageError: None is known.
    """
    with files.explained(path):
        try:
            last = msgspec.json.decode(path.read_bytes(), type=Last)
        except (FileNotFoundError, msgspec.DecodeError):
            raise NOTHING from None
    if last.format != FORMAT:
        raise NOTHING
    return last


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


def _means(here: dict[str, Line], there: dict[str, Line], again: bool) -> Iterator[str]:
    """What changes for whom when the lines that count become others."""
    for name in dict.fromkeys((*here, *there)):
        if words := _meaning(here.get(name), there.get(name), "new" if again else "old"):
            yield f"{clean(name, 60)}{words}"


def _meaning(now: Line | None, then: Line | None, password: str) -> str:
    enters, entered = then is not None and then.enabled, now is not None and now.enabled
    if enters != entered:
        return " can log in again" if enters else " can log in no more"
    if now is None or then is None:
        return "" if now is then else f" is {'back' if then else 'gone'}, who is disabled"
    if now.field != then.field:
        return f"'s {password} password counts again{'' if enters else ' when enabled'}"
    return ""


def _listed(words: Sequence[str]) -> str:
    """The first few of many."""
    more = len(words) - MOST
    shown = ", ".join(clean(each, 100) for each in words[:MOST])
    return f"{shown} and {fmt.count(more)} more" if more > 0 else shown


def _digest(file: Htpasswd) -> str:
    return hashlib.sha256(bytes(file)).hexdigest()

"""What a user file shall hold that is being rewritten in place, so that the next start finishes it.

A file that is mounted by itself cannot be replaced whole. So what it held and what it shall hold
are on the disk before its first byte is touched: a kill or a loss of power in the middle leaves a
mix of the two, which is known again as one. What is no such mix is somebody's edit from afterwards,
and counts for more than a change that nobody was told is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.core import files

MARK = b"mlflow-console user file 2"
_HEAD = re.compile(re.escape(MARK) + rb" (\d{1,12}) ([0-9a-f]{64})")
# No disk and no kernel writes less than this at once.
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a whole file."""

    before: bytes
    after: bytes

    def left(self, found: bytes) -> bool:
        """Whether this change left a file so: not begun, done in part, or done."""
        size = max(len(self.before), len(self.after))
        old = self.before.ljust(size, b"\0")  # room is made first
        new = self.after + self.before[len(self.after) :]  # cut off last
        return len(found) in (len(self.before), len(self.after), size) and all(
            found[at : at + BLOCK] in (old[at:end], new[at:end], bytes(end - at))
            for at in range(0, len(found), BLOCK)
            for end in (min(at + BLOCK, len(found)),)
        )


class Journal:
    """The change of one user file that is under way.

    Args:
        path: Where it stands; there is no such file while none is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, change: Change, unless: Callable[[], bool]) -> bool:
        """Write down what is about to be done; False when `unless` then says not to."""
        files.sweep(self.path)
        content = change.before + change.after
        head = b" ".join((MARK, b"%d" % len(change.before), _digest(content)))
        return files.write_atomic(self.path, head + b"\n" + content, unless=unless)

    def end(self) -> None:
        """Nothing is under way any more."""
        with files.explained(self.path):
            self.path.unlink(missing_ok=True)

    def read(self) -> Change | None:
        """What is under way, if anything is."""
        with files.explained(self.path), contextlib.suppress(FileNotFoundError):
            head, _, content = self.path.read_bytes().partition(b"\n")
            match = _HEAD.fullmatch(head)
            if match and match[2] == _digest(content):
                size = int(match[1])
                return Change(content[:size], content[size:])
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()

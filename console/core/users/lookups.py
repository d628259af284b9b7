"""Dictionaries that answer for a field of a log's line, and learn what they are asked for.

Most fields come again and again; one look-up is all that they cost then.
"""

from __future__ import annotations

from console.core.users import calls, durations
from console.core.users.durations import BUCKETS

HOUR = 3600
MOST = 50_000  # entries of one dictionary
MOST_ENDPOINTS = 500
# They need no password behind every proxy, so an answer proves nothing; a refusal does.
OPEN = frozenset({b"/health", b"/version"})
_ARTIFACTS = b"/mlflow-artifacts/artifacts/"


class SlowError(Exception):
    """A line that is looked at by itself: a deleting call, or one that needs no password."""


class Endpoints(dict[bytes, int]):
    """The number of a path's endpoint, in steps that leave room for two buckets."""

    STEP = 2 * BUCKETS

    def __init__(self) -> None:
        self.names: list[bytes] = [calls.OTHER]
        self._numbers = {calls.OTHER: 0}

    def __missing__(self, path: bytes) -> int:
        base, query, _ = path.partition(b"?")
        tree = base.find(_ARTIFACTS)
        if tree >= 0:  # a fifth of all: names that come once, so that no look-up finds them
            base = base[: tree + len(_ARTIFACTS)] + b"*"
        number = self._numbers.get(base)
        if number is None:
            if self._is_alone(base):
                raise SlowError
            number = self.number(base)
        if not query and base == path == self.names[number // self.STEP]:
            self[path] = number
        return number

    def number(self, base: bytes) -> int:
        """Of a path without its query; `calls.OTHER` when there are too many."""
        name = calls.endpoint(base)
        known = b" " + name if self._is_alone(base) else name  # so that no look-up finds those
        number = self._numbers.get(known)
        if number is None:
            if len(self.names) >= MOST_ENDPOINTS:
                return 0
            number = self._numbers[known] = len(self.names) * self.STEP
            self.names.append(name)
        return number

    @staticmethod
    def _is_alone(base: bytes) -> bool:
        return base in OPEN or calls.deletes(b"POST", base)


class Hours(dict[bytes, int]):
    """The hour since 1970 that a time's first eight digits fall into."""

    def __missing__(self, digits: bytes) -> int:
        if len(digits) != 8 or not digits.isdigit():
            raise ValueError
        if len(self) > MOST:
            self.clear()
        hour = self[digits] = int(digits) * 100 // HOUR
        return hour


class Buckets(dict[bytes, int]):
    """The bucket of a duration, from `first` on."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __missing__(self, text: bytes) -> int:
        if len(self) > MOST:
            self.clear()
        number = self[text] = self._first + durations.bucket(text)
        return number


class Sizes(dict[bytes, int]):
    """A number of bytes; most come again, and a look-up takes half the time of `int`."""

    def __missing__(self, text: bytes) -> int:
        number = int(text)
        if number < 0:
            raise ValueError
        if len(self) < MOST:
            self[text] = number
        return number

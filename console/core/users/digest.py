"""Access logs by the million, summed up in memory: who did how much, from where, how fast.

What is the same for many lines (status, method, host, address and user stand side by side in the
shipped format) is looked at once: a line costs one split from its end, a few look-ups and sums.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from console.core.users import access_log, calls, durations
from console.core.users.access_log import NOBODY
from console.core.users.durations import BUCKETS, NONE, Histogram
from console.core.users.figures import Attempt, Deletion, Face, Hour, Times

HOUR = 3600
MOST_ROWS = 50_000  # then they are summed up, so that strangers' names take no memory
MOST_TRIED = 10_000
MOST_ENDPOINTS = 500
LONGEST_TEXT = 300  # characters of a client's name, or of a deleting path, that are kept
CLOCK_SECONDS = 60.0  # what two machines' clocks may differ by before it is said

# Answers that come from MLflow alone, so that whoever got one was let in. The proxy itself says
# 301, 308, 400, 403, 405, 413, 429 and 5xx, also to those whose password nobody has looked at.
_LET_IN = (b"2", b"304", b"404", b"409", b"416", b"422")
_ARTIFACTS = b"/mlflow-artifacts/artifacts/"
_OPEN = frozenset({b"/health", b"/version"})  # need no password, so they prove nothing


class _SlowError(Exception):
    """A line that is looked at by itself: a deleting call, or one that needs no password."""


class _Endpoints(dict[bytes, int]):
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
            if self._alone(base):
                raise _SlowError
            number = self.number(base)
        if not query and base == path == self.names[number // self.STEP]:
            self[path] = number
        return number

    def number(self, base: bytes) -> int:
        """Of a path without its query; `calls.OTHER` when there are too many."""
        name = calls.endpoint(base)
        known = b" " + name if self._alone(base) else name  # so that no look-up finds those
        number = self._numbers.get(known)
        if number is None:
            if len(self.names) >= MOST_ENDPOINTS:
                return 0
            number = self._numbers[known] = len(self.names) * self.STEP
            self.names.append(name)
        return number

    @staticmethod
    def _alone(base: bytes) -> bool:
        return base in _OPEN or calls.deletes(b"POST", base)


class _Hours(dict[bytes, int]):
    """The hour since 1970 that a time's first eight digits fall into."""

    def __missing__(self, digits: bytes) -> int:
        if len(digits) != 8 or not digits.isdigit():
            raise ValueError
        if len(self) > MOST_ROWS:
            self.clear()
        hour = self[digits] = int(digits) * 100 // HOUR
        return hour


class _Buckets(dict[bytes, int]):
    """The bucket of a duration, from `first` on."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __missing__(self, text: bytes) -> int:
        if len(self) > MOST_ROWS:
            self.clear()
        number = self[text] = self._first + durations.bucket(text)
        return number


class _Row:
    """Lines that have status, method, host, address, user, client and hour in common."""

    __slots__ = ("first", "last", "received", "requests", "sent", "times")

    def __init__(self, head: bytes, times: defaultdict[int, int]) -> None:
        self.requests = self.received = self.sent = 0
        self.first = self.last = head
        self.times = times


class Digest:
    """Sums up the lines of one log; `finish` before its figures are read.

    Args:
        now: Seconds since 1970. Lines from later are counted as of now, and in `future`.
        own: The service user of the console's own checks, who is no person.

    Attributes:
        lines: How many requests were counted, those of the service user among them.
        bad: Lines that are neither a request nor of an error log.
        future: Requests from later than `now`: a clock is wrong.
        first: Seconds since 1970 of the first request, None before there was one.
        last: As above.
        hours: By host, user and hour since 1970.
        faces: By host, user and address.
        attempts: As above; those beyond `MOST_TRIED` are in `attempts_beyond`.
        times: By day since 1970, user and endpoint.
        deletions: In the order of the log; those that were refused are left out.
    """

    def __init__(self, now: float, own: str = "") -> None:
        self._now = now
        self._own = own.encode()
        self._endpoints = _Endpoints()
        self._hours = _Hours()
        self._request = _Buckets(0)
        self._upstream = _Buckets(BUCKETS)
        self._rows: dict[tuple[bytes, bytes, int], _Row] = {}
        self._numbers: dict[tuple[int, bytes], defaultdict[int, int]] = {}
        self._sink: defaultdict[int, int] = defaultdict(int)
        self.lines = self.bad = self.future = self.attempts_beyond = 0
        self.first: float | None = None
        self.last: float | None = None
        self.hours: dict[tuple[str, str, int], Hour] = {}
        self.faces: dict[tuple[str, str, str], Face] = {}
        self.attempts: dict[tuple[str, str, str], Attempt] = {}
        self.times: dict[tuple[int, str, str], Times] = {}
        self.deletions: list[Deletion] = []

    def feed(self, lines: Sequence[bytes]) -> None:
        """Count lines of the log, without their ends; any bytes."""
        if lines and access_log.combined(lines[0]) is not None:
            lines = [b"\t".join(access_log.combined(line) or (line,)) for line in lines]
        remaining = iter(lines)
        while True:
            line = self._count(remaining)
            if line is None:
                break
            self._alone(line)
        if len(self._rows) > MOST_ROWS:
            self._fold()

    def _count(self, lines: Iterable[bytes]) -> bytes | None:
        """Count lines up to one that is not usual, and give that back; None at the end.

        This is what every line costs: nothing is called in it that need not be.
        """
        endpoints, hours, rows = self._endpoints, self._hours, self._rows
        request, upstream = self._request, self._upstream
        line = b""
        try:
            for line in lines:
                head, seconds, inside, received, sent, path, client = line.rsplit(b"\t", 6)
                endpoint = endpoints[path]
                whole, part = endpoint + request[seconds], endpoint + upstream[inside]
                got, gave = int(received), int(sent)
                key = head[14:], client, hours[head[:8]]
                try:
                    row = rows[key]
                except KeyError:
                    row = rows[key] = self._new_row(key, head)
                row.requests += 1
                row.received += got
                row.sent += gave
                if head > row.last:  # noqa: PLR1730  # a call of max() for every line
                    row.last = head
                times = row.times
                times[whole] += 1
                times[part] += 1
        except (ValueError, _SlowError):
            return line
        return None

    def _new_row(self, key: tuple[bytes, bytes, int], head: bytes) -> _Row:
        """The row of a new combination, once its fields were looked at.

        Raises:
            ValueError: They are not those of a request.
            _SlowError: It may delete something.
        """
        fields = key[0].split(b"\t")
        if len(fields) != 6 or fields[0] or _seconds(head) is None:
            raise ValueError
        _, status, method, _, _, user = fields
        if len(status) != 3 or not status.isdigit():
            raise ValueError
        if method == b"DELETE":
            raise _SlowError
        if not self._counts(user) or not (status.startswith(_LET_IN) or status[:1] == b"5"):
            return _Row(head, self._sink)
        return _Row(head, self._numbers.setdefault((key[2] // 24, user), defaultdict(int)))

    def _counts(self, user: bytes) -> bool:
        return user not in NOBODY and user != self._own

    def _alone(self, line: bytes) -> None:
        """Look at one line that is not usual."""
        request = access_log.tabs(line) or access_log.combined(line)
        if request is None:
            failed = access_log.failed_login(line)
            if failed is not None:
                self._told(failed)
            elif line and not _is_narration(line):
                self.bad += 1
            return
        base = request.path.partition(b"?")[0]
        if base in _OPEN:
            request = request._replace(user=NOBODY[0])
        elif calls.deletes(request.method, base) and request.status != b"401":
            self._delete(request)
        # As a request that is counted like any other; a method of its own for what deletes.
        number = self._endpoints.number(base)
        head = b"\t".join(request[:6])
        if request.method == b"DELETE":
            head = b"\t".join((*request[:2], b"delete", *request[3:6]))
        key = head[14:], request.client, self._hours[head[:8]]
        row = self._rows.get(key) or self._rows.setdefault(key, self._new_row(key, head))
        row.requests += 1
        row.received += int(request.received)
        row.sent += int(request.sent)
        row.last = max(row.last, head)
        row.times[number + self._request[request.seconds]] += 1
        row.times[number + self._upstream[request.upstream]] += 1

    def _delete(self, request: access_log.Request) -> None:
        self.deletions.append(Deletion(
            at=min(float(request.at), self._now), host=_name(request.host),
            user=_name(request.user), address=_name(request.address), method=_name(request.method),
            path=_name(request.path)[:LONGEST_TEXT], run_id=calls.run_id(request.path),
            experiment_id=calls.experiment_id(request.path), status=int(request.status),
            client=_name(request.client)[:LONGEST_TEXT],
        ))  # fmt: skip

    def _told(self, failed: access_log.FailedLogin) -> None:
        """The error log's times have no zone: it happened when the lines around it did."""
        at = self._now if self.last is None else self.last
        attempt = self._attempt((failed.host, failed.user, failed.address), at, at)
        if attempt is not None:
            attempt.told += 1
            attempt.unknown = failed.unknown

    def _attempt(
        self, who: tuple[bytes, bytes, bytes], first: float, last: float
    ) -> Attempt | None:
        host, user, address = map(_name, who)
        attempt = self.attempts.get((host, user, address))
        if attempt is None:
            if len(self.attempts) >= MOST_TRIED:
                self.attempts_beyond += 1
                return None
            attempt = self.attempts[host, user, address] = Attempt(first, last)
        attempt.first, attempt.last = min(attempt.first, first), max(attempt.last, last)
        return attempt

    def finish(self) -> None:
        """Bring everything that was fed into the figures; more may be fed after it."""
        self._fold()
        for (day, user), numbers in self._numbers.items():
            histograms: dict[int, Histogram] = {}
            for number, count in numbers.items():
                kind, bucket = divmod(number, BUCKETS)
                try:
                    histograms[kind][bucket] = count
                except KeyError:
                    histograms[kind] = {bucket: count}
            for kind, histogram in histograms.items():
                self._add_times(min(day, int(self._now) // 86_400), _name(user), kind, histogram)
        self._numbers.clear()

    def _add_times(self, day: int, user: str, kind: int, histogram: Histogram) -> None:
        endpoint, upstream = divmod(kind, 2)
        key = day, user, self._endpoints.names[endpoint].decode("ascii", "replace")
        times = self.times.get(key) or self.times.setdefault(key, Times({}, {}))
        histogram.pop(NONE, None)
        durations.add(times.upstream if upstream else times.request, histogram)

    def _fold(self) -> None:
        """Sum rows up by what is asked for."""
        for (head, client, hour), row in self._rows.items():
            _, status, _, host, address, user = head.split(b"\t")
            first, last = _seconds(row.first), _seconds(row.last)
            first = hour * HOUR if first is None else first
            last = first if last is None else last
            self.lines += row.requests
            if last > self._now + CLOCK_SECONDS:
                self.future += row.requests
            first, last = min(first, self._now), min(last, self._now)
            hour = min(hour, int(self._now) // HOUR)  # noqa: PLW2901  # a clock that is wrong
            self.first = first if self.first is None else min(self.first, first)
            self.last = last if self.last is None else max(self.last, last)
            if status == b"401":
                self._fold_refused((host, user, address), row, (first, last, hour))
            elif self._counts(user):
                let_in = status.startswith(_LET_IN)
                self._fold_row((host, user, address), row, (first, last, hour), client, let_in)
        self._rows.clear()

    def _fold_refused(
        self, who: tuple[bytes, bytes, bytes], row: _Row, when: tuple[float, float, int]
    ) -> None:
        host, user, _ = who
        if user in NOBODY:  # browsers ask without a name first
            return
        attempt = self._attempt(who, when[0], when[1])
        if attempt is None:
            return
        attempt.refused += row.requests
        self._hour(host, user, when[2]).refused += row.requests

    def _hour(self, host: bytes, user: bytes, hour: int) -> Hour:
        key = _name(host), _name(user), hour
        return self.hours.get(key) or self.hours.setdefault(key, Hour())

    def _fold_row(
        self, who: tuple[bytes, bytes, bytes], row: _Row, when: tuple[float, float, int],
        client: bytes, let_in: bool,
    ) -> None:  # fmt: skip
        first, last, number = when
        hour = self._hour(who[0], who[1], number)
        if not let_in:
            hour.unproven += row.requests
            return
        hour.requests += row.requests
        hour.received += row.received
        hour.sent += row.sent
        host, user, address = map(_name, who)
        face = self.faces.get((host, user, address))
        if face is None:
            face = self.faces[host, user, address] = Face(first, last, 0, "")
        face.requests += row.requests
        face.first = min(face.first, first)
        if last >= face.last:
            face.last, face.client = last, _name(client)[:LONGEST_TEXT]


@functools.lru_cache(maxsize=16_384)
def _name(name: bytes) -> str:
    return access_log.key(name)


def _seconds(head: bytes) -> float | None:
    """The time at the beginning of a line, None when it is no time."""
    digits = head[:14]
    if digits[10:11] == b"." and digits[:10].isdigit() and digits[11:].isdigit():
        return float(digits)
    return None


def _is_narration(line: bytes) -> bool:
    """Whether it is another line of nginx's error log, or of a script before it starts."""
    return line[4:5] == b"/" and line[:4].isdigit()

"""Access logs by the million, summed up in memory: who did how much, from where, how fast.

What is the same for many lines (status, method, host, address and user stand side by side in the
shipped format) is looked at once: a line costs one split from its end, a few look-ups and sums.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from console.core.users import access_log, calls, durations
from console.core.users.access_log import NOBODY
from console.core.users.durations import BUCKETS, NONE, Histogram
from console.core.users.figures import Attempt, Deletion, Face, Hour, Times
from console.core.users.lookups import HOUR, OPEN, Buckets, Endpoints, Hours, Sizes, SlowError

MOST_ROWS = 50_000  # then they are summed up, so that strangers' names take no memory
MOST_TRIED = 10_000
LONGEST_TEXT = 300  # characters of a client's name, or of a deleting path, that are kept
CLOCK_SECONDS = 60.0  # what two machines' clocks may differ by before it is said

# Answers that come from MLflow alone, so that whoever got one was let in. The proxy itself says
# 301, 308, 400, 403, 405, 413, 429 and 5xx, also to those whose password nobody has looked at.
_LET_IN = (b"2", b"304", b"404", b"409", b"416", b"422")


class _Kind(Enum):
    """What requests say of the user whose name they carry."""

    NOTHING = 0  # nobody's, or the service user's
    REFUSED = 1
    UNPROVEN = 2
    LET_IN = 3


class _Who(NamedTuple):
    """What status, method, host, address and user of a line say."""

    kind: _Kind
    claimed: bytes
    host: str
    user: str
    address: str
    timed: bool


class _Row:
    """Lines that have status, method, host, address, user, client and hour in common."""

    __slots__ = ("first", "last", "received", "requests", "sent", "times", "who")

    def __init__(self, who: _Who, head: bytes, times: defaultdict[int, int]) -> None:
        self.requests = self.received = self.sent = 0
        self.who = who
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
        self._endpoints = Endpoints()
        self._hours = Hours()
        self._request = Buckets(0)
        self._upstream = Buckets(BUCKETS)
        self._sizes = Sizes()
        self._whos: dict[bytes, _Who] = {}
        self._said: dict[tuple[str, str, str], tuple[int, bool]] = {}
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
        request, upstream, sizes = self._request, self._upstream, self._sizes
        line = b""
        try:
            for line in lines:
                head, seconds, inside, received, sent, path, client = line.rsplit(b"\t", 6)
                endpoint = endpoints[path]
                whole, part = endpoint + request[seconds], endpoint + upstream[inside]
                got, gave = sizes[received], sizes[sent]
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
        except (ValueError, SlowError):
            return line
        return None

    def _new_row(self, key: tuple[bytes, bytes, int], head: bytes) -> _Row:
        """The row of a new combination, once its fields were looked at.

        Raises:
            ValueError: They are not those of a request.
            SlowError: It may delete something.
        """
        if _seconds(head) is None:
            raise ValueError
        who = self._whos.get(key[0])
        if who is None:
            if len(self._whos) > MOST_ROWS:
                self._whos.clear()
            who = self._whos[key[0]] = self._who(key[0])
        if not who.timed:
            return _Row(who, head, self._sink)
        numbers = self._numbers.get((key[2] // 24, who.claimed))
        if numbers is None:
            numbers = self._numbers[key[2] // 24, who.claimed] = defaultdict(int)
        return _Row(who, head, numbers)

    def _who(self, text: bytes) -> _Who:
        """What a line says from its status to its user, with a tab before it; raises as above."""
        fields = text.split(b"\t")
        if len(fields) != 6 or fields[0]:
            raise ValueError
        _, status, method, host, address, user = fields
        if len(status) != 3 or not status.isdigit():
            raise ValueError
        if method == b"DELETE":
            raise SlowError
        if user in NOBODY or (user == self._own and status != b"401"):
            kind = _Kind.NOTHING
        elif status == b"401":
            kind = _Kind.REFUSED
        else:
            kind = _Kind.LET_IN if status.startswith(_LET_IN) else _Kind.UNPROVEN
        timed = kind is _Kind.LET_IN or (kind is _Kind.UNPROVEN and status[:1] == b"5")
        return _Who(kind, user, _name(host), _name(user), _name(address), timed)

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
        if base in OPEN and request.status != b"401":
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
        who = _name(failed.host), _name(failed.user), _name(failed.address)
        if who in self._said or len(self._said) < MOST_TRIED:
            self._said[who] = self._said.get(who, (0, False))[0] + 1, failed.unknown

    def _fold_told(self) -> None:
        """The error log's times have no zone: it happened when the requests around it did."""
        at = self._now if self.last is None else self.last
        for who, (count, unknown) in self._said.items():
            known = self.attempts.get(who)
            attempt = known or self._attempt(who, at, at)
            if attempt is not None:
                attempt.told += count
                attempt.unknown = unknown
        self._said.clear()

    def _attempt(self, who: tuple[str, str, str], first: float, last: float) -> Attempt | None:
        attempt = self.attempts.get(who)
        if attempt is None:
            if len(self.attempts) >= MOST_TRIED:
                self.attempts_beyond += 1
                return None
            attempt = self.attempts[who] = Attempt(first, last)
        attempt.first, attempt.last = min(attempt.first, first), max(attempt.last, last)
        return attempt

    def finish(self) -> None:
        """Bring everything that was fed into the figures; more may be fed after it."""
        self._fold()
        self._fold_told()
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
        for (_, client, hour), row in self._rows.items():
            first = _seconds(row.first) or hour * HOUR
            last = _seconds(row.last) or first
            self.lines += row.requests
            if last > self._now:
                self.future += row.requests if last > self._now + CLOCK_SECONDS else 0
                first, last = min(first, self._now), self._now
                hour = min(hour, int(self._now) // HOUR)  # noqa: PLW2901  # a clock is wrong
            if self.first is None or first < self.first:
                self.first = first
            if self.last is None or last > self.last:
                self.last = last
            if row.who.kind is not _Kind.NOTHING:
                self._fold_row(row, first, last, hour, client)
        self._rows.clear()

    def _fold_row(self, row: _Row, first: float, last: float, number: int, client: bytes) -> None:
        kind, _, host, user, address, _ = row.who
        if kind is _Kind.REFUSED:
            attempt = self._attempt((host, user, address), first, last)
            if attempt is None:
                return
            attempt.refused += row.requests
        hour = self.hours.get((host, user, number))
        if hour is None:
            hour = self.hours[host, user, number] = Hour()
        if kind is _Kind.REFUSED:
            hour.refused += row.requests
        elif kind is _Kind.UNPROVEN:
            hour.unproven += row.requests
        else:
            hour.requests += row.requests
            hour.received += row.received
            hour.sent += row.sent
            self._fold_face((host, user, address), row.requests, first, last, client)

    def _fold_face(
        self, who: tuple[str, str, str], requests: int, first: float, last: float, client: bytes
    ) -> None:
        face = self.faces.get(who)
        if face is None:
            face = self.faces[who] = Face(first, last, 0, "")
        face.requests += requests
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

"""What the activity of users is shown as. Times are in UTC, sizes are bytes.

Hosts and users are in the spelling of the log (`access_log.key`); `access_log.unescape` makes a
name that can be shown of it. Names, addresses, paths and clients come from outside: clean them.

What there may be ten thousands of is a struct that Python's collector of cycles passes over: it
holds no cycle, and a walk through all of them stops every thread for a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

# Two looks, or two lines, this close to each other leave nothing out in between.
_TOGETHER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Scope:
    """The hosts whose requests are meant.

    Attributes:
        hosts: These alone; all of them when empty.
        without: All but these, for a user file that every host shares which has none of its own.
    """

    hosts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def has(self, host: str) -> bool:
        """Whether a host is meant."""
        return (not self.hosts or host in self.hosts) and host not in self.without


class Sum(msgspec.Struct, frozen=True, gc=False):
    """What somebody did in some time.

    Attributes:
        requests: Those that were let in.
        unproven: Those with another answer, which may have come before the password was looked at.
        refused: Log-ins with that name that failed: requests that were answered 401.
        received: Bytes that were uploaded by requests that were let in, with their headers; 0 where
            the log has no such field.
        sent: Bytes of the answers.
    """

    requests: int = 0
    unproven: int = 0
    refused: int = 0
    received: int = 0
    sent: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.requests + other.requests, self.unproven + other.unproven,
            self.refused + other.refused, self.received + other.received, self.sent + other.sent,
        )  # fmt: skip


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where somebody came from.

    Attributes:
        requests: Since `first`.
        client: The User-Agent of the last request, for instance "mlflow-python-client/3.17.2".
    """

    address: str
    first: datetime
    last: datetime
    requests: int
    client: str


class Person(msgspec.Struct, frozen=True, gc=False):
    """What is known of one user.

    Attributes:
        name: As in the log.
        host: Whose user file holds the name, where somebody looked; "" for none.
        first_seen: The first request that was let in; None when there was none.
        last_seen: The last one.
        today: Since midnight of the viewer, to the hour.
        month: In 30 days, or as far back as is remembered.
        addresses: The last first, at most 50.
        more_addresses: There were more, so that their number is "more than 50".
        client: The User-Agent of the last request; "" when there was none.
        series: Requests in each of the last 24 hours; the last one is the hour that is not over.
    """

    name: str
    host: str = ""
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    today: Sum = Sum()
    month: Sum = Sum()
    addresses: tuple[Address, ...] = ()
    more_addresses: bool = False
    client: str = ""
    series: tuple[int, ...] = (0,) * 24


class Tried(msgspec.Struct, frozen=True, gc=False):
    """A name that somebody tried to log in with.

    Attributes:
        attempts: Requests that were refused.
        unknown: The error log said that there was no such user then; None when it said nothing.
    """

    host: str
    name: str
    address: str
    first: datetime
    last: datetime
    attempts: int
    unknown: bool | None


class Slow(msgspec.Struct, frozen=True, gc=False):
    """How long the requests of one user to one endpoint took; durations in seconds, within 2.5 %.

    Where both are long, MLflow, its database or its store is slow; where only the first is, the
    network between the client and the proxy.

    Attributes:
        requests: Those that were measured.
        median: From the first byte of a request to the last one of its answer.
        p95: As above: 95 % took no longer.
        upstream_median: Of MLflow alone; None when the log does not say.
        upstream_p95: As above.
    """

    user: str
    endpoint: str
    requests: int
    median: float
    p95: float
    upstream_median: float | None
    upstream_p95: float | None


class Deleted(msgspec.Struct, frozen=True, gc=False):
    """One call that deletes.

    Attributes:
        path: With its query. MLflow's clients mostly name what they delete in the body, which no
            log has; `run_id` and `experiment_id` are "" then.
        status: Of HTTP; below 400 it was done.
    """

    at: datetime
    host: str
    user: str
    address: str
    method: str
    path: str
    run_id: str
    experiment_id: str
    status: int
    client: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which part of some time the logs that were read cover.

    Attributes:
        since: Where that time begins.
        until: Where it ends.
        spans: The covered parts, none of which touch; from and to.
    """

    since: datetime
    until: datetime
    spans: tuple[tuple[datetime, datetime], ...]

    @property
    def covered(self) -> timedelta:
        """How much of it is covered."""
        return sum((last - first for first, last in self.spans), timedelta())

    @property
    def complete(self) -> bool:
        """Whether nothing of it is missing."""
        return self.covers(self.since, self.until)

    def covers(self, since: datetime, until: datetime) -> bool:
        """Whether one unbroken part covers all of a time."""
        return any(
            first <= since + _TOGETHER and last >= until - _TOGETHER for first, last in self.spans
        )

    def last(self, days: int) -> Coverage:
        """Of its last days alone."""
        since = max(self.since, self.until - timedelta(days=days))
        spans = ((max(first, since), last) for first, last in self.spans if last >= since)
        return Coverage(since, self.until, tuple(spans))

    @property
    def sentence(self) -> str:
        """For people: "logs cover 61 of 90 days"."""
        whole = self.until - self.since
        days = round(whole / timedelta(days=1))
        if self.complete:
            return f"logs cover all {days} days" if days > 1 else "logs cover the whole day"
        if self.covered >= timedelta(days=2):
            return f"logs cover {int(self.covered / timedelta(days=1))} of {days} days"
        hours = int(self.covered / timedelta(hours=1))
        some = "less than an hour" if not hours else "1 hour" if hours == 1 else f"{hours} hours"
        return f"logs cover {some} of {max(days, 1)} days"


def unseen(last_seen: datetime | None, days: int, coverage: Coverage) -> bool | None:
    """Whether somebody was not seen for some days.

    Args:
        last_seen: None for somebody of whom nothing is known.
        days: How many.
        coverage: Of any time that ends now.

    Returns:
        None when the logs do not cover these days without a gap, so that nobody can know.
    """
    since = coverage.until - timedelta(days=days)
    if last_seen and last_seen >= since:
        return False
    return True if coverage.covers(since, coverage.until) else None


def dominates(slow: Iterable[Slow]) -> str:
    """What takes most of the time of some requests, as a sentence; "" when no log says it.

    Medians are weighed by how many requests they stand for: sums would be those of a few uploads.
    """
    whole = mlflow = 0.0
    for each in slow:
        if each.upstream_median is not None:
            whole += each.requests * each.median
            mlflow += each.requests * min(each.median, each.upstream_median)
    if not whole:
        return ""
    percent = round(100 * mlflow / whole)
    if percent >= 50:
        return f"MLflow (with its database and store) takes {percent} % of the time"
    return f"The proxy and the network take {100 - percent} % of the time, MLflow {percent} %"


def merged(
    spans: list[tuple[float, float]], since: float, until: float
) -> list[tuple[float, float]]:
    """Spans of seconds since 1970, cut to a time, and joined where nothing is between them."""
    joined: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        begin, end = max(first, since), min(last, until)
        if begin > end:
            continue
        if joined and begin <= joined[-1][1] + _TOGETHER.total_seconds():
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined

"""Who was here: what is new in the access log is read, then everybody is put side by side."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.users.access_log import unescape
from console.core.users.activity_answers import (
    Address,
    Coverage,
    Deleted,
    Person,
    Slow,
    Tried,
    unseen,
)
from console.core.users.seen import scope, spelt

MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Activity:
    """What one user did; part of the JSON of `users activity`.

    Attributes:
        host: Whose user file holds the name; "" for a name that no file holds any more.
        first_seen, last_seen: None when no request of theirs was let in.
        today, month: Requests since midnight of this machine, and in 30 days.
        failures: Log-ins with the name that failed in 30 days.
        received, sent: Bytes in 30 days.
        addresses: The last one first.
        more_addresses: There were more than are listed.
        client: The User-Agent of the last request.
        series: Requests in each of the last 24 hours.
    """

    name: str
    host: str
    first_seen: datetime | None
    last_seen: datetime | None
    today: int
    month: int
    failures: int
    received: int
    sent: int
    addresses: tuple[Address, ...]
    more_addresses: bool
    client: str
    series: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The JSON shape of `users activity`.

    Attributes:
        covers: How much of the time the logs cover, for people.
        people: In the order of the user files; then who is in none any more.
        tried: Names that no file holds and that somebody tried to log in with.
        slow: How long requests took, by user and endpoint, in the last seven days.
        deletions: Every call that deletes, the last one first.
        note: Why the newest lines could not be read, or "".
    """

    covers: str
    people: tuple[Activity, ...]
    tried: tuple[Tried, ...]
    slow: tuple[Slow, ...]
    deletions: tuple[Deleted, ...]
    note: str = ""


def report(
    deployment: Deployment, unseen_days: int | None = None, cancel: threading.Event | None = None
) -> Report:
    """Read what is new and say who was here.

    Args:
        deployment: Whose users.
        unseen_days: Only users of whom the logs prove that they were not here for so long.
        cancel: Leaves off reading; what was read counts.
    """
    activity, note = deployment.activity, ""
    try:
        if not deployment.read_only:
            note = activity.collect(deployment.driver.access_log(), cancel).note
    except ConsoleError as error:  # what is known is shown all the same
        note = f"The newest lines could not be read: {error.message}"
    coverage = activity.coverage(unseen_days or MONTH_DAYS)
    people = list(_people(deployment, coverage, unseen_days))
    known = {spelt(each.name) for each in people if each.host}
    return Report(
        covers=coverage.sentence,
        people=tuple(people),
        tried=tuple(activity.tried(known)),
        slow=tuple(activity.slow()),
        deletions=tuple(activity.deletions()),
        note=note,
    )


def _people(deployment: Deployment, coverage: Coverage, unseen_days: int | None) -> list[Activity]:
    found = []
    for host in deployment.users.hosts():
        seen = deployment.activity.people(scope(host, deployment.users.hosts()))
        for user in deployment.users.list(host):
            person = seen.pop(spelt(user.name), None)
            if user.service_user:
                continue
            away = unseen_days and unseen(person, unseen_days, coverage)
            if unseen_days is None or away:
                found.append(_of(person or Person(spelt(user.name)), user.name, host))
        if unseen_days is None:
            found += [
                _of(each, unescape(each.name.encode()), "")
                for each in seen.values()
                if each.first_seen
            ]
    return found


def _of(person: Person, name: str, host: str) -> Activity:
    return Activity(
        name=name,
        host=host,
        first_seen=person.first_seen,
        last_seen=person.last_seen,
        today=person.today.requests,
        month=person.month.requests,
        failures=person.month.refused,
        received=person.month.received,
        sent=person.month.sent,
        addresses=person.addresses,
        more_addresses=person.more_addresses,
        client=person.client,
        series=person.series,
    )

"""Who was here: what is new in the access log is read, then everybody is put side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.format import exact
from console.core.text import clean
from console.core.users.activity_answers import (
    Coverage,
    Deleted,
    Person,
    Scope,
    Slow,
    Tried,
    unseen,
)
from console.core.users.htpasswd import display
from console.core.users.seen import scope, shown, spelt
from console.core.users.user_files import LIST_HINT, UserFiles

MONTH_DAYS = 30
SLOW_DAYS = 7
UNSEEN_DAYS = 90
"""Who was not seen for so long no longer uses the account, as the console sees it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The JSON shape of `users activity`. Names are as they were sent, and not as the log has them.

    Attributes:
        covers: How much of the time the logs cover, for people.
        coverage: The same of all that is remembered, and of `UNSEEN_DAYS` at least.
        days: For how long everything but "first seen" and "last seen" is remembered.
        people: In the order of the user files; then who is in none any more.
        tried: Names that no file holds and that somebody tried to log in with; of one user the
            log-ins that failed.
        slow: How long requests took, by user and endpoint, in the last `SLOW_DAYS`.
        deletions: Every call that deletes, the last one first.
        note: Why the newest lines are not read, or "".
    """

    covers: str
    coverage: Coverage
    days: int
    people: tuple[Person, ...]
    tried: tuple[Tried, ...]
    slow: tuple[Slow, ...]
    deletions: tuple[Deleted, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to be about.

    Attributes:
        name: This user alone.
        host: The users of this file alone.
        unseen_days: Only users of whom the logs prove that they were not here for so long.
        brief: Leave out durations and deletions, which a list of users does not show.
    """

    name: str | None = None
    host: str | None = None
    unseen_days: int | None = None
    brief: bool = False


EVERYBODY = Asked()


def report(
    deployment: Deployment, asked: Asked = EVERYBODY, cancel: threading.Event | None = None
) -> Report:
    """Read what is new and say who was here.

    Args:
        deployment: Whose users.
        asked: What it is to be about. Durations are not told apart by host.
        cancel: Leaves off reading; what was read counts.

    Raises:
        UsageError: There is no such file of users, or nothing knows the name.
        ConsoleError: What is remembered cannot be read.
    """
    activity, note = deployment.activity, ""
    try:
        if not deployment.read_only:
            note = activity.collect(deployment.driver.access_log(), cancel).note
    except ConsoleError as error:  # what is known is shown all the same
        note = f"The newest lines could not be read: {error.message}"
    covered = activity.coverage(max(UNSEEN_DAYS, activity.days, asked.unseen_days or 0))
    if deployment.read_only:
        read = f"last read {exact(covered.spans[-1][1])}" if covered.spans else "never read"
        note = f"Read-only: the log was {read}"
    files = _Names(deployment, asked)
    user = None if asked.name is None else spelt(asked.name)
    found = Report(
        covers=covered.last(asked.unseen_days or min(MONTH_DAYS, activity.days)).sentence,
        coverage=covered,
        days=activity.days,
        people=tuple(_people(deployment, asked, files, covered)),
        tried=tuple(
            replace(each, name=shown(each.name))
            for each in activity.tried(files.known if user is None else (), files.scope)
            if user in (None, each.name)
        ),
        slow=() if asked.brief else tuple(
            replace(each, user=shown(each.user)) for each in activity.slow(SLOW_DAYS, user)
        ),
        deletions=() if asked.brief else tuple(
            replace(each, user=shown(each.user))
            for each in activity.deletions(user=user or "")
            if files.scope.has(each.host)
        ),
        note=note,
    )  # fmt: skip
    if asked.name is not None and not _known(deployment, files, asked.name, found):
        raise UsageError(
            f"There is no user {clean(asked.name)}, and the logs know of none", note or LIST_HINT
        )
    return found


def _known(deployment: Deployment, files: _Names, name: str, found: Report) -> bool:
    """Whether a file or a log has the name, whatever else was asked for."""
    return (
        name == deployment.settings.users.service_user
        or spelt(name) in files.known
        or spelt(name) in deployment.activity.people(files.scope)
        or bool(found.people or found.tried or found.slow or found.deletions)
    )


class _Names:
    """The names in the user files that are asked for.

    Attributes:
        of: By file, as they are shown, with how the log has each.
        known: All of them, as the log has them, whoever is asked for.
        scope: The host names whose requests are meant.
    """

    def __init__(self, deployment: Deployment, asked: Asked) -> None:
        files = UserFiles(deployment)
        self.hosts: Sequence[str] = files.hosts()
        wanted = self.hosts if asked.host is None else [asked.host]
        self.of: dict[str, dict[str, str]] = {}
        for host in wanted:
            names = (display(line.name) for line in files.of(host).read().users())
            self.of[host] = {name: spelt(name) for name in names}
        self.known = {log for names in self.of.values() for log in names.values()}
        self.scope = Scope() if asked.host is None else scope(asked.host, self.hosts)


def _people(
    deployment: Deployment, asked: Asked, files: _Names, covered: Coverage
) -> Iterator[Person]:
    own, days = deployment.settings.users.service_user, asked.unseen_days
    gone: list[Person] = []
    for host, names in files.of.items():
        seen = deployment.activity.people(scope(host, files.hosts))
        for name, log in names.items():
            one = seen.pop(log, None) or Person(log)
            if name == own or asked.name not in (None, name):
                continue
            if days is None or unseen(one.last_seen, days, covered):
                yield replace(one, name=name, host=host)
        gone += (each for each in seen.values() if each.first_seen)
    for each in gone if days is None else ():
        if asked.name in (None, shown(each.name)):
            yield replace(each, name=shown(each.name))

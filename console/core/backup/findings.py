"""What is wrong with the backups; of the place only manifests and states are read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import actions, settings
from console.core.backup import disk, retention, schedule
from console.core.backup.place import Place
from console.core.backup.restoring import restore_journal
from console.core.backup.snapshot import Manifest, Snapshot
from console.core.errors import ConsoleError, NotOursError
from console.core.format import plural
from console.core.settings import Settings
from console.core.stack.driver import Finding, Severity
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.actions import Action
    from console.core.deployment import Deployment
    from console.core.stack.driver import Room

DRILL_DAYS = 30
UNSCHEDULED_DAYS = 7
"""Without a timer: a snapshot that is older was forgotten."""
SCHEDULED_LOOKED_AT = 3
CLOCK_SECONDS = 300.0
NAMED = 3

CREATE = "mlflow-console backup create"
ANEW = f"{CREATE}, then mlflow-console backup verify"
DRILL = "mlflow-console backup drill"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is there to be judged.

    Attributes:
        expected: How old the newest snapshot may be; None where nobody can tell.
        usable: Those that can be read, newest first.
    """

    deployment: Deployment
    place: Place
    chosen_at: datetime
    snapshots: Sequence[Snapshot]
    usable: Sequence[Snapshot]
    action: Action | None
    now: datetime

    @property
    def complete(self) -> list[Manifest]:
        """What stands in those that hold everything, newest first."""
        return [each.manifest for each in self.usable if each.manifest and each.manifest.complete]

    @property
    def under_way(self) -> str:
        """What is being done to the snapshots now; "" for nothing."""
        going_on = actions.current(self.deployment, "backup")
        return going_on.operation if going_on else ""


def findings(deployment: Deployment, rooms: Sequence[Room] = ()) -> list[Finding]:
    """What is wrong now; a restore that broke off first.

    Args:
        deployment: Whose backups.
        rooms: The disks of its data, as its driver has just told them.
    """
    found = list(_interrupted(deployment))
    place = _place(deployment)
    if place is None:
        return found  # nobody wants snapshots here
    try:
        found += _of_place(deployment, place, rooms)
    except NotOursError as error:
        found.append(_warning("place-taken", error.message, fix=error.hint))
    except ConsoleError as error:
        found.append(_warning("place-missing", error.message, fix=error.hint))
    except OSError as error:
        title = f"The place of the snapshots, {place.path}, cannot be read: {error.strerror}"
        found.append(_warning("place-missing", title))
    return found


def _place(deployment: Deployment) -> Place | None:
    """As console.toml has it now: another console may have chosen it."""
    try:
        chosen = settings.load(deployment.paths.settings, Settings).backup.place
    except ConsoleError:
        chosen = deployment.settings.backup.place
    return Place(Path(chosen), deployment) if chosen else None


def _of_place(deployment: Deployment, place: Place, rooms: Sequence[Room]) -> Iterator[Finding]:
    place.require()
    snapshots = place.snapshots()
    seen = _Seen(
        deployment, place, place.marker.chosen_at, snapshots,
        [each for each in snapshots if each.manifest],
        actions.newest(deployment.paths, "backup"), datetime.now(UTC),
    )  # fmt: skip
    yield from _broken(seen)
    yield from _failed(seen)
    yield from _late(seen)
    yield from _shrank(seen)
    yield from _drill(seen)
    yield from _lock(seen)
    yield from _same_disk(seen, rooms)


def _warning(name: str, title: str, detail: str = "", fix: str = "") -> Finding:
    return Finding(name, Severity.WARNING, "", title, detail, fix)


# Data is in danger


def _interrupted(deployment: Deployment) -> Iterator[Finding]:
    """A restore that was begun, and that nobody does any more."""
    going_on = actions.current(deployment, "backup")
    if going_on is not None and going_on.operation == actions.RESTORE:
        title = (
            f"{clean(going_on.by, 60)} has begun `{going_on.words}` at "
            f"{going_on.started_at:%H:%M} UTC: nobody is let in meanwhile"
        )
        yield _warning("restoring", title, fix="wait for it")
        return
    try:
        journal = restore_journal.read(deployment.paths)
    except ConsoleError as error:
        yield Finding("restore-interrupted", Severity.ERROR, "", error.message, fix=error.hint)
        return
    if journal is not None:
        yield Finding(
            "restore-interrupted", Severity.ERROR, "",
            f"{journal.words[0].upper()}{journal.words[1:]}",
            f"from {clean(journal.snapshot)}",
            journal.ways_on.replace("`", "").removesuffix("."),
        )  # fmt: skip


def _broken(seen: _Seen) -> Iterator[Finding]:
    """Snapshots of which something is not as it was written, and no newer one is proven whole."""
    since = itertools.takewhile(lambda each: not _proven(each), seen.snapshots)
    broken = [each for each in since if each.problem or each.state.broken_count]
    if not broken:
        return
    newest = next((each for each in seen.snapshots
                   if each.manifest is None or each.manifest.complete), None)  # fmt: skip
    names = ", ".join(each.id for each in broken[:NAMED])
    more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    title = f"{plural(len(broken), 'snapshot')} cannot be relied on: {names}{more}"
    detail = broken[0].problem or plural(broken[0].state.broken_count, "broken file")
    if newest in broken:
        title = f"The newest snapshot cannot be relied on: {newest.id}" if newest else title
        yield Finding("backup-broken", Severity.ERROR, "", title, clean(detail), ANEW)
    else:
        yield _warning("backup-broken", title, clean(detail), ANEW)


def _proven(snapshot: Snapshot) -> bool:
    """Everything is in it, and every byte was read and found right: older ones are history."""
    made, state = snapshot.manifest, snapshot.state
    return bool(made and made.complete and state.verified_at and not state.broken_count)


# Late, failed, small


def _failed(seen: _Seen) -> Iterator[Finding]:
    """The last attempt failed, or was killed, and no snapshot has been made since."""
    action = seen.action
    if action is None or action.operation != "backup.create" or action.outcome == "cancelled":
        return
    if action.outcome == "done" or seen.under_way:
        return
    since = [each for each in seen.usable
             if each.manifest and each.manifest.completed_at >= action.started_at]  # fmt: skip
    said = clean(action.error, 300) or "its process was killed"
    if not since:
        title = f"The last snapshot, begun {action.started_at:%Y-%m-%d %H:%M} UTC, failed: {said}"
        yield _warning("backup-failed", title, fix=action.hint or CREATE)
    elif action.error and not any(each.state.drill_error for each in since):
        yield _warning(
            "backup-failed", f"After the last snapshot was made: {said}", fix=action.hint
        )


def _late(seen: _Seen) -> Iterator[Finding]:
    """The newest snapshot is older than it should be, or of a time that has not come."""
    expected, why = _expected(seen)
    newest = next(iter(seen.complete), None)
    if newest is not None and (newest.created_at - seen.now).total_seconds() > CLOCK_SECONDS:
        yield _warning(
            "backup-late",
            f"The newest snapshot is of {newest.created_at:%Y-%m-%d %H:%M} UTC, and it is "
            f"{seen.now:%Y-%m-%d %H:%M} now: the clock was set back, or was wrong then",
            "Whether snapshots are late cannot be told.",
            f"set the clock; then {CREATE}",
        )
        return
    since = newest.created_at if newest is not None else seen.chosen_at
    if seen.under_way == "backup.create" or seen.now - since <= expected:
        return
    title = "No complete snapshot was ever made"
    if newest is not None:
        title = f"The newest complete snapshot is {_age(seen.now - since)} old"
    yield _warning("backup-late", f"{title}; {why}", fix=CREATE)


def _expected(seen: _Seen) -> tuple[timedelta, str]:
    """How old the newest one may be, and why."""
    try:
        longest = schedule.longest_seconds(seen.deployment)
    except ConsoleError:
        longest = None  # it is somebody else's to read
    if longest is not None:
        spare = max(3_600, longest // 4)
        every = _age(timedelta(seconds=longest))
        return timedelta(seconds=longest + spare), f"its timer makes one every {every}"
    moments = [each.created_at for each in seen.complete
               if each.reason == "scheduled"][:SCHEDULED_LOOKED_AT]  # fmt: skip
    gaps = [later - earlier for later, earlier in itertools.pairwise(moments)]
    if len(gaps) > 1 and max(gaps) > timedelta(0):
        return 2 * max(gaps), f"until now one came every {_age(max(gaps))}"
    return timedelta(days=UNSCHEDULED_DAYS), "no timer makes any: mlflow-console backup schedule"


def _age(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600)):
        if seconds >= length:
            return plural(round(seconds / length), unit)
    return plural(max(1, round(seconds / 60)), "minute")


def _shrank(seen: _Seen) -> Iterator[Finding]:
    # What is there before a restore is often less: that is why it is made.
    asked = [each for each in seen.complete if each.reason != "safety"]
    if len(asked) < 2:
        return
    newest, before = asked[0], asked[1:]
    how = retention.shrank(newest, before)
    if how:
        yield _warning(
            "backup-shrank", f"The newest snapshot, {newest.id}, is suspiciously small: {how}",
            "Older ones stay until snapshots have been of this size for a while.",
            f"mlflow-console backup diff {before[0].id} {newest.id}",
        )  # fmt: skip


# Proven to restore


def _drill(seen: _Seen) -> Iterator[Finding]:
    drilled = [each.state.drilled_at for each in seen.usable if each.state.drilled_at]
    last = max(drilled, default=None)
    failed = [each for each in seen.usable
              if each.state.drill_error and (last is None or _failed_at(each) > last)]  # fmt: skip
    if failed:
        latest = max(failed, key=_failed_at)
        yield _warning(
            "drill-failed", f"{latest.id} did not restore in a drill: {latest.state.drill_error}",
            fix=f"{CREATE}, then {DRILL}",
        )  # fmt: skip
        return
    oldest = min((each.created_at for each in seen.complete), default=None)
    since = last or oldest
    if since is not None and seen.now - since > timedelta(days=DRILL_DAYS):
        title = f"No snapshot was ever drilled, and the oldest is {_age(seen.now - since)} old"
        if last is not None:
            title = f"The last drill was {_age(seen.now - since)} ago"
        yield _warning("drill-late", f"{title}: whether they restore is not known", fix=DRILL)


def _failed_at(snapshot: Snapshot) -> datetime:
    return snapshot.state.drill_failed_at or datetime.fromtimestamp(0, UTC)


# The place


def _lock(seen: _Seen) -> Iterator[Finding]:
    holder = seen.place.lock.holder()
    if holder is not None and holder.alive is False:
        yield _warning(
            "backup-lock-dead",
            f"The lock of the snapshots is held by a process that was killed: {holder.words}",
            "The next one that needs it takes it over.",
            "mlflow-console backup unlock",
        )


def _same_disk(seen: _Seen, rooms: Sequence[Room]) -> Iterator[Finding]:
    """The disk that takes the data takes the snapshots with it."""
    paths = seen.deployment.paths
    data = [path for path in (paths.database, paths.artifacts) if path.exists()]
    device = os.stat(seen.place.path).st_dev
    if any(path.stat().st_dev == device for path in data):
        shared = ["the data of this deployment"]
    else:
        shared = [f"the data of {room.service}" for room in rooms
                  if not data and disk.is_under(room, seen.place.path)]  # fmt: skip
    if shared:
        yield _warning(
            "backup-same-disk",
            f"The snapshots are on the same disk as {' and '.join(shared)}",
            f"{seen.place.path}: what takes that disk takes them with it.",
            f"{CREATE} --to DIR on another disk or machine",
        )

"""Which snapshots stay.

What is doubtful never takes the place of what is not: the rules are applied to the sound snapshots
alone, once more to all complete ones, and once more to all; what any of these keeps, stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.backup.restoring import restore_journal
from console.core.backup.snapshot import PARTS, Manifest, Snapshot
from console.core.format import plural, size
from console.core.settings import BackupSettings

if TYPE_CHECKING:
    from console.core.deployment import Deployment

LOOKED_BACK = 10
"""A snapshot is compared with the best of so many before it."""
SAFETY_DAYS = 7
"""What undoes a restore stays for so long."""
MEASURE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a snapshot.

    Attributes:
        reasons: Why, each a few words.
    """

    snapshot: Snapshot
    reasons: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.snapshot.id

    @property
    def why(self) -> str:
        """The reasons in a line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Which snapshots would go and which stay, newest first.

    Attributes:
        freed_bytes: What no snapshot that stays shares.
        exact: There was time to look at every file; otherwise it is that much at least.
    """

    going: tuple[Fate, ...]
    staying: tuple[Fate, ...]
    freed_bytes: int = 0
    exact: bool = True


def plan(
    settings: BackupSettings, snapshots: Sequence[Snapshot], needed: Collection[str] = ()
) -> PrunePlan:
    """Which would go, and what that frees; changes nothing.

    Args:
        settings: What is kept.
        snapshots: All that there are, newest first.
        needed: The ids of those that something else needs now.
    """
    decided = decide(settings, snapshots, needed)
    freed, exact = _freed([each.snapshot.path for each in decided.going])
    return PrunePlan(decided.going, decided.staying, freed, exact)


def decide(
    settings: BackupSettings, snapshots: Sequence[Snapshot], needed: Collection[str] = (),
    now: datetime | None = None,
) -> PrunePlan:  # fmt: skip
    """Which would go; looks at no file. Days, weeks and months are those of UTC."""
    now = now or datetime.now(UTC)
    usable = [each for each in snapshots if each.manifest]
    doubts = {each.id: doubt(each, usable[at + 1 :]) for at, each in enumerate(usable)}
    kept = _kept(settings, usable, doubts)
    going, staying = [], []
    for each in snapshots:
        reasons = kept.get(each.id, [])
        if _undoes(each, now):
            reasons.append(f"it undoes a restore: kept for {SAFETY_DAYS} days")
        if each.id in needed:
            reasons.append("a restore needs it")
        if not each.manifest:
            reasons.append("it cannot be read: remove it by hand")
        if reasons:
            staying.append(Fate(each, tuple(reasons)))
        else:
            going.append(Fate(each, tuple(filter(None, ["no rule keeps it", doubts[each.id]]))))
    return PrunePlan(tuple(going), tuple(staying))


def _undoes(snapshot: Snapshot, now: datetime) -> bool:
    """A safety snapshot that somebody may still want back."""
    made = snapshot.manifest
    if made is None or made.reason != "safety":
        return False
    return now - made.created_at < timedelta(days=SAFETY_DAYS)


def _kept(
    settings: BackupSettings, usable: Sequence[Snapshot], doubts: Mapping[str, str]
) -> dict[str, list[str]]:
    """The reasons of those that stay, by id."""
    kept: dict[str, list[str]] = {}
    sound = [each for each in usable if not doubts[each.id]]
    complete = [each for each in usable if each.manifest and each.manifest.complete]
    for several in (sound, complete, usable):
        for each, why in _by_rules(settings, several):
            if why not in kept.setdefault(each.id, []):
                kept[each.id].append(why)
    for each, why in _always(usable, sound):
        kept.setdefault(each.id, []).append(why)
    for each, why in _newest_of_parts(usable):
        kept.setdefault(each.id, [why])
    return kept


def doubt(snapshot: Snapshot, before: Sequence[Snapshot]) -> str:
    """Why a snapshot does not take the place of another one; "" when it does.

    Args:
        snapshot: A usable one.
        before: Those that are older, newest first.
    """
    made = snapshot.manifest
    if made is None:
        return "it cannot be read"
    if snapshot.state.broken_count:
        return f"{plural(snapshot.state.broken_count, 'file')} of it known to be broken"
    if not made.complete:
        return f"it holds only {', '.join(made.parts)}"
    if made.reason == "safety":
        return "it was made before a restore"
    return shrank(made, [each.manifest for each in before if each.manifest])


def shrank(made: Manifest, before: Sequence[Manifest]) -> str:
    """In what a snapshot is less than half of the best of the last ones; "" for nothing.

    Args:
        made: The snapshot.
        before: Those that are older, newest first.
    """
    last = [each for each in before if each.complete][:LOOKED_BACK] if made.complete else []
    for held, words in MEASURES:
        best = max(map(held, last), default=0)
        if held(made) * 2 < best:
            return f"it shrank to {words(held(made))} from {words(best)}"
    return ""


def _runs(made: Manifest) -> int:
    return made.database.runs if made.database else 0


def _objects(made: Manifest) -> int:
    return made.artifacts.objects if made.artifacts else 0


def _bytes(made: Manifest) -> int:
    return made.bytes


MEASURES: tuple[tuple[Callable[[Manifest], int], Callable[[int], str]], ...] = (
    (_runs, lambda number: plural(number, "run")),
    (_objects, lambda number: plural(number, "artifact")),
    (_bytes, size),
)


def _by_rules(
    settings: BackupSettings, several: Sequence[Snapshot]
) -> Iterator[tuple[Snapshot, str]]:
    """What the settings keep of these, with why."""
    last = settings.keep_last
    for each in several[:last]:
        yield each, "the last one" if last == 1 else f"one of the last {last}"
    for most, form, words in (
        (settings.keep_daily, "%Y-%m-%d", "of the day"),
        (settings.keep_weekly, "%G-W%V", "of the week"),
        (settings.keep_monthly, "%Y-%m", "of the month"),
    ):
        seen: set[str] = set()
        for each in several:
            period = _period(each, form)
            if len(seen) < most and period not in seen:
                seen.add(period)
                yield each, f"{words} {period}"


def _period(snapshot: Snapshot, form: str) -> str:
    made = snapshot.manifest
    return made.created_at.astimezone(UTC).strftime(form) if made else ""


def _always(
    usable: Sequence[Snapshot], sound: Sequence[Snapshot]
) -> Iterator[tuple[Snapshot, str]]:
    """What no setting lets go."""
    for each in usable:
        if each.manifest and each.manifest.label:
            yield each, f"pinned as {each.manifest.label}"
    for what, proven in (("verified", _verified), ("drilled", _drilled)):
        known = [each for each in usable if proven(each)]
        last = [
            *[each for each in sound if proven(each)][:1],
            *[each for each in known if not each.state.broken_count][:1],
            *sorted(known, key=proven, reverse=True)[:1],
        ]
        for each in {each.id: each for each in last}.values():
            yield each, f"the last one that was {what}"
    if len(usable) == 1:
        yield usable[0], "the only one"


def _verified(snapshot: Snapshot) -> float:
    return snapshot.state.verified_at.timestamp() if snapshot.state.verified_at else 0.0


def _drilled(snapshot: Snapshot) -> float:
    return snapshot.state.drilled_at.timestamp() if snapshot.state.drilled_at else 0.0


def _newest_of_parts(usable: Sequence[Snapshot]) -> Iterator[tuple[Snapshot, str]]:
    """Of each part the newest one that nothing is known against."""
    for part in PARTS:
        holding = [each for each in usable if each.manifest and part in each.manifest.parts]
        unharmed = [each for each in holding if not each.state.broken_count]
        for each in (unharmed or holding)[:1]:
            yield each, f"the newest with {part}"


def needed(deployment: Deployment) -> set[str]:
    """The ids of the snapshots that a restore needs which is not at its end.

    Raises:
        ConsoleError: It cannot be told.
    """
    journal = restore_journal.read(deployment.paths)
    if journal is None:
        return set()
    return {Path(each).name for each in (journal.snapshot, journal.safety) if each}


# What is freed


def _freed(folders: Sequence[Path]) -> tuple[int, bool]:
    """Bytes of the files that have no link outside these folders, and whether all were seen."""
    deadline = time.monotonic() + MEASURE_SECONDS
    bytes_of: dict[tuple[int, int], int] = {}
    missing: dict[tuple[int, int], int] = {}
    exact = True
    for folder in folders:
        for found in _stats(folder):
            if time.monotonic() > deadline:
                exact = False
                break
            inode = (found.st_dev, found.st_ino)
            bytes_of[inode] = found.st_blocks * 512
            missing[inode] = missing.get(inode, found.st_nlink) - 1
    freed = sum(amount for inode, amount in bytes_of.items() if missing[inode] == 0)
    return freed, exact


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Of every file in a folder; what cannot be read counts for nothing."""
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(where, name))
            except OSError:
                continue

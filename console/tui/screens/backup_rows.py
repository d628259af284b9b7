"""What the Backup screen says: the lines on top, the rows, and what goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from console.core import format as fmt
from console.core import pace
from console.core.backup.snapshot import Manifest, Snapshot
from console.core.text import clean
from console.tui.backups import Doing
from console.tui.caller import explained
from console.tui.screens.backup_words import WHY, day, drills, moment, sign_of, usable
from console.tui.widgets.facts import Part
from console.tui.widgets.table import Cell, Column, Row, fit

if TYPE_CHECKING:
    from console.core.actions import Action
    from console.core.backup.lock import Holder
    from console.core.backup.schedule import ScheduleState
    from console.core.backup.service import BackupService
    from console.core.stack.driver import Finding

T = TypeVar("T")

COLUMNS = (
    Column("", 1), Column("made", 15), Column("size", 6, right=True),
    Column("new", 6, right=True), Column("runs", 6, right=True),
    Column("artifacts", 9, right=True), Column("verified", 8), Column("drilled", 8),
    Column("", 12, 40, wide=92),
)  # fmt: skip
# Findings and what could not be looked at: the rest is in `status`.
SHOWN_PROBLEMS = 3
SHOWN_STEPS = 4
DEAD_LOCK = "backup-lock-dead"


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that the screen shows, as it was a moment ago.

    Attributes:
        place: Where the snapshots are; None until one was chosen.
        snapshots: Newest first.
        free_bytes: Of the place's disk.
        timer: None where it could not be looked at.
        holder: Who holds the place's lock.
        newest: What was done last, or goes on.
        problems: What could not be looked at, and why.
    """

    place: Path | None
    snapshots: tuple[Snapshot, ...] = ()
    free_bytes: int | None = None
    timer: ScheduleState | None = None
    holder: Holder | None = None
    findings: tuple[Finding, ...] = ()
    newest: Action | None = None
    problems: tuple[str, ...] = ()


def look(service: BackupService) -> Look:
    """Look at everything, on a thread; what cannot be seen is a problem and hides nothing else."""
    problems: list[str] = []

    def seen(ask: Callable[[], T], otherwise: T) -> T:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001  # every failure is shown, and hides no other
            why = explained(error)
            problems.append(f"{why.message}. {why.hint}" if why.hint else why.message)
            return otherwise

    newest = seen(service.newest, None)
    if not service.chosen:
        return Look(None, newest=newest, problems=tuple(dict.fromkeys(problems)))
    place = service.place
    return Look(
        place.path,
        tuple(seen(service.list, [])),
        seen(lambda: place.free_bytes, None),
        seen(service.scheduled, None),
        seen(service.holder, None),
        tuple(seen(service.findings, [])),
        newest,
        tuple(dict.fromkeys(problems)),
    )


# The lines on top


def top(seen: Look, width: int) -> list[Part]:
    """Is the last one good, when is the next, was it ever proven, does it fit, what is wrong.

    Args:
        seen: What was seen.
        width: What is wrong takes one line of so many cells each.
    """
    if seen.place is None:
        return [("○ ", "dim"), ("No backup yet", "bold"), *_problems(seen, width)]
    good = next((each for each in seen.snapshots if usable(each)), None)
    parts: list[Part] = []
    if good is None or good.manifest is None:
        sign = ("✗ ", "bad") if seen.snapshots else ("○ ", "dim")
        words = "No good backup" if seen.snapshots else "No backup yet"
        parts += [sign, (words, "bold")]
    else:
        sign = ("✓ ", "ok") if good.state.verified_at or good.state.drilled_at else ("● ", "dim")
        parts += [sign, (f"last good {moment(good.manifest.created_at)}", "bold"),
                  ", verified" if good.state.verified_at else ", not verified"]  # fmt: skip
    parts += [*_next(seen.timer), "\n  "]
    drill = drills(seen.snapshots)
    parts += [*drill, "   "] if drill else []
    if seen.free_bytes is not None:
        parts += [fmt.size(seen.free_bytes), (" free in ", "dim")]
    return [*parts, (clean(str(seen.place), 300), "dim"), *_problems(seen, width)]


def _next(timer: ScheduleState | None) -> list[Part]:
    if timer is None:
        return []
    if timer.next_run is not None:
        return [("   next ", "dim"), moment(timer.next_run), (" (timer)", "dim")]
    if timer.installed:
        words = "at work" if timer.active else "which does not wait: s sets it anew"
        return [("   timer ", "dim"), clean(timer.at, 40), (f", {words}", "dim")]
    return [("   no timer, ", "dim"), ("s", "accent"), (" sets one", "dim")]


def _problems(seen: Look, width: int) -> Iterator[Part]:
    if seen.holder is not None and not seen.holder.alive:
        yield from _locked(seen.holder, width)
    found = [each for each in seen.findings if each.id != DEAD_LOCK]  # it has a line with its key
    unseen = [each for each in seen.problems if not any(one.title in each for one in found)]
    lines = [*((each.title, each.severity == "error", each.fix) for each in found),
             *((each, False, "") for each in unseen)]  # fmt: skip
    for words, bad, fix in lines[:SHOWN_PROBLEMS]:
        yield "\n"
        yield ("✗ ", "bad") if bad else ("! ", "warn")
        yield fit(clean(words, 300), width - 2)
        if bad and fix:
            yield ("\n  " + fit(clean(fix, 300), width - 2), "dim")
    if len(lines) > SHOWN_PROBLEMS:
        yield (f"\n  and {len(lines) - SHOWN_PROBLEMS} more, on Home", "dim")


def _locked(holder: Holder, width: int) -> Iterator[Part]:
    """A lock that needs a person; of one whose holder works there is a line of its own."""
    yield "\n"
    yield ("! ", "warn")
    if holder.alive is None:
        words = f"locked, and nobody here can tell whether that goes on: {holder.words}"
        yield fit(words, width - 2)
        return
    yield ("u", "accent")
    yield fit(f" takes the lock of a dead process away: {holder.words}", width - 3)


# What goes on


def going_on(doing: Doing | None, wide: bool) -> list[Part]:
    """What is being done and how to stop it; how far it is, how fast, and for how long still.

    Args:
        doing: What.
        wide: Both fit on one line.
    """
    if doing is None:
        return []
    parts: list[Part] = []
    if doing.operation in ("backup.restore", "backup.drill"):
        for label in doing.over[-SHOWN_STEPS:]:
            parts += [("✓ ", "ok"), (f"{clean(label, 100)}\n", "dim")]
    words = f"{doing.words.doing} {doing.about}".rstrip()
    parts += [("○ ", "accent"), (words, "bold")]
    if doing.by:
        parts.append((f"   begun by {doing.by} {fmt.when(doing.begun)}", "dim"))
    parts += (
        [("   leaving off…", "warn")] if doing.leaves else ["   ", ("x", "accent"), " stops it"]
    )
    if doing.report is not None:
        amount = pace.words(doing.report, doing.rate)
        label = clean(doing.report.label, 120)
        parts += ["   " if wide else "\n  ", f"{label}   {amount}" if amount else label]
    return parts


# The rows


def row(snapshot: Snapshot) -> Row:
    """A snapshot in the order of `COLUMNS`; its key is its id."""
    made, state = snapshot.manifest, snapshot.state
    sign, tone = sign_of(snapshot)
    if made is None:
        dash = (Cell(fmt.NEVER, "dim"),) * 6
        note = Cell(clean(snapshot.problem, 200), "bad")
        return Row(snapshot.id, (Cell(sign, tone), Cell(clean(snapshot.id, 60)), *dash, note))
    database, artifacts = made.database, made.artifacts
    return Row(
        snapshot.id,
        (
            Cell(sign, tone),
            Cell(moment(made.created_at)),
            Cell(fmt.size(made.bytes)),
            Cell(fmt.size(made.new_bytes)),
            Cell(short(database.runs if database else None)),
            Cell(fmt.count(artifacts.objects if artifacts else None)),
            Cell("✗ broken", "bad") if state.broken_count else Cell(day(state.verified_at)),
            Cell("✗ failed", "bad") if state.drill_error else Cell(day(state.drilled_at)),
            Cell(*_note(made)),
        ),
    )


def short(number: int | None) -> str:
    """A number in at most six cells."""
    return fmt.few(number) if number is not None and number > 99_999 else fmt.count(number)


def _note(made: Manifest) -> tuple[str, str]:
    """What one wants to know of it without being asked: its label, or why it is no usual one."""
    words = [clean(made.label, 40)] if made.label else []
    if not made.complete:
        words.append(f"only {', '.join(made.parts)}")
    elif not made.label and WHY[made.reason]:
        words.append(WHY[made.reason])
    return ", ".join(words), "" if made.label else "dim"

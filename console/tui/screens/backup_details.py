"""What is known of one snapshot: below the rows, beside them, and in a dialog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.core import format as fmt
from console.core.backup.snapshot import PARTS, Manifest, Snapshot
from console.core.text import clean
from console.tui.screens.backup_words import WHY, moment
from console.tui.widgets.facts import Part

if TYPE_CHECKING:
    from console.core.backup.retention import Fate, PrunePlan

BROKEN_SHOWN = 3


def brief(snapshot: Snapshot | None) -> list[Part]:
    """Two lines for what the row of 80 columns has no room for."""
    if snapshot is None:
        return []
    made = snapshot.manifest
    if made is None:
        return [("✗ ", "bad"), clean(snapshot.problem, 300)]
    label: list[Part] = []
    if made.label:
        label = ["   ", (clean(made.label, 40), "bold"), (", never pruned", "dim")]
    why = f"   {WHY[made.reason]}" if WHY[made.reason] else ""
    holds = "everything" if made.complete else f"only {', '.join(made.parts)}"
    parts: list[Part] = [(clean(made.id), "dim"), *label, (why, "dim"), f"   holds {holds}"]
    return [*parts, *_wrong(snapshot)]


def _wrong(snapshot: Snapshot) -> Iterator[Part]:
    """What is wrong with a snapshot that could be read, and what it had to leave out."""
    made, state = snapshot.manifest, snapshot.state
    if snapshot.problem:
        yield from ("\n", ("✗ ", "bad"), clean(snapshot.problem, 300))
    if state.broken_count:
        names = ", ".join(clean(each, 60) for each in state.broken[:BROKEN_SHOWN])
        more = ", …" if state.broken_count > BROKEN_SHOWN else ""
        files_ = fmt.plural(state.broken_count, "broken file")
        yield from ("\n", ("✗ ", "bad"), f"{files_}: {names}{more}")
    if state.drill_error:
        at = f" {moment(state.drill_failed_at)}" if state.drill_failed_at else ""
        yield from ("\n", ("✗ ", "bad"), f"the drill{at} failed: {clean(state.drill_error, 300)}")
    if made is not None and (words := _missed(made)):
        yield from ("\n", (words, "dim"))


def _missed(made: Manifest) -> str:
    artifacts = made.artifacts
    if artifacts is None:
        return ""
    counts = (
        (artifacts.changed, "changed"), (artifacts.gone, "gone"), (artifacts.unread, "not read"),
    )  # fmt: skip
    words = ", ".join(f"{fmt.count(number)} {what}" for number, what in counts if number)
    return f"artifacts while it was made: {words}" if words else ""


def pane(snapshot: Snapshot | None) -> list[Part]:
    """What is known of a snapshot, for the column on the right of a wide terminal."""
    if snapshot is None:
        return []
    parts: list[Part] = [(clean(snapshot.id), "bold"), *_wrong(snapshot), "\n"]
    for name, value in facts(snapshot):
        parts += ["\n", (f"{name:<11}", "dim"), clean(value, 200)]
    return parts


def facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Names and values of everything that the manifest says."""
    made, state = snapshot.manifest, snapshot.state
    if made is None:
        return [("folder", str(snapshot.path))]
    took = fmt.elapsed(made.created_at, made.completed_at)
    missing = [part for part in PARTS if part not in made.parts]
    pairs = [
        ("label", f"{made.label}, never pruned" if made.label else ""),
        ("made", f"{fmt.exact(made.created_at)}, in {took}"),
        ("why", WHY[made.reason]),
        ("holds", "everything" if made.complete else ", ".join(made.parts)),
        ("not", ", ".join(missing)),
        ("size", f"{fmt.size(made.bytes)}, {fmt.size(made.new_bytes)} of them new"),
        *_held(made),
        ("verified", fmt.exact(state.verified_at) if state.verified_at else "not yet"),
        ("drilled", fmt.exact(state.drilled_at) if state.drilled_at else "not yet"),
        ("of", f"{made.deployment}, {made.driver}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
        ("console", made.console),
        ("folder", str(snapshot.path)),
    ]
    return [(name, value) for name, value in pairs if value]


def _held(made: Manifest) -> Iterator[tuple[str, str]]:
    if made.database is not None:
        dump = made.database
        yield "database", f"{dump.kind}, {fmt.size(dump.bytes)} compressed"
        yield "", f"{fmt.plural(dump.experiments, 'experiment')}, {fmt.plural(dump.runs, 'run')}"
        yield "schema", dump.revision or "not known"
    if made.artifacts is not None:
        yield "artifacts", f"{fmt.count(made.artifacts.objects)}, {fmt.size(made.artifacts.bytes)}"
        if words := _missed(made).partition(": ")[2]:
            yield "", f"{words} meanwhile"


def details(snapshot: Snapshot) -> list[tuple[str, str]]:
    """All of it, for the dialog."""
    made, state = snapshot.manifest, snapshot.state
    broken = fmt.plural(state.broken_count, "broken file") if state.broken_count else ""
    rows = made.database.rows if made is not None and made.database else {}
    images = made.images if made is not None else {}
    return [
        ("why it cannot be used", snapshot.problem),
        (broken, "\n".join(state.broken)),
        ("why the drill failed", state.drill_error),
        ("what it is", "\n".join(f"{name:<11}{value}" for name, value in facts(snapshot))),
        ("images", "\n".join(f"{name}  {image}" for name, image in images.items())),
        ("rows", "\n".join(f"{fmt.count(n):>12}  {name}" for name, n in rows.items())),
    ]


# What would be removed


def pruned(plan: PrunePlan) -> tuple[str, list[str]]:
    """The question and its lines: exactly what goes and why, what it frees, and what stays."""
    count = fmt.plural(len(plan.going), "snapshot")
    least = "" if plan.exact else "at least "
    title = f"Remove {count}? It frees {least}{fmt.size(plan.freed_bytes)}."
    goes = [f"{_entry(each)}  {each.why}" for each in plan.going]
    stays = [f"{clean(each.id, 60)}  {each.why}" for each in plan.staying]
    return title, [*goes, "", "These stay:", *stays]


def kept(plan: PrunePlan) -> list[tuple[str, str]]:
    """What stays, and why."""
    return [(_entry(each), each.why) for each in plan.staying]


def _entry(fate: Fate) -> str:
    made = fate.snapshot.manifest
    if made is None:
        return clean(fate.id, 60)
    return f"{clean(made.id)}  {moment(made.created_at):<15} {fmt.size(made.bytes):>6}"

"""What Home says of the backups: the two newest, and whether it was proven that they restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from console.core import format as fmt
from console.core.backup.snapshot import Manifest, Snapshot
from console.tui.screens.backup_words import drills, moment, sign_of
from console.tui.widgets.facts import Part

if TYPE_CHECKING:
    from console.core.deployment import Deployment

SHOWN = 2
Line = list[Part]


class Glance(NamedTuple):
    """What is behind the title and the lines below it."""

    beside: Line
    lines: list[Line]


def glance(deployment: Deployment) -> tuple[Glance, Glance]:
    """For a narrow and for a wide screen; it reads a small file or two a snapshot."""
    snapshots = deployment.backup.list()
    if not snapshots:
        makes: Line = [("7", "accent"), " then ", ("b", "accent"), " makes one"]
        none = Glance([], [["no backup yet"], makes])
        return none, none
    drill = drills(snapshots)
    return (
        Glance(_short(drill), _lines(snapshots, False)), Glance(drill, _lines(snapshots, True))
    )  # fmt: skip


def _short(drill: Line) -> Line:
    """When a drill passed or that it failed, for the room that is left beside the title."""
    said = "".join(part if isinstance(part, str) else part[0] for part in drill)
    if "failed" in said:
        return [("✗ drill failed", "bad")]
    words = said.removeprefix("drill ").removesuffix(", passed")
    return [(words if words == said else f"drilled {words}", "dim")]


def _lines(snapshots: Sequence[Snapshot], wide: bool) -> list[Line]:
    lines: list[Line] = []
    for each in snapshots[:SHOWN]:
        sign, tone = sign_of(each)
        if each.manifest is None:
            lines.append([(f"{sign} ", tone), "unreadable"])
        else:
            lines.append([(f"{sign} ", tone), *_said(each.manifest, each, wide)])
    return lines


def _said(made: Manifest, snapshot: Snapshot, wide: bool) -> Line:
    state = snapshot.state
    proven = "broken" if state.broken_count else "verified" if state.verified_at else ""
    at = moment(made.created_at)
    size, new = fmt.size(made.bytes), f"+{fmt.size(made.new_bytes)}"
    if not wide:
        return [f"{at}, {proven}" if proven else f"{at}  {size}"]
    return [f"{at:<15}  {size:>6}  {new:>7}", (f"   {proven}" if proven else "", "dim")]

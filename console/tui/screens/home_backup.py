"""What Home says of the backups: the two newest, and whether it was proven that they restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.core import format as fmt
from console.core.backup.snapshot import Manifest, Snapshot
from console.tui.screens.backup_words import drills, moment, sign_of
from console.tui.widgets.facts import Part

if TYPE_CHECKING:
    from console.core.deployment import Deployment

SHOWN = 2
TITLE: Part = ("Backup", "bold")
Line = list[Part]


def glance(deployment: Deployment) -> tuple[list[Line], list[Line]]:
    """The lines for a narrow and for a wide screen; it reads a small file or two a snapshot."""
    snapshots = deployment.backup.list()
    if not snapshots:
        none: list[Line] = [
            ["no backup yet"], [("7", "accent"), " then ", ("b", "accent"), " makes one"]
        ]  # fmt: skip
        return none, none
    said = drills(snapshots)
    drill: list[Line] = [said] if said else []
    return [*_lines(snapshots, False), *drill], [*_lines(snapshots, True), *drill]


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

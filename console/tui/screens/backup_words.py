"""How snapshots are spoken of, on every screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from console.core import format as fmt
from console.core.backup.snapshot import Manifest, Snapshot
from console.core.text import clean
from console.tui.widgets.facts import Part

WHY = {"asked": "", "scheduled": "by the timer", "safety": "before a restore"}


def moment(at: datetime) -> str:
    """Day and time, as short as they can be said: "today 08:00", "13 Nov 08:00"."""
    there, now = fmt.local(at), fmt.local(datetime.now().astimezone())
    days = (there.date() - now.date()).days
    named = {0: "today", -1: "yesterday", 1: "tomorrow"}.get(days)
    if named is None:
        named = f"{there.day} {there:%b}" if abs(days) < 300 else f"{there.day} {there:%b %Y}"
        if abs(days) >= 300:
            return named
    return f"{named} {there:%H:%M}"


def day(at: datetime | None) -> str:
    """The day alone: "today", "13 Nov", "Nov 2025"."""
    if at is None:
        return fmt.NEVER
    there, now = fmt.local(at), fmt.local(datetime.now().astimezone())
    if there.date() == now.date():
        return "today"
    return f"{there.day} {there:%b}" if now - there < timedelta(days=180) else f"{there:%b %Y}"


def named(snapshot: Snapshot) -> str:
    """A snapshot in a sentence."""
    made = snapshot.manifest
    return clean(snapshot.id, 60) if made is None else f"{clean(made.id)} ({said(made)})"


def said(made: Manifest) -> str:
    label = f", {clean(made.label, 40)}" if made.label else ""
    return f"{moment(made.created_at)}{label}"


def usable(snapshot: Snapshot) -> bool:
    """Whether all of it can be restored, as far as is known."""
    made = snapshot.manifest
    harmed = snapshot.problem or snapshot.state.broken_count or snapshot.state.drill_error
    return made is not None and made.complete and not harmed


def drills(snapshots: Sequence[Snapshot]) -> list[Part]:
    """When it was last proven that one restores, or not."""
    passed = max((each.state.drilled_at for each in snapshots if each.state.drilled_at),
                 default=None)  # fmt: skip
    failed = max((each.state.drill_failed_at for each in snapshots if each.state.drill_failed_at),
                 default=None)  # fmt: skip
    if failed is not None and (passed is None or failed > passed):
        return [("drill ", "dim"), (f"✗ {day(failed)}, failed", "bad")]
    if passed is not None:
        return [("drill ", "dim"), f"{day(passed)}, passed"]
    return [("never drilled", "dim")] if snapshots else []


def sign_of(snapshot: Snapshot) -> tuple[str, str]:
    """✗ for what does not restore, ! for what is not all, ✓ for what was proven."""
    made, state = snapshot.manifest, snapshot.state
    if made is None or snapshot.problem or state.broken_count or state.drill_error:
        return "✗", "bad"
    if not made.complete or (made.artifacts is not None and made.artifacts.unread):
        return "!", "warn"
    return ("✓", "ok") if state.verified_at or state.drilled_at else ("●", "dim")

"""The message: what appeared and what ended since the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from console.core.format import plural
from console.core.notify.state import Known, Target, known
from console.core.stack.driver import Finding, Severity
from console.core.stack.status import Status
from console.core.text import clean

SHOWN = 30


class Kind(StrEnum):
    """How a service that knows colours shows a message; the names are apprise's."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; one line of title, plain text of several lines."""

    title: str
    body: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Change:
    """What an address does not know yet."""

    appeared: tuple[Finding, ...]
    ended: tuple[Known, ...]

    @property
    def none(self) -> bool:
        """There is nothing to tell."""
        return not self.appeared and not self.ended


def change(target: Target, findings: Sequence[Finding]) -> Change:
    """Compare what an address knows with what is; a title that changed is no change."""
    then = {(each.id, each.service): each for each in target.known}
    now = {(each.id, each.service): found for found in findings for each in (known(found),)}
    return Change(
        tuple(finding for key, finding in now.items() if key not in then),
        tuple(each for key, each in then.items() if key not in now),
    )


def compose(
    status: Status, changed: Change, where: str, cut_off: datetime | None = None
) -> Message:
    """The message about a change.

    Args:
        status: As it is now.
        changed: What is told.
        where: Deployment, host and folder, for who has several.
        cut_off: When a message was begun whose arrival nobody knows.
    """
    appeared, ended = changed.appeared, changed.ended
    parts = [plural(len(appeared), "new finding")] if appeared else []
    if ended:
        parts.append(f"{len(ended)} ended" if parts else f"{plural(len(ended), 'finding')} ended")
    if status.healthy:
        parts.append("healthy")
    lines = [
        *_some(list(_appeared(appeared))),
        *_some([f"✓ ended: {each.title}" for each in ended]),
    ]
    if cut_off:
        lines.append(f"A message of {cut_off:%Y-%m-%d %H:%M} UTC may not have arrived.")
    title = f"{clean(status.deployment)}: {', '.join(parts)}"
    return Message(title, "\n".join([*lines, "", where]), _kind(appeared))


def _appeared(findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings:
        sign = "✗" if finding.severity is Severity.ERROR else "!"
        fix = f"\n  fix: {clean(finding.fix, 500)}" if finding.fix else ""
        yield f"{sign} {clean(finding.title, 500)}{fix}"


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"… and {more} more"] if more > 0 else [])]


def _kind(appeared: Sequence[Finding]) -> Kind:
    if any(each.severity is Severity.ERROR for each in appeared):
        return Kind.FAILURE
    return Kind.WARNING if appeared else Kind.SUCCESS

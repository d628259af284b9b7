"""How fast something counted goes, and how long it may still take."""

from __future__ import annotations

from collections import deque

from console.core.format import size
from console.core.progress import Progress

# A rate over fewer seconds than this says nothing, over more it is late.
LEAST_SECONDS, MOST_SECONDS = 2.0, 15.0
# Reports that come at once, as those from before somebody looked, are one.
TOGETHER_SECONDS = 0.2


def step(label: str) -> str:
    """What stays the same of a label while its numbers go up."""
    return "".join(letter for letter in label if letter.isalpha())


def goes_on(before: Progress | None, now: Progress) -> bool:
    """Whether a report counts the same thing on that the one before it counted."""
    return (
        before is not None and before.done is not None and now.done is not None
        and (before.unit, step(before.label)) == (now.unit, step(now.label))
    )  # fmt: skip


class Pace:
    """The pace over the last seconds of what is being counted."""

    def __init__(self) -> None:
        self._last: Progress | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, report: Progress, now: float) -> float | None:
        """Take a report in.

        Args:
            report: The newest.
            now: When it came, in seconds of a clock that only goes forward.

        Returns:
            How much of its unit a second; None while that cannot be told.
        """
        if not goes_on(self._last, report):
            self._seen.clear()
        self._last = report
        if report.done is None:
            return None
        began = now
        if self._seen and now - self._seen[-1][0] < TOGETHER_SECONDS:
            began, _ = self._seen.pop()
        self._seen.append((began, report.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= MOST_SECONDS:
            self._seen.popleft()
        (begun, first), (ended, last) = self._seen[0], self._seen[-1]
        if ended - begun < LEAST_SECONDS or last < first:
            return None
        return (last - first) / (ended - begun)


def left(report: Progress, rate: float | None) -> float | None:
    """How many seconds it may still take; None when that cannot be told."""
    if not rate or report.done is None or report.total is None:
        return None
    return max(0.0, (report.total - report.done) / rate)


def words(report: Progress, rate: float | None) -> str:
    """Amount, rate and time left: "1.2 GB of 3.4 GB, 85 MB/s, 26 s left"; "" when uncounted."""
    if report.done is None:
        return ""
    in_bytes = report.unit == "bytes"
    parts = [_amount(report, in_bytes)]
    if rate is not None:
        parts.append(f"{size(int(rate))}/s" if in_bytes else f"{rate:,.0f}/s")
    seconds = left(report, rate)
    if seconds is not None:
        parts.append(f"{_short(seconds)} left")
    return ", ".join(parts)


def _amount(report: Progress, in_bytes: bool) -> str:
    done, total = report.done or 0, report.total
    if in_bytes:
        return size(done) if total is None else f"{size(done)} of {size(total)}"
    counted = f"{done:,}" if total is None else f"{done:,} of {total:,}"
    return f"{counted} {report.unit}".rstrip()


def _short(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Numbers, sizes and times as a person reads them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

NEVER = "-"


def size(amount: int | None) -> str:
    """Bytes with a short decimal unit: "0 B", "352 MB", "1.2 GB"."""
    if amount is None:
        return NEVER
    value = float(amount)
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while abs(value) >= 999.5 and len(units) > 1:
        value /= 1000
        del units[0]
    unit = units[0]
    digits = 1 if unit != "B" and abs(value) < 9.95 else 0
    return f"{value:.{digits}f} {unit}"


def count(number: int | None) -> str:
    """A whole number with separators: "4,211"."""
    return NEVER if number is None else f"{number:,}"


def few(number: int) -> str:
    """A whole number in at most four letters: "310", "1.2k", "31k", "1.4M"."""
    value = float(number)
    for unit in ("", "k", "M", "G"):
        if value < 999.5 or unit == "G":
            break
        value /= 1000
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 run", "4,211 runs"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: int, whole: int) -> str:
    """A percentage without decimals; "<1 %" for what is little but there."""
    if whole <= 0 or part <= 0:
        return "0 %"
    percent = 100 * part / whole
    return "<1 %" if percent < 0.5 else f"{percent:.0f} %"


def bar(part: int, whole: int, width: int) -> str:
    """A bar as long as the part's share of `width` cells; what is there at all shows."""
    filled = 0 if whole <= 0 else min(width, math.ceil(width * part / whole)) if part > 0 else 0
    return "█" * filled


def local(moment: datetime) -> datetime:
    """The moment in the viewer's zone."""
    return moment.astimezone()


def clock(moment: datetime) -> str:
    """The time of day, exact to the second."""
    return f"{local(moment):%H:%M:%S}"


def exact(moment: datetime | None) -> str:
    """Date and time, exact to the second, in the viewer's zone."""
    return NEVER if moment is None else f"{local(moment):%Y-%m-%d %H:%M:%S}"


def when(moment: datetime | None) -> str:
    """A moment as short as it can be said today: "14:02", "yesterday", "24 Aug", "Aug 2025"."""
    if moment is None:
        return NEVER
    there, now = local(moment), local(datetime.now().astimezone())
    if there.date() == now.date():
        return f"{there:%H:%M}"
    if there.date() == (now - timedelta(days=1)).date():
        return "yesterday"
    if there.year == now.year or now - there < timedelta(days=180):
        return f"{there.day} {there:%b}"
    return f"{there:%b %Y}"


def elapsed(start: datetime | None, end: datetime | None = None) -> str:
    """How long something took or has been going on: "8 s", "3 min", "5 h", "12 d"."""
    if start is None:
        return NEVER
    seconds = ((end or datetime.now().astimezone()) - start).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else "<1 s"


def duration(seconds: float | None) -> str:
    """Seconds of which milliseconds count: "12 ms", "1.20 s", "75 s"."""
    if seconds is None:
        return NEVER
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:,.0f} s"


def metric(value: float) -> str:
    """A metric's value, short; NaN and infinities as they are."""
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return f"{value:.6g}"

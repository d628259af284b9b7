"""What processes use: CPU between two looks, and memory without counting shared pages twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.stack.driver import Sample

if TYPE_CHECKING:
    import psutil

FIRST_LOOK_SECONDS = 0.1
EACH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Used:
    """What some processes use together.

    Attributes:
        cpu_percent: 100 is one core.
        memory_bytes: Their proportional set sizes (Linux `smaps_rollup`); None when this account
            may not know.
    """

    cpu_percent: float
    memory_bytes: int | None


class Meter:
    """Measures a set of processes again and again."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, float], float] = {}
        self._at = 0.0
        self._moved: tuple[int, int] | None = None

    def forget(self) -> None:
        """Start anew: the processes are gone."""
        self._before = {}

    def read(self, family: Sequence[psutil.Process]) -> Used:
        """Measure; the first look takes a tenth of a second, later ones compare with it."""
        if not self._before:
            self._before, self._at = _cpu_seconds(family), time.monotonic()
            time.sleep(FIRST_LOOK_SECONDS)
        now, at = _cpu_seconds(family), time.monotonic()
        # A process that is new since the last look spent all of its time since then.
        spent = sum(seconds - self._before.get(key, 0.0) for key, seconds in now.items())
        percent = max(0.0, 100 * spent / (at - self._at)) if at > self._at else 0.0
        self._before, self._at = now, at
        return Used(percent, _memory(family))

    def sample(self, service: str, family: Sequence[psutil.Process], log: Path) -> Sample:
        """What they use, as one sample; the kernel counts the network of a machine only.

        Args:
            service: What they are called together.
            family: The processes.
            log: Their log file; older ones carry .1, .2 and so on.
        """
        seconds = time.monotonic() - self._at
        used = self.read(family)
        now, before = _moved(family), self._moved
        self._moved = now
        reads = (
            [(a - b) / seconds for a, b in zip(now, before, strict=True)] if before else [None] * 2
        )
        return Sample(
            service, datetime.now(UTC), used.cpu_percent, used.memory_bytes, None,
            read=reads[0], written=reads[1], processes=len(family),
            log_bytes=sum(each.stat().st_size for each in log.parent.glob(f"{log.name}*")),
        )  # fmt: skip


def _moved(family: Sequence[psutil.Process]) -> tuple[int, int]:
    """The bytes read from disks and written to them since the processes started."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    read = written = 0
    for process in family:
        try:
            counters = process.io_counters()
        except psutil.Error:
            continue
        read, written = read + counters.read_bytes, written + counters.write_bytes
    return read, written


def _cpu_seconds(family: Sequence[psutil.Process]) -> dict[tuple[int, float], float]:
    import psutil  # noqa: PLC0415  # first use, not start-up

    seconds = {}
    for process in family:
        try:
            times = process.cpu_times()
            seconds[process.pid, process.create_time()] = times.user + times.system
        except psutil.Error:
            continue
    return seconds


def _memory(family: Sequence[psutil.Process]) -> int | None:
    import psutil  # noqa: PLC0415  # first use, not start-up

    total = 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            return None
    return total

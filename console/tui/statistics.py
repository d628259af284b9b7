"""What the services used in the last two minutes, for the screens that show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from console.core.stack.driver import Sample

KEPT = 60  # of one every two seconds
BARS = "▁▂▃▄▅▆▇█"
# A service that does nothing is a flat line, and not noise drawn large.
LEAST_PERCENT = 10.0


class Statistics:
    """The newest samples, and how busy each service was before."""

    def __init__(self) -> None:
        self._newest: dict[str, Sample] = {}
        self._busy: dict[str, deque[float]] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        """Take the samples of one moment; who is not among them does not run."""
        self._newest = {each.service: each for each in samples}
        for each in self._newest.values():
            if each.cpu_percent is not None:
                self._busy.setdefault(each.service, deque(maxlen=KEPT)).append(each.cpu_percent)

    @property
    def newest(self) -> Mapping[str, Sample]:
        """The newest sample of each service that runs."""
        return self._newest

    def spark(self, service: str, width: int) -> str:
        """Two minutes of CPU in so many cells, the newest right; "" before the first sample."""
        busy = list(self._busy.get(service, ()))
        if not busy or service not in self._newest:
            return ""
        each = KEPT // width
        # Whole groups from the right: a bar that stands keeps its height.
        groups = [busy[max(0, end - each) : end] for end in range(len(busy), 0, -each)]
        peaks = [max(group) for group in reversed(groups[:width])]
        return bars(peaks, LEAST_PERCENT).rjust(width)


def bars(values: Sequence[float], least: float) -> str:
    """One cell for each value; the highest fills it, or `least` if that is more."""
    top = max(least, *values)
    return "".join(BARS[min(7, int(value / top * 8))] for value in values)

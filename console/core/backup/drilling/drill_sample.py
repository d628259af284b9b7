"""Which artifacts a drill fetches: a random sample of a snapshot's, drawn in one reading."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator

from console.core.backup.snapshot import Entry

MOST, MOST_BYTES = 200, 1_000_000_000
LARGEST = 10
MOST_EXPERIMENTS = 1000


class Sample:
    """Some of the largest, one of each experiment, and random others.

    Args:
        seed: The same seed draws the same sample of the same artifacts.
        most: How many in all, unless there are more experiments.
        most_bytes: How much in all; half of it for the largest.
    """

    def __init__(self, seed: str, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._random = random.Random(seed)  # noqa: S311  # nobody is to be surprised by it
        self._most = most
        self._most_bytes = most_bytes
        self._seen = 0
        self._largest: list[tuple[int, int, Entry]] = []
        self._of_each: dict[str, tuple[int, Entry]] = {}
        self._others: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take one more artifact into account."""
        self._seen += 1
        push = heapq.heappush if len(self._largest) < LARGEST else heapq.heappushpop
        push(self._largest, (entry.size, self._seen, entry))
        if len(self._others) < self._most:
            self._others.append(entry)
        else:
            # Algorithm R (Vitter, "Random sampling with a reservoir", 1985).
            place = self._random.randrange(self._seen)
            if place < self._most:
                self._others[place] = entry
        experiment = entry.key.partition("/")[0]
        count, kept = self._of_each.get(experiment, (0, entry))
        if count or len(self._of_each) < MOST_EXPERIMENTS:
            chosen = entry if self._random.randrange(count + 1) == 0 else kept
            self._of_each[experiment] = (count + 1, chosen)

    def chosen(self) -> list[Entry]:
        """The sample."""
        found: dict[str, Entry] = {}
        total = 0
        for entry, limit in self._in_order():
            if entry.name in found or total + entry.size > limit:
                continue
            found[entry.name] = entry
            total += entry.size
        return list(found.values())

    def _in_order(self) -> Iterator[tuple[Entry, int]]:
        """Each candidate, and how much may have been chosen when it is."""
        for _, _, entry in sorted(self._largest, key=lambda it: it[:2], reverse=True):
            yield entry, self._most_bytes // 2
        for _, entry in self._of_each.values():
            yield entry, self._most_bytes
        others = list(self._others)
        self._random.shuffle(others)
        for entry in others[: max(0, self._most - len(self._of_each) - len(self._largest))]:
            yield entry, self._most_bytes

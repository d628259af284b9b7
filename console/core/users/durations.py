"""Distributions of durations: how many fell into which bucket; two of them add up to one.

Up to 16 ms each millisecond is a bucket of its own, which is what logs resolve; above, each bucket
is 5 % wider than the one before. So a quantile is off by 2.5 % at the most. The idea is that of
DDSketch (Masson, Rim and Lee, VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

EXACT = 16  # ms
WIDTH = math.log(1.05)
BUCKETS = 512  # the last one is more than any duration: 16 ms * 1.05 ** 495 are years
NONE = BUCKETS - 1

Histogram = dict[int, int]
"""How many durations, by bucket."""


def bucket(text: bytes) -> int:
    """The bucket of a duration in seconds as a log has it.

    nginx names several servers that it tried as "0.001, 0.002" or "0.001 : 0.002": their sum.

    Returns:
        `NONE` for what is no duration, for instance b"-".
    """
    parts = [each for each in text.replace(b":", b",").split(b",") if each.strip() != b"-"]
    try:
        milliseconds = 1000 * sum(map(float, parts))
    except ValueError:
        return NONE
    if not parts or not 0 <= milliseconds < 1e12:
        return NONE
    if milliseconds < EXACT + 0.5:
        return round(milliseconds)
    return min(NONE - 1, EXACT + max(1, round(math.log(milliseconds / EXACT) / WIDTH)))


def seconds(number: int) -> float:
    """The duration that a bucket stands for."""
    return (number if number <= EXACT else EXACT * math.exp(WIDTH * (number - EXACT))) / 1000


def add(into: Histogram, other: Mapping[int, int]) -> None:
    """Add one distribution to another."""
    for number, count in other.items():
        into[number] = into.get(number, 0) + count


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """The duration in seconds that this share of all did not exceed (nearest rank).

    Args:
        histogram: A distribution.
        share: 0.5 for the median.

    Returns:
        None when nothing was measured.
    """
    wanted = max(1, math.ceil(share * sum(histogram.values())))
    passed = 0
    for number in sorted(histogram):
        passed += histogram[number]
        if passed >= wanted:
            return seconds(number)
    return None

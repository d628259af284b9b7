"""How fast something goes: steady, late, anew with each step, and never a wrong claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core import pace
from console.core.pace import Pace
from console.core.progress import Progress


def _copied(done: int, total: int | None = 1_000, label: str = "copying") -> Progress:
    return Progress(label, done, total, "bytes")


def test_a_steady_pace_is_told_after_two_seconds() -> None:
    watched = Pace()
    rates = [watched.add(_copied(100 * second), second) for second in range(5)]
    assert rates == [None, None, 100, 100, 100]


def test_reports_that_never_pause_have_a_pace_too() -> None:
    watched = Pace()
    rates = [watched.add(_copied(10 * number), number / 10) for number in range(100)]
    assert rates[:20] == [None] * 20
    assert rates[-1] == pytest.approx(100, rel=0.02)


def test_only_the_last_seconds_count() -> None:
    watched = Pace()
    for second in range(100):
        watched.add(_copied(second), second)
    rates = [watched.add(_copied(100 + 10 * second), 100 + second) for second in range(30)]
    assert rates[-1] == 10


def test_what_was_done_before_somebody_looked_is_no_pace() -> None:
    watched = Pace()
    for done in range(0, 900, 100):
        assert watched.add(_copied(done), done / 1e6) is None
    # From 800 on, which came last of those at once.
    assert watched.add(_copied(850), 5) == pytest.approx(10, rel=0.01)


def test_another_step_begins_anew() -> None:
    watched = Pace()
    for second in range(5):
        watched.add(_copied(100 * second, label=f"copying {second} of 9 artifacts"), second)
    assert watched.add(_copied(500, label="copying 5 of 9 artifacts"), 5) == 100
    assert watched.add(_copied(600, label="reading"), 6) is None
    assert watched.add(Progress("done"), 7) is None


def test_steps_that_only_look_alike() -> None:
    done = Progress("20261128-080000: every byte is as it was written")
    assert not pace.goes_on(done, Progress("20261128-090000: every byte is as it was written"))
    assert pace.goes_on(_copied(1, label="1 of 9"), _copied(2, label="2 of 9"))
    assert not pace.goes_on(_copied(1), Progress("copying", 1, 9, "artifacts"))
    assert not pace.goes_on(None, _copied(1))


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**15)), max_size=50))
def test_no_pace_is_below_nothing(reports: list[tuple[float, int]]) -> None:
    watched, now = Pace(), 0.0
    for seconds, done in reports:
        now += seconds
        rate = watched.add(_copied(done), now)
        assert rate is None or rate >= 0
        assert (pace.left(_copied(done, 10**15), rate) or 0) >= 0


@pytest.mark.parametrize(
    ("report", "rate", "said"),
    [
        (_copied(1_200_000_000, 3_400_000_000), 85e6, "1.2 GB of 3.4 GB, 85 MB/s, 26 s left"),
        (_copied(1_200_000_000, None), 85e6, "1.2 GB, 85 MB/s"),
        (_copied(0, 3_600_000_000), 1e6, "0 B of 3.6 GB, 1.0 MB/s, 60 min left"),
        (_copied(0, 36_000_000_000), 1e6, "0 B of 36 GB, 1.0 MB/s, 10.0 h left"),
        (_copied(5, 0), 0.0, "5 B of 0 B, 0 B/s"),
        (Progress("walking", 1_234, None, "objects"), None, "1,234 objects"),
        (Progress("removing", 1, 3, "snapshots"), None, "1 of 3 snapshots"),
        (Progress("looking"), None, ""),
    ],
)
def test_words(report: Progress, rate: float | None, said: str) -> None:
    assert pace.words(report, rate) == said

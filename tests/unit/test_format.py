"""Numbers and durations as short as a table has room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core import format as fmt


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (999, "999"), (1000, "1.0k"), (1204, "1.2k"), (9949, "9.9k"), (9951, "10k"),
        (48_211, "48k"), (999_499, "999k"), (999_500, "1.0M"), (1_400_318, "1.4M"),
        (5_000_000_000, "5.0G"),
    ],
)  # fmt: skip
def test_a_count_in_few_letters(number: int, shown: str) -> None:
    assert fmt.few(number) == shown


@given(st.integers(0, 999_000_000_000))
def test_a_count_never_takes_more_than_four_letters(number: int) -> None:
    assert len(fmt.few(number)) <= 4


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"), (0.0, "0 ms"), (0.012, "12 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"),
        (1.2, "1.20 s"), (9.994, "9.99 s"), (9.996, "10 s"), (75.0, "75 s"), (4000.0, "4,000 s"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float | None, shown: str) -> None:
    assert fmt.duration(seconds) == shown

"""The access log as the engine gives it; a real one is in e2e/test_stack_activity.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.core.stack.container_access import Again
from console.core.stack.container_logs import engine_seconds


def stamped(times: list[int]) -> list[bytes]:
    return [
        b"2026-11-25T10:00:%02d.000000000Z line %d" % (second, number)
        for number, second in enumerate(sorted(times))
    ]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_whatever_is_read_in_between_each_line_comes_once(
    times: list[int], data: st.DataObject
) -> None:
    lines = stamped(times)
    read: list[bytes] = []
    stamp, count = b"", 0
    while len(read) < len(lines):
        end = data.draw(st.integers(len(read) + 1, len(lines)))
        # The engine gives everything from that time on, in pieces of any size.
        given_ = [line for line in lines[:end] if line >= stamp]
        again = Again(stamp, count)
        while given_:
            size = data.draw(st.integers(1, len(given_)))
            fresh, lost = again.leave_out(given_[:size])
            read += fresh
            given_ = given_[size:]
            assert not lost
        assert not again.missing
        reached = again.reached("x")
        stamp, count = reached.stamp.encode(), reached.count
    assert read == [line.partition(b" ")[2] for line in lines]


def test_what_was_read_last_is_not_there_any_more() -> None:
    lines = stamped([1, 2, 3])
    again = Again(lines[0].partition(b" ")[0], 2)
    assert again.leave_out(lines[:1]) == ([], False)
    assert again.missing
    fresh, lost = again.leave_out(lines[1:])
    assert (len(fresh), lost) == (2, True)


def test_times_of_the_engine() -> None:
    assert engine_seconds(b"2026-11-25T10:46:40.012345678Z") == "1795603600.012345678"
    assert engine_seconds(b"nonsense") == ""

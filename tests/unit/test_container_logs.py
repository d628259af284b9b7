"""What the engine sends, in pieces of any size; the engine itself is in e2e/test_stack_logs.py."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.engine import Engine
from console.core.engine_streams import FRAME
from console.core.errors import UnreachableError
from console.core.stack import container_logs
from console.core.stack.container_logs import Frames
from console.core.stack.log_lines import KEPT_BYTES, Raw
from console.core.stack.log_stream import WAITING_LINES, Emit, LogStream

STAMP = b"2026-11-23T14:02:11.%09dZ "


def stamped(number: int, text: bytes) -> bytes:
    return STAMP % number + text


def frame(kind: int, body: bytes) -> bytes:
    return FRAME.pack(kind, len(body)) + body


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


MESSAGES = st.lists(
    st.tuples(st.integers(1, 2), st.binary(max_size=30).map(lambda b: b.replace(b"\n", b""))),
    max_size=20,
)


@given(MESSAGES, st.lists(st.integers(0, 40), max_size=60))
def test_messages_in_any_pieces(messages: list[tuple[int, bytes]], sizes: list[int]) -> None:
    lines = [stamped(n, text) for n, (_, text) in enumerate(messages)]
    data = b"".join(
        frame(kind, line + b"\n") for (kind, _), line in zip(messages, lines, strict=True)
    )
    frames = Frames()
    assert [line for piece in cut(data, sizes) for line in frames.feed(piece)] == lines
    assert frames.rest() == []


@given(st.lists(st.integers(0, 40), max_size=60))
def test_the_parts_of_a_long_line_are_joined(sizes: list[int]) -> None:
    data = b"".join([
        frame(1, stamped(1, b"one ")), frame(2, stamped(2, b"error\n")),
        frame(1, stamped(3, b" two ")), frame(1, stamped(4, b"three\n")),
        frame(1, stamped(5, b"after\n")), frame(2, stamped(6, b"no end")),
    ])  # fmt: skip
    frames = Frames()
    assert [line for piece in cut(data, sizes) for line in frames.feed(piece)] == [
        stamped(2, b"error"), stamped(1, b"one  two three"), stamped(5, b"after"),
    ]  # fmt: skip
    assert frames.rest() == [stamped(6, b"no end")]


def test_an_endless_line_takes_no_memory() -> None:
    frames = Frames()
    for number in range(200):
        assert frames.feed(frame(1, stamped(number, b"x" * 16_384))) == []
    (line,) = frames.feed(frame(1, stamped(999, b"end\n")))
    assert KEPT_BYTES <= len(line) < 3 * KEPT_BYTES
    assert frames.feed(frame(1, stamped(1000, b"next\n"))) == [stamped(1000, b"next")]


def test_a_terminal_sends_plain_text() -> None:
    frames = Frames(terminal=True)
    assert [*frames.feed(b"one\r\ntw"), *frames.feed(b"o\r\nthr")] == [b"one", b"two"]
    assert frames.rest() == [b"thr"]


def test_what_is_read_again_is_left_out() -> None:
    source = container_logs._Source(Engine(), "x")
    first = [stamped(1, b"a"), stamped(2, b"b"), stamped(2, b"c")]
    assert source._new(first) == first
    assert source._since.endswith(".000000002")
    assert source._new([stamped(2, b"b"), stamped(2, b"c"), stamped(2, b"d")]) == [stamped(2, b"d")]
    assert source._new([stamped(2, b"c"), stamped(3, b"c")]) == [stamped(3, b"c")]
    assert source._new([b"without a time"]) == [b"without a time"]
    assert source._since.endswith(".000000003")


# The stream


def numbered(count: int) -> list[Raw]:
    return [(stamped(n, b"%d" % n), "x") for n in range(count)]


def test_lines_and_batches_of_a_stream() -> None:
    def produce(cancel: threading.Event, emit: Emit) -> None:
        for raw in numbered(10):
            emit([])  # ends nothing
            emit([raw, raw])

    assert [line.text for line in LogStream(produce)] == [str(n) for n in range(10) for _ in "ab"]
    assert [len(batch) for batch in LogStream(produce).batches()] == [0, 2] * 10


def test_the_source_waits_for_a_slow_reader_and_nothing_is_lost() -> None:
    sent = []

    def produce(cancel: threading.Event, emit: Emit) -> None:
        for at in range(100):
            if cancel.is_set():
                return
            emit(numbered(1_000))
            sent.append(at)

    stream = LogStream(produce)
    end = time.monotonic() + 5
    while len(sent) < WAITING_LINES // 1_000:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(sent) <= WAITING_LINES // 1_000 + 1
    assert sum(1 for _ in stream) == 100_000
    left = LogStream(produce)
    assert next(left).text == "0"
    left.close()
    assert list(left.batches()) == []


def test_a_failure_comes_behind_the_lines() -> None:
    def produce(cancel: threading.Event, emit: Emit) -> None:
        emit(numbered(2))
        raise UnreachableError("gone")

    stream = LogStream(produce)
    assert (next(stream).text, next(stream).text) == ("0", "1")
    with pytest.raises(UnreachableError, match="gone"):
        next(stream)

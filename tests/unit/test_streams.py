"""Streams: a slow reader, an end, an error, and closing from anywhere at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from console.core import streams
from console.core.errors import ConsoleError, UnreachableError
from console.core.streams import Hub, Stream


def numbers(
    count: int, then: Exception | None = None
) -> Callable[[threading.Event, Callable[[int], None]], None]:
    def produce(cancel: threading.Event, emit: Callable[[int], None]) -> None:
        for number in range(count):
            emit(number)
        if then is not None:
            raise then

    return produce


def endless(cancel: threading.Event, emit: Callable[[int], None]) -> None:
    for number in itertools.count():
        if cancel.wait(0.001):
            return
        emit(number)


def silent(cancel: threading.Event, emit: Callable[[int], None]) -> None:
    cancel.wait()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_value_arrives_in_order_and_then_it_ends() -> None:
    stream = Stream(numbers(100), keep=100)
    assert list(stream) == list(range(100))
    assert list(stream) == []


def test_a_slow_reader_loses_the_oldest_and_the_memory_does_not_grow() -> None:
    done = threading.Event()

    def produce(cancel: threading.Event, emit: Callable[[int], None]) -> None:
        for number in range(10_000):
            emit(number)
        done.set()

    stream = Stream(produce, keep=3)
    assert done.wait(5)
    assert list(stream) == [9_997, 9_998, 9_999]


def test_an_error_comes_after_the_values_before_it() -> None:
    stream = Stream(numbers(2, then=UnreachableError("gone", "look")), keep=10)
    assert (next(stream), next(stream)) == (0, 1)
    with pytest.raises(UnreachableError, match="gone") as caught:
        next(stream)
    assert caught.value.hint == "look"


def test_a_defect_reaches_the_reader_as_well() -> None:
    with pytest.raises(ConsoleError, match="ZeroDivisionError"):
        next(Stream(numbers(0, then=ZeroDivisionError("oops"))))


def test_a_blocked_reader_ends_when_another_thread_closes() -> None:
    stream = Stream(silent)
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []


def test_close_returns_at_once_though_the_source_does_not() -> None:
    release = threading.Event()

    def stubborn(cancel: threading.Event, emit: Callable[[int], None]) -> None:
        emit(1)
        release.wait()

    stream = Stream(stubborn)
    wait_until(lambda: stream in streams.hub._streams)
    stream.close()
    stream.close()
    assert list(stream) == []  # what was not read before closing is not read after it
    release.set()


def test_a_listener_gets_values_then_the_error() -> None:
    got: list[object] = []
    failed = threading.Event()

    def on_error(error: ConsoleError) -> None:
        got.append(error.message)
        failed.set()

    Stream(numbers(3, then=ConsoleError("broke")), keep=10).listen(got.append, on_error)
    assert failed.wait(5)
    assert got == [0, 1, 2, "broke"]


def test_a_listener_hears_nothing_after_closing() -> None:
    got: list[int] = []
    first = threading.Event()

    def on_value(value: int) -> None:
        got.append(value)
        first.set()

    stream = Stream(endless)
    stream.listen(on_value, lambda error: None)
    assert first.wait(5)
    stream.close()
    time.sleep(0.05)
    heard = len(got)
    time.sleep(0.1)
    assert len(got) <= heard


def test_the_hub_closes_all_and_forgets_those_that_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    monkeypatch.setattr(streams, "hub", hub)
    for _ in range(200):
        list(Stream(numbers(0)))
    opened = [Stream(endless) for _ in range(7)]
    wait_until(lambda: hub._streams == set(opened))
    began = time.monotonic()
    hub.close()
    assert time.monotonic() - began < 0.5
    assert [list(stream) for stream in opened] == [[]] * 7
    wait_until(lambda: not hub._streams)


def test_no_stream_keeps_a_program_from_ending() -> None:
    before = set(threading.enumerate())  # not their idents, which come again
    stream = Stream(silent)
    stream.listen(lambda value: None, lambda error: None)
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    assert all(thread.daemon for thread in started)
    stream.close()

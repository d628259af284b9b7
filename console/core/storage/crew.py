"""The same work on many things, by a few threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

POLL_SECONDS = 0.1
END_SECONDS = 0.7
MOST_AT_ONCE = 256


def crew(
    work: Callable[[T, threading.Event], R], wanted: Iterable[T], threads: int,
    cancel: threading.Event,
) -> Iterator[list[R]]:  # fmt: skip
    """Do the work with each of the wanted things.

    Args:
        work: Is given one of them, and an event that asks it to leave off soon.
        wanted: Asked for one by one, by the caller's thread.
        threads: How many at once.
        cancel: Ends it within a second.

    Yields:
        What the work returned, in the order in which it is done.

    Raises:
        BaseException: What the work raised first; the rest is left undone.
    """
    stop = threading.Event()
    tasks: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    done: queue.SimpleQueue[R | _Failure] = queue.SimpleQueue()

    def run() -> None:
        while not stop.is_set():
            task = tasks.get()
            if isinstance(task, _End):
                return
            try:
                done.put(work(task, stop))
            except BaseException as error:  # noqa: BLE001  # whoever waits for it must learn of it
                done.put(_Failure(error))

    crew_of = [threading.Thread(target=run, name="store", daemon=True) for _ in range(threads)]
    for thread in crew_of:
        thread.start()
    try:
        yield from _hand_out(iter(wanted), tasks, done, 2 * threads, cancel)
    finally:
        stop.set()
        for _ in crew_of:
            tasks.put(_End())
        end = time.monotonic() + END_SECONDS
        for thread in crew_of:
            thread.join(max(0.0, end - time.monotonic()))


def _hand_out(
    wanted: Iterator[T], tasks: queue.SimpleQueue[T | _End],
    done: queue.SimpleQueue[R | _Failure], most: int, cancel: threading.Event,
) -> Iterator[list[R]]:  # fmt: skip
    waiting, more = 0, True
    while (more or waiting) and not cancel.is_set():
        while more and waiting < most:
            try:
                tasks.put(next(wanted))
                waiting += 1
            except StopIteration:
                more = False
        found: list[R] = []
        while waiting and len(found) < MOST_AT_ONCE:
            try:
                each = done.get(timeout=POLL_SECONDS) if not found else done.get_nowait()
            except queue.Empty:
                break
            if isinstance(each, _Failure):
                raise each.error
            waiting -= 1
            found.append(each)
        if found:
            yield found


class _End:
    """The last task of a thread."""


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error

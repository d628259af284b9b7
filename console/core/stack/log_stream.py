"""Log lines as they come, many at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from console.core.stack.driver import LogLine
from console.core.stack.log_lines import Raw, parse
from console.core.streams import Stream

BATCH_LINES = 2_000
WAITING_LINES = 20_000

Emit = Callable[[list[Raw]], None]


class LogStream(Stream[LogLine]):
    """Log lines; for a slow reader the source waits, and no line is lost.

    Iterate over it for lines, or over `batches` for as many as there are at a time, as they came:
    twenty thousand lines a second are too many to look at each.

    Args:
        produce: Runs on the stream's thread; calls `emit` with the lines that came and returns
            when `cancel` is set or the source ends.
    """

    def __init__(self, produce: Callable[[threading.Event, Emit], None]) -> None:
        self._batches: deque[list[Raw]] = deque()
        self._waiting = 0
        self._lines: Iterator[LogLine] = iter(())
        super().__init__(lambda cancel, _: produce(cancel, self._add))

    def _add(self, batch: list[Raw]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < WAITING_LINES or self._cancel.is_set())
            self._batches.append(batch)
            self._waiting += len(batch)
            self._changed.notify_all()

    def batches(self) -> Iterator[list[Raw]]:
        """The lines that came, in the order of time, waiting for the next ones.

        Raises:
            ConsoleError: The source failed.
        """
        while (batch := self._next_batch()) is not None:
            yield batch

    def _next_batch(self) -> list[Raw] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._batches or self._ended or self._cancel.is_set())
            if self._cancel.is_set():
                return None
            if self._batches:
                batch = self._batches.popleft()
                self._waiting -= len(batch)
                self._changed.notify_all()
                return batch
        if self._error is not None:
            raise self._error
        return None

    def __next__(self) -> LogLine:
        while (line := next(self._lines, None)) is None:
            batch = self._next_batch()
            if batch is None:
                raise StopIteration
            self._lines = iter([parse(raw, service) for raw, service in batch])
        return line

"""Values that live: statistics, log lines, states. Each stream has a daemon thread of its own.

They never sit in the default thread pool: on two cores that pool has six threads, and seven
streams would starve every other call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from console.core.errors import ConsoleError

T = TypeVar("T")


class Stream(Generic[T], Iterator[T]):
    """A source of values that goes on until it is closed or ends by itself.

    Either iterate over it, which blocks for the next value, or give it a listener. A reader that
    is slower than the source loses the oldest values and never grows the memory.

    Args:
        produce: Runs on the stream's thread; calls `emit` for each value and returns when
            `cancel` is set or the source ends. A `ConsoleError` it raises reaches the reader.
        keep: How many unread values wait for a slow reader; 1 keeps only the newest.
    """

    def __init__(
        self, produce: Callable[[threading.Event, Callable[[T], None]], None], keep: int = 1
    ) -> None:
        self._cancel = threading.Event()
        self._changed = threading.Condition()
        self._values: deque[T] = deque(maxlen=keep)
        self._ended = False
        self._error: ConsoleError | None = None
        self._produce = produce
        hub.add(self)  # first: a source that ends at once takes itself out
        threading.Thread(target=self._run, name="stream", daemon=True).start()

    def _run(self) -> None:
        try:
            self._produce(self._cancel, self._emit)
        except ConsoleError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  # a reader on another thread must learn of it
            self._error = ConsoleError(f"This stopped by a defect: {type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            hub.discard(self)

    def _emit(self, value: T) -> None:
        with self._changed:
            self._values.append(value)
            self._changed.notify_all()

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._values or self._ended or self._cancel.is_set())
            if self._cancel.is_set():
                raise StopIteration
            if self._values:
                return self._values.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def listen(
        self, on_value: Callable[[T], None], on_error: Callable[[ConsoleError], None]
    ) -> None:
        """Call `on_value` for each value from a daemon thread, `on_error` when the source fails."""

        def pump() -> None:
            try:
                for value in self:
                    on_value(value)
            except ConsoleError as error:
                on_error(error)

        threading.Thread(target=pump, name="stream-listener", daemon=True).start()

    def close(self) -> None:
        """Ask the source to end; returns at once, a second call does nothing."""
        self._cancel.set()
        with self._changed:
            self._changed.notify_all()


class Hub:
    """Owns every open stream, so that leaving closes them all."""

    def __init__(self) -> None:
        self._streams: set[Stream[object]] = set()
        self._lock = threading.Lock()

    def add(self, stream: Stream[T]) -> None:
        """Remember an open stream."""
        with self._lock:
            self._streams.add(stream)  # type: ignore[arg-type]  # only ever closed, never read

    def discard(self, stream: Stream[T]) -> None:
        """Forget a stream that has ended."""
        with self._lock:
            self._streams.discard(stream)

    def close(self) -> None:
        """Close every open stream."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()


hub = Hub()

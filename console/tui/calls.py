"""How the console calls the core: on daemon threads, with the result delivered to the event loop.

Textual's own thread workers sit in asyncio's default pool, and Python waits for that pool at
exit: one hanging network call would hold `q` for as long as the network pleases. A daemon thread
is simply left behind. The coroutines here run inside ordinary Textual workers, which keeps
`exclusive`, `group` and the waiting in tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

M_ARENA_MAX = -8  # mallopt(3)

_running: dict[threading.Thread, threading.Event] = {}


def share_memory() -> None:
    """Let all threads take memory from one pool: glibc gives each its own and keeps what is freed.

    Where there is no glibc, nothing of that is done. What is there by now, mostly modules, Python's
    collector of cycles looks through no more: it stops all threads while it looks.
    """
    import ctypes  # noqa: PLC0415  # of use here alone

    gc.freeze()
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)


async def in_thread(call: Callable[[], T], cancel: threading.Event | None = None) -> T:
    """Run a call of the core on a daemon thread and wait for it.

    Args:
        call: What to run; it must not touch a widget.
        cancel: Set when the waiting coroutine is cancelled or the console is left.

    Returns:
        What the call returns.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    stop = cancel or threading.Event()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # None only beside an error
        else:
            future.set_exception(error)

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = call()
        except StopIteration as error:
            failure = RuntimeError(f"StopIteration: {error}")  # a future refuses StopIteration
        except BaseException as error:  # noqa: BLE001  # delivered, and shown by who waits
            failure = error
        _running.pop(threading.current_thread(), None)
        with contextlib.suppress(RuntimeError):  # the loop has closed: the console was left
            loop.call_soon_threadsafe(deliver, result, failure)

    thread = threading.Thread(target=run, name="console-call", daemon=True)
    _running[thread] = stop
    thread.start()
    try:
        return await future
    except asyncio.CancelledError:
        stop.set()
        raise


class Early(Generic[T]):
    """A call that is begun before there is an event loop.

    Args:
        call: What to run, on a daemon thread; it must not touch a widget.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._value: T | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self.unused = True
        threading.Thread(target=self._run, name="console-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error
        self._ended.set()

    def result(self, seconds: float) -> T | None:
        """What the call gave within so many seconds; None when it needs longer, or failed."""
        self._ended.wait(seconds)
        return self._value

    def wait(self) -> T:
        """What the call gives, once; its failure is raised here."""
        self.unused = False
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # there is one where there is no error


def leave(seconds: float, spared: Container[threading.Event] = ()) -> None:
    """Ask every running call to end and give them a moment to write down that they did.

    Args:
        seconds: How long that moment is.
        spared: The events of calls that are not asked: others do their work, and go on.
    """
    calls = [(thread, stop) for thread, stop in _running.items() if stop not in spared]
    for _, stop in calls:
        stop.set()
    end = time.monotonic() + seconds
    for thread, _ in calls:
        thread.join(max(0.0, end - time.monotonic()))


class Inbox(Generic[T]):
    """Values from a thread that wait for the event loop; one wake-up for any number of them.

    Args:
        wake: Called on the producing thread when there is something to fetch.
        keep: How many values wait at most; the oldest are lost.
    """

    def __init__(self, wake: Callable[[], object], keep: int) -> None:
        self._wake = wake
        self._values: deque[T] = deque(maxlen=keep)
        self._lock = threading.Lock()
        self._asked = False

    def put(self, value: T) -> None:
        """Add a value; called on any thread."""
        with self._lock:
            self._values.append(value)
            asked, self._asked = self._asked, True
        if not asked:
            self._wake()

    def take(self) -> list[T]:
        """Everything that waits; the next value wakes again."""
        with self._lock:
            values = list(self._values)
            self._values.clear()
            self._asked = False
        return values


def drain(
    produce: Callable[[threading.Event], Iterator[T]], cancel: threading.Event, inbox: Inbox[T]
) -> None:
    """Run a generator of the core to its end and put what it yields into an inbox."""
    for value in produce(cancel):
        inbox.put(value)


def running() -> bool:
    """Whether a call has not come back yet."""
    return bool(_running)

"""Many objects of a bucket at once, into files, by one thread.

What one object costs here is what the snapshot of many small ones takes. Eight threads that each
wait for their answer take a fifth more, and urllib3 in them twice as much.
"""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from console.core.errors import CancelledError, ConsoleError
from console.core.files import explain
from console.core.stack.places import Bucket
from console.core.storage import s3_answers, s3_client, s3_failures
from console.core.storage.landing import NAME_ERRORS, Landing, Part
from console.core.storage.s3_signing import Signer
from console.core.storage.s3_task import FileError, Task, writing
from console.core.storage.s3_wire import NoHttpError, Server, Wire, answer
from console.core.storage.store import GONE, Fetched, Item
from console.core.text import clean

PIECE = 1 << 18
MOST_PIECES = 8  # that one connection is read for before it is the next one's turn
LARGEST_HEAD = LARGEST_ERROR = 1 << 16
STALL_SECONDS = 30.0
RETRIES = 4
MOST_UNCONNECTED = 2  # in vain after each other, before it is asked what is wrong
MOST_UNREADABLE = 20  # objects after each other, with none that can be read between them
WAIT_SECONDS = 0.2
BATCH, BATCH_SECONDS = 64, 0.2
# What a server says when it refuses one object only.
_ONE_OBJECTS = ("AccessDenied", "InvalidObjectState", "InvalidRequest", "MethodNotAllowed",
                "InvalidArgument", "KeyTooLongError", "XMinioInvalidObjectName")  # fmt: skip
_NOT_THE_SAME = (412, 416)  # when the rest of an object is asked for
_GONE = ("NoSuchKey", "NoSuchVersion")


class Download:
    """Fetches objects; see `Store.fetch`.

    Args:
        bucket: Where they are.
        landing: Makes files of them.
        check: Raises when the store cannot be used at all.
        connections: How many at once.
    """

    def __init__(
        self, bucket: Bucket, landing: Landing, check: Callable[[], None], connections: int
    ) -> None:
        self._bucket = bucket
        self._check = check
        self._signer = Signer(bucket)
        self._landing = landing
        self._connections = connections
        self._cancel = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._working: dict[Wire, Task] = {}
        self._idle: list[Wire] = []
        self._again: list[Task] = []
        self._unread: list[Wire] = []
        self._arrived: list[tuple[Task, bytes]] = []
        self._done: list[Fetched] = []
        self._failed = 0  # to connect, one after the other
        self._ended = False
        self._server: Server | None = None
        self._unreadable = 0
        self._buffer = memoryview(bytearray(PIECE))

    def run(
        self, wanted: Iterable[tuple[Item, Path] | None], cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        """Fetch them; see `Store.fetch`. None of the wanted means: nothing for now."""
        self._cancel = cancel
        try:
            with contextlib.suppress(CancelledError):
                yield from self._run(iter(wanted))
        finally:
            for task in (*self._working.values(), *self._again):
                task.drop()
            for wire in (*self._working, *self._idle):
                wire.close()
            self._selector.close()

    def _run(self, wanted: Iterator[tuple[Item, Path] | None]) -> Iterator[list[Fetched]]:
        yielded = watched = time.monotonic()
        while not self._cancel.is_set():
            self._hand_out(wanted)
            self._land()
            if self._ended and not self._working and not self._again:
                break
            self._turn()
            now = time.monotonic()
            if now - watched > 1:
                self._hang_up_on_the_silent(now)
                watched = now
            late = not self._working or now - yielded > BATCH_SECONDS
            if self._done and (late or len(self._done) >= BATCH):
                done, self._done, yielded = self._done, [], now
                yield done
        if self._done:
            yield self._done

    def _hand_out(self, wanted: Iterator[tuple[Item, Path] | None]) -> None:
        """Give every connection something to do."""
        while len(self._working) < self._connections:
            task = self._next(wanted)
            if task is None:
                return
            try:
                wire = self._idle.pop() if self._idle else self._connection()
            except OSError as error:
                self._not_connected(task, s3_failures.lost(self._bucket, error))
                continue
            if not task.headers:
                task.drop()
            self._working[wire] = task
            wire.ask(self._signer.get(task.item.key, task.headers))
            if wire.used:
                self._go_on(wire, task)

    def _connection(self) -> Wire:
        if self._server is None:
            self._server = self._dial()
        wire = Wire(self._server)
        self._selector.register(wire.fileno(), wire.wants, wire)
        return wire

    def _dial(self) -> Server:
        seconds = s3_client.CONNECT_SECONDS
        try:
            return s3_client.abandonable(
                lambda: Server(self._bucket.endpoint, seconds), self._cancel
            )
        except OSError as error:
            raise s3_failures.lost(self._bucket, error) from error

    def _next(self, wanted: Iterator[tuple[Item, Path] | None]) -> Task | None:
        if self._again:
            now = time.monotonic()
            for number, task in enumerate(self._again):
                if task.due <= now:
                    return self._again.pop(number)
        try:
            found = next(wanted)
        except StopIteration:
            self._ended = True
            return None
        return Task(*found) if found else None

    def _turn(self) -> None:
        """Wait until something has come, and read it."""
        unread, self._unread = self._unread, []
        ready = [key.data for key, _ in self._selector.select(0 if unread else WAIT_SECONDS)]
        for wire in dict.fromkeys(ready + unread) if unread else ready:
            task = self._working.get(wire)
            if task is None:  # an idle connection, which the server has closed
                self._close(wire)
            else:
                self._go_on(wire, task)

    def _go_on(self, wire: Wire, task: Task) -> None:
        """Send or read what can be; see to what fails."""
        waits_for = wire.wants
        try:
            if wire.sent:
                self._read(wire, task)
            else:
                wire.go_on()
                if wire.wants != waits_for:
                    self._selector.modify(wire.fileno(), wire.wants, wire)
        except FileError as failure:
            self._close(wire)
            self._not_written(task, failure)
        except OSError as error:
            stale = wire.used and not wire.head and not wire.answer
            self._close(wire)
            why = s3_failures.lost(self._bucket, error)
            if stale:
                self._again.append(task)
            elif wire.connected:
                self._try_again(task, why)
            else:
                self._not_connected(task, why)

    def _close(self, wire: Wire) -> None:
        self._selector.unregister(wire.fileno())
        wire.close()
        self._working.pop(wire, None)
        if wire in self._idle:
            self._idle.remove(wire)

    def _read(self, wire: Wire, task: Task) -> None:
        """Read what has come of an answer; raises OSError and FileError."""
        for _ in range(MOST_PIECES):
            size = wire.read(self._buffer)
            if size is None:
                return
            wire.moved = time.monotonic()
            data = self._buffer[:size]
            if wire.answer is None:
                if not size:
                    raise ConnectionResetError
                begun = self._begin(wire, task, bytes(data))
                if begun is None:
                    continue
                data = begun
            if self._take(wire, task, data, ended=not size):
                return
        if wire.has_more:
            self._unread.append(wire)

    def _begin(self, wire: Wire, task: Task, data: bytes) -> memoryview | None:
        """Read the head of an answer; returns what came of the body, None before it is whole."""
        wire.head += data
        head, end, rest = wire.head.partition(b"\r\n\r\n")
        if not end:
            if len(wire.head) > LARGEST_HEAD:
                raise NoHttpError
            return None
        wire.answer = found = answer(head)
        self._failed = 0
        if found.status in (200, 206):
            if found.length is None:
                raise NoHttpError
            wire.left = found.length
            task.begin(found)
        return memoryview(rest)

    def _take(self, wire: Wire, task: Task, data: memoryview, *, ended: bool) -> bool:
        """Take in a piece of the body; returns whether the answer is whole."""
        assert wire.answer is not None  # noqa: S101  # for the type
        if wire.answer.status not in (200, 206):
            return self._take_error(wire, task, data, ended)
        if ended and wire.left:
            raise ConnectionResetError
        if len(data) > wire.left:
            raise NoHttpError
        wire.left -= len(data)
        if task.part is None and not wire.left:
            self._arrived.append((task, bytes(data)))
        else:
            with writing():
                task.part = task.part or self._landing.begin()
                task.part.write(data)
            if wire.left:
                return False
            self._finish(task, task.part)
        if wire.answer.closes:
            self._close(wire)
        else:
            del self._working[wire]
            wire.used = True
            self._idle.append(wire)
        return True

    def _land(self) -> None:
        """Write the small ones that have come; new ones have been asked for meanwhile."""
        arrived, self._arrived = self._arrived, []
        for task, data in arrived:
            try:
                with writing():
                    task.part = self._landing.begin()
                    task.part.write(data)
                self._finish(task, task.part)
            except FileError as failure:
                self._not_written(task, failure)

    def _finish(self, task: Task, part: Part) -> None:
        if part.size != task.read.size:
            task.drop()
            raise ConnectionResetError
        with writing():
            sha256 = part.finish(task.path, task.read.modified)
        task.part = None
        self._done.append(Fetched(task.read, task.path, sha256))
        self._unreadable = 0

    def _not_written(self, task: Task, failure: FileError) -> None:
        task.drop()
        if failure.error.errno not in NAME_ERRORS:
            raise explain(failure.error, task.path) from failure
        why = f"its name can be no file's there: {failure.error.strerror}"
        self._done.append(Fetched(task.item, task.path, "", why))

    def _take_error(self, wire: Wire, task: Task, data: memoryview, ended: bool) -> bool:
        """Read an answer that is an error as far as it says what it is; the connection goes."""
        assert wire.answer is not None  # noqa: S101  # for the type
        wire.body += bytes(data)
        length = wire.answer.length
        whole = len(wire.body) >= (LARGEST_ERROR if length is None else length)
        if not (whole or ended or b"</Error>" in wire.body):
            return False
        self._close(wire)
        self._refused(task, wire.answer.status, *s3_answers.failure(wire.body))
        return True

    def _refused(self, task: Task, status: int, code: str, message: str) -> None:
        if status in _NOT_THE_SAME:
            task.drop()
        error = s3_failures.refused(self._bucket, status, code, message, "read")
        if code in _GONE:
            self._done.append(Fetched(task.item, task.path, "", GONE))
        elif status in _NOT_THE_SAME or status in s3_failures.OVERLOADED:
            self._try_again(task, error)
        elif code in _ONE_OBJECTS:
            self._give_up(task, f"{status} {code}: {message}")
        else:
            task.drop()
            raise error

    def _try_again(self, task: Task, error: ConsoleError) -> None:
        """Ask for an object again, a little later; raises when the store is to blame."""
        task.tries += 1
        if task.tries <= RETRIES:
            task.due = time.monotonic() + s3_client.BACKOFF_SECONDS * 2 ** (task.tries - 1)
            self._again.append(task)
            return
        if self._unreadable >= MOST_UNREADABLE:
            task.drop()
            raise error
        self._give_up(task, error.message)

    def _not_connected(self, task: Task, error: ConsoleError) -> None:
        """Ask for an object again, unless no connection at all can be made; raises then."""
        self._failed += 1
        if self._failed >= MOST_UNCONNECTED:
            s3_client.abandonable(self._check, self._cancel)
            self._failed = 0
        self._try_again(task, error)

    def _give_up(self, task: Task, why: str) -> None:
        """Do without an object, unless it is the store that fails; raises ConsoleError."""
        task.drop()
        if self._unreadable < MOST_UNREADABLE:
            s3_client.abandonable(self._check, self._cancel)
        self._unreadable += 1
        self._done.append(Fetched(task.item, task.path, "", clean(why, 300)))

    def _hang_up_on_the_silent(self, now: float) -> None:
        for wire, task in list(self._working.items()):
            if wire.connected and now - wire.moved > STALL_SECONDS:
                self._close(wire)
                self._try_again(task, s3_failures.slow(self._bucket))
            elif not wire.connected and now - wire.moved > s3_client.CONNECT_SECONDS:
                self._close(wire)
                self._not_connected(task, s3_failures.slow(self._bucket))

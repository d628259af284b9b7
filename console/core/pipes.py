"""The door to children that are fed bytes and answer bytes, as much of either as there is.

The other half of `process`, which reads lines.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from console.core import process
from console.core.errors import CancelledError, ConsoleError
from console.core.text import clean

PIECE = 1 << 16  # what a pipe holds
LINES_KEPT, LONGEST_LINE = 20, 10_000
PATIENCE_SECONDS = 5.0


def stream(
    argv: Sequence[str],
    env: Mapping[str, str],
    feed: Iterable[bytes] | None,
    cancel: threading.Event,
    *,
    directory: Path | None = None,
    named: str = "",
    listen: Callable[[str], bool] | None = None,
    ended: Callable[[], None] | None = None,
) -> Iterator[bytes]:
    """Run a child and yield what it writes to stdout, in pieces of at most 64 kB.

    It is ended when it is cancelled, and when the caller does not read to the end.

    Args:
        argv: Program and arguments; no secret.
        env: Its whole environment.
        feed: What it reads from stdin, taken by a thread as fast as the child reads; None for
            nothing. When it raises, the child is ended and that is raised.
        cancel: Ends it.
        directory: Its working directory.
        named: What the program is called in sentences, when not as its first word.
        listen: Is given each line of stderr; those that it takes (True) are no part of an error.
        ended: Called when it was ended early, to end what it has started elsewhere.

    Raises:
        CancelledError: `cancel` was set.
        ConsoleError: It cannot be started, or ended with another code than 0; the message holds
            the last line of its stderr.
    """
    try:
        child = subprocess.Popen(
            list(argv), env=dict(env), cwd=directory, start_new_session=True, bufsize=0,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise ConsoleError(f"{argv[0]} cannot be started: {error.strerror}") from error
    running = _Running(child, cancel, listen, ended)
    running.start(feed)
    try:
        yield from running.pieces()
        code = running.wait()
    finally:
        running.close()
    if cancel.is_set():
        raise CancelledError("Cancelled")
    if running.failure is not None:
        raise running.failure
    if code != 0:
        raise ConsoleError(running.last_line or f"{named or Path(argv[0]).name} {_how(code)}")


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"


class _Running:
    """A child, and the threads that feed it, hear its stderr and watch for the cancel."""

    def __init__(
        self, child: subprocess.Popen[bytes], cancel: threading.Event,
        listen: Callable[[str], bool] | None, ended: Callable[[], None] | None,
    ) -> None:  # fmt: skip
        self._child = child
        self._cancel = cancel
        self._listen = listen
        self._ended = ended
        self._tail: list[str] = []
        self._read = threading.Event()
        self._once = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.failure: BaseException | None = None

    @property
    def last_line(self) -> str:
        """The last line of its stderr."""
        return self._tail[-1] if self._tail else ""

    def start(self, feed: Iterable[bytes] | None) -> None:
        """Start the threads."""
        self._thread(self._hear)
        self._thread(self._watch)
        if feed is not None:
            self._thread(lambda: self._feed(feed))

    def _thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"pipe-{self._child.pid}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def pieces(self) -> Iterator[bytes]:
        """What it writes, until it closes its stdout."""
        assert self._child.stdout is not None  # noqa: S101  # it was asked for
        number = self._child.stdout.fileno()
        while piece := os.read(number, PIECE):
            yield piece

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        # Not reaped until nobody watches it any more: its number still means its session.
        with contextlib.suppress(ChildProcessError):  # somebody else has ended and reaped it
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        self._leave()
        return self._child.wait()

    def close(self) -> None:
        """End it if it still runs, and close what is open."""
        self._read.set()
        self._end()
        self._leave()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _leave(self) -> None:
        """Let the threads end; what the child left behind may hold the other ends of theirs."""
        self._read.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _end(self) -> None:
        with self._once:
            if self._child.returncode is not None:
                return
            process.end(self._child)
            if self._ended is not None:
                with contextlib.suppress(ConsoleError):
                    self._ended()

    def _watch(self) -> None:
        """End the child when cancelled, or when what it shall be fed cannot be had."""
        while not self._read.wait(0.1):
            if self._cancel.is_set() or self.failure is not None:
                self._end()
                return

    def _feed(self, feed: Iterable[bytes]) -> None:
        pipe = self._child.stdin
        assert pipe is not None  # noqa: S101  # it was asked for
        try:
            for piece in feed:
                if self._read.is_set() or self._cancel.is_set() or not _written(pipe, piece):
                    break
        except BaseException as error:  # noqa: BLE001  # raised where the pieces are read
            self.failure = error
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def _hear(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None  # noqa: S101  # it was asked for
        with contextlib.closing(io.BufferedReader(cast(io.RawIOBase, pipe))) as lines:
            while line := lines.readline(LONGEST_LINE):
                text = line.decode(errors="replace").strip()
                if text and not (self._listen is not None and self._listen(text)):
                    self._tail = [*self._tail[1 - LINES_KEPT :], clean(text, 500)]


def _written(pipe: IO[bytes], piece: bytes) -> bool:
    """Whether the child took it all; one that reads no more says why by its exit code."""
    view = memoryview(piece)
    try:
        while view:
            view = view[pipe.write(view) :]
    except OSError:
        return False
    return True

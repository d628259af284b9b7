r"""The access log of the lock: the same lines as the password proxy of the Compose stack writes.

Twelve fields separated by tabs: seconds since 1970, status, method, host, address, user (as
claimed: a 401 was not that user), seconds in all, seconds of MLflow, bytes received, bytes sent,
path, client. Control characters, quotes, backslashes and what is no ASCII stand as \xXX, as in
nginx's ``log_format escape=default``. Standard library only.
"""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from mlflow_console_server.logfile import LogFile

#: Names the access log; without it none is written.
ACCESS_LOG_VARIABLE = "MLFLOW_CONSOLE_ACCESS_LOG"

#: Bytes after which a file is put aside; about a hundred thousand requests.
FILE_BYTES = 20 * 1024 * 1024

#: Seconds between two writes.
EVERY_SECONDS = 1.0

#: Lines that wait at the most. A disk that hangs or is full must not take the server's memory.
MOST_WAITING = 50_000

_PATIENCE_SECONDS = 2.0

#: Bytes of a field that are kept.
_LONGEST = 8192

Message = MutableMapping[str, Any]

_TO_ESCAPE = re.compile(rb'[^ -~]|["\\]')
_log = logging.getLogger(__name__)


class AccessLog:
    """Takes lines without waiting for the disk; a thread of its own writes them every second."""

    def __init__(
        self, path: Path, *, file_bytes: int = FILE_BYTES, every: float = EVERY_SECONDS
    ) -> None:
        """Remember where to write; file and thread are made by the first line.

        Args:
            path: The current file; older ones get ``.1``, ``.2`` and so on appended.
            file_bytes: Size in bytes at which a file is put aside.
            every: Seconds between two writes.
        """
        self._file = LogFile(path, file_bytes=file_bytes)
        self._every = every
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._failing = False
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, line: bytes) -> None:
        """Take a line without its end; it is written within a second or so.

        Args:
            line: Of twelve fields, see :func:`escape`.
        """
        if len(self._lines) >= MOST_WAITING:
            self._lost += 1
            return
        self._lines.append(line)
        if self._thread is None:
            # Here and not before: a server that starts workers by forking would leave it behind.
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)

    def flush(self) -> None:
        """Write what waits; what cannot be written is lost, and counted in the server's log."""
        if not self._writing.acquire(timeout=_PATIENCE_SECONDS):
            return  # the disk hangs; a server that ends does not wait for it
        try:
            self._write()
        finally:
            self._writing.release()

    def _write(self) -> None:
        # One by one: others may be added by the event loop's thread meanwhile.
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        try:
            self._file.append(b"\n".join(lines) + b"\n")
        except OSError as error:
            if not self._failing:  # once, and not every second
                _log.error("the access log cannot be written: %s", error)
            self._failing = True
            self._lost += len(lines)
        else:
            self._failing = False
            if self._lost:
                _log.warning("%d lines of the access log were lost", self._lost)
            self._lost = 0

    def _run(self) -> None:
        while True:
            time.sleep(self._every)
            self.flush()


class Exchange:
    """One request and its answer, measured while they pass."""

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        """Look at the request's head.

        Args:
            scope: Of ASGI, of type ``http``.
        """
        self._scope = scope
        self._began = time.perf_counter()
        self._inside: float | None = None
        self._status: int | None = None
        path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        query: bytes = scope.get("query_string") or b""
        self._path = path + b"?" + query if query else path
        headers = scope["headers"]
        # As on the wire: a line of method, path and version, a line each, an empty one.
        self._received = len(scope["method"]) + len(self._path) + 14 + _size(headers)
        self._sent = 0

    def received(
        self, receive: Callable[[], Awaitable[Message]]
    ) -> Callable[[], Awaitable[Message]]:
        """Return `receive` that also counts the body's bytes."""

        async def counting() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
            return message

        return counting

    def sent(
        self, send: Callable[[Message], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """Return `send` that also notes the status and counts the answer's bytes."""

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = int(message["status"])
                self._sent += 17 + _size(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                self._sent += len(message.get("body", b""))
            await send(message)

        return counting

    def enter(self) -> None:
        """Note that the password was right and MLflow is asked now."""
        self._inside = time.perf_counter()

    def line(self, user: bytes, failed: bool = False) -> bytes:
        """Return the line of the log, now that it is over.

        Args:
            user: As claimed; ``b""`` for nobody.
            failed: MLflow raised an error, which the server answers with 500.
        """
        now = time.perf_counter()
        # 499 is nginx's: the client went away before there was an answer.
        status = self._status or (500 if failed else 499)
        client = self._scope.get("client")
        headers = dict(self._scope["headers"])
        host = headers.get(b"host", b"").lower()
        fields = (
            self._scope["method"].encode("utf-8", "backslashreplace"),
            host if host.endswith(b"]") else re.sub(rb":\d*$", b"", host),
            str(client[0]).encode("utf-8", "backslashreplace") if client else b"unix:",
            user,
        )
        inside = b"-" if self._inside is None else b"%.3f" % (now - self._inside)
        return b"\t".join((
            b"%.3f\t%d" % (time.time(), status), *map(escape, fields),
            b"%.3f" % (now - self._began), inside, b"%d\t%d" % (self._received, self._sent),
            escape(self._path), escape(headers.get(b"user-agent", b"")),
        ))  # fmt: skip


def escape(field: bytes) -> bytes:
    """Return a field as nginx would write it; ``b"-"`` for an empty one."""
    kept = field[:_LONGEST]
    return _TO_ESCAPE.sub(lambda found: b"\\x%02X" % found[0][0], kept) or b"-"


def _size(headers: Any) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)

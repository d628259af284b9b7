"""One connection to an S3 server that is never waited for, and the beginning of an answer.

http.client and urllib3 take longer for a small object than the server does. Here is as much of
HTTP/1.1 as the answer to a GET of an object has; what is anything else is an error.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK)


class NoHttpError(ConnectionError):
    """It does not answer as HTTP wants it."""


@dataclass(slots=True)
class Answer:
    """What an answer begins with.

    Attributes:
        length: Of the body; None where it is not said.
        mark: The ETag without quotes.
        modified: As HTTP writes a time.
        closes: No other request is taken by the connection.
    """

    status: int
    length: int | None
    mark: str
    modified: str
    closes: bool


def answer(head: bytes) -> Answer:
    """Read the head of an answer, without the empty line; raises NoHttpError."""
    found = _STATUS.match(head)
    if not found:
        raise NoHttpError
    head += b"\r\n"
    names = head.lower()

    def value(name: bytes) -> bytes:
        begin = names.find(b"\r\n" + name + b":")
        if begin < 0:
            return b""
        begin += len(name) + 3
        return head[begin : head.index(b"\r\n", begin)].strip()

    length = value(b"content-length")
    closes = value(b"connection").lower() == b"close" or head.startswith(b"HTTP/1.0")
    return Answer(
        int(found[1]), int(length) if length.isdigit() else None,
        value(b"etag").removeprefix(b"W/").strip(b'"').decode("utf-8", "replace"),
        value(b"last-modified").decode("latin-1"), closes,
    )  # fmt: skip


class Server:
    """Where connections lead to.

    Args:
        endpoint: Its URL.
        seconds: Until the first connection must be there.

    Raises:
        OSError: It cannot be reached.
    """

    def __init__(self, endpoint: str, seconds: float) -> None:
        parts = urlsplit(endpoint)
        self.name = parts.hostname or ""
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if self.tls else 80)
        with socket.create_connection((self.name, port), seconds) as first:
            self.family, self.address = first.family, first.getpeername()


class Wire:
    """A connection, and the answer that is being read from it.

    Attributes:
        wants: What it waits for, READ or WRITE.
        connected: The server has taken it.
        sent: The whole request was.
        used: An answer came already: when it ends now, it was only idle for too long.
        head: What came of an answer before its head is whole.
        answer: What is being read; None before its head is whole.
        left: How much of the body is still to come.
        body: Of an answer that is an error.
        moved: When something came or went, in seconds of the monotonic clock.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.socket(server.family, socket.SOCK_STREAM)
        self._number = self._socket.fileno()  # TLS keeps it
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._step = self._connect
        self.wants = WRITE
        self.connected = self.used = False
        self.ask(b"")
        error = self._socket.connect_ex(server.address)
        if error and error not in _UNDER_WAY:
            self._socket.close()
            raise OSError(error, os.strerror(error))

    def fileno(self) -> int:
        """For a selector."""
        return self._number

    def ask(self, request: bytes) -> None:
        """What `go_on` sends next."""
        self._out = request
        self.sent = False
        self.head = self.body = b""
        self.answer: Answer | None = None
        self.left = 0
        self.moved = time.monotonic()

    def go_on(self) -> None:
        """Get as far as can be without waiting; raises OSError."""
        try:
            while not self.sent:
                self._step()
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.wants = WRITE
        except ssl.SSLWantReadError:
            self.wants = READ

    def read(self, into: memoryview) -> int | None:
        """Read what has come, 0 at the end; None when nothing has; raises OSError."""
        try:
            return self._socket.recv_into(into)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None

    @property
    def has_more(self) -> bool:
        """Something has come that the operating system does not know of any more."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _connect(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self._socket.getpeername()  # raises when it is under way still
        self._step = self._shake_hands
        if self._server.tls:
            self._socket = self._server.tls.wrap_socket(
                self._socket, server_hostname=self._server.name, do_handshake_on_connect=False
            )

    def _shake_hands(self) -> None:
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.do_handshake()
        self.connected = True
        self._step = self._send

    def _send(self) -> None:
        self._out = self._out[self._socket.send(self._out) :]
        if not self._out:
            self.sent, self.wants = True, READ

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

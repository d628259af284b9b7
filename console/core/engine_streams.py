"""What the engine tells without end: log lines, statistics, events; read in large pieces.

The client library reads these message by message, which on a container of 20,000 lines a second
takes a whole core, and two of the three cannot be left while they wait. So they are asked for by
HTTP/1.0: the engine then answers without chunks, and closing the socket ends the wait.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Self
from urllib.parse import quote, urlencode

from console.core import process
from console.core.engine import Engine, explained
from console.core.errors import ConsoleError
from console.core.text import clean

CONNECT_SECONDS = 10.0
PIECE_BYTES = 1 << 16
FRAME = struct.Struct(">BxxxL")  # of streams without a terminal: which one, and how many bytes


class EngineStream(Iterator[bytes]):
    """An answer without an end, in the pieces that come.

    Args:
        engine: Whom to ask.
        path: What to ask for, below the version: "/events".
        query: Its parameters.

    Raises:
        UnreachableError: No engine answers.
        AccessError: This account may not use it.
        ConsoleError: The engine refuses.
    """

    def __init__(self, engine: Engine, path: str, query: Mapping[str, str]) -> None:
        version = engine.client.api.api_version
        with explained(engine.address):
            self._socket = _connect(engine.address)
            try:
                request = f"GET /v{version}{quote(path)}?{urlencode(query)} HTTP/1.0\r\n\r\n"
                self._socket.sendall(request.encode())
                self._answer = http.client.HTTPResponse(self._socket)
                self._answer.begin()
                self._socket.settimeout(None)
            except BaseException:
                self._socket.close()
                raise
        if self._answer.status != 200:
            said = clean(self._answer.read(500).decode(errors="replace"), 300)
            self.close()
            raise ConsoleError(f"The Docker engine refuses: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._answer.close()
        self._socket.close()

    def __next__(self) -> bytes:
        try:
            piece = self._answer.read1(PIECE_BYTES)
        except (OSError, http.client.HTTPException, ValueError):
            piece = b""  # left, or the engine has gone: asking again tells which
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        """End it from any thread, also while it waits for a piece."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _connect(address: str) -> socket.socket:
    """A connection to the engine, wherever it is."""
    if address.startswith("unix://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(address.removeprefix("unix://"))
        return connection
    # The docker command knows how to reach any other: by TLS, by SSH.
    environment = process.environment({}, prefixes=("DOCKER_", "SSH_AUTH_SOCK"))
    argv = ["docker", "--host", address, "system", "dial-stdio"]
    return process.on_socket(argv, environment, CONNECT_SECONDS)


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The whole lines of a stream, without their ends."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest

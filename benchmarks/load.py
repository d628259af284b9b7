"""A client that asks the same thing again and again, with the same code by TCP and unix socket."""

from __future__ import annotations

import multiprocessing
import socket
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection

# Two processes: one would be held up by its own interpreter lock before MLflow is by its.
PROCESSES, CONNECTIONS_EACH = 2, 4
CONNECTIONS = PROCESSES * CONNECTIONS_EACH
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """What is asked, and where.

    Attributes:
        address: A host and its port, or the path of a unix socket.
    """

    address: tuple[str, int] | str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class Connection(HTTPConnection):
    """HTTP by either way; kept open for as long as the server allows it."""

    def __init__(self, target: Target) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._target = target

    def connect(self) -> None:
        """Open whatever the target's address is."""
        if isinstance(self._target.address, tuple):
            self.sock = socket.create_connection(self._target.address, self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._target.address)

    def ask(self) -> int:
        """One request; returns its status once the whole answer is here."""
        self.request("GET", self._target.path, headers=dict(self._target.headers))
        answer = self.getresponse()
        answer.read()
        return answer.status


class Load:
    """The processes of the client; they are started once, so that no round pays for it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(PROCESSES, mp_context=context)

    def rate(self, target: Target, seconds: float) -> float:
        """Requests a second over all connections.

        Raises:
            RuntimeError: An answer was not 200: then the figure would be about something else.
        """
        parts = [self._pool.submit(_process, target, seconds) for _ in range(PROCESSES)]
        return sum(part.result() for part in parts)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


def _process(target: Target, seconds: float) -> float:
    with ThreadPoolExecutor(CONNECTIONS_EACH) as pool:
        parts = [pool.submit(_connection, target, seconds) for _ in range(CONNECTIONS_EACH)]
        return sum(part.result() for part in parts)


def _connection(target: Target, seconds: float) -> float:
    with closing(Connection(target)) as connection:
        answered, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            status = connection.ask()
            if status != 200:
                raise RuntimeError(f"{target.path} was answered {status}")
            answered += 1
        return answered / passed

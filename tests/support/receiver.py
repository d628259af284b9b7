"""A receiver of webhooks on loopback that keeps what it gets; also a program of its own.

`python -m tests.support.receiver PORT FILE` writes one JSON line a message.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.loopback import Server, serving


@dataclass
class Receiver:
    """What it got, and how it answers.

    Attributes:
        port: Where it listens.
        answer: The HTTP status of the next answers.
        messages: Those that were accepted: "title", "message" and "type".
        refused: How many were not.
        holds: What comes while it is set is answered when `release` is set.
    """

    port: int = 0
    answer: int = 200
    messages: list[dict[str, str]] = field(default_factory=list)
    refused: int = 0
    holds: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def titles(self) -> list[str]:
        """The titles of the accepted messages."""
        return [each["title"] for each in self.messages]

    def url(self, path: str = "") -> str:
        """Its address, as apprise takes it."""
        return f"json://127.0.0.1:{self.port}{path}"

    def take(self, message: dict[str, str]) -> int:
        """Keep a message; returns the status that answers it."""
        answer, held = self.answer, self.holds
        if answer < 300:
            self.messages.append(message)
        else:
            self.refused += 1
        if held:
            self.release.wait(60)
        return answer


def handler(take: Callable[[dict[str, str]], int]) -> type[BaseHTTPRequestHandler]:
    """What gives each message to `take`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            status = take(json.loads(self.rfile.read(length)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver in this process."""
    receiver = Receiver()
    with serving(handler(receiver.take)) as receiver.port:
        try:
            yield receiver
        finally:
            receiver.release.set()


def main(port: str, file: str) -> None:
    """Write every message to a file until it is ended."""

    def take(message: dict[str, str]) -> int:
        with Path(file).open("a") as lines:
            lines.write(json.dumps(message) + "\n")
        return 200

    Server(("127.0.0.1", int(port)), handler(take)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

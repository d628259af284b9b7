"""Healthy means that a call of the API worked: /health says 200 whatever is broken behind it."""

from __future__ import annotations

import http.client
import os
import socket
import sys

from tracking import SOCKET

CALL = "/api/2.0/mlflow/experiments/search?max_results=1"
PATIENCE_SECONDS = 8.0


class Connection(http.client.HTTPConnection):
    """HTTP over the server's unix socket."""

    def connect(self) -> None:
        """Open the socket instead of an address."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(SOCKET)


def main() -> int:
    """Ask once, by the first of the names that people use.

    Returns:
        0 when it answered 200, else 1; what it said goes to the engine's record of the check.
    """
    connection = Connection(os.environ.get("VIRTUAL_HOST", "localhost").split(",")[0].strip())
    try:
        connection.request("GET", CALL)
        answer = connection.getresponse()
        print(f"{answer.status} {answer.read(300).decode(errors='replace')}")
    except OSError as error:
        print(f"MLflow does not answer: {error}")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())

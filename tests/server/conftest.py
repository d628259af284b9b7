"""A real MLflow server, in a real environment of its own, behind the lock."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from passlib.hash import bcrypt

from tests.support.server_environment import server_environment

#: How long a server may take to answer on a busy machine, in seconds.
START_SECONDS = 120


def line(name: str, password: str) -> str:
    """Return an htpasswd line with the cheapest bcrypt there is."""
    return f"{name}:{bcrypt.using(rounds=4, ident='2y').hash(password)}\n"


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        environment: The folder of its Python environment.
        directory: The deployment's folder.
        port: Its port on 127.0.0.1.
    """

    environment: Path
    directory: Path
    port: int

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def user_file(self) -> Path:
        """The htpasswd file; alice's password is ``geheim``, ``carol`` was removed."""
        return self.directory / "htpasswd"


@pytest.fixture(scope="session")
def environment() -> Path:
    """The server's Python environment, kept in ``build`` between test runs."""
    return server_environment()


@pytest.fixture(scope="session")
def server(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole session, started through the supervisor as the console does."""
    directory = tmp_path_factory.mktemp("deployment")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    running = Server(environment, directory, port)
    running.user_file.write_text(line("alice", "geheim") + line("carol", "weg"))
    variables = {
        **os.environ,
        "MLFLOW_CONSOLE_HTPASSWD": str(running.user_file),
        "MLFLOW_CONSOLE_ACCESS_LOG": str(directory / "logs" / "access.log"),
        "MLFLOW_CONSOLE_MARKER": f"test-{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Else a look at the gateway's models asks GitHub for a list; MLflow brings one along.
        "MLFLOW_MODEL_CATALOG_URI": "",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    variables.pop("PYTHONPATH", None)
    program = environment / "bin"
    argv = [str(program / "python"), "-m", "mlflow_console_server", "--directory", str(directory)]
    argv += ["--", str(program / "python"), "-m", "mlflow_console_server.serve"]
    argv += ["--app-name", "mlflow-console"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    argv += ["--artifacts-destination", str(directory / "artifacts")]
    process = subprocess.Popen(argv, env=variables, cwd=directory)
    try:
        _wait_until_up(running, process)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_until_up(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Wait for ``/health``; fail with the log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5):  # noqa: S310 - http
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    log = server.directory / "logs" / "tracking.log"
    pytest.fail(log.read_text() if log.exists() else "the supervisor did not start")

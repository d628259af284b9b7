"""A deployment on disk, with real settings, htpasswd and SQLite, whose server never ran."""

from __future__ import annotations

import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.cli.main import main, run
from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings, UsersSettings, dump

PORT = 29_517

# The columns that the console reads, as MLflow 3.17 makes them.
TABLES = """
    CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256),
        artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32));
    CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), user_id VARCHAR(256),
        status VARCHAR(9), start_time BIGINT, lifecycle_stage VARCHAR(20), experiment_id INTEGER);
    CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32),
        PRIMARY KEY (key, run_uuid));
    CREATE TABLE logged_models (model_id VARCHAR(36) PRIMARY KEY, experiment_id INTEGER,
        lifecycle_stage VARCHAR(32));
    CREATE TABLE trace_info (request_id VARCHAR(50) PRIMARY KEY, experiment_id INTEGER);
    INSERT INTO experiments VALUES (1, 'alpha', 'mlflow-artifacts:/1', 'active'),
        (2, 'beta', 'mlflow-artifacts:/2', 'deleted');
    INSERT INTO runs VALUES ('a1', 'first', 'ada', 'FINISHED', 1700000000000, 'active', 1),
        ('b1', 'gone', 'ada', 'FINISHED', 1700000000000, 'active', 2);
"""

AT_WORK = """
    INSERT INTO runs VALUES ('w1', 'long one', 'ada', 'RUNNING', 1700000000000, 'active', 1);
"""


@dataclass(frozen=True)
class Result:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Set up but for the server's environment; bcrypt as cheap as it gets."""
    directory = tmp_path / "lab"
    for folder in ("", "htpasswd", "secrets", "run", "logs", "data/artifacts"):
        (directory / folder).mkdir(parents=True, mode=0o700)
    settings = Settings(
        format=1, name="lab", driver="embedded",
        server=ServerSettings(port=PORT, mlflow="3.17.2"), users=UsersSettings(bcrypt_cost=4),
    )  # fmt: skip
    (directory / "console.toml").write_bytes(dump(settings))
    made = Deployment.open(str(directory))
    made.users.add("mlflow-console", Secret("of the service user"))
    made.users.add("alice", Secret("wonderland"))
    made.paths.audit.unlink()
    return made


@pytest.fixture
def database(deployment: Deployment) -> Path:
    """Its database, with two experiments; nobody is at work."""
    path = deployment.paths.database
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    connection.close()
    return path


@pytest.fixture
def at_work(database: Path) -> None:
    """Somebody's run is RUNNING."""
    connection = sqlite3.connect(database)
    connection.executescript(AT_WORK)
    connection.close()


@pytest.fixture
def cli(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Calls the command line in this process, on the deployment, without a terminal."""
    monkeypatch.setenv("MLFLOW_CONSOLE_DEPLOYMENT", str(deployment.directory))

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


PROGRAM = (sys.executable, "-c", f"from {run.__module__} import run; run()")


@pytest.fixture
def program(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs the command line as a process of its own, with bytes on stdin."""
    monkeypatch.setenv("MLFLOW_CONSOLE_DEPLOYMENT", str(deployment.directory))

    def call(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        done = subprocess.run(
            [*PROGRAM, *arguments], input=stdin, capture_output=True, timeout=60, check=False,
            env=os.environ | dict(env or {}),
        )  # fmt: skip
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


class Terminal:
    """The command line in a terminal of its own (a pty that is its controlling one)."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.execv(PROGRAM[0], [*PROGRAM, *arguments])  # noqa: S606  # a pty needs the fork
        self.seen = ""

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait until the terminal shows a text."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} is not in {self.seen!r}"
            if not self._more(end):
                assert text in self.seen
                return

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._handle, text.encode())

    def close(self) -> int:
        """Wait for its end; returns the exit code."""
        while self._more(time.monotonic() + 30):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        return os.waitstatus_to_exitcode(status)

    def _more(self, end: float) -> bool:
        ready, _, _ = select.select([self._handle], [], [], max(0, end - time.monotonic()))
        assert ready, f"nothing more came after {self.seen!r}"
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # EIO: the other side is gone
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Terminal]:
    """Starts the command line in a terminal."""
    monkeypatch.setenv("MLFLOW_CONSOLE_DEPLOYMENT", str(deployment.directory))
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *arguments: Terminal(arguments)

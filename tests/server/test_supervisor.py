"""The supervisor, as a process of its own with real children."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SOURCES = Path(__file__).resolve().parents[2] / "stack" / "server"

#: Runs a supervisor that is not patient, so that the tests need not be.
IMPATIENT = """
import sys
from pathlib import Path
from mlflow_console_server.supervisor import Supervisor, Timing
backoff = tuple(map(float, sys.argv[2].split(",")))
timing = Timing(backoff, short_life=2, window=20, limit=3, grace=0.5)
for name in ("logs", "run"):
    Path(sys.argv[1], name).mkdir(exist_ok=True)
sys.exit(Supervisor(Path(sys.argv[1]), sys.argv[3:], timing).run())
"""


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what a condition returns once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError, psutil.NoSuchProcess):
            if value := condition():
                return value
        time.sleep(0.01)
    pytest.fail("it did not happen in time")


class Supervised:
    """Supervisors of one directory, and everything that they start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marker = f"test-{os.getpid()}-{directory.name}"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a supervisor as the console does."""
        return self._popen("-m", "mlflow_console_server", "--directory", ".", "--", *argv)

    def start_impatient(self, *argv: str, backoff: str = "0.05,0.1") -> subprocess.Popen[str]:
        """Start a supervisor that waits for nothing long, unless it is told to."""
        return self._popen("-c", IMPATIENT, ".", backoff, *argv)

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        variables = {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            "MLFLOW_CONSOLE_MARKER": self.marker,
        }
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    @property
    def state(self) -> dict[str, Any]:
        """What the state file says."""
        content = json.loads((self.directory / "run" / "tracking.json").read_text())
        assert isinstance(content, dict)
        return content

    @property
    def log(self) -> str:
        """The log."""
        return (self.directory / "logs" / "tracking.log").read_text(errors="surrogateescape")

    def marked(self) -> list[psutil.Process]:
        """Return the living processes that carry the marker, supervisors included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.environ().get("MLFLOW_CONSOLE_MARKER") == self.marker:
                    found.append(process)
        return found


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A directory whose processes, known by their marker, are ended after the test."""
    run = Supervised(tmp_path)
    yield run
    for _ in range(2):  # a supervisor first, or it would start its child again
        for process in sorted(run.marked(), key=lambda process: process.create_time()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    for popen in run.processes:
        popen.wait(10)
        assert popen.stderr is not None
        popen.stderr.close()


def test_it_says_who_it_is_and_copies_the_output(supervised: Supervised) -> None:
    process = supervised.start(
        "sh", "-c", r"printf 'out\n\377\n'; echo err >&2; echo $1; sleep 60", "sh", "--"
    )
    state = wait_for(lambda: "err" in supervised.log and supervised.state)
    me = psutil.Process(process.pid)
    assert state.pop("child_started_at").endswith("Z")
    assert state == {
        "format": 1,
        "pid": process.pid,
        "start_time": pytest.approx(me.create_time(), abs=1e-6),
        "start_ticks": int(Path(f"/proc/{process.pid}/stat").read_text().split()[21]),
        "marker": supervised.marker,
        "child_pid": me.children()[0].pid,
        "restarts": 0,
        "exit_code": None,
        "exited_at": None,
    }
    wait_for(lambda: " --\n" in supervised.log)
    lines = supervised.log.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)
    assert [line[25:] for line in lines[1:]] == ["out", "\udcff", "err", "--"]
    for path in (supervised.directory / "run" / "tracking.json", supervised.directory / "logs"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_the_whole_session_and_records_how(
    supervised: Supervised, number: signal.Signals
) -> None:
    # The shell's job control puts the sleep into a process group of its own.
    process = supervised.start("sh", "-c", "set -m; sleep 61 & trap 'exit 7' TERM; wait")
    wait_for(lambda: len(supervised.marked()) == 3)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert supervised.marked() == []
    state = supervised.state
    assert state["exit_code"] == 7
    assert state["child_pid"] is None
    assert state["exited_at"].endswith("Z")


def test_what_ignores_sigterm_is_killed(supervised: Supervised) -> None:
    process = supervised.start_impatient("sh", "-c", "trap '' TERM; echo ready; sleep 62; sleep 62")
    wait_for(lambda: "ready" in supervised.log)
    process.terminate()
    assert process.wait(10) == 0
    assert supervised.marked() == []
    assert supervised.state["exit_code"] == -signal.SIGKILL


def test_a_child_that_ends_is_started_again_without_its_remains(supervised: Supervised) -> None:
    process = supervised.start_impatient("sh", "-c", "sleep 63 & exec sleep 64")
    first = wait_for(lambda: len(supervised.marked()) == 3 and supervised.state["child_pid"])
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervised.state["restarts"] == 1 and supervised.state["child_pid"])
    wait_for(lambda: len(supervised.marked()) == 3)
    assert supervised.state["child_pid"] != first
    assert process.poll() is None
    assert "ended with -9" in supervised.log


def test_it_gives_up_on_what_keeps_failing(supervised: Supervised) -> None:
    process = supervised.start_impatient("sh", "-c", "printf last-words; exit 3")
    assert process.wait(10) == 1
    state = supervised.state
    assert (state["exit_code"], state["restarts"], state["child_pid"]) == (3, 2, None)
    assert supervised.log.count("last-words\n") == 3


def test_it_does_not_wait_out_a_backoff_when_told_to_stop(supervised: Supervised) -> None:
    process = supervised.start_impatient("sh", "-c", "exit 3", backoff="3600")
    wait_for(lambda: "next start in 3600 s" in supervised.log)
    process.terminate()
    assert process.wait(10) == 0
    assert supervised.state["exit_code"] == 3


def test_a_program_that_is_not_there(supervised: Supervised) -> None:
    process = supervised.start("/nonexistent/mlflow")
    assert process.wait(10) == 1
    assert supervised.state["exit_code"] == 127
    assert "/nonexistent/mlflow cannot be started" in supervised.log


def test_it_outlives_its_session_and_its_childs_too(supervised: Supervised) -> None:
    process = supervised.start("sleep", "65")
    child = wait_for(lambda: supervised.state["child_pid"])
    os.kill(process.pid, signal.SIGHUP)
    os.kill(child, signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    assert supervised.state["child_pid"] == child
    assert os.getsid(child) == child


def test_a_killed_supervisor_takes_its_child_along(supervised: Supervised) -> None:
    process = supervised.start("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    child = wait_for(lambda: supervised.state["child_pid"])
    process.kill()
    process.wait(10)
    wait_for(lambda: child not in {found.pid for found in supervised.marked()})


def test_a_second_supervisor_is_refused(supervised: Supervised) -> None:
    first = supervised.start("sleep", "66")
    wait_for(lambda: supervised.state["child_pid"])
    second = supervised.start("sleep", "67")
    _, words = second.communicate(timeout=10)
    assert second.returncode == 75
    assert words == f"Another supervisor runs in {supervised.directory}.\n"
    assert supervised.state["pid"] == first.pid


def test_the_lock_is_not_inherited(supervised: Supervised) -> None:
    """An orphan that survives its supervisor must not keep the next one out."""
    first = supervised.start("sh", "-c", "trap '' TERM; echo ready; sleep 68; sleep 68")
    wait_for(lambda: "ready" in supervised.log)
    first.kill()
    first.wait(10)
    assert supervised.marked(), "the child should have survived"
    second = supervised.start("sleep", "69")
    wait_for(lambda: supervised.state["pid"] == second.pid and supervised.state["child_pid"])


def test_without_a_program_the_command_line_is_wrong(supervised: Supervised) -> None:
    process = supervised.start()
    assert process.wait(10) == 2


def test_it_starts_without_mlflow_and_without_the_lock() -> None:
    """What it imports decides how long it takes: nothing but the standard library."""
    code = (
        "import sys; import mlflow_console_server.__main__;"
        "print([n for n in sys.modules if n.split('.')[0] in"
        " {'mlflow', 'passlib', 'bcrypt', 'asyncio', 'logging'}])"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "[]\n"

"""Processes: ours are found and ended, strangers are never touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from console.core import process
from console.core.errors import CancelledError, ConsoleError
from console.core.process import Finished

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True)\ntime.sleep(60)"
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait()


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_ticks(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[19])


def test_a_process_is_its_pid_and_its_start(sleeper: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(sleeper.pid).create_time()
    found = process.find(sleeper.pid, started)
    assert found is not None
    assert found.pid == sleeper.pid
    assert process.find(sleeper.pid, started - 3600) is None
    assert process.find(sleeper.pid, started + 2) is None
    sleeper.kill()
    wait_until(lambda: gone(sleeper.pid))
    assert process.find(sleeper.pid, started) is None  # a zombie is nobody
    sleeper.wait()
    assert process.find(sleeper.pid, started) is None


@pytest.mark.parametrize("pid", [-1, 2**31, 2**70])
def test_impossible_pids_are_nobody(pid: int) -> None:
    assert process.find(pid, 0.0) is None
    assert process.find_by_ticks(pid, 0, ()) is None


def test_when_the_clock_was_set_the_tick_and_the_command_line_count(
    sleeper: subprocess.Popen[bytes],
) -> None:
    ticks, words = start_ticks(sleeper.pid), SLEEP[1:]
    found = process.find_by_ticks(sleeper.pid, ticks, words)
    assert found is not None
    assert found.pid == sleeper.pid
    assert process.find_by_ticks(sleeper.pid, ticks + 1, words) is None
    assert process.find_by_ticks(sleeper.pid, ticks, [*words, "--directory"]) is None


def test_a_reused_pid_is_left_alone(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What we hold is a process of the same pid that started earlier.
    old = psutil.Process(sleeper.pid)
    monkeypatch.setattr(old, "_create_time", old.create_time() - 100)
    monkeypatch.setattr(old, "_ident", (old.pid, old.create_time()))
    process.terminate([old], 0.2)
    assert sleeper.poll() is None


def test_terminate_asks_and_then_insists(tmp_path: Path) -> None:
    polite = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_): pathlib.Path({str(tmp_path / 'asked')!r}).touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        for script in (STUBBORN, polite)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    process.terminate([psutil.Process(child.pid) for child in children], 0.5)
    assert all(gone(child.pid) for child in children)
    assert (tmp_path / "asked").exists()
    process.terminate([], 1)


def test_marked_finds_exactly_those_that_carry_the_mark() -> None:
    children = [
        subprocess.Popen(SLEEP, env={**os.environ, "TEST_MARK": value}) for value in ("a", "b", "a")
    ]
    try:
        assert [each.pid for each in process.marked("TEST_MARK", "a")] == [
            children[0].pid, children[2].pid,
        ]  # fmt: skip
        assert process.marked("TEST_MARK", "") == []
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_child_gets_only_harmless_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("UV_SOMETHING", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    env = process.environment({"EXTRA": "x", "HOME": "/else"}, prefixes=("UV_",))
    assert env["EXTRA"] == "x"
    assert env["HOME"] == "/else"
    assert env["UV_SOMETHING"] == "1"
    assert not {"MLFLOW_TRACKING_PASSWORD", "PYTHONPATH"} & set(env)
    assert "UV_SOMETHING" not in process.environment({})


def run(script: str, cancel: threading.Event | None = None) -> list[str | Finished]:
    argv = [sys.executable, "-u", "-c", script]
    return list(process.lines(argv, dict(os.environ), cancel or threading.Event()))


def test_lines_of_both_streams_then_the_end() -> None:
    script = (
        "import sys; print('a'); print('b\\r', end='', file=sys.stderr); print('c'); sys.exit(3)"
    )
    *said, end = run(script)
    assert said == ["a", "b", "c"]
    assert end == Finished(3, "a\nb\nc")


def test_any_bytes_and_many_lines() -> None:
    script = (
        "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe\\n' + b'x' * 200_000 + b'\\n')\n"
        "for n in range(5000): print(n)\n"
    )
    *said, end = run(script)
    assert said[0] == "��"
    assert len(said) == 5002
    assert end == Finished(0, "\n".join(str(number) for number in range(4980, 5000)))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ConsoleError, match="/no/such cannot be started: No such file"):
        next(process.lines(["/no/such"], {}, threading.Event()))


@pytest.mark.parametrize(
    "script",
    [
        "import time; print('on'); time.sleep(60)",
        STUBBORN.replace("'ready'", "'on'"),
        # Its output has ended, it goes on.
        "import os, time; print('on'); os.close(1); os.close(2); time.sleep(60)",
        # It has ended, what it left behind holds the output.
        "import subprocess; print('on'); subprocess.Popen(['sleep', '60'])",
    ],
)
def test_cancel_ends_the_child_and_what_it_started(script: str) -> None:
    cancel = threading.Event()
    mark = {**os.environ, "TEST_MARK": f"{os.getpid()}-{time.monotonic_ns()}"}
    lines = process.lines([sys.executable, "-u", "-c", script], mark, cancel)
    assert next(lines) == "on"
    began = time.monotonic()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(CancelledError):
        list(lines)
    assert time.monotonic() - began < 9
    wait_until(lambda: not process.marked("TEST_MARK", mark["TEST_MARK"]))


def test_leaving_early_ends_the_child_and_what_it_started() -> None:
    script = (
        "import subprocess, time; subprocess.Popen(['sleep', '60']); print('on'); time.sleep(60)"
    )
    mark = {**os.environ, "TEST_MARK": f"{os.getpid()}-{time.monotonic_ns()}"}
    lines = process.lines([sys.executable, "-u", "-c", script], mark, threading.Event())
    assert next(lines) == "on"
    lines.close()  # type: ignore[attr-defined]  # a generator is what it is
    wait_until(lambda: not process.marked("TEST_MARK", mark["TEST_MARK"]))


def test_short_programs_cost_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOK_SECONDS", 3_600.0)
    assert list(process.lines(["/bin/true"], {}, threading.Event())) == [Finished(0, "")]


def test_a_detached_process_outlives_its_starters_session(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom console.core import process\n"
        f"pid = process.start_detached({SLEEP!r}, dict(os.environ), Path('/'), "
        "Path(sys.argv[1]))\nprint(pid, flush=True)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "errors")],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    pid = int(starter.communicate(timeout=30)[0])
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGHUP)
    detached = psutil.Process(pid)
    assert detached.status() != psutil.STATUS_ZOMBIE
    assert os.getsid(pid) == pid
    assert (tmp_path / "errors").stat().st_mode & 0o777 == 0o600
    detached.kill()


def test_whoever_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        name = psutil.Process().name()
        assert process.listener(port) == f"{name} (process {os.getpid()})"
    assert process.listener(port) is None

"""The embedded driver on the real server: started once, then mistreated in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from console.core import process
from console.core.deployment import Deployment
from console.core.process import port_is_free
from console.core.stack.driver import Health, Service, State
from tests.support import deployments

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("driver"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all of these; each test takes it as it finds it."""
    directory = tmp_path_factory.mktemp("shared") / "lab"
    with deployments.ended(directory):
        yield deployments.create(directory)


@pytest.fixture
def running(deployment: Deployment) -> Deployment:
    """It, running; opened anew, as another console would."""
    deployments.up(deployment)
    return Deployment.open(str(deployment.directory))


def service(deployment: Deployment) -> Service:
    [only] = deployment.driver.services()
    return only


def record(deployment: Deployment) -> Path:
    return deployment.paths.run / "tracking.json"


def recorded(deployment: Deployment) -> dict[str, int]:
    result: dict[str, int] = json.loads(record(deployment).read_text())
    return result


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def healthy(deployment: Deployment) -> bool:
    return deployment.stack.status().healthy


def test_up_again_starts_nothing(running: Deployment) -> None:
    before = deployments.processes(running.directory)
    began = time.monotonic()
    assert deployments.up(running)[-1].startswith("healthy at ")
    assert time.monotonic() - began < 5
    assert recorded(running)["pid"] in before
    assert [pid for pid in before if not psutil.pid_exists(pid)] == []
    assert len(supervisors(running)) == 1


def supervisors(deployment: Deployment) -> list[int]:
    found = []
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or []
        if "mlflow_console_server" in words and str(deployment.directory) in words:
            found.append(each.pid)
    return found


def test_a_killed_child_is_started_again_and_counted(running: Deployment) -> None:
    before = service(running).restarts
    child = recorded(running)["child_pid"]
    os.kill(child, signal.SIGKILL)
    # What the child had started answers a little longer: a healthy answer alone says nothing.
    wait_until(lambda: service(running).restarts > before, 60)
    wait_until(lambda: healthy(running), 60)
    now = service(running)
    assert now.restarts == before + 1
    assert recorded(running)["child_pid"] != child


def test_a_killed_supervisor_is_noticed_and_mended(running: Deployment) -> None:
    old = recorded(running)
    os.kill(old["pid"], signal.SIGKILL)
    wait_until(lambda: service(running).state is not State.RUNNING, 20)
    status = running.stack.status()
    assert (status.exit_code, status.stopped) == (4, True)
    assert status.findings[0].id == "service-ended"
    assert status.findings[0].title == "tracking: it was killed, or the machine was restarted"
    assert status.findings[0].fix == "mlflow-console up"
    deployments.up(running)
    assert healthy(running)
    assert recorded(running)["pid"] != old["pid"]
    assert len(supervisors(running)) == 1


def test_a_lost_or_broken_record_is_noticed_and_mended(running: Deployment) -> None:
    path = record(running)
    good = path.read_bytes()
    for text in (
        b"",
        b"{",
        good[:-9],
        b'{"pid": "x"}',
        b"\xff",
        b"[]",
        b'{"pid":-1,"start_time":0}',
    ):
        path.write_bytes(text)
        now = service(running)
        assert (now.state, now.health) == (State.RUNNING, Health.UNHEALTHY)
        assert "`mlflow-console up` puts it in order" in now.reason
    path.unlink()
    assert service(running).state is State.RUNNING
    deployments.up(running)
    assert healthy(running)
    assert len(supervisors(running)) == 1


def test_a_clock_that_was_set_hides_nobody(running: Deployment) -> None:
    before = record(running).read_text()
    state = json.loads(before)
    state["start_time"] -= 3600
    record(running).write_text(json.dumps(state))
    try:
        assert healthy(running)
        assert deployments.up(running)[-1].startswith("healthy at ")
        assert recorded(running)["pid"] == state["pid"]
    finally:
        record(running).write_text(before)


def test_two_at_the_same_time_start_one_server(deployment: Deployment) -> None:
    deployments.down(deployment)
    script = (
        "import sys, threading\nfrom console.core.deployment import Deployment\n"
        "for step in Deployment.open(sys.argv[1]).stack.up(cancel=threading.Event()):\n"
        "    print(step.label)\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(deployment.directory)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for child in children:
        said = child.communicate(timeout=120)[0]
        assert child.returncode == 0, said
        assert said.splitlines()[-1].startswith("healthy at ")
    assert len(supervisors(deployment)) == 1


def test_restart_is_another_process_with_the_same_data(running: Deployment) -> None:
    before = recorded(running)["pid"]
    database = running.paths.database.stat().st_ino
    for _ in running.stack.restart(cancel=threading.Event()):
        pass
    assert recorded(running)["pid"] != before
    assert not psutil.pid_exists(before)
    assert healthy(running)
    assert running.paths.database.stat().st_ino == database


def test_down_leaves_nothing_and_down_again_finds_nothing(running: Deployment) -> None:
    port = min(running.driver.ports)
    assert len(deployments.processes(running.directory)) >= 2
    deployments.down(running)
    assert deployments.processes(running.directory) == []
    assert port_is_free(port)
    assert process.listener(port) is None
    began = time.monotonic()
    deployments.down(running)
    assert time.monotonic() - began < 2
    now = service(running)
    assert (now.state, now.health, now.reason) == (State.STOPPED, Health.UNHEALTHY, "stopped")
    status = running.stack.status()
    assert (status.exit_code, status.stopped, status.healthy) == (4, True, False)
    assert [each.id for each in status.findings] == ["stopped"]
    assert list(running.stack.logs(tail=5))


def test_down_after_a_kill_leaves_nothing_and_is_no_failure(running: Deployment) -> None:
    os.kill(recorded(running)["pid"], signal.SIGKILL)
    deployments.down(running)
    assert deployments.processes(running.directory) == []
    assert service(running).state is State.STOPPED


def test_a_server_that_hangs_is_ended_all_the_same(running: Deployment) -> None:
    child = recorded(running)["child_pid"]
    for pid in (child, *(each.pid for each in psutil.Process(child).children(recursive=True))):
        os.kill(pid, signal.SIGSTOP)
    deployments.down(running)
    assert deployments.processes(running.directory) == []
    assert service(running).state is State.STOPPED


def test_a_stranger_with_our_pid_is_left_alone(deployment: Deployment) -> None:
    deployments.down(deployment)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        before = psutil.Process(stranger.pid).create_time() - 100
        record(deployment).write_text(
            json.dumps({"format": 1, "pid": stranger.pid, "start_time": before, "start_ticks": 1,
                        "marker": None, "child_pid": stranger.pid})
        )  # fmt: skip
        now = service(deployment)
        assert (now.state, now.reason) == (
            State.EXITED, "it was killed, or the machine was restarted",
        )  # fmt: skip
        deployments.down(deployment)
        assert stranger.poll() is None
        deployments.up(deployment)
        assert healthy(deployment)
        assert stranger.poll() is None
        deployments.down(deployment)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()

"""What every driver does, on the real server: started once, then mistreated in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from console.core import http, process
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.process import port_is_free
from console.core.stack.driver import Health, Role, Service, State
from tests.support import deployments

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("driver"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module", params=["embedded"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One deployment for all of these; each test takes it as it finds it."""
    directory = tmp_path_factory.mktemp("shared") / "lab"
    with deployments.ended(directory):
        made = deployments.create(directory)
        assert made.settings.driver == request.param
        yield made


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


def test_what_runs_is_described(running: Deployment) -> None:
    status = running.stack.status()
    assert (status.healthy, status.exit_code, status.findings) == (True, 0, ())
    assert status.api.checked_as == "mlflow-console"
    assert status.api.version == "3.17.2"
    [only] = status.services
    assert (only.role, only.state, only.health) == (Role.TRACKING, State.RUNNING, Health.HEALTHY)
    assert only.ports == (f"127.0.0.1:{min(running.driver.ports)}",)
    assert only.memory_bytes is not None
    assert 10**8 < only.memory_bytes < 10**10
    assert only.cpu_percent is not None
    assert only.started_at is not None
    assert timedelta(0) < datetime.now(UTC) - only.started_at < timedelta(minutes=10)


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


def test_unknown_services_are_named(running: Deployment) -> None:
    for verb in (running.driver.up, running.driver.down):
        with pytest.raises(UsageError) as caught:
            list(verb(["tracking", "databse"], threading.Event()))
        assert caught.value.message == "There is no service called databse"
        assert caught.value.hint == "There is: tracking."
    with pytest.raises(UsageError):
        running.driver.logs(["databse"], 10, False)
    assert service(running).state is State.RUNNING


def test_logs_have_times_and_the_last_lines_come_first(running: Deployment) -> None:
    lines = list(running.stack.logs(tail=3))
    assert len(lines) == 3
    assert all(line.at and line.service == "tracking" for line in lines)
    assert [line.at for line in lines] == sorted(line.at for line in lines if line.at)
    everything = list(running.driver.logs(["tracking"], 10_000, False))
    assert everything[-3:] == lines
    following = running.stack.logs(tail=1, follow=True)
    assert next(following) == lines[-1]
    with pytest.raises(ConsoleError):
        list(running.driver.run_in(Role.TRACKING, ["python", "-c", "0/0"], {}, threading.Event()))
    http.get(f"{running.driver.url}/", timeout=5)  # without a password: a line in the log
    assert "401" in next(following).text
    following.close()


def test_a_program_runs_where_the_service_runs(running: Deployment) -> None:
    script = (
        "import os, sys, mlflow\nprint(mlflow.__version__)\nprint(os.environ['SECRET'])\n"
        "print(sorted(name for name in os.environ if name.startswith('MLFLOW_')))"
    )
    said = running.driver.run_in(
        Role.TRACKING, ["python", "-c", script], {"SECRET": "x"}, threading.Event()
    )
    assert list(said) == ["3.17.2", "x", "[]"]
    with pytest.raises(ConsoleError, match="why it failed"):
        list(
            running.driver.run_in(
                Role.TRACKING, ["python", "-c", "raise SystemExit('why it failed')"], {},
                threading.Event(),
            )
        )  # fmt: skip
    with pytest.raises(ConsoleError, match="no service in the role database"):
        list(running.driver.run_in(Role.DATABASE, ["python"], {}, threading.Event()))


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

"""What every driver does, on real servers: one deployment of each, which the tests share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from console.core import http
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.http import Credentials
from console.core.process import port_is_free
from console.core.secrets import Secret
from console.core.stack.driver import Health, Role, Service, State, Verb
from console.core.stack.health import CALL
from tests.support import deployments, stacks

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-driver"), pytest.mark.timeout(300)]

ALICE = Credentials("alice", Secret("correct horse battery"))


@pytest.fixture(scope="module", params=["embedded", "compose"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One deployment for all of these; each test takes it as it finds it."""
    directory = tmp_path_factory.mktemp("shared") / "lab-driver"
    user = (ALICE.name, ALICE.password)
    if request.param == "compose":
        with stacks.stack(directory, user, ["example.com"]) as made:
            yield made
        return
    with deployments.ended(directory):
        yield deployments.create(directory, user, ["example.com"])


@pytest.fixture
def running(deployment: Deployment) -> Deployment:
    """It, running; opened anew, as another console would."""
    deployments.up(deployment)
    return Deployment.open(str(deployment.directory))


def tracking(deployment: Deployment) -> Service:
    [only] = [each for each in deployment.driver.services() if each.role is Role.TRACKING]
    return only


def test_what_runs_is_described(running: Deployment) -> None:
    status = running.stack.status()
    assert (status.healthy, status.exit_code, status.findings) == (True, 0, ())
    assert status.api.checked_as == "mlflow-console"
    assert status.api.version == "3.17.2"
    assert running.driver.complete
    assert running.driver.not_ours() is None
    assert [each.name for each in status.services if each.health is not Health.HEALTHY] == []
    published = {int(port.rpartition(":")[2]) for each in status.services for port in each.ports}
    assert published == running.driver.ports
    only = tracking(running)
    assert only.state is State.RUNNING
    assert only.memory_bytes is not None
    assert 10**8 < only.memory_bytes < 10**10
    assert only.cpu_percent is not None
    assert only.started_at is not None
    assert timedelta(0) < datetime.now(UTC) - only.started_at < timedelta(minutes=10)


def test_it_answers_to_its_names_and_to_its_users(running: Deployment) -> None:
    driver = running.driver
    assert driver.host_names == ("example.com",)
    assert http.get(driver.own_url + CALL).status == 401
    for host in (None, "example.com"):
        assert http.get(driver.own_url + CALL, ALICE, host=host).status == 200
    running.users.add("carol", Secret("first"))
    carol = Credentials("carol", Secret("first"))
    assert http.get(driver.own_url + CALL, carol).status == 200
    running.users.passwd("carol", Secret("second"))
    assert http.get(driver.own_url + CALL, carol).status == 401
    running.users.remove(["carol"])
    assert http.get(driver.own_url + CALL, Credentials("carol", Secret("second"))).status == 401


def test_its_data_is_where_the_driver_says(running: Deployment) -> None:
    assert [root.name for root in running.database.roots()] == ["Default"]
    *_, walked = running.storage.usage(cancel=threading.Event())
    assert (walked.complete, walked.objects, walked.problems) == (True, 0, ())


def test_up_again_starts_nothing(running: Deployment) -> None:
    before = [(each.name, each.started_at) for each in running.driver.services()
              if each.role is not Role.JOB]  # fmt: skip
    assert deployments.up(running)[-1].startswith("healthy at ")
    after = [(each.name, each.started_at) for each in running.driver.services()
             if each.role is not Role.JOB]  # fmt: skip
    assert after == before


def test_unknown_services_are_named(running: Deployment) -> None:
    for verb in (Verb.UP, Verb.DOWN, Verb.STOP, Verb.RESTART):
        with pytest.raises(UsageError) as caught:
            list(running.driver.act(verb, ["tracking", "databse"], threading.Event()))
        assert caught.value.message == "There is no service called databse"
        assert "tracking" in caught.value.hint
    with pytest.raises(UsageError):
        running.driver.logs(["databse"], 10, False)
    assert tracking(running).state is State.RUNNING


def test_logs_have_times_and_the_last_lines_come_first(running: Deployment) -> None:
    lines = list(running.driver.logs(["tracking"], 3, False))
    assert len(lines) == 3
    assert all(line.at and line.service == "tracking" for line in lines)
    assert [line.at for line in lines] == sorted(line.at for line in lines if line.at)
    every = list(running.stack.logs(tail=10_000))
    assert [line.at for line in every] == sorted(line.at for line in every if line.at)
    assert set(lines) <= set(every)
    following = running.stack.logs(tail=0, follow=True)
    time.sleep(1)  # a line that was written before it listened would be no new one
    http.get(f"{running.driver.own_url}/?mark={id(following)}", ALICE)
    assert any(f"mark={id(following)}" in next(following).text for _ in range(50))
    following.close()


def test_a_program_runs_where_the_service_runs(running: Deployment) -> None:
    script = (
        "import os, mlflow\nprint(mlflow.__version__)\nprint(os.environ['SECRET'])\n"
        "from urllib.request import urlopen\n"
        "print(urlopen(os.environ['URL'] + '/health').status)\n"
    )
    env = {"SECRET": "x $y 'z'", "URL": running.driver.inner_url}
    said = running.driver.run_in(Role.TRACKING, ["python", "-c", script], env, threading.Event())
    assert list(said)[-3:] == ["3.17.2", "x $y 'z'", "200"]
    argv = ["python", "-c", "raise SystemExit('why it failed')"]
    with pytest.raises(ConsoleError, match="why it failed"):
        list(running.driver.run_in(Role.TRACKING, argv, {}, threading.Event()))
    with pytest.raises(ConsoleError, match="no service in the role other"):
        list(running.driver.run_in(Role.OTHER, ["python"], {}, threading.Event()))


def test_bytes_go_in_and_come_out_where_the_service_runs(running: Deployment) -> None:
    piece, sent, seen = os.urandom(1 << 20), hashlib.sha256(), hashlib.sha256()
    for _ in range(20):
        sent.update(piece)
    echo = "import shutil, sys\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    argv, feed = ["python", "-c", echo], (piece for _ in range(20))
    for each in running.driver.pipe(Role.TRACKING, argv, {}, feed, threading.Event()):
        assert 0 < len(each) <= 65536
        seen.update(each)
    assert seen.digest() == sent.digest()
    secret = {"SECRET": "x $y 'z'"}
    show = "import os, sys; print(os.environ['SECRET'], len(sys.stdin.read()))"
    said = running.driver.pipe(
        Role.TRACKING, ["python", "-c", show], secret, None, threading.Event()
    )
    assert b"".join(said) == b"x $y 'z' 0\n"
    argv = ["python", "-c", "import sys; print('half'); sys.exit('why\\x1b[31m it failed')"]
    with pytest.raises(ConsoleError, match=r"^why it failed$"):
        list(running.driver.pipe(Role.TRACKING, argv, {}, None, threading.Event()))
    with pytest.raises(ConsoleError, match="no service in the role other"):
        list(running.driver.pipe(Role.OTHER, ["python"], {}, None, threading.Event()))


ENDLESS = (
    "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', "
    "'import time; time.sleep(600)', 'mark-of-{0}'])\n"
    "while True: sys.stdout.buffer.write(bytes(65536))"
)


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_nobody_reads_any_more_is_ended_with_what_it_has_started(
    running: Deployment, cancelled: bool
) -> None:
    mark = f"mark-of-{uuid.uuid4()}"
    cancel = threading.Event()
    argv = ["python", "-c", ENDLESS.replace("mark-of-{0}", mark)]
    pieces = running.driver.pipe(Role.TRACKING, argv, {}, None, cancel)
    next(pieces)
    assert named(mark)
    if cancelled:
        cancel.set()
        with pytest.raises(CancelledError):
            list(pieces)
    else:
        pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert named(mark) == []
    # And the engine has still time for others.
    assert running.stack.status().healthy


def named(mark: str) -> list[int]:
    """The processes of this machine, in containers too, with a word in their command line."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE and mark in " ".join(each.cmdline()):
                found.append(each.pid)
    return found


def test_what_a_backup_notes_of_it(running: Deployment) -> None:
    services = {each.name for each in running.driver.services() if each.role is not Role.JOB}
    versions = running.driver.versions()
    assert versions["tracking"] == "3.17.2"
    assert set(versions) == services
    images = running.driver.images()
    assert set(images) == (services | {"secrets", "bucket"} if len(services) > 1 else set())
    assert all("sha256:" in each for each in images.values())


def test_a_schema_that_is_up_to_date_stays_as_it_is(running: Deployment) -> None:
    before = running.database.revision()
    assert list(running.driver.migrate(threading.Event()))
    assert running.database.revision() == before


def test_maintenance_turns_everybody_away_and_says_why(running: Deployment) -> None:
    driver = running.driver
    if driver.direct() is None:  # no proxy that could answer
        driver.maintenance(True)
        assert http.get(driver.own_url + CALL, ALICE).status == 200
        return
    driver.maintenance(True)
    driver.maintenance(True)
    try:
        for path in ("/", "/health", CALL):
            for host in (None, "example.com"):
                answer = http.get(driver.own_url + path, ALICE, host=host)
                assert (answer.status, answer.headers["retry-after"]) == (503, "60")
                assert answer.body.startswith(b"This server is being restored from a backup")
        direct = driver.direct()
        assert direct is not None
        assert direct.ok
        status = running.stack.status()
        assert status.exit_code == 3
        assert status.findings[0].id == "maintenance"
    finally:
        driver.maintenance(False)
        driver.maintenance(False)
    assert http.get(driver.own_url + CALL, ALICE).status == 200
    assert running.stack.status().healthy


def test_restart_is_another_process_with_the_same_data(running: Deployment) -> None:
    before = tracking(running).started_at
    created = [each.created_at for each in running.experiments.list()]
    for _ in running.stack.restart(cancel=threading.Event()):
        pass
    after = tracking(running).started_at
    assert before
    assert after
    assert after > before
    assert running.stack.status().healthy
    assert [each.created_at for each in running.experiments.list()] == created


def test_two_at_the_same_time_start_it_once(deployment: Deployment) -> None:
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
    said = [child.communicate(timeout=200)[0] for child in children]
    # The second one waits for the first, and says so when that takes longer than ten seconds.
    codes = [child.returncode for child in children]
    assert 0 in codes
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "Another process is changing" in text, text
    assert deployment.stack.status().healthy


def test_down_leaves_nothing_and_down_again_finds_nothing(running: Deployment) -> None:
    ports = running.driver.ports
    deployments.down(running)
    assert all(port_is_free(port) for port in ports)
    deployments.down(running)
    now = tracking(running)
    assert (now.state, now.health, now.reason) == (State.STOPPED, Health.UNHEALTHY, "stopped")
    status = running.stack.status()
    assert (status.exit_code, status.stopped, status.healthy) == (4, True, False)
    assert [each.id for each in status.findings] == ["stopped"]
    assert running.users.list()

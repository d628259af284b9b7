"""What can go wrong with a deployment: one sentence, its remedy, its exit code, nothing lost."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from console.core import register, setup
from console.core.deployment import Deployment
from console.core.errors import (
    AccessError,
    CancelledError,
    ConsoleError,
    DiskFullError,
    NotOursError,
    SettingsError,
    UnreachableError,
)
from console.core.process import port_is_free
from console.core.secrets import Secret, read_secret
from console.core.stack import environment
from console.core.stack.driver import State
from console.core.stack.status import Status
from tests.support import deployments, machine, unavailable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

private = pytest.mark.xdist_group("faults")
"""One worker for those that start servers of their own: on two cores more would only wait."""

CREATE = """
import sys, threading
from pathlib import Path
from console.core import setup
from console.core.secrets import Secret
cancel = threading.Event()
chosen = setup.plan(Path(sys.argv[1]), port=None if len(sys.argv) < 3 else int(sys.argv[2]))
print("planned", flush=True)
for step in setup.create(chosen, ("alice", Secret("geheim")), cancel):
    print(step.label, flush=True)
"""
UP = """
import sys, threading
from console.core.deployment import Deployment
print("up", flush=True)
for step in Deployment.open(sys.argv[1]).stack.up(cancel=threading.Event()):
    print(step.label, flush=True)
"""


def kept(deployment: Deployment) -> dict[str, bytes]:
    """What must survive whatever happens: users, secret, settings."""
    paths = deployment.paths
    return {
        str(path): path.read_bytes()
        for path in (paths.users, paths.service_secret, paths.settings)
    }  # fmt: skip


def experiments(deployment: Deployment) -> set[str]:
    with sqlite3.connect(deployment.paths.database) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM experiments")}


def supervisors(directory: Path) -> list[int]:
    found = []
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or []
        if "mlflow_console_server" in words and str(directory) in words:
            found.append(each.pid)
    return found


# At `init`


def test_a_taken_port_names_who_has_it_and_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(NotOursError) as caught:
            setup.plan(tmp_path / "lab", port=port)
    error = caught.value
    name = psutil.Process().name()
    assert error.message == f"Port {port} is taken by {name} (process {os.getpid()})"
    assert error.hint.startswith("Leave --port out to get a free one (")
    assert error.exit_code == 1
    assert not (tmp_path / "lab").exists()


def test_a_full_disk_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    with machine.small_disk(tmp_path / "disk", "50m") as disk:
        with pytest.raises(DiskFullError) as caught:
            setup.plan(disk / "lab")
        assert list(disk.iterdir()) == []
    assert caught.value.message == (
        f"The MLflow server's environment needs 1.0 GB on the disk of {disk}/lab; 52 MB are free"
    )
    assert "another disk" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_disk_that_fills_up_on_the_way_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "NEEDED_BYTES", 1_000_000)
    monkeypatch.setenv("UV_LINK_MODE", "copy")
    with machine.small_disk(tmp_path / "disk", "40m") as disk:
        chosen = setup.plan(disk / "lab", port=deployments.free_port())
        with pytest.raises(DiskFullError) as caught:
            list(setup.create(chosen, ("alice", Secret("geheim")), threading.Event()))
        assert caught.value.message == (
            "The disk became full while the server's environment was made"
        )
        assert "goes on where it stopped" in caught.value.hint
        subprocess.run(["mount", "-o", "remount,size=2g", str(disk)], check=True)
        again = setup.plan(disk / "lab")
        assert (again.resumed, again.port) == (True, chosen.port)
        for _ in setup.create(again, ("alice", Secret("geheim")), threading.Event()):
            pass
        deployment = Deployment.open(str(disk / "lab"))
        assert setup.is_complete(deployment)
        assert {user.name for user in deployment.users.list()} == {"alice", "mlflow-console"}


def test_no_network_for_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = setup.plan(tmp_path / "lab", port=deployments.free_port())
    with monkeypatch.context() as offline:
        offline.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        offline.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
        offline.setenv("UV_HTTP_RETRIES", "0")
        offline.setenv("UV_HTTP_TIMEOUT", "2")
        with pytest.raises(UnreachableError) as caught:
            list(setup.create(chosen, None, threading.Event()))
    assert caught.value.message == (
        "The packages of the MLflow server cannot be fetched: no network, or no package index"
    )
    assert "HTTPS_PROXY" in caught.value.hint
    assert caught.value.exit_code == 4
    for _ in setup.create(setup.plan(tmp_path / "lab"), None, threading.Event()):
        pass
    assert setup.is_complete(Deployment.open(str(tmp_path / "lab")))


def test_somebody_elses_directory_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(NotOursError) as caught:
        setup.plan(tmp_path)
    assert caught.value.message == (
        f"{tmp_path} is not empty (it holds thesis.tex) and not a deployment"
    )
    assert caught.value.hint.endswith("nothing was changed.")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@private
def test_settings_that_cannot_be_used_lose_nothing(
    make_deployment: Callable[[str], Deployment],
) -> None:
    deployment = make_deployment("lab")
    path = deployment.paths.settings
    good = path.read_bytes()
    for text, words in (
        (good[: good.index(b"driver") + 9], "is not valid TOML"),
        (good + b"\n[colours]\nred = 1\n", "unknown field `colours`"),
        (good.replace(b"format = 1", b"format = 2"), "has format 2"),
    ):
        path.write_bytes(text)
        for call in (
            lambda: Deployment.open(str(deployment.directory)),
            lambda: setup.plan(deployment.directory),
        ):
            with pytest.raises(SettingsError, match=words) as caught:
                call()
            assert caught.value.message.startswith(str(path))
            assert caught.value.hint
        assert path.read_bytes() == text
    path.write_bytes(good)
    assert setup.is_complete(Deployment.open(str(deployment.directory)))


# What MLflow answers


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running deployment that these tests break and mend again."""
    directory = tmp_path_factory.mktemp("shared") / "lab"
    with deployments.ended(directory):
        deployment = deployments.create(directory, ("alice", Secret("geheim")))
        deployments.up(deployment)
        yield deployment


def opened(deployment: Deployment) -> Deployment:
    return Deployment.open(str(deployment.directory))


def only_finding(status: Status) -> tuple[str, str, str]:
    [finding] = status.findings
    return finding.id, finding.title, finding.fix


@private
def test_401_when_the_service_user_was_edited_away(answering: Deployment) -> None:
    before = kept(answering)
    users = answering.paths.users
    users.write_bytes(b"".join(
        line for line in users.read_bytes().splitlines(keepends=True)
        if not line.startswith(b"mlflow-console:")
    ))  # fmt: skip
    status = opened(answering).stack.status()
    assert only_finding(status) == (
        "api-unauthorized",
        "MLflow answers 401: the password of the service user mlflow-console is not accepted",
        "mlflow-console users renew",
    )
    assert (status.exit_code, status.api.http_status, status.healthy) == (3, 401, False)
    assert status.services[0].reason == status.api.error
    deployments.up(opened(answering))  # puts it back, with the password that it had
    assert opened(answering).stack.status().exit_code == 0
    assert kept(answering).keys() == before.keys()
    assert read_secret(answering.paths.service_secret).reveal().encode() in b"".join(
        before.values()
    )
    assert {user.name for user in answering.users.list()} == {"alice", "mlflow-console"}


@private
def test_401_when_the_password_was_changed_by_hand(answering: Deployment) -> None:
    users = answering.paths.users
    good = users.read_bytes()
    alice = next(line for line in good.splitlines() if line.startswith(b"alice:"))
    users.write_bytes(alice + b"\n" + alice.replace(b"alice:", b"mlflow-console:") + b"\n")
    deployment = opened(answering)
    assert deployment.stack.status().findings[0].id == "api-unauthorized"
    with pytest.raises(ConsoleError, match="MLflow answers 401") as caught:
        deployments.up(deployment)
    assert (caught.value.exit_code, caught.value.hint) == (
        1, "mlflow-console users renew",
    )  # fmt: skip
    deployment.users.renew()  # the remedy
    assert deployment.stack.status().exit_code == 0


@private
def test_junk_in_the_user_file_keeps_nobody_out(answering: Deployment) -> None:
    users = answering.paths.users
    good = users.read_bytes()
    users.write_bytes(b"\xff\xfe junk\n:\n\n# note\nno colon\n" + good + b"last line, cut")
    deployment = opened(answering)
    assert deployment.stack.status().exit_code == 0
    names = {user.name for user in deployment.users.list()}
    assert {"alice", "mlflow-console"} <= names
    assert len(deployment.users.notes()) >= 3
    users.write_bytes(good)


@private
def test_503_without_the_user_file(answering: Deployment) -> None:
    users = answering.paths.users
    good = users.read_bytes()
    users.unlink()
    status = opened(answering).stack.status()
    assert status.findings[0].id == "api-unavailable"
    assert "cannot read its user file" in status.api.error
    assert (status.exit_code, status.api.http_status) == (3, 503)
    users.write_bytes(good)
    assert opened(answering).stack.status().exit_code == 0


@private
def test_403_for_a_name_that_was_added_after_the_start(answering: Deployment) -> None:
    settings = answering.paths.settings
    good = settings.read_bytes()
    settings.write_bytes(good.replace(b"host_names = []", b'host_names = ["mlflow.lab"]'))
    assert settings.read_bytes() != good
    deployment = opened(answering)
    status = deployment.stack.status()
    assert only_finding(status) == (
        "api-host-rejected",
        "MLflow answers 403 to the host name mlflow.lab: it is not in its allowed hosts",
        "mlflow-console restart",
    )
    assert (status.exit_code, status.healthy) == (3, False)
    for _ in deployment.stack.restart(cancel=threading.Event()):  # the remedy
        pass
    assert deployment.stack.status().exit_code == 0
    settings.write_bytes(good)


@private
def test_503_when_a_table_of_the_database_is_gone(answering: Deployment) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    before = experiments(deployment)

    def rename(old: str, new: str) -> None:
        with contextlib.closing(sqlite3.connect(deployment.paths.database)) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("experiments", "elsewhere")
    try:
        check_database_failure(deployment, {500, 503})
    finally:
        rename("elsewhere", "experiments")
    assert deployment.stack.status().exit_code == 0
    assert experiments(deployment) == before


@private
def test_a_damaged_database_is_not_taken_for_another_program(answering: Deployment) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    before = experiments(deployment)
    database = deployment.paths.database
    deployments.down(deployment)
    good = database.read_bytes()
    deployments.up(deployment)
    try:
        with database.open("r+b") as file:
            file.write(b"not a database at all" * 100)
        status = deployment.stack.status()
        assert status.api.http_status in {400, 500}
        [finding] = status.findings
        assert (finding.id, finding.service) == ("database-refuses", "database")
        assert str(database) in finding.title
        assert "backup" in finding.fix
        assert "sqlite3" in finding.detail
        assert status.exit_code == 3
    finally:
        deployments.down(deployment)
        database.write_bytes(good)
    deployments.up(deployment)
    assert deployment.stack.status().exit_code == 0
    assert experiments(deployment) == before


@private
def test_a_database_that_is_gone_is_an_error_while_the_api_still_answers(
    answering: Deployment,
) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    aside = deployment.paths.database.with_name("aside")
    deployment.paths.database.rename(aside)
    try:
        status = deployment.stack.status()
        assert status.api.ok
        assert status.exit_code == 3
        assert only_finding(status) == (
            "database-missing",
            f"The database {deployment.paths.database} is gone; what is logged now will be lost",
            "put the file back while the server is stopped",
        )
    finally:
        aside.rename(deployment.paths.database)
    assert deployment.stack.status().exit_code == 0


def test_root_does_nothing_in_somebody_elses_deployment(
    make_deployment: Callable[[str], Deployment],
) -> None:
    if os.geteuid() != 0:
        unavailable("only root can be refused as root")
    deployment = make_deployment("lab")
    os.chown(deployment.directory, machine.NOBODY, machine.NOBODY)
    try:
        with pytest.raises(AccessError) as caught:
            Deployment.open(str(deployment.directory))
    finally:
        os.chown(deployment.directory, 0, 0)
    assert "sudo -u nobody mlflow-console --deployment " in caught.value.hint
    assert deployments.processes(deployment.directory) == []


@private
def test_a_changed_port_gets_no_password_and_a_taken_one_stops_nothing(
    answering: Deployment,
) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    good = deployment.paths.settings.read_text()
    port = min(deployment.driver.ports)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        deployment.paths.settings.write_text(good.replace(f"port = {port}", f"port = {taken}"))
        try:
            changed = opened(deployment)
            status = changed.stack.status()
            assert only_finding(status) == (
                "port-changed",
                f"The server still listens on port {port}, console.toml says {taken}",
                "mlflow-console restart",
            )
            assert status.exit_code == 4
            with pytest.raises(UnreachableError, match="still listens on port"):
                changed.experiments.list()
            with pytest.raises(NotOursError, match=f"Port {taken} is taken"):
                list(changed.stack.restart(cancel=threading.Event()))
            stranger.settimeout(0.2)
            with pytest.raises(TimeoutError):  # nobody ever called there
                stranger.accept()
        finally:
            deployment.paths.settings.write_text(good)
    assert opened(deployment).stack.status().exit_code == 0


@private
def test_a_stopped_servers_port_gets_no_password_from_us(answering: Deployment) -> None:
    deployment = opened(answering)
    deployments.down(deployment)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", min(deployment.driver.ports)))
        stranger.listen()
        assert deployment.stack.status().exit_code == 4
        with pytest.raises(UnreachableError, match="It is stopped"):
            deployment.experiments.list()
        stranger.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stranger.accept()
    deployments.up(deployment)


@private
def test_a_lost_service_user_comes_back_by_the_verb_that_status_names(
    answering: Deployment,
) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    name = deployment.settings.users.service_user
    lines = deployment.paths.users.read_bytes().splitlines(keepends=True)
    deployment.paths.users.write_bytes(
        b"".join(line for line in lines if not line.startswith(name.encode()))
    )
    status = deployment.stack.status()
    assert status.findings[0].fix == "mlflow-console users renew"
    deployment.users.renew()
    assert deployment.stack.status().exit_code == 0


def check_database_failure(deployment: Deployment, statuses: set[int]) -> None:
    status = deployment.stack.status()
    assert status.api.http_status in statuses
    assert only_finding(status) == (
        "api-error",
        f"MLflow answers {status.api.http_status}: something behind it fails, often the database",
        "mlflow-console logs",
    )
    assert "sqlite3" in status.findings[0].detail
    assert status.exit_code == 3


@private
def test_no_answer_at_all(answering: Deployment) -> None:
    deployment = opened(answering)
    deployments.up(deployment)
    pids = deployments.processes(deployment.directory)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        status = deployment.stack.status()
        assert time.monotonic() - began < 10
        name, title, fix = only_finding(status)
        assert name == "api-unreachable"
        assert title.startswith("MLflow does not answer: http://127.0.0.1:")
        assert title.endswith(" does not answer in time")
        assert fix == "mlflow-console restart"
        assert (status.exit_code, status.api.http_status) == (4, None)
        assert status.services[0].state is State.RUNNING
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert deployment.stack.status().exit_code == 0


@private
def test_somebody_else_on_the_port(make_deployment: Callable[[str], Deployment]) -> None:
    deployment = make_deployment("lab")
    port = min(deployment.driver.ports)
    before = kept(deployment)
    stranger = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=deployment.paths.logs,
    )  # fmt: skip
    try:
        while port_is_free(port):
            time.sleep(0.02)
        with pytest.raises(NotOursError) as caught:
            deployments.up(deployment)
        assert f"Port {port} is taken by " in caught.value.message
        assert f"(process {stranger.pid})" in caught.value.message
        assert str(deployment.paths.settings) in caught.value.hint
        assert caught.value.exit_code == 1
        assert stranger.poll() is None
        assert deployment.stack.status().exit_code == 4
    finally:
        stranger.kill()
        stranger.wait()
    assert kept(deployment) == before


# Interrupted


@private
def test_up_cancelled_at_each_step_and_done_again(
    make_deployment: Callable[[str], Deployment],
) -> None:
    deployment = make_deployment("lab")
    before = kept(deployment)
    shutil.rmtree(deployment.paths.server)
    for stop_at in ("fetching", "adding", "starting", "waiting"):
        cancel = threading.Event()
        with pytest.raises(CancelledError) as caught:
            up_until(deployment, stop_at, cancel)
        assert caught.value.exit_code == 130
        assert caught.value.hint
        assert kept(deployment) == before
    deployments.up(deployment)
    assert deployment.stack.status().exit_code == 0
    assert len(supervisors(deployment.directory)) == 1


def up_until(deployment: Deployment, label: str, cancel: threading.Event) -> None:
    for step in deployment.stack.up(cancel=cancel):
        if label in step.label:
            cancel.set()


@private
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_up_ended_by_a_signal_and_done_again(
    make_deployment: Callable[[str], Deployment], number: signal.Signals
) -> None:
    deployment = make_deployment("lab")
    before = kept(deployment)
    shutil.rmtree(deployment.paths.server)
    for stop_at in ("up", "making", "fetching", "starting", "waiting"):
        child = machine.python(UP, str(deployment.directory))
        assert child.stdout is not None
        for line in child.stdout:
            if stop_at in line:
                child.send_signal(number)
                break
        child.communicate(timeout=60)
        assert child.returncode in (-number, 1, 130)
        assert kept(deployment) == before
    deployments.up(deployment)
    assert deployment.stack.status().exit_code == 0
    assert len(supervisors(deployment.directory)) == 1


@private
def test_killed_at_any_moment_init_and_up_are_completed_by_the_next(tmp_path: Path) -> None:
    """Fifteen kills at random moments, then one call that runs to its end."""
    directory = tmp_path / "lab"
    port = str(deployments.free_port())
    with deployments.ended(directory):
        for attempt in range(15):
            init = attempt < 9
            script, arguments = (
                (CREATE, (str(directory), port)) if init else (UP, (str(directory),))
            )
            if init and (directory / "console.toml").exists():
                arguments = (str(directory),)
            child = machine.python(script, *arguments)
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(random.uniform(0, 1.5 if init else 4))  # noqa: S311  # no secret
            child.kill()
            child.communicate()
        finish(directory, port)
        deployment = Deployment.open(str(directory))
        assert str(min(deployment.driver.ports)) == port
        deployments.up(deployment)
        assert deployment.stack.status().exit_code == 0
        assert len(supervisors(directory)) == 1
        assert {user.name for user in deployment.users.list()} == {"alice", "mlflow-console"}
        assert directory in {each.directory for each in register.known()}
        assert "geheim" not in deployment.paths.audit.read_text()
        deployments.down(deployment)
        assert deployments.processes(directory) == []


def finish(directory: Path, port: str) -> None:
    """Complete `init` if the kills left anything of it to do."""
    if not (directory / "console.toml").exists():
        chosen = setup.plan(directory, port=int(port))
    elif not setup.is_complete(Deployment.open(str(directory))):
        chosen = setup.plan(directory)
    else:
        return
    for _ in setup.create(chosen, ("alice", Secret("geheim")), threading.Event()):
        pass

"""A real stack that breaks under a console that watches: the cause is named, and goes by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.stack.driver import Health, Role, Verb
from console.core.stack.status import Status
from console.core.streams import Stream
from tests.support import containers, deployments, engine, stacks
from tests.support.tmux import Tmux

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-watch"), pytest.mark.timeout(420)]

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))
CLI = [sys.executable, "-c", "from console.cli.main import run; run()"]
# What the console promises, and what a machine that is busy with other tests adds to it.
SOON, RECOVERY = 15.0, 120.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("watch") / "lab-watch"
    with stacks.stack(directory, ("alice", Secret("correct horse battery"))) as deployment:
        yield deployment


@pytest.fixture
def running(made: Deployment) -> Deployment:
    deployments.up(made)
    return Deployment.open(str(made.directory))


class Watch:
    """What a console that watches sees, one status after the other."""

    def __init__(self, stream: Stream[Status]) -> None:
        self._stream = stream

    def until(self, wanted: Callable[[Status], bool], seconds: float) -> Status:
        deadline = time.monotonic() + seconds
        for status in self._stream:
            if wanted(status):
                return status
            assert time.monotonic() < deadline, status
        raise AssertionError("the watch ended")

    def names(self, *ids: str) -> Status:
        """From now, when the cause is there: how long it took is printed (`pytest -rP`)."""
        began = time.monotonic()
        status = self.until(
            lambda status: not status.healthy and any(each.id in ids for each in status.findings),
            SOON,
        )
        print(f"{', '.join(ids)}: Home named it after {time.monotonic() - began:.1f} s")
        return status

    def recovers(self) -> None:
        self.until(lambda status: status.healthy, RECOVERY)


@contextmanager
def watched(deployment: Deployment) -> Iterator[Watch]:
    stream = deployment.stack.watch()
    try:
        watch = Watch(stream)
        watch.recovers()
        yield watch
    finally:
        stream.close()


def called(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[bytes]:
    """What the command line answers."""
    return subprocess.run(
        [*CLI, "--deployment", str(deployment.directory), *words], check=False,
        capture_output=True, timeout=60,
    )  # fmt: skip


def told(deployment: Deployment) -> tuple[int, dict[str, str]]:
    """The exit code of `status --json`, and its findings: id to title."""
    began = time.monotonic()
    done = called(deployment, "status", "--json")
    print(f"status --json: exit code {done.returncode} "
          f"after {time.monotonic() - began:.1f} s")  # fmt: skip
    found = json.loads(done.stdout)
    return done.returncode, {each["id"]: each["title"] for each in found["findings"]}


def answered(deployment: Deployment) -> None:
    """Wait until the tracking server is there, whatever it is wrong about."""

    def asked() -> bool:
        socket = str(containers.tracking_socket(deployment.directory))
        words = ["curl", "-s", "--max-time", "5", "--unix-socket", socket]
        done = subprocess.run([*words, "http://localhost/health"], check=False, capture_output=True)
        return done.returncode == 0

    engine.wait_until(asked, RECOVERY, "the tracking server answers")


@contextmanager
def overridden(deployment: Deployment, service: str, text: str) -> Iterator[None]:
    """One service made anew as an override wants it; afterwards as it was.

    Args:
        deployment: Whose.
        service: Its name.
        text: The override, in YAML or JSON.
    """
    override = deployment.directory / "compose.override.yaml"
    up = ("up", "--detach", "--no-deps", service)
    override.write_text(text)
    try:
        stacks.compose(deployment.directory, *up)
        yield
    finally:
        override.unlink()
        stacks.compose(deployment.directory, *up)


def container(deployment: Deployment, service: str) -> str:
    return stacks.compose(deployment.directory, "ps", "--all", "--quiet", service).strip()


def test_a_database_that_is_stopped(running: Deployment) -> None:
    with watched(running) as watch:
        engine.docker("stop", container(running, "database"))
        status = watch.names("service-ended")
        assert status.findings[0].title == "database: stopped"
        code, found = told(running)
        assert code in (3, 4)  # it hangs on its way to the database, or says so
        assert "database" in found["service-ended"]
        engine.docker("start", container(running, "database"))
        watch.recovers()
    assert told(running) == (0, {})


def test_a_store_whose_volume_is_full(running: Deployment) -> None:
    name = container(running, "store")
    override = running.directory / "compose.override.yaml"
    override.write_text(
        "services: {store: {volumes: [small:/data]}}\n"
        "volumes: {small: {driver_opts: {type: tmpfs, device: tmpfs, o: size=64m}}}\n"
    )
    try:
        deployments.up(running)
        with watched(running) as watch:
            name = container(running, "store")
            filler = "dd if=/dev/zero of=/data/filler bs=1M count=80 2>/dev/null; true"
            engine.docker("exec", name, "sh", "-c", filler)
            status = watch.names("disk-full")
            assert any(each.service == "store" for each in status.findings)
            code, found = told(running)
            assert code == 3
            assert found["disk-full"] == "store: its disk is full, nothing can be written"
            engine.docker("exec", name, "rm", "/data/filler")
            watch.recovers()
    finally:
        [small] = [each.name for each in running.driver.volumes() if each.name.endswith("_small")]
        override.unlink()
        deployments.up(running)
        engine.docker("volume", "rm", small)


def test_a_wrong_list_of_hosts(running: Deployment) -> None:
    wrong = "services: {tracking: {environment: {VIRTUAL_HOST: wrong.example}}}\n"
    with watched(running) as watch:
        with overridden(running, "tracking", wrong):
            answered(running)
            watch.names("api-host-rejected")
            code, found = told(running)
            assert code == 3
            assert "not in its allowed hosts" in found["api-host-rejected"]
        watch.recovers()


def test_keys_that_the_store_refuses(running: Deployment) -> None:
    other = (
        "services: {store: {entrypoint: [sh, -c, 'unset MINIO_ROOT_PASSWORD_FILE; exec "
        "minio server /data'], environment: {MINIO_ROOT_PASSWORD: another-secret}}}\n"
    )
    with watched(running) as watch:
        with overridden(running, "store", other):
            watch.names("store-refuses")
            code, found = told(running)
            assert code == 3
            assert "store-refuses" in found
        watch.recovers()


def test_an_older_schema_under_a_newer_mlflow(running: Deployment) -> None:
    sql = "mysql -umlflow -p$(cat /run/stack-secrets/database-password) mlflow -Ne"

    def ask(statement: str) -> str:
        said = engine.docker("exec", container(running, "database"), "sh", "-c",
                             f'{sql} "{statement}"')  # fmt: skip
        return said.strip()

    with watched(running) as watch:
        newest = ask("select version_num from alembic_version")
        ask("update alembic_version set version_num = 'bf29a5ff90ea'")
        try:
            name = container(running, "tracking")
            began = f"{time.time():.0f}"
            engine.docker("restart", name)
            words = ["docker", "logs", "--since", began, name]
            engine.wait_until(lambda: "out-of-date" in subprocess.run(
                words, check=False, capture_output=True, text=True).stderr, RECOVERY)  # fmt: skip
            watch.names("schema-mismatch")
            code, found = told(running)
            assert code in (3, 4)
            assert "schema of another MLflow" in found["schema-mismatch"]
        finally:
            ask(f"update alembic_version set version_num = '{newest}'")  # noqa: S608  # read above
        watch.recovers()


def limit(name: str, memory: str) -> None:
    """Set a container's limit; while it holds more, or starts again, the engine refuses."""
    words = ["docker", "update", "--memory", memory, "--memory-swap", memory, name]
    engine.wait_until(
        lambda: subprocess.run(words, check=False, capture_output=True).returncode == 0, 60
    )


def test_a_container_that_runs_out_of_memory(running: Deployment) -> None:
    with watched(running) as watch:
        name = container(running, "proxy")
        limit(name, "64m")
        try:
            # Whatever eats the memory, the kernel kills in this container alone.
            subprocess.run(["docker", "exec", name, "sh", "-c", "head -c 200m /dev/zero | tail"],
                           check=False, capture_output=True, timeout=60)  # fmt: skip
            status = watch.until(lambda now: any(each.oom_killed_at for each in now.services), SOON)
            [killed] = [each for each in status.services if each.oom_killed_at]
            assert killed.role is Role.PROXY
            _, found = told(running)
            assert any("memory ran out" in title for title in found.values())
        finally:
            limit(name, "2g")
        watch.recovers()
        # Made anew, it is another one, of which nothing was killed.
        stacks.compose(running.directory, "up", "--detach", "--force-recreate", "--no-deps",
                       "--wait", "proxy")  # fmt: skip
        watch.recovers()
        assert told(running) == (0, {})


def test_a_server_that_does_not_fit_into_its_memory(running: Deployment) -> None:
    little = "services: {tracking: {mem_limit: 120m, memswap_limit: 120m}}\n"
    with watched(running) as watch:
        with overridden(running, "tracking", little):
            name = container(running, "tracking")
            restarts = ["inspect", "--format", "{{.RestartCount}}", name]
            engine.wait_until(lambda: int(engine.docker(*restarts)), RECOVERY)
            status = watch.names("service-ended", "starting")
            tracking = next(each for each in status.services if each.role is Role.TRACKING)
            assert tracking.oom_killed_at
            code, found = told(running)
            assert code in (3, 4)
            assert any("memory ran out" in title for title in found.values()), found
        watch.recovers()


def test_a_container_that_is_killed_comes_back_with_its_reason(running: Deployment) -> None:
    with watched(running) as watch:
        engine.docker("kill", container(running, "store"))
        status = watch.names("service-ended")
        assert "store" in status.findings[0].title
        assert "killed" in status.findings[0].title
        engine.docker("start", container(running, "store"))
        watch.recovers()


def test_statistics_of_every_service_that_runs(running: Deployment) -> None:
    stream = running.stack.statistics()
    try:
        for samples in stream:
            known = {each.service: each for each in samples}
            if {"tracking", "database", "store", "proxy"} <= set(known) and all(
                each.cpu_percent is not None for each in samples
            ):
                break
    finally:
        stream.close()
    assert all(each.memory_bytes and each.processes for each in known.values())
    assert all(each.received is not None and each.log_bytes for each in known.values())
    assert "bucket" not in known


def test_a_closer_look_shows_checks_and_no_secret(running: Deployment) -> None:
    found = running.stack.inspect("tracking")
    assert found.checks
    assert found.checks[-1].exit_code == 0
    assert found.checks[-1].output.startswith("200 ")
    assert ("/run/tracking", f"volume {running.driver.volumes()[0].name.rpartition('_')[0]}"
            "_tracking") in found.mounts  # fmt: skip
    secrets = [line.partition("=")[2] for line in (running.directory / ".env").read_text().split()
               if "PASSWORD" in line or "SECRET_KEY" in line]  # fmt: skip
    said = found.raw + repr(running.stack.inspect("secrets"))
    assert secrets
    assert not any(secret and secret in said for secret in secrets)


def test_one_service_is_restarted_and_jobs_are_left_alone(running: Deployment) -> None:
    before = {each.name: each.started_at for each in running.driver.services(measure=False)}
    for _ in running.stack.restart(["proxy"], cancel=threading.Event()):
        pass
    after = {each.name: each for each in running.driver.services(measure=False)}
    assert [name for name in before if after[name].started_at != before[name]] == ["proxy"]
    for _ in running.driver.act(Verb.RESTART, (), threading.Event()):
        pass
    again = {each.name: each for each in running.driver.services(measure=False)}
    jobs = [name for name, each in again.items() if each.role is Role.JOB]
    assert all(again[name].started_at == before[name] for name in jobs)
    assert all(each.health is Health.HEALTHY for each in again.values())


def test_an_action_goes_on_when_its_terminal_is_gone(running: Deployment) -> None:
    before = {each.name: each.started_at for each in running.driver.services(measure=False)}
    caller = subprocess.Popen(
        [*CLI, "--deployment", str(running.directory), "--yes", "restart", "store"],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    engine.wait_until(lambda: running.stack.current() is not None, 60, "the action begins")
    caller.kill()
    caller.wait()
    other = Deployment.open(str(running.directory))
    action = other.stack.current()
    assert action is not None
    assert (action.operation, action.services) == ("stack.restart", ("store",))
    assert [step.label for step in other.stack.follow(action, threading.Event())]
    after = {each.name: each for each in other.driver.services(measure=False)}
    assert after["store"].started_at != before["store"]
    assert after["store"].health is Health.HEALTHY
    assert other.stack.current() is None


def test_the_volumes_are_listed_and_go_only_by_name(tmp_path: Path) -> None:
    with stacks.stack(tmp_path / "gone") as deployment:
        deployments.up(deployment)
        names = {each.name for each in deployment.stack.volumes()}
        assert {name.rpartition("_")[2] for name in names} == {
            "secrets", "database", "store", "tracking",
        }  # fmt: skip
        said = [*CLI, "--deployment", str(deployment.directory), "down", "--volumes"]
        refused = subprocess.run(said, check=False, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 2
        assert all(name in refused.stderr for name in names)
        assert set(engine.docker("volume", "ls", "--quiet").split()) >= names
        done = subprocess.run([*said, "--confirm", deployment.name], check=False, timeout=120,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not set(engine.docker("volume", "ls", "--quiet").split()) & names


def test_an_engine_that_stops_and_comes_back(
    tmp_path: Path, second_engine: engine.OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", second_engine.address)
    with stacks.stack(tmp_path / "lab") as made:
        deployments.up(made)
        with watched(made) as watch:
            second_engine.stop()
            status = watch.names("engine-unreachable")
            assert status.exit_code == 4
            code, found = told(made)
            assert code == 4
            assert found["engine-unreachable"].startswith("The Docker engine is not running")
            # What needs no engine goes on.
            assert [each.name for each in made.users.list()] == ["mlflow-console"]
            second_engine.start()
            watch.recovers()
        assert told(made) == (0, {})


def test_a_docker_context_is_followed(
    tmp_path: Path, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    address = "unix:///var/run/docker.sock"
    for words in (["create", "there", "--docker", f"host={address}"],
                  ["create", "nowhere", "--docker", "host=unix:///nonexistent/docker.sock"],
                  ["use", "there"]):  # fmt: skip
        engine.docker("context", *words)
    code, found = told(running)
    assert (code, found) == (0, {})
    engine.docker("context", "use", "nowhere")
    code, found = told(running)
    assert code == 4
    assert "/nonexistent/docker.sock" in found["engine-unreachable"]


HOSTILE = (
    "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x9b31m[bold red]\u202eevil\u2066"
    + "long " * 2_000
)
# What of it a terminal would act on, as it would be written.
HARMFUL = [each.encode() for each in ("\x1b]0;", "\x1b]52;", "\x9b", "\u202e", "\u2066")]


def test_what_a_container_says_of_itself_is_harmless(running: Deployment, tmp_path: Path) -> None:
    said = HOSTILE.replace("$", "$$")
    hostile = {
        "image": engine.images()["PROXY_IMAGE"],
        "entrypoint": ["sh", "-c", 'while sleep 1; do printf "%s\\n" "$$HOSTILE"; done'],
        "environment": {"HOSTILE": said},
        "labels": {"hostile": said, said[:60]: "x"},
        "healthcheck": {
            "test": ["CMD-SHELL", 'printf "%s" "$$HOSTILE"; exit 1'],
            "interval": "1s", "retries": 1,
        },
        "stop_grace_period": "0s",
    }  # fmt: skip
    override = running.directory / "compose.override.yaml"
    override.write_text(json.dumps({"services": {"hostile": hostile}}))
    record = tmp_path / "terminal"
    try:
        stacks.compose(running.directory, "up", "--detach", "hostile")
        command = [CONSOLE, "--deployment", str(running.directory)]
        env = {"HOME": os.environ["HOME"]}
        with Tmux(command, env, 200, 50) as terminal:
            terminal.record(record)
            terminal.wait_for("1 Home", "hostile")
            terminal.send("2")
            terminal.wait_for("hostile", "unhealthy")
            terminal.send("Home")  # what is broken stands first
            for tab, shown in (
                ("Logs", "[bold red]"), ("Details", "unhealthy"), ("Health checks", "[bold red]"),
                ("Environment", "HOSTILE"), ("Mounts", "None"), ("Inspect", '"Health"'),
            ):  # fmt: skip
                terminal.wait_for(tab, shown)
                terminal.send("t")
            terminal.send("l")
            terminal.wait_for("[bold red]", "evil")
        done = called(running, "logs", "hostile")
        assert done.returncode == 0
        told_of = called(running, "status", "--json")
    finally:
        stacks.compose(running.directory, "rm", "--force", "--stop", "hostile")
        override.unlink()
    assert b"evil" in done.stdout
    assert b"hostile" in told_of.stdout
    for written in (record.read_bytes(), done.stdout, told_of.stdout):
        assert [each for each in HARMFUL if each in written] == []

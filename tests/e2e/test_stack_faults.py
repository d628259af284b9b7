"""What can go wrong with a stack on Docker: one sentence, its remedy, its code, nothing lost."""

from __future__ import annotations

import contextlib
import grp
import importlib
import os
import pkgutil
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.core import engine as door
from console.core import setup
from console.core.deployment import Deployment
from console.core.errors import (
    AccessError,
    ConsoleError,
    DiskFullError,
    NotOursError,
    UnreachableError,
)
from console.core.experiments.client import rest_store_class
from console.core.secrets import Secret
from console.core.stack import compose_setup
from console.core.stack.driver import Role
from tests.support import deployments, engine, machine, stacks
from tests.support.deployments import free_port
from tests.support.rootless import rootless

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-faults"), pytest.mark.timeout(300)]

ALICE = ("alice", Secret("correct horse battery"))
CLI = [sys.executable, "-c", "from console.cli.main import run; run()"]


def refused(kind: type[ConsoleError], code: int, call: Callable[[], object]) -> ConsoleError:
    """The error of a call: one sentence, a remedy, its exit code."""
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert "\n" not in error.message
    assert error.hint
    assert error.exit_code == code
    return error


def plan(directory: Path) -> setup.Plan:
    return setup.plan(directory, "compose", port=free_port(), tls_port=free_port())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack that each test takes as it finds it."""
    directory = tmp_path_factory.mktemp("faults") / "lab"
    with stacks.stack(directory, ALICE) as made:
        yield made


@pytest.fixture
def running(stack: Deployment) -> Deployment:
    """It, running; opened anew, as another console would."""
    deployments.up(stack)
    return Deployment.open(str(stack.directory))


@pytest.fixture
def environment(stack: Deployment) -> Iterator[Path]:
    """Its .env, put back afterwards."""
    path = stack.directory / ".env"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def set_value(path: Path, name: str, value: str) -> None:
    with path.open("a") as file:
        file.write(f"{name}={value}\n")


# Docker itself


def test_no_docker(tmp_path: Path, stack: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(UnreachableError, 4, lambda: plan(tmp_path / "new"))
    assert error.message == "Docker is not installed: there is no docker command"
    assert "--driver embedded" in error.hint
    again = Deployment.open(str(stack.directory))
    refused(UnreachableError, 4, lambda: deployments.up(again))
    assert not (tmp_path / "new").exists()


def test_no_engine(tmp_path: Path, stack: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    again = Deployment.open(str(stack.directory))
    for call in (
        lambda: plan(tmp_path / "new"), lambda: deployments.up(again),
        lambda: list(again.stack.logs()), lambda: stacks.run_in(again, Role.TRACKING, ["true"]),
    ):  # fmt: skip
        with pytest.raises(ConsoleError) as caught:
            call()
        assert "engine" in caught.value.message.lower() or "daemon" in caught.value.message
    status = again.stack.status()  # a script reads it whatever happens
    assert status.exit_code == 4
    [finding] = status.findings
    assert finding.title == f"The Docker engine is not running (unix://{tmp_path}/none.sock)"
    assert "systemctl start docker" in finding.fix
    again.users.add("without-engine", Secret("needs no engine"))  # what needs none goes on


def test_no_right_to_the_engine(stack: Deployment) -> None:
    import_all()
    with machine.common_folder() as folder:
        os.chown(folder, machine.NOBODY, machine.NOBODY)
        error = refused(
            AccessError, 1, lambda: machine.as_nobody(lambda: plan(folder / "new"))
        )  # fmt: skip
    assert error.message.startswith("This account may not use the Docker engine (unix://")
    assert "group docker" in error.hint


@pytest.mark.parametrize(
    ("says", "message", "code"),
    [("echo 2.3.3; exit 0", "Docker Compose 2.3 is too old: 2.20 or newer is needed", 1),
     ("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1",
      "Docker Compose is missing: `docker compose` is not known here", 4)],
)  # fmt: skip
def test_compose_that_cannot_be_used(
    says: str, message: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.require_engine()
    real = shutil.which("docker")
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\n[ "$1" = compose ] && {{ {says}; }}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    error = refused(ConsoleError, code, lambda: plan(tmp_path / "new"))
    assert error.message == message
    assert "docker-compose-plugin" in error.hint


# The project


@pytest.mark.parametrize("image", ["mlflow-console-test/nope:1", "nope.invalid/nope:1"])
def test_an_image_that_is_not_there(image: str, stack: Deployment, environment: Path) -> None:
    set_value(environment, "STORE_IMAGE", image)
    error = refused(UnreachableError, 4, lambda: deployments.up(stack))
    assert error.message.startswith(f"The image {image} cannot be fetched: ")
    assert "docker load" in error.hint


def test_a_port_that_is_taken(stack: Deployment) -> None:
    stacks.compose(stack.directory, "down")
    port = sorted(stack.driver.ports)[0]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        error = refused(NotOursError, 1, lambda: deployments.up(stack))
    assert error.message.startswith(f"Port {port} is taken by ")
    assert "is free" in error.hint


def test_a_copy_of_the_folder_touches_nothing(running: Deployment, tmp_path: Path) -> None:
    shutil.copytree(running.directory, tmp_path / "copy")
    copy = Deployment.open(str(tmp_path / "copy"))
    for call in (lambda: deployments.up(copy),
                 lambda: list(copy.stack.down(cancel=threading.Event())),
                 copy.stack.status):  # fmt: skip
        error = refused(NotOursError, 1, call)
        assert error.message.endswith(f"belongs to {running.directory}")
    assert running.stack.status().healthy


def test_a_folder_of_another_project(tmp_path: Path) -> None:
    engine.require_engine()
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    error = refused(NotOursError, 1, lambda: plan(tmp_path))
    assert "compose.yaml" in error.message
    assert (tmp_path / "compose.yaml").read_text() == "services: {}\n"


def test_a_name_that_docker_knows_gets_a_number(running: Deployment, tmp_path: Path) -> None:
    second = plan(tmp_path / running.directory.name)
    assert any(re.search(r"project lab-\d+,", step) for step in second.steps)


def test_an_environment_file_that_is_cut_short(stack: Deployment, environment: Path) -> None:
    set_value(environment, "DATABASE_PASSWORD", '"secret in an open quote')
    again = Deployment.open(str(stack.directory))
    error = refused(ConsoleError, 1, again.stack.status)
    assert error.message == f"Compose cannot read {environment}"
    assert "secret" not in error.message + error.hint
    assert "docker compose config" in error.hint


def test_every_way_to_write_a_value(tmp_path: Path) -> None:
    """Quotes, `$`, spaces and several lines, in what the services log in with."""
    with stacks.stack(tmp_path / "odd", ALICE) as odd:
        path = odd.directory / ".env"
        set_value(path, "DATABASE_PASSWORD", "'p@ss w:rd/$HOME%41 #\"x'")
        set_value(path, "STORE_SECRET_KEY", '"a b\\$c#d+/=e f"')
        set_value(path, "NOTE", '"-----BEGIN X-----\nline $$two\n-----END X-----"')
        set_value(path, "export SPOKEN", "'it has $dollars and \"quotes\"'")
        deployments.up(odd)
        assert odd.stack.status().healthy
        store, base = odd.driver.artifact_store(), odd.driver.backend_store()
        assert base.password.reveal() == 'p@ss w:rd/$HOME%41 #"x'  # type: ignore[union-attr]
        assert store.secret_key.reveal() == "a b$c#d+/=e f"  # type: ignore[union-attr]
        assert [each.runs for each in odd.experiments.list()] == [0]
        assert list(odd.storage.usage(cancel=threading.Event()))[-1].complete


# What was left in ruins


SQL = """
import sys, pymysql
sys.path.insert(0, "/opt/stack")
from tracking import secret
cursor = pymysql.connect(host="database", user="mlflow", password=secret("database-password"),
                         database="mlflow", autocommit=True).cursor()
for statement in sys.argv[1:]:
    cursor.execute(statement)
print(*(row[0] for row in cursor.fetchall()), sep="\\n")
"""


def sql(stack: Deployment, *statements: str) -> list[str]:
    """The first column of the last statement's answer, as MLflow's own account."""
    return stacks.run_in(stack, Role.TRACKING, ["python", "-c", SQL, *statements])


def test_a_database_that_was_half_migrated(tmp_path: Path) -> None:
    with stacks.stack(tmp_path / "half", ALICE) as half:
        deployments.up(half)
        sql(half, "SET foreign_key_checks = 0", "DELETE FROM alembic_version", "DROP TABLE metrics",
            "DROP TABLE tags")  # fmt: skip
        stacks.compose(half.directory, "down")
        error = refused(ConsoleError, 1, lambda: deployments.up(half))
        assert error.message.startswith("The database was left half migrated")
        assert "dump" in error.hint
        # Again, in the words of the second start.
        error = refused(ConsoleError, 1, lambda: deployments.up(half))
        assert "another MLflow" in error.message or "half migrated" in error.message


def test_a_database_of_another_version_and_its_migration(running: Deployment) -> None:
    [head] = sql(running, "SELECT version_num FROM alembic_version")
    sql(running, "UPDATE alembic_version SET version_num = 'abcdef123456'")
    stacks.compose(running.directory, "down")
    error = refused(ConsoleError, 1, lambda: deployments.up(running))
    assert error.message == (
        "The database has the schema of another MLflow (revision abcdef123456, this one wants "
        f"{head})"
    )
    status = running.stack.status()
    assert status.exit_code == 3
    assert status.findings[0].service == "tracking"
    stacks.compose(
        running.directory, "run", "--rm", "tracking", "python", "-c", SQL,
        f"UPDATE alembic_version SET version_num = '{head}'",  # noqa: S608  # of our own making
    )  # fmt: skip
    stacks.compose(
        running.directory, "run", "--rm", "tracking", "python", "/opt/stack/prepare.py", "migrate"
    )
    deployments.up(running)
    assert running.stack.status().healthy


def test_a_store_that_lost_its_bucket(running: Deployment) -> None:
    script = (
        "import boto3, sys\nsys.path.insert(0, '/opt/stack')\nfrom tracking import environment\n"
        "e = environment()\ns = boto3.resource('s3', endpoint_url=e['MLFLOW_S3_ENDPOINT_URL'],"
        " aws_access_key_id=e['AWS_ACCESS_KEY_ID'],"
        " aws_secret_access_key=e['AWS_SECRET_ACCESS_KEY'])\n"
        "b = s.Bucket('mlflow'); b.objects.all().delete(); b.delete()\n"
    )
    stacks.run_in(running, Role.TRACKING, ["python", "-c", script])
    status = running.stack.status()
    assert status.exit_code == 3
    [finding] = status.findings
    assert finding.title == "The artifact store has lost its bucket mlflow"
    assert "mlflow-console up" in finding.fix
    refused(ConsoleError, 1, lambda: list(running.storage.usage(cancel=threading.Event())))
    deployments.up(running)
    assert running.stack.status().healthy


# Disks


def test_a_full_disk_at_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.require_engine()
    monkeypatch.setattr(compose_setup, "NEEDED_BYTES", 0)
    with machine.small_disk(tmp_path / "small", "1m") as disk:
        chosen = plan(disk / "lab")
        ballast = machine.fill(disk, 60_000)
        error = refused(
            DiskFullError, 1, lambda: list(setup.create(chosen, ALICE, threading.Event()))
        )
        assert error.message.startswith("The disk that holds ")
        ballast.unlink()
        list(setup.create(plan(disk / "lab"), ALICE, threading.Event()))
        made = Deployment.open(str(disk / "lab"))
        assert [user.name for user in made.users.list()] == ["mlflow-console", "alice"]
        assert made.driver.complete


def test_too_little_room_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    engine.require_engine()
    with machine.small_disk(tmp_path / "small", "1m") as disk:
        refused(DiskFullError, 1, lambda: plan(disk / "lab"))
        assert list(disk.iterdir()) == []


def test_a_full_disk_under_the_database(tmp_path: Path) -> None:
    with (
        machine.small_disk(tmp_path / "small", "40m") as disk,
        stacks.stack(tmp_path / "full", ALICE) as full,
    ):
        disk.chmod(0o777)
        set_value(full.directory / ".env", "DATABASE_DATA", str(disk))
        error = refused(DiskFullError, 1, lambda: deployments.up(full))
        assert error.message == "database: its disk is full"


# Interrupted


def test_ctrl_c_in_up_at_any_second_and_again(tmp_path: Path) -> None:
    rng = random.Random(4)  # noqa: S311  # moments, no secrets
    with stacks.stack(tmp_path / "lab", ALICE) as made:
        users = made.paths.users.read_bytes()
        settings = (made.directory / ".env").read_bytes()
        for seconds in [0.3, *(rng.uniform(0.3, 14) for _ in range(5))]:
            child = subprocess.Popen(
                [*CLI, "--deployment", str(made.directory), "up"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            time.sleep(seconds)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
            assert child.returncode in (0, 130), (seconds, out, err)
            assert "Traceback" not in err
            if child.returncode == 130 and seconds > 2:
                assert "goes on" in err, err
        deployments.up(made)
        assert made.stack.status().healthy
        assert made.paths.users.read_bytes() == users
        assert (made.directory / ".env").read_bytes() == settings


def test_killed_in_init_and_in_up_and_again(tmp_path: Path) -> None:
    engine.require_engine()
    directory = tmp_path / "lab"
    rng = random.Random(7)  # noqa: S311  # moments, no secrets
    argv = [*CLI, "init", str(directory), "--driver", "compose", "--user", "alice",
            "--port", str(free_port()), "--tls-port", str(free_port()),
            "--password-stdin"]  # fmt: skip
    for _ in range(12):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert child.stdin is not None
        child.stdin.write("correct horse\n")
        child.stdin.close()
        try:
            child.wait(rng.uniform(0.4, 1.6))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        else:
            break
    done = subprocess.run(
        argv, input="correct horse\n", text=True, capture_output=True, check=False
    )
    assert done.returncode == 0 or "already holds the deployment" in done.stderr, done.stderr
    made = Deployment.open(str(directory))
    stacks.add_images(directory)
    try:
        up = subprocess.Popen([*CLI, "--deployment", str(directory), "up"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(4)
        up.kill()
        up.wait()
        # What it had begun goes on by itself; the same again follows it.
        for _ in made.stack.perform("stack.up", (), threading.Event()):
            pass
        assert made.stack.status().healthy
        assert [user.name for user in made.users.list()] == ["mlflow-console", "alice"]
    finally:
        stacks.remove(directory)


# Accounts


def test_as_a_member_of_the_group_docker(tmp_path: Path) -> None:
    engine.require_engine()
    socket_path = door.address().removeprefix("unix://")
    group = os.stat(socket_path).st_gid
    if group == 0:
        group = grp.getgrnam("docker").gr_gid
    import_all()
    with machine.common_folder() as folder:
        os.chown(folder, machine.NOBODY, machine.NOBODY)
        directory = folder / "lab"

        def member() -> tuple[bool, int, dict[str, int]]:
            os.environ["HOME"] = str(folder)
            for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
                os.environ[name] = str(folder / name)
            with stacks.stack(directory, ALICE) as made:
                deployments.up(made)
                status = made.stack.status()
                modes = {
                    name: (directory / name).stat().st_mode & 0o777
                    for name in ("", ".env", "htpasswd", "htpasswd/default", "secrets/service-user")
                }
                return status.healthy, (directory / ".env").stat().st_uid, modes

        healthy, owner, modes = machine.as_nobody(member, [group])
    assert healthy
    assert owner == machine.NOBODY
    assert modes == {"": 0o700, ".env": 0o600, "htpasswd": 0o755, "htpasswd/default": 0o644,
                     "secrets/service-user": 0o600}  # fmt: skip


def import_all() -> None:
    """Import whatever is imported on first use: another account cannot read the checkout."""
    import resource  # noqa: F401

    for package in ("console.core", "docker", "minio", "pymysql"):
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            with contextlib.suppress(ImportError):  # of what is for other systems
                importlib.import_module(module.name)
    rest_store_class()


def test_on_a_rootless_engine() -> None:
    import_all()
    with rootless() as found:
        directory = found.home / "lab"

        def owner() -> tuple[bool, int, int, bool]:
            os.environ |= {"HOME": str(found.home), "DOCKER_HOST": found.address}
            for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
                os.environ[name] = str(found.home / name)
            with stacks.stack(directory, ALICE) as made:
                deployments.up(made)
                status = made.stack.status()
                walked = list(made.storage.usage(cancel=threading.Event()))[-1]
                [only] = made.experiments.list()
                modes = {
                    (directory / name).stat().st_mode & 0o777
                    for name in (".env", "secrets/service-user")
                }
                private = modes == {0o600} and directory.stat().st_mode & 0o777 == 0o700
                return status.healthy and walked.complete, status.exit_code, only.runs or 0, private

        assert machine.as_nobody(owner, account=found.uid) == (True, 0, 0, True)

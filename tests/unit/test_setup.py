"""The plan of `init`: everything that can be refused is refused before the first byte."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil  # noqa: F401  # before another account, which cannot read the checkout, needs it
import pytest

from console.core import audit, ports, process, register, settings, setup
from console.core.deployment import Deployment
from console.core.errors import (
    AccessError,
    CancelledError,
    ConsoleError,
    DiskFullError,
    NotOursError,
    SettingsError,
    UsageError,
)
from console.core.secrets import Secret, read_secret
from console.core.stack import environment
from console.core.users.service import UsersService
from tests.support import deployments, machine

ALICE = ("alice", Secret("geheim"))


def refused(kind: type[ConsoleError], call: Callable[[], object]) -> ConsoleError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def create(chosen: setup.Plan, cancel: threading.Event | None = None) -> list[str]:
    steps = setup.create(chosen, ALICE, cancel or threading.Event())
    return [step.label for step in steps]


def test_a_plan_changes_nothing(tmp_path: Path, home: Path) -> None:
    plan = setup.plan(tmp_path / "a" / "my lab", port=deployments.free_port())
    assert (plan.directory, plan.name, plan.resumed) == (tmp_path / "a" / "my lab", "my-lab", False)
    assert plan.planned.settings.server is not None
    assert any(f"port {plan.port}" in step for step in plan.steps)
    assert list(tmp_path.iterdir()) == []
    assert list(home.iterdir()) == []


def test_without_a_port_a_free_one_is_picked(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if process.port_is_free(ports.USUAL):
            taken.bind(("127.0.0.1", ports.USUAL))
            taken.listen()
        plan = setup.plan(tmp_path / "lab")
    assert plan.port > ports.USUAL


@pytest.mark.parametrize(
    ("name", "called"),
    [("lab", "lab"), ("Mein Labor ☺", "Mein-Labor"), ("..x", "x"), ("☺", "mlflow"),
     ("x" * 100, "x" * 63), ("-a_", "a")],
)  # fmt: skip
def test_a_name_from_any_directory(tmp_path: Path, name: str, called: str) -> None:
    plan = setup.plan(tmp_path / name, port=deployments.free_port())
    assert plan.name == called
    assert settings.load_text(
        settings.dump(settings.Settings(
            format=1, name=plan.name, driver="embedded",
            server=settings.ServerSettings(port=plan.port, mlflow="3.17.2"),
        )),
        tmp_path, settings.Settings,
    ).name == called  # fmt: skip


def test_one_spelling_whatever_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "real")
    for typed in (".", "../real", "../link", str(tmp_path / "link"), "../real/lab/.."):
        plan = setup.plan(Path(typed), port=deployments.free_port())
        assert (plan.directory, plan.name) == (tmp_path / "real", "real")


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
def test_no_port(tmp_path: Path, port: int) -> None:
    error = refused(UsageError, lambda: setup.plan(tmp_path / "lab", port=port))
    assert error.message == f"{port} is not a port"
    assert error.exit_code == 2


def test_a_port_that_is_kept_for_root() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 80:
        pytest.skip("on this machine port 80 is for everybody")
    with machine.common_folder() as folder:
        os.chown(folder, machine.NOBODY, machine.NOBODY)
        error = refused(
            AccessError,
            lambda: machine.as_nobody(lambda: setup.plan(folder / "lab", port=80)),
        )
    assert error.message == "Port 80 is kept for root"
    assert error.hint == f"Choose one from {first} on."


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a,b", "*", "a\n"])
def test_no_host_name(tmp_path: Path, name: str) -> None:
    error = refused(UsageError, lambda: setup.plan(tmp_path / "lab", host_names=[name]))
    assert error.message == f"{name!r} is not a host name"


def test_a_directory_that_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "lab"):
        error = refused(NotOursError, partial(setup.plan, directory))
        assert error.message == f"{tmp_path / 'file'} is not a directory"
    assert "holds file" in refused(NotOursError, lambda: setup.plan(tmp_path)).message


def test_a_directory_that_this_account_may_not_use() -> None:
    with machine.common_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        (folder / "closed" / "inside").mkdir()
        for directory in (folder / "lab", folder / "closed", folder / "closed" / "inside"):
            error = refused(
                AccessError,
                partial(machine.as_nobody, partial(setup.plan, directory)),
            )
            assert error.message.startswith("This account may not ")
            assert str(folder) in error.message
            assert "sudo" in error.hint


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "NEEDED_BYTES", 10**15)
    error = refused(DiskFullError, lambda: setup.plan(tmp_path / "lab"))
    assert error.message.startswith("The MLflow server's environment needs 1.0 PB on the disk of ")


def test_broken_settings_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "console.toml").write_text("format = 1\nname")
    refused(SettingsError, lambda: setup.plan(tmp_path))
    assert (tmp_path / "console.toml").read_text() == "format = 1\nname"


def test_leftovers_of_a_killed_write_are_no_strangers(tmp_path: Path) -> None:
    (tmp_path / ".console.toml.ab12cd.tmp").touch()
    assert setup.plan(tmp_path, port=deployments.free_port()).resumed is False


def test_a_whole_deployment_and_what_it_is_made_of(tmp_path: Path) -> None:
    directory, port = tmp_path / "lab", deployments.free_port()
    labels = create(setup.plan(directory, port=port, host_names=["mlflow.lab"]))
    assert labels[0] == f"{directory}: settings written"
    deployment = Deployment.open(str(directory))
    assert setup.is_complete(deployment)
    assert deployment.driver.host_names == ("mlflow.lab",)
    modes = {
        name: stat.S_IMODE((directory / name).stat().st_mode)
        for name in ("", "console.toml", "secrets", "secrets/service-user", "htpasswd",
                     "htpasswd/default", "run", "logs", "data/artifacts", "audit.jsonl")
    }  # fmt: skip
    assert modes == {
        "": 0o700, "console.toml": 0o600, "secrets": 0o700, "secrets/service-user": 0o600,
        "htpasswd": 0o755, "htpasswd/default": 0o644, "run": 0o700, "logs": 0o700,
        "data/artifacts": 0o700, "audit.jsonl": 0o600,
    }  # fmt: skip
    assert len(read_secret(deployment.paths.service_secret).reveal()) == 32
    assert {user.name: user.service_user for user in deployment.users.list()} == {
        "alice": False, "mlflow-console": True,
    }  # fmt: skip
    assert [each.directory for each in register.known()] == [directory]
    last = list(audit.read(deployment.paths.audit))[-1]
    assert (last.operation, last.outcome) == ("deployment.init", "done")
    error = refused(UsageError, lambda: setup.plan(directory))
    assert error.message == f"{directory} already holds the deployment lab"
    # What is lost is made again, with nothing else touched.
    secret = deployment.paths.service_secret.read_bytes()
    deployment.users.remove(["alice"])
    deployment.paths.users.unlink()
    assert [step.label for step in setup.complete(deployment, threading.Event())] == [
        "service user mlflow-console made"
    ]
    assert deployment.paths.service_secret.read_bytes() == secret


def test_killed_before_there_was_a_user_file_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, port = tmp_path / "lab", deployments.free_port()

    def ended(*_: object) -> None:
        raise OSError("here it ended")

    with monkeypatch.context() as killed:
        killed.setattr(UsersService, "passwd", ended)
        with pytest.raises(OSError, match="here it ended"):
            create(setup.plan(directory, port=port))
    deployment = Deployment.open(str(directory))
    assert deployment.paths.service_secret.exists()
    assert not deployment.paths.users.exists()
    create(setup.plan(directory))
    assert {user.name for user in deployment.users.list()} == {"alice", "mlflow-console"}


def test_stopped_on_the_way_it_is_listed_and_goes_on(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    plan = setup.plan(directory, port=deployments.free_port())
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError) as caught:
        create(plan, cancel)
    assert (caught.value.exit_code, bool(caught.value.hint)) == (130, True)
    assert [each.directory for each in register.known()] == [directory]
    deployment = Deployment.open(str(directory))
    assert {user.name for user in deployment.users.list()} == {"alice", "mlflow-console"}
    before = dict(line.split(b":") for line in deployment.paths.users.read_bytes().splitlines())
    again = setup.plan(directory)
    assert (again.resumed, again.port) == (True, plan.port)
    create(again)
    assert setup.is_complete(deployment)
    after = dict(line.split(b":") for line in deployment.paths.users.read_bytes().splitlines())
    assert after.keys() == before.keys()
    # The password that counts is the one given last; the console's own stays.
    assert after[b"alice"] != before[b"alice"]
    assert after[b"mlflow-console"] == before[b"mlflow-console"]
    assert [each.outcome for each in audit.read(deployment.paths.audit)
            if each.operation == "deployment.init"] == ["cancelled", "done"]  # fmt: skip
    shutil.rmtree(directory / "server")
    assert setup.plan(directory).resumed

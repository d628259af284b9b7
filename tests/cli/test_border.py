"""Whatever happens, a sentence and an exit code; never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

import console
from console.cli.context import cancelling
from console.cli.main import hoisted
from console.core.deployment import Deployment
from console.core.errors import (
    BusyError,
    CancelledError,
    ConsoleError,
    DiskFullError,
    UnreachableError,
    UsageError,
)
from console.core.progress import Progress
from console.core.stack.service import StackService
from console.core.users.service import UsersService
from tests.cli.conftest import PROGRAM, Cli


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"mlflow-console {console.__version__}\n"


def test_help(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    assert "users" in result.out
    assert "adopt" not in result.out
    assert cli("users", "add", "-h").code == 0


@pytest.mark.parametrize(
    "arguments",
    [["nosuch"], ["users"], ["users", "nosuch"], ["runs", "list"], ["--nosuch"],
     ["status", "--nosuch"], ["logs", "--tail", "-1"], ["--deployment"]],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_command_line(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: ")
    assert "--help` shows how." in result.err


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (["down", "--yes"], ["--yes", "down"]),
        (["users", "list", "--deployment", "x", "--json"],
         ["--deployment", "x", "users", "list", "--json"]),
        (["a", "--deployment=x", "--quiet", "b"], ["--deployment=x", "--quiet", "a", "b"]),
        (["users", "remove", "--", "--yes"], ["users", "remove", "--", "--yes"]),
        (["status", "--deployment"], ["--deployment", "status"]),
    ],
)  # fmt: skip
def test_global_options_go_to_the_front(given: list[str], first: list[str]) -> None:
    assert hoisted(given) == first


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConsoleError("it broke", "mend it"), 1),
        (DiskFullError("it broke", "mend it"), 1),
        (BusyError("it broke", "mend it"), 1),
        (UsageError("it broke", "mend it"), 2),
        (UnreachableError("it broke", "mend it"), 4),
        (CancelledError("it broke", "mend it"), 130),
    ],
)
def test_exit_codes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: ConsoleError, code: int
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(UsersService, "list", fails)
    result = cli("users", "list", "--json")
    assert (result.code, result.out) == (code, "")
    assert "it broke" in result.err
    assert "mend it" in result.err


def _fails_badly(_self: UsersService, name: str, *_: object, **__: object) -> None:
    raise ValueError(name)


def test_the_unforeseen_is_one_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UsersService, "add", _fails_badly)
    result = cli("users", "add", "bob", "--generate")
    assert (result.code, result.out) == (1, "")
    assert "ValueError: bob" in result.err
    assert "report" in result.err
    assert "Traceback" not in result.err
    monkeypatch.setenv("MLFLOW_CONSOLE_DEBUG", "1")
    assert "Traceback" in cli("users", "add", "bob", "--generate").err


def test_no_traceback_holds_a_password(program: Cli, deployment: Deployment) -> None:
    deployment.paths.users.unlink()
    deployment.paths.users.mkdir()
    result = program(
        "users", "add", "bob", "--password-stdin", "--weak", stdin=b"hunter2\n",
        env={"MLFLOW_CONSOLE_DEBUG": "1"},
    )  # fmt: skip
    assert result.code == 1
    assert "hunter2" not in result.err + result.out


def test_a_closed_pipe_is_quiet(deployment: Deployment) -> None:
    entry = b'{"at":"2026-01-01T00:00:00Z","user":"u","sudo_user":null,"ssh_client":null,'
    entry += b'"operation":"stack.up","target":"","deployment":"lab","directory":"/","outcome":'
    deployment.paths.audit.write_bytes((entry + b'"done"}\n') * 20_000)
    for form in ([], ["--json"], ["--jsonl"]):
        child = subprocess.Popen(
            [*PROGRAM, "--deployment", str(deployment.directory), "audit", *form],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(100)
        child.stdout.close()
        errors = child.stderr.read()
        child.stderr.close()
        assert (child.wait(30), errors) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_behind_stdout(deployment: Deployment, form: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "--deployment", str(deployment.directory), "users", "list", *form],
            stdout=full, stderr=subprocess.PIPE, check=False, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_generated_password_that_cannot_be_printed(deployment: Deployment) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "--deployment", str(deployment.directory), "users", "add", "bob",
             "--generate"], stdout=full, stderr=subprocess.PIPE, check=False, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "users passwd bob" in done.stderr


def test_closed_streams(program: Cli) -> None:
    words = " ".join(f"'{word}'" for word in [*PROGRAM, "users", "list"])
    done = subprocess.run(
        ["sh", "-c", f"{words} <&- >&- 2>&-"], check=False, capture_output=True, timeout=30
    )
    assert done.returncode == 0


def _goes_on(
    _self: StackService, operation_id: str, services: Sequence[str], cancel: threading.Event
) -> Iterator[Progress]:
    yield Progress("begun")
    os.kill(os.getpid(), signal.SIGINT)
    if cancel.wait(10):
        raise CancelledError("Stopped while starting")


def test_ctrl_c_says_how_to_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackService, "perform", _goes_on)
    before = signal.getsignal(signal.SIGINT)
    result = cli("up")
    assert result.code == 130
    assert "`mlflow-console up` completes it" in result.err
    assert "Error" not in result.err
    assert signal.getsignal(signal.SIGINT) is before


def test_what_was_complete_already_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(
        _self: StackService, operation_id: str, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        yield Progress("begun")
        cancel.set()

    monkeypatch.setattr(StackService, "perform", ends)
    result = cli("up")
    assert result.code == 130
    assert "already complete" in result.err


def test_a_second_ctrl_c_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt), cancelling() as event:  # noqa: PT012  # the point is when
        os.kill(os.getpid(), signal.SIGINT)
        assert event.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_under_nohup_a_lost_terminal_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancelling() as event:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not event.wait(0.2)
        with cancelling() as event:
            os.kill(os.getpid(), signal.SIGTERM)
            assert event.wait(5)
    finally:
        signal.signal(signal.SIGHUP, before)

"""status, logs, down and restart, of a stack that does not run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from console.core.deployment import Deployment
from console.core.progress import Progress
from console.core.stack.driver import (
    Finding,
    Health,
    LogLine,
    Role,
    Service,
    Severity,
    State,
)
from console.core.stack.health import Api
from console.core.stack.service import StackService
from console.core.stack.status import Status
from console.core.streams import Stream
from tests.cli.conftest import PORT, Cli, Terminal

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def _status(*, ok: bool, http_status: int | None, findings: tuple[Finding, ...] = ()) -> Status:
    service = Service(
        "tracking", Role.TRACKING, State.RUNNING, Health.HEALTHY if ok else Health.UNHEALTHY,
        started_at=NOON, cpu_percent=12.4, memory_bytes=352_000_000, ports=("127.0.0.1:5000",),
        reason="" if ok else "it fails\x1b[31m",
    )  # fmt: skip
    error = "" if ok else "MLflow answers 500"
    return Status(
        "lab", "embedded", "http://127.0.0.1:5000", ok, (service,),
        Api(ok, "mlflow-console", http_status, "3.17.2" if ok else None, error), findings, NOON,
    )  # fmt: skip


def _answer(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    monkeypatch.setattr(StackService, "status", lambda _self: status)


def test_stopped(cli: Cli) -> None:
    result = cli("status")
    assert result.code == 4
    head, _, titles, service, *_ = result.out.splitlines()
    assert head == f"lab: ○ stopped  http://127.0.0.1:{PORT}"
    assert titles.split() == [
        "SERVICE", "STATE", "HEALTH", "SINCE", "RESTARTS", "CPU", "MEMORY", "PORTS", "WHY",
    ]  # fmt: skip
    assert service.startswith("tracking  stopped")
    assert "fix: mlflow-console up" in result.out
    assert "\x1b" not in result.out


def test_stopped_as_json(cli: Cli) -> None:
    result = cli("status", "--json")
    assert result.code == 4
    found = json.loads(result.out)
    assert set(found) >= {
        "deployment", "driver", "url", "healthy", "services", "api", "findings",
    }  # fmt: skip
    assert set(found["services"][0]) >= {
        "name", "role", "state", "health", "image", "started_at", "restarts", "cpu_percent",
        "memory_bytes", "memory_limit_bytes", "ports", "exit_code",
    }  # fmt: skip
    assert set(found["api"]) >= {"ok", "checked_as", "http_status", "version", "error"}
    assert set(found["findings"][0]) >= {
        "id", "severity", "service", "title", "detail", "fix",
    }  # fmt: skip
    assert (found["deployment"], found["healthy"]) == ("lab", False)


def test_healthy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, _status(ok=True, http_status=200))
    result = cli("status")
    assert result.code == 0
    assert result.out == (
        "lab: ● healthy  http://127.0.0.1:5000  MLflow 3.17.2  checked as mlflow-console\n"
        "\n"
        "SERVICE   STATE    HEALTH   SINCE                RESTARTS   CPU  MEMORY  PORTS"
        "           WHY\n"
        "tracking  running  healthy  2026-11-23 12:00:00         0  12 %  352 MB  127.0.0.1:5000\n"
    )


def test_unhealthy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(
        "api-error", Severity.ERROR, "tracking", "MLflow answers 500", "<h1>\x1b]0;x\x07", "logs"
    )
    _answer(monkeypatch, _status(ok=False, http_status=500, findings=(finding,)))
    result = cli("status")
    assert result.code == 3
    assert "✗ unhealthy" in result.out
    assert "! MLflow answers 500\n  seen: <h1>\n  fix: logs\n" in result.out
    assert "\x1b" not in result.out


def test_running_but_silent(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Finding("api-unreachable", Severity.ERROR, "tracking", "MLflow does not answer")
    _answer(monkeypatch, replace(_status(ok=False, http_status=None), findings=(silent,)))
    assert cli("status").code == 4


def test_alone_without_terminal_it_is_the_status(program: Cli) -> None:
    result = program()
    assert result.code == 4
    assert result.out.startswith("lab: ○ stopped")
    assert "opens the console" in result.err


def test_colour_only_on_a_terminal_that_wants_it(
    terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    there = terminal("status")
    assert there.close() == 4
    assert "\x1b[2m○ stopped\x1b[0m" in there.seen
    monkeypatch.setenv("NO_COLOR", "1")
    there = terminal("status")
    assert there.close() == 4
    assert "○ stopped" in there.seen
    assert "\x1b" not in there.seen


def test_nobody_at_work_is_no_question(program: Cli, database: object) -> None:
    assert program("down").code == 0
    assert program("down", "--quiet").err == ""


@pytest.mark.parametrize("verb", ["down", "restart"])
def test_somebody_at_work_needs_yes(program: Cli, at_work: None, verb: str) -> None:
    result = program(verb)
    assert result.code == 2
    assert "run long one of ada in alpha is RUNNING since 2023-11-14" in result.err
    assert "--yes" in result.err


def test_yes_before_and_after_the_verb(program: Cli, at_work: None) -> None:
    for arguments in (["--yes", "down"], ["down", "--yes"]):
        result = program(*arguments)
        assert result.code == 0
        assert "long one" in result.err
        assert result.out == ""


def test_somebody_at_work_is_asked_about(terminal: Callable[..., Terminal], at_work: None) -> None:
    there = terminal("down")
    there.expect("run long one of ada")
    there.expect("[y/N]")
    there.type("\n")
    assert there.close() == 130
    assert "Nothing was changed" in there.seen
    there = terminal("down")
    there.expect("[y/N]")
    there.type("y\n")
    assert there.close() == 0


def test_down_of_an_unknown_service(cli: Cli) -> None:
    assert cli("down", "nosuch").code in (1, 2)


def test_read_only_is_refused_before_any_question(cli: Cli, at_work: None) -> None:
    result = cli("--read-only", "down")
    assert result.code == 1
    assert "read-only (--read-only)" in result.err
    assert "long one" not in result.err


def _lines(*texts: str) -> Callable[..., Stream[LogLine]]:
    def logs(
        _self: StackService, services: Sequence[str] = (), tail: int = 200, follow: bool = False
    ) -> Stream[LogLine]:
        def produce(cancel: threading.Event, emit: Callable[[LogLine], None]) -> None:
            for text in texts:
                emit(LogLine("tracking", NOON, text))
            if follow:
                cancel.wait()

        return Stream(produce, keep=100)

    return logs


def test_logs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackService, "logs", _lines("up [/x]", "\x1b[2Jcleared"))
    assert cli("logs").out == (
        "2026-11-23 12:00:00  tracking  up [/x]\n2026-11-23 12:00:00  tracking  cleared\n"
    )
    line = {"service": "tracking", "at": "2026-11-23T12:00:00Z", "text": "up [/x]"}
    assert json.loads(cli("logs", "--json").out)[0] == line
    assert json.loads(cli("logs", "--jsonl").out.splitlines()[0]) == line


def test_an_empty_log_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackService, "logs", _lines())
    result = cli("logs")
    assert (result.code, result.out, result.err) == (0, "", "The log is empty.\n")
    assert cli("logs", "--json").out == "[]\n"


def test_following_has_no_array(cli: Cli) -> None:
    result = cli("logs", "--follow", "--json")
    assert result.code == 2
    assert "--jsonl" in result.err


def test_ctrl_c_ends_following(terminal: Callable[..., Terminal], deployment: Deployment) -> None:
    log = deployment.paths.logs / "tracking.log"
    log.write_text("a line of the log\n")
    there = terminal("logs", "--follow")
    there.expect("a line of the log")
    with log.open("a") as more:
        more.write("and another\n")
    there.expect("and another")
    there.type("\x03")
    assert there.close() == 130
    assert "the services go on" in there.seen


def test_work_tells_each_step_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(
        _self: StackService, operation_id: str, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        assert (operation_id, list(services)) == ("stack.up", [])
        for done in range(3):
            yield Progress("starting\x1b[1m", done, 3, "steps")
        yield Progress("healthy")

    monkeypatch.setattr(StackService, "perform", perform)
    result = cli("up")
    assert (result.code, result.out, result.err) == (0, "", "starting\nhealthy\n")
    assert cli("up", "--quiet").err == ""

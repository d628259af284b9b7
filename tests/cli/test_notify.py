"""notify and status --notify, on a real receiver: once, never twice, never on success."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.core import files, systemd
from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, SettingsError, UnreachableError
from console.core.stack import status as look
from console.core.stack.driver import Finding, Severity
from console.core.stack.service import StackService
from console.core.stack.status import Status
from console.core.users.activity import Activity
from tests.cli.conftest import PROGRAM, Cli, Terminal
from tests.support.engine import wait_until
from tests.support.receiver import Receiver, receiving

TOKEN = "T0KEN-that-nobody-may-see"
DISK = Finding(
    "disk-full", Severity.ERROR, "store", "store: its disk is full \x1b[31m[/x]", "seen",
    "make room there",
)  # fmt: skip
MEMORY = Finding("memory-ran-out", Severity.WARNING, "database", "database: memory ran out")


@pytest.fixture(autouse=True)
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's systemd, if it has one, is none of ours."""
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "no" / "systemd")
    monkeypatch.setattr(systemd, "MACHINE", tmp_path / "units")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def told(deployment: Deployment, receiver: Receiver) -> Receiver:
    """A receiver that the deployment's messages go to."""
    keep(deployment, receiver.url(f"/{TOKEN}"))
    return receiver


@pytest.fixture
def findings(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is wrong; a test puts findings in. Without any it is healthy."""
    found: list[Finding] = []
    real = look.look(deployment, measure=False)

    def status(self: StackService) -> Status:
        return replace(
            real, findings=tuple(found), healthy=not found, api=replace(real.api, ok=not found),
            services=(), checked_at=datetime.now(UTC),
        )  # fmt: skip

    monkeypatch.setattr(StackService, "status", status)
    return found


def keep(deployment: Deployment, *urls: str) -> None:
    deployment.paths.notify_urls.write_text("".join(f"{url}\n" for url in urls))


def test_once_and_its_end_once(cli: Cli, told: Receiver, findings: list[Finding]) -> None:
    assert (cli("status", "--notify").code, told.messages) == (0, [])
    findings.append(DISK)
    result = cli("status", "--notify")
    assert (result.code, result.err) == (3, "Sent: lab: 1 new finding\n")
    assert cli("status", "--notify").code == 3
    assert told.titles == ["lab: 1 new finding"]
    findings.append(MEMORY)
    cli("status", "--notify")
    cli("status", "--notify")
    findings.clear()
    assert [cli("status", "--notify").code for _ in range(3)] == [0, 0, 0]
    assert told.titles == [
        "lab: 1 new finding", "lab: 1 new finding", "lab: 2 findings ended, healthy",
    ]  # fmt: skip


def test_what_a_message_says(cli: Cli, deployment: Deployment, told: Receiver,
                             findings: list[Finding]) -> None:  # fmt: skip
    findings += [DISK, MEMORY]
    cli("status", "--notify")
    findings.remove(DISK)
    findings.append(replace(MEMORY, service="proxy", title="a <b> &amp; *c*"))
    cli("status", "--notify")
    where = f"\n\nlab on {os.uname().nodename}, {deployment.directory}"
    assert [(each["title"], each["message"], each["type"]) for each in told.messages] == [
        (
            "lab: 2 new findings",
            "✗ store: its disk is full [/x]\n  fix: make room there\n! database: memory ran out"
            + where,
            "failure",
        ),
        (
            "lab: 1 new finding, 1 ended",
            "! a <b> &amp; *c*\n✓ ended: store: its disk is full [/x]" + where,
            "warning",
        ),
    ]


def test_a_title_that_changes_is_no_news(cli: Cli, told: Receiver, findings: list[Finding]) -> None:
    findings.append(DISK)
    cli("status", "--notify")
    findings[0] = replace(DISK, title="store: 99 % are used")
    cli("status", "--notify")
    assert len(told.messages) == 1


def test_refused_is_told_again(
    cli: Cli, told: Receiver, findings: list[Finding], caplog: pytest.LogCaptureFixture
) -> None:
    findings.append(DISK)
    told.answer = 500
    result = cli("status", "--notify", "--quiet")
    assert result.code == 1
    assert result.err == (
        f"Error: No message went to json://127.0.0.1:{told.port}/…: it answered 500\n"
        "The next run sends it again.\n"
    )
    assert "store: its disk is full" in result.out
    assert [each for each in caplog.records if each.name.startswith("apprise")] == []
    told.answer = 200
    assert cli("status", "--notify").code == 3
    assert (told.titles, told.refused) == (["lab: 1 new finding"], 1)


def test_who_accepts_hears_nothing_twice(cli: Cli, deployment: Deployment, told: Receiver,
                                         findings: list[Finding]) -> None:  # fmt: skip
    findings.append(DISK)
    with receiving() as other:
        keep(deployment, told.url(f"/{TOKEN}"), other.url("/b"))
        other.answer = 503
        assert cli("status", "--notify").code == 1
        assert cli("status", "--notify").code == 1
        other.answer = 204
        assert cli("status", "--notify").code == 3
        assert cli("status", "--notify").code == 3
        assert told.titles == other.titles == ["lab: 1 new finding"]


def test_nobody_listens(cli: Cli, deployment: Deployment, findings: list[Finding]) -> None:
    with receiving() as gone:
        keep(deployment, gone.url())
    findings.append(DISK)
    result = cli("status", "--notify")
    assert result.code == 1
    assert "it cannot be reached" in result.err


def test_without_an_address(cli: Cli) -> None:
    result = cli("status", "--notify")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "Error: Nobody is to be told: no address is kept\n"
        "`mlflow-console notify on` asks for one.\n"
    )


def test_a_status_that_cannot_be_taken_is_told(
    cli: Cli, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: StackService) -> Status:
        raise SettingsError("compose.yaml cannot be meant", "Mend it.")

    monkeypatch.setattr(StackService, "status", fail)
    for _ in range(2):
        result = cli("status", "--notify")
        assert (result.code, result.err) == (
            1, "Error: compose.yaml cannot be meant\nMend it.\n",
        )  # fmt: skip
    assert len(told.messages) == 1
    assert told.messages[0]["message"].startswith("✗ compose.yaml cannot be meant\n  fix: Mend it.")


def test_who_restarts_it_is_told_nothing(
    cli: Cli, told: Receiver, findings: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings.append(DISK)
    taken = StackService.status
    began, operation = datetime.now(UTC) - timedelta(minutes=5), "stack.restart"

    def status(self: StackService) -> Status:
        action = Action("1", operation, (), "ada", 1, 1.0, began)
        return replace(taken(self), action=action)

    monkeypatch.setattr(StackService, "status", status)
    cli("status", "--notify")
    assert told.messages == []
    began -= timedelta(hours=1)  # it hangs
    operation = "backup.restore"  # unless it copies for so long
    cli("status", "--notify")
    assert told.messages == []
    operation = "stack.restart"
    cli("status", "--notify")
    assert len(told.messages) == 1


def test_an_old_status_tells_nothing(
    cli: Cli, deployment: Deployment, told: Receiver, findings: list[Finding],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    findings.append(DISK)
    taken = StackService.status

    def overtaken(self: StackService) -> Status:
        seen = replace(taken(self), findings=())
        monkeypatch.setattr(StackService, "status", taken)
        Deployment.open(str(deployment.directory)).notify.send()
        return seen

    monkeypatch.setattr(StackService, "status", overtaken)
    cli("status", "--notify")
    assert told.titles == ["lab: 1 new finding"]


def test_read_only_is_watched_all_the_same(
    cli: Cli, told: Receiver, findings: list[Finding]
) -> None:
    findings.append(DISK)
    assert cli("status", "--notify", "--read-only").code == 3
    assert len(told.messages) == 1
    for command in (("on",), ("off",), ("test",)):
        assert cli("notify", *command, "--read-only").code == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "does not say what was sent"), ('{"format": 2}', "newer mlflow-console")],
)
def test_a_record_that_cannot_be_read(
    cli: Cli, deployment: Deployment, told: Receiver, *, text: str, said: str
) -> None:
    deployment.paths.notified.write_text(text)
    result = cli("status", "--notify")
    assert result.code == 1
    assert said in result.err
    assert told.messages == []


def _started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_at_once_send_once(cli: Cli, told: Receiver) -> None:
    both = [_started("status", "--notify") for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [4, 4]
    assert told.titles == ["lab: 1 new finding"]


def test_one_waits_for_the_other_and_does_what_it_could_not(
    cli: Cli, deployment: Deployment, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.holds, told.answer = True, 500
    first = _started("status", "--notify")
    wait_until(lambda: told.refused)
    told.holds, told.answer = False, 200
    waits = threading.Event()
    locked = files.locked

    def locked_and_said(path: Path, what: str) -> contextlib.AbstractContextManager[None]:
        waits.set()
        return locked(path, what)

    monkeypatch.setattr(files, "locked", locked_and_said)
    with ThreadPoolExecutor() as pool:
        second = pool.submit(deployment.notify.send)
        wait_until(lambda: waits.is_set() or second.done())
        assert told.messages == []
        told.release.set()
        assert second.result(60).sent == ("lab: 1 new finding",)
    first.communicate(timeout=60)
    assert (first.returncode, told.titles) == (1, ["lab: 1 new finding"])


def test_killed_between_sending_and_writing(
    cli: Cli, deployment: Deployment, told: Receiver, findings: list[Finding]
) -> None:
    told.holds = True
    child = _started("status", "--notify")
    wait_until(lambda: told.messages)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    told.holds = False
    told.release.set()
    findings.append(Finding("stopped", Severity.ERROR, "", "It is stopped"))
    result = cli("status", "--notify")
    assert "nobody knows whether it arrived, and it is not sent again" in result.err
    assert "cut off" in cli("notify", "show").out
    assert len(told.messages) == 1
    findings.clear()
    cli("status", "--notify")
    assert len(told.messages) == 2
    assert "may not have arrived" in told.messages[1]["message"]
    assert cli("status", "--notify").err == ""
    assert "cut off" not in cli("notify", "show").out


def test_on_where_no_systemd_runs(program: Cli, deployment: Deployment, told: Receiver) -> None:
    deployment.paths.notify_urls.unlink()
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs this machine")
    urls = f"# ours\n{told.url(f'/{TOKEN}')}\n\n{told.url('/b')}\n".encode()
    result = program("notify", "on", "--every", "10m", "--urls-stdin", stdin=urls)
    assert result.code == 1
    line = result.err.splitlines()[1]
    assert line.startswith("cron does the same, a line for `crontab -e`: */10 * * * * /")
    assert f"--deployment {deployment.directory} status --notify --quiet >/dev/null" in line
    kept = deployment.paths.notify_urls
    assert kept.read_text() == f"{told.url(f'/{TOKEN}')}\n{told.url('/b')}\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert program("status", "--notify").code == 4
    assert len(told.messages) == 2
    assert program("notify", "test").out == (
        f"1 json://127.0.0.1:{told.port}/…: accepted\n2 json://127.0.0.1:{told.port}/…: accepted\n"
    )
    shown = program("notify", "show")
    assert "lab: test message" in told.titles
    assert program("notify", "off").code == 0
    everything = [shown.out, shown.err, result.out, result.err, deployment.paths.audit.read_text()]
    assert not [text for text in everything if TOKEN in text]
    assert not kept.exists()
    assert not deployment.paths.notified.exists()


def test_dry_run_shows_the_files_and_writes_none(cli: Cli, deployment: Deployment) -> None:
    result = cli("notify", "on", "--dry-run", "--every", "30s")
    assert result.code == 0
    assert "OnUnitActiveSec=30s" in result.out
    assert f"{systemd.MACHINE if os.geteuid() == 0 else ''}/mlflow-console-lab.timer" in result.out
    assert not deployment.paths.notify_urls.exists()
    assert not systemd.MACHINE.exists()
    assert not deployment.paths.audit.exists()


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (f"nothing://{TOKEN}\n", "Line 1 is no address"),
        (f"json://h/a\n{TOKEN}\n", "Line 2 is no address"),
        ("\n", "There is no address on stdin"),
        ("", "There is no address on stdin"),
    ],
)
def test_addresses_that_are_none(
    program: Cli, deployment: Deployment, stdin: str, said: str
) -> None:
    result = program("notify", "on", "--urls-stdin", stdin=stdin.encode())
    assert result.code == 2
    assert said in result.err
    assert TOKEN not in result.err
    assert not deployment.paths.notify_urls.exists()


def test_an_address_is_no_argument(cli: Cli) -> None:
    result = cli("notify", "on", f"json://h/{TOKEN}")
    assert result.code == 2
    assert TOKEN not in result.err


@pytest.mark.parametrize("every", ["5", "9s", "2d", "x", "-5m"])
def test_intervals_that_are_none(cli: Cli, every: str) -> None:
    assert cli("notify", "on", f"--every={every}").code == 2


def test_typed_without_echo(terminal: Callable[..., Terminal], deployment: Deployment) -> None:
    there = terminal("notify", "on")
    there.expect("Address 1 for apprise (empty leaves): ")
    there.type(f"json://127.0.0.1/{TOKEN}\n")
    there.expect("Address 2 for apprise (empty ends): ")
    there.type("\x04")
    there.close()
    assert TOKEN not in there.seen
    assert not deployment.paths.notify_urls.exists()


def test_off_without_anything(cli: Cli) -> None:
    result = cli("notify", "off")
    assert (result.code, result.err) == (0, "There was nothing to remove.\n")


def test_off_keeps_the_addresses_that_it_is_told_to(
    cli: Cli, deployment: Deployment, told: Receiver
) -> None:
    assert cli("notify", "off", "--keep-urls").code == 0
    assert deployment.paths.notify_urls.exists()


# The access log


def logged(deployment: Deployment, user: str) -> None:
    """A request of somebody's, as the server's lock writes it."""
    fields = (f"{time.time():.3f}", "200", "GET", "localhost", "10.0.0.7", user, "0.004", "0.003",
              "300", "900", "/api/2.0/mlflow/runs/get?run_id=x", "mlflow/3.17.2")  # fmt: skip
    with deployment.paths.access_log.open("a") as file:
        file.write("\t".join(fields) + "\n")


def requests(deployment: Deployment, user: str) -> int:
    found = Deployment.open(str(deployment.directory)).activity.people().get(user)
    return found.month.requests if found else 0


def test_the_access_log_is_read_while_nobody_looks(
    cli: Cli, deployment: Deployment, told: Receiver, findings: list[Finding]
) -> None:
    logged(deployment, "alice")
    assert (cli("status").code, requests(deployment, "alice")) == (0, 0)
    assert (cli("status", "--notify").code, requests(deployment, "alice")) == (0, 1)
    logged(deployment, "alice")
    findings.append(DISK)
    assert (cli("status", "--notify").code, requests(deployment, "alice")) == (3, 2)
    assert cli("--read-only", "status", "--notify").code == 3
    logged(deployment, "alice")
    assert cli("--read-only", "status", "--notify").code == 3
    assert requests(deployment, "alice") == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConsoleError("It is broken"), "The access log was not read: It is broken"),
        (UnreachableError("It is stopped"), ""),
    ],
)
def test_a_log_that_cannot_be_read_is_no_failure_of_the_status(
    cli: Cli, told: Receiver, findings: list[Finding], error: ConsoleError, said: str
) -> None:
    def collect(*_: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Activity, "collect", collect)
        _refuses_to_be_read(cli, told, findings, said)


def _refuses_to_be_read(cli: Cli, told: Receiver, findings: list[Finding], said: str) -> None:
    result = cli("status", "--notify")
    assert (result.code, "healthy" in result.out) == (0, True)
    assert said in result.err
    assert bool(said) is bool(result.err)
    findings.append(DISK)
    assert cli("status", "--notify").code == 3
    assert told.titles == ["lab: 1 new finding"]


def test_the_log_is_read_also_where_the_status_cannot_be_taken(
    cli: Cli, deployment: Deployment, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(_: StackService) -> Status:
        raise ConsoleError("The status fell over")

    monkeypatch.setattr(StackService, "status", status)
    logged(deployment, "alice")
    assert cli("status", "--notify").code == 1
    assert requests(deployment, "alice") == 1
    assert told.titles == ["lab: 1 new finding"]


def test_show_as_json(cli: Cli, told: Receiver, findings: list[Finding]) -> None:
    findings.append(DISK)
    cli("status", "--notify")
    shown = json.loads(cli("notify", "show", "--json").out)
    assert shown["addresses"] == [f"json://127.0.0.1:{told.port}/…"]
    assert shown["timer"]["installed"] is False
    assert shown["last_sent"]["title"] == "lab: 1 new finding"
    assert [each["id"] for each in shown["known"]] == ["disk-full"]
    assert shown["cut_off"] is None
    text = cli("notify", "show").out
    assert "told, goes on  ✗ store: its disk is full" in text
    assert TOKEN not in text


def test_a_unit_of_somebody_else_is_left_alone(
    cli: Cli, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd.Timer, "folder", systemd.MACHINE)
    systemd.MACHINE.mkdir()
    theirs = systemd.MACHINE / "mlflow-console-lab.timer"
    theirs.write_text('# Written by `mlflow-console notify on` for "/elsewhere/lab"\n')
    for arguments in (("on",), ("on", "--dry-run"), ("off",)):
        result = cli("notify", *arguments)
        assert result.code == 1
        assert f"{theirs} was not made for this deployment" in result.err
    assert theirs.read_text().startswith("# Written")

"""Several services at once: their order, their logs, and what is said of each."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from console.core.errors import UnreachableError
from console.core.stack.driver import Finding, Health, LogLine, Role, Severity, State
from console.core.stack.log_stream import Emit, LogStream
from console.core.streams import Stream
from console.tui import app as console_app
from console.tui.screens import stack
from console.tui.widgets import state
from console.tui.widgets.log_view import LogView
from tests.tui.fake import (
    NASTY,
    NOW,
    Fake,
    broken_stack,
    service,
    stack_services,
    stack_status,
    stopped,
)
from tests.tui.helpers import LARGE, SMALL, column, opened, press, said, settle, table, toasts

SAFE = "[/foo]  😀 a↵b\ufffd"


def services(app: console_app.ConsoleApp) -> list[str]:
    """The lines of Home's list of services, without the title."""
    return said(app, "#services").split("\n")[1:]


# Home


async def test_jobs_that_are_done_are_one_line_and_never_broken() -> None:
    async with opened(Fake.compose()) as (app, _):
        assert said(app, "#verdict").startswith("● healthy  http://localhost:5000")
        assert [line.split()[:2] for line in services(app)[:4]] == [
            ["●", "tracking"], ["●", "proxy"], ["●", "database"], ["●", "store"],
        ]  # fmt: skip
        assert services(app)[4:] == ["✓ bucket, secrets done"]


async def test_a_job_that_failed_stands_first_and_says_why() -> None:
    failed = service(
        name="bucket", role=Role.JOB, state=State.EXITED, health=Health.UNHEALTHY, exit_code=1,
        reason="it ended with code 1", cpu_percent=None, memory_bytes=None, ports=(),
    )  # fmt: skip
    finding = Finding("service-ended", Severity.ERROR, "bucket", "bucket: it ended with code 1")
    async with opened(Fake.compose(stack_status(finding, bucket=failed))) as (app, _):
        assert services(app)[0].split() == ["✗", "bucket", "exited"]
        assert services(app)[1].strip() == "it ended with code 1"
        assert services(app)[-1] == "✓ secrets  done"


def test_a_job_that_was_never_started_is_not_done() -> None:
    made = service(name="bucket", role=Role.JOB, state=State.STOPPED, health=Health.UNHEALTHY,
                   reason="made, but never started", exit_code=0, ports=())  # fmt: skip
    assert state.of_service(made)[2] == "stopped"
    assert state.why(made) == "made, but never started"


async def test_a_stopped_service_comes_before_those_that_run() -> None:
    store = service(name="store", role=Role.STORE, state=State.STOPPED, health=Health.UNHEALTHY,
                    reason="stopped", cpu_percent=None, memory_bytes=None, ports=())  # fmt: skip
    async with opened(Fake.compose(stack_status(store=store))) as (app, _):
        assert [line.split()[:3] for line in services(app)[:2]] == [
            ["○", "store", "stopped"], ["●", "tracking", "healthy"],
        ]  # fmt: skip


async def test_a_job_at_work_is_no_healthy_server() -> None:
    busy = service(name="bucket", role=Role.JOB, health=Health.STARTING, ports=())
    assert state.of_service(busy)[2] == "at work"
    assert not state.is_done(busy)


async def test_what_is_broken_comes_first_and_hostile_words_stay_words() -> None:
    async with opened(Fake.compose(broken_stack()), LARGE) as (app, _):
        lines = services(app)
        assert lines[0].split()[:3] == ["✗", "database", "unhealthy"]
        assert SAFE in lines[1]
        assert lines[2].startswith("✗ reports-of-the-v…")
        assert lines[-1].split()[-1] == "done"


@pytest.mark.parametrize("number", [0, 1, 5, 40])
@pytest.mark.parametrize("reason", ["", "it ended with code 1 " + "and says much " * 20])
async def test_services_never_push_off_what_needs_attention(number: int, reason: str) -> None:
    more = {
        f"worker-with-a-long-name-{each}": service(
            name=f"worker-with-a-long-name-{each}", role=Role.OTHER, state=State.EXITED,
            health=Health.UNHEALTHY, reason=reason, exit_code=1, ports=(),
        )
        for each in range(number)
    }  # fmt: skip
    findings = [
        Finding("ended", Severity.ERROR, "", f"worker {each} ended: {'because ' * 30}")
        for each in range(3)
    ]
    async with opened(Fake.compose(stack_status(*findings, **more)), SMALL) as (app, _):
        needs = app.screen.query_one("#needs").region
        found = table(app, "#findings").region
        assert needs.bottom <= found.y
        assert found.y + 3 <= SMALL[1] - 1  # three findings above the keys
        assert app.screen.max_scroll_y == 0
        assert all(cell_len(line) <= 46 for line in services(app))
        if number == 40:
            assert services(app)[-1].startswith("… ")


async def test_a_long_address_gets_a_line_of_its_own() -> None:
    url = "https://mlflow.research-group-for-computer-vision.example.org:5443"
    async with opened(Fake.compose(replace(stack_status(), url=url))) as (app, _):
        assert said(app, "#verdict").split("\n")[1].strip().startswith(url)
        assert all(cell_len(line) <= 76 for line in said(app, "#verdict").split("\n"))


async def test_a_store_that_cannot_tell_what_is_free_says_nothing_of_it() -> None:
    async with opened(Fake.compose()) as (app, pilot):
        assert "free" not in said(app, "#storage")
        await press(pilot, "5")
        assert "free" not in said(app, "#sum")


async def test_a_service_that_starts_is_no_failure() -> None:
    waiting = service(health=Health.STARTING, ports=())
    now = replace(stack_status(tracking=waiting), healthy=False)
    async with opened(Fake.compose(now)) as (app, _):
        assert said(app, "#verdict").startswith("○ tracking is starting")


async def test_an_engine_that_is_gone_is_what_needs_attention() -> None:
    async with opened(Fake.compose()) as (app, pilot):
        app._status_failed(UnreachableError("The Docker engine is not running", "Start it."))
        await settle(pilot)
        assert said(app, "#verdict").startswith("✗ The Docker engine is not running")
        assert column(app, "#findings", 1) == ["The Docker engine is not running"]
        await press(pilot, "2", "x")
        assert "cannot be seen now" in said(app, "#lines")


# Stack


async def test_the_table_has_the_jobs_last_and_no_reason_where_all_is_well() -> None:
    async with opened(Fake.compose()) as (app, pilot):
        await press(pilot, "2")
        assert column(app, "#services", 1) == [
            "tracking", "proxy", "database", "store", "bucket", "secrets",
        ]  # fmt: skip
        assert column(app, "#services", 2)[-1] == "done"
        assert "why" not in [each.title for each in table(app, "#services").columns]


async def test_reasons_get_a_column_while_there_are_any() -> None:
    async with opened(Fake.compose(broken_stack())) as (app, pilot):
        await press(pilot, "2")
        assert column(app, "#services", 1)[0] == "database"
        assert column(app, "#services", 3)[1] == "it was killed because memory ran out"
        assert column(app, "#services", 3)[2:] == [""] * 5
        shown = [table(app, "#services").columns[index].title
                 for index, _ in table(app, "#services")._visible()]  # fmt: skip
        assert shown == ["", "service", "state", "why", "CPU", "memory"]  # what fits, whole


async def test_logs_follow_the_cursor_and_nothing_is_left_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stack, "SETTLE_SECONDS", 0.4)
    fake = Fake.compose()
    async with opened(fake) as (app, pilot):
        await press(pilot, "2")
        view = app.screen.query_one("#tail", LogView)
        assert {line.split()[-1] for line in view.lines} == {"tracking"}
        for _ in range(2):
            await pilot.press("j")  # held down: the services on the way are not opened
        await pilot.pause(0.5)
        await settle(pilot)
        assert [names for names, _ in fake.stack.opened] == [("tracking",), ("database",)]
        assert {line.split()[-1] for line in view.lines} == {"database"}
        assert [stream._cancel.is_set() for _, stream in fake.stack.opened] == [True, False]


async def test_a_log_that_is_opened_too_late_is_closed_again() -> None:
    fake, go = Fake.compose(), threading.Event()
    original = fake.stack.logs

    def slow(services: tuple[str, ...], tail: int, follow: bool) -> Stream[LogLine]:
        if services == ("tracking",):
            go.wait(20)
        return original(services, tail, follow)

    fake.stack.logs = slow  # type: ignore[assignment,method-assign]
    async with opened(fake) as (app, pilot):
        await pilot.press("2")
        await pilot.pause(0.3)
        await press(pilot, "j")
        go.set()
        await settle(pilot)
        closed = {names[0]: stream._cancel.is_set() for names, stream in fake.stack.opened}
        assert closed == {"proxy": False, "tracking": True}
        view = app.screen.query_one("#tail", LogView)
        assert {line.split()[-1] for line in view.lines} == {"proxy"}


async def test_a_service_that_was_started_anew_has_its_log_read_anew() -> None:
    fake = Fake.compose()
    async with opened(fake) as (_, pilot):
        await press(pilot, "2", "r")
        assert len(fake.stack.opened) == 1
        fake.stack.now = stack_status(tracking=service(started_at=NOW, ports=()))
        await press(pilot, "r")
        assert [names for names, _ in fake.stack.opened] == [("tracking",)] * 2


async def test_details_of_a_container() -> None:
    async with opened(Fake.compose(broken_stack())) as (app, pilot):
        await press(pilot, "2", "t")
        facts = said(app, "#facts")
        assert "✗ unhealthy" in facts
        assert f"its health check says: {SAFE}" in facts
        assert "mysql:9.7" in facts
        assert "243 MB of 512 MB" in facts
        await press(pilot, "j")
        facts = said(app, "#facts")
        assert "it was killed because memory ran out" in facts
        assert "code 137" in facts
        assert "memory" not in facts.split("why")[0]
        await press(pilot, "j", "j")
        assert "127.0.0.1:5000, :5443" in said(app, "#facts")
        await press(pilot, "G")
        assert said(app, "#facts").count("done") == 1


async def test_stop_names_what_runs_and_who_is_at_work() -> None:
    fake = Fake.compose()
    fake.stack.working = [f"run {number} of alice is RUNNING" for number in range(10)]
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "x")
        assert said(app, "#lines") == (
            "tracking, proxy, database and store will stop. No data is removed."
        )
        assert "run 9 of alice" in said(app, "#learnt")
        assert app.screen.query_one("#yes").region.bottom < SMALL[1]


async def test_a_stopped_stack_says_so_once() -> None:
    dead = [
        replace(each, state=State.STOPPED, health=Health.UNHEALTHY, reason="stopped",
                started_at=None, exit_code=None, cpu_percent=None, memory_bytes=None)
        for each in stack_services()
    ]  # fmt: skip
    now = replace(stopped(), driver="compose", services=tuple(dead))
    fake = Fake.compose(now)
    fake.stack.lines = []
    async with opened(fake) as (app, pilot):
        assert [line.split()[2:] for line in services(app)] == [["stopped"]] * 6
        await press(pilot, "2")
        assert "why" not in [each.title for each in table(app, "#services").columns]
        await pilot.pause(1.6)
        view = app.screen.query_one("#tail", LogView)
        assert view.empty == "No log lines: it does not run."


# Logs


async def test_all_logs_name_their_service_in_one_column() -> None:
    name = f"reports {NASTY}"
    fake = Fake.compose(broken_stack())
    fake.stack.lines = [LogLine(each, NOW, "text") for each in ("store", "database", name)]
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "l")
        assert said(app, "#about") == "Logs  of 7 services"
        view = app.screen.query_one(LogView)
        drawn = ["".join(each.text for each in view.render_line(y)) for y in range(3)]
        assert {line.rstrip().index("text") for line in drawn[:2]} == {28}
        assert "\x1b" not in "".join(drawn)
        await press(pilot, "slash", *"base")
        assert len(view.lines) == 1


async def test_the_colour_of_a_service_is_that_of_its_role() -> None:
    async with opened(Fake.compose()) as (app, pilot):
        await press(pilot, "2", "l")
        view = app.screen.query_one(LogView)

        def colour(word: str) -> set[object]:
            strips = [view.render_line(y) for y in range(15)]
            return {each.style.color for strip in strips for each in strip
                    if each.style and each.text.strip() == word}  # fmt: skip

        found = [colour(name) for name in ("tracking", "proxy", "database")]
        assert [len(each) for each in found] == [1, 1, 1]
        assert len(set.union(*found)) == 3


async def test_a_service_that_begins_to_run_is_heard() -> None:
    early = replace(service(name="store", role=Role.STORE, ports=()), started_at=None)
    fake = Fake.compose(stack_status(store=early))
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "l")
        before = len(fake.stack.opened)
        fake.stack.now = stack_status(store=replace(early, started_at=NOW - timedelta(seconds=3)))
        app.look()
        await settle(pilot)
        assert len(fake.stack.opened) == before + 1


async def test_a_log_that_cannot_be_read_says_why_until_it_can() -> None:
    fake, fail = Fake.compose(), [True]
    original = fake.stack.logs

    def broken(services: tuple[str, ...], tail: int, follow: bool) -> LogStream:
        if not fail[0]:
            return original(services, tail, follow)

        def produce(cancel: threading.Event, emit: Emit) -> None:
            raise UnreachableError("The Docker engine is not running")

        return LogStream(produce)

    fake.stack.logs = broken  # type: ignore[assignment,method-assign]
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "l")
        view = app.screen.query_one(LogView)
        await pilot.pause(1.6)
        assert view.empty == "The Docker engine is not running"
        fail[0] = False
        app.look()
        await settle(pilot)
        assert len(view.lines) == 60
        assert toasts(app) == []

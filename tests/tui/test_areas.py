"""Each area: what it shows when all is well, when there is nothing, and when it fails."""

from __future__ import annotations

import pytest
from rich.style import Style
from textual.strip import Strip

from console.core.errors import ConsoleError, UnreachableError
from console.core.stack.driver import Finding, Health, LogLine, Severity
from console.tui.modals.confirm import ConfirmModal
from console.tui.modals.detail import DetailModal
from console.tui.modals.error import ErrorModal
from console.tui.modals.one_time import OneTimeModal
from console.tui.screens.run import RunScreen
from console.tui.widgets.log_view import LogView
from console.tui.widgets.table import Cell
from tests.tui.fake import (
    NASTY,
    NOW,
    Fake,
    FakeExperiments,
    FakeRuns,
    FakeStack,
    FakeStorage,
    FakeUsers,
    experiment,
    service,
    status,
    stopped,
    user,
)
from tests.tui.helpers import column, opened, press, said, settle, table, toasts

SAFE = "[/foo]  😀 a↵b\ufffd"


async def test_home_at_one_glance() -> None:
    async with opened(Fake()) as (app, _):
        assert "healthy" in said(app, "#verdict")
        assert "checked 14:02:11" in said(app, "#verdict")
        assert "tracking" in said(app, "#services")
        assert "\n4 people can log in" in said(app, "#users")  # and carol, who is disabled, not
        assert "4 experiments, 4,298 runs" in said(app, "#experiments")
        assert "351 GB in 98,112 objects" in said(app, "#storage")
        assert "walked 14:02" in said(app, "#storage")
        assert table(app, "#findings").empty == "✓ Nothing needs you"


async def test_home_says_the_cause_first() -> None:
    finding = Finding(
        "api-host-rejected", Severity.ERROR, "tracking",
        f"MLflow answers 403: {NASTY} is not an allowed host", "seen", "set host_names",
    )  # fmt: skip
    now = status(service(health=Health.UNHEALTHY, reason="403"), findings=[finding], ok=False)
    async with opened(Fake(stack=FakeStack(now=now))) as (app, pilot):
        assert said(app, "#verdict").startswith(f"✗ MLflow answers 403: {SAFE}")
        await press(pilot, "enter")
        assert isinstance(app.screen, DetailModal)
        assert app.screen.copies == "set host_names"


async def test_home_when_stopped_says_how_to_start() -> None:
    fake = Fake(stack=FakeStack(now=stopped()))
    async with opened(fake) as (app, pilot):
        assert said(app, "#verdict").startswith("○ Stopped. u brings it up")
        await press(pilot, "u")
        assert fake.stack.done == ["up"]
        assert "healthy" in said(app, "#verdict")
        assert "lab is up" in toasts(app)


async def test_a_failed_start_is_explained() -> None:
    failure = ConsoleError(f"port 5000 is taken by {NASTY}", "Stop it.")
    async with opened(Fake(stack=FakeStack(now=stopped(), fails=failure))) as (app, pilot):
        await press(pilot, "u")
        assert isinstance(app.screen, ErrorModal)
        assert said(app, "#message") == f"port 5000 is taken by {SAFE}"


async def test_stack_shows_logs_and_details() -> None:
    lines = [LogLine("tracking", NOW, f"line {number} {NASTY}") for number in range(300)]
    async with opened(Fake(stack=FakeStack(lines=lines))) as (app, pilot):
        await press(pilot, "2")
        assert column(app, "#services", 1) == ["tracking"]
        view = app.screen.query_one(LogView)
        assert view.lines[-1] == f"tracking 14:02:11 line 299 {SAFE}"
        assert view.scroll_offset.y == view.max_scroll_y
        await press(pilot, "t")
        assert "answers mlflow-console" in said(app, "#facts")


async def test_logs_are_filtered() -> None:
    lines = [LogLine("tracking", None, f"line {number}") for number in range(300)]
    async with opened(Fake(stack=FakeStack(lines=lines))) as (app, pilot):
        await press(pilot, "2", "l", "slash", "9", "9")
        view = app.screen.query_one(LogView)
        assert [line.split()[-1] for line in view.lines] == ["99", "199", "299"]
        await press(pilot, "escape")
        assert len(view.lines) == 300
        await press(pilot, "escape")
        assert column(app, "#services", 1) == ["tracking"]


async def test_stopping_names_who_is_at_work() -> None:
    fake = Fake(stack=FakeStack(working=[f"run {NASTY} of alice is RUNNING"]))
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "x")
        assert isinstance(app.screen, ConfirmModal)
        assert said(app, "#lines") == "tracking will stop. No data is removed."
        assert f"run {SAFE} of alice is RUNNING" in said(app, "#learnt")
        await press(pilot, "enter")  # the answer that changes nothing has the focus
        assert fake.stack.done == []
        await press(pilot, "x", "right", "enter")
        assert fake.stack.done == ["down"]


async def test_restarting_asks_too() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "2", "n")
        assert "Nobody is at work" in said(app, "#learnt")
        await press(pilot, "right", "enter")
        assert fake.stack.done == ["down", "up"]


async def test_users_are_told_apart() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3")
        assert column(app, "#users", 0) == [
            "alice", "bob", "ci", "old-lab", "(carol)", "mlflow-console",
        ]  # fmt: skip
        assert column(app, "#users", 1) == ["13:02", "12:02", "13:56", "-", "24 Aug", "-"]
        assert column(app, "#users", 2) == ["1.2k", "310", "48k", "0", "0", "-"]
        assert column(app, "#users", 3) == ["31k", "9.0k", "1.4M", "0", "0", "-"]
        assert column(app, "#users", 4) == ["0", "2", "! 214", "0", "0", "-"]
        assert column(app, "#users", 5)[3] == "! SHA-1"
        assert column(app, "#users", 6) == ["", "", "", "weak", "disabled", ""]
        assert column(app, "#users", 7)[5] == "the console's own checks"
        assert column(app, "#users", 8)[1:3] == ["10.0.0.7", "9 addresses"]
        assert said(app, "#sum") == "5 users   ! 1 weak   1 disabled   logs cover all 30 days"
        assert "Unknown names tried: root 214 from 203.0.113.9" in said(app, "#notes")


async def test_a_user_is_added_with_a_typed_password() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(
            pilot, "3", "a", *"dora", "enter", *"steep-horse1", "enter", *"steep-horse2", "enter"
        )
        assert said(app, "#wrong") == "✗ The two passwords differ"
        await press(pilot, "backspace", "1", "enter")
        assert fake.users.passwords == {"dora": "steep-horse1"}
        assert "dora" in column(app, "#users", 0)


async def test_a_generated_password_is_shown_once() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "e", "ctrl+g")
        assert isinstance(app.screen, OneTimeModal)
        assert said(app, "#password") == fake.users.passwords["alice"]
        await press(pilot, "y", "escape")
        assert app.clipboard == fake.users.passwords["alice"]


async def test_only_the_confirmed_list_goes() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "space", "j", "space", "d")
        assert said(app, "#lines") == "alice\nci"
        fake.users.users.insert(0, user("somebody-new"))
        await press(pilot, "right", "enter")
        assert fake.users.removed == [("alice", "ci")]
        assert column(app, "#users", 0)[:2] == ["somebody-new", "bob"]


async def test_disabled_enabled_and_taken_back() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "t")
        assert [each.name for each in fake.users.users if not each.enabled] == ["alice", "carol"]
        assert column(app, "#users", 0)[0] == "(alice)"
        assert any("alice disabled; z undoes it" in each for each in toasts(app))
        await press(pilot, "t")
        assert [each.name for each in fake.users.users if not each.enabled] == ["carol"]
        await press(pilot, "space", "space", "t")
        assert said(app, "#lines") == "alice\nbob"
        await press(pilot, "right", "enter")
        assert column(app, "#users", 0)[:2] == ["(alice)", "(bob)"]
        await press(pilot, "z")
        title = said(app, "#dialog-title")
        assert title.startswith("Take back: alice disabled by r[oo]t ")
        assert said(app, "#lines") == "alice can log in again"
        await press(pilot, "enter")  # the answer that changes nothing has the focus
        assert column(app, "#users", 0)[:2] == ["(alice)", "(bob)"]
        await press(pilot, "z", "right", "enter")
        assert column(app, "#users", 0)[:2] == ["alice", "bob"]
        assert "Taken back: alice disabled; alice can log in again" in toasts(app)[-1]


async def test_renamed_and_checked() -> None:
    fake = Fake()
    fake.users.passwords["alice"] = "her password"
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "c", *"wrong", "enter")
        assert said(app, "#wrong") == "✗ That is not the password of alice"
        await press(pilot, "home", "shift+end", *"her", "space", *"password")
        drawn = "".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "her password" not in drawn
        await press(pilot, "enter")
        assert said(app, "#wrong") == "✓ That is the password of alice"
        await press(pilot, "escape", "n", "home", "shift+end", *"bob", "enter")
        assert said(app, "#wrong") == "✗ bob is taken. Choose another name."
        assert "alice" in [each.name for each in fake.users.users]
        await press(pilot, "home", "shift+end", *"a:b", "enter")
        assert "it has a colon" in said(app, "#wrong")
        await press(pilot, "home", "shift+end", *"alicia", "enter")
        assert column(app, "#users", 0)[0] == "alicia"
        assert "alice is alicia now" in toasts(app)[-1]


async def test_users_of_several_hosts_are_told_apart() -> None:
    users = [user("ada"), user("ada", host="mlflow.lab"), user("bob")]
    fake = Fake(users=FakeUsers(users=users))
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "j")
        assert column(app, "#users", 0) == ["ada", "ada at mlflow.lab", "bob"]
        await press(pilot, "d")
        assert said(app, "#lines") == "ada at mlflow.lab"
        await press(pilot, "right", "enter")
        assert [each.host for each in fake.users.users] == ["default", "default"]


async def test_the_service_user_is_protected() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "G", "space", "d")
        assert fake.users.removed == []
        assert table(app, "#users").marks == set()
        assert any("console's own account" in each for each in toasts(app))


async def test_an_error_of_a_verb_is_a_dialog() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3", "a", *"bob", "enter", "ctrl+g")
        assert isinstance(app.screen, ErrorModal)
        assert said(app, "#message") == "bob is taken"


async def test_what_nobody_expected_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3")
        monkeypatch.setattr(app.deployment.users, "remove", lambda *_, **__: 1 / 0)
        await press(pilot, "d", "right", "enter")
        assert isinstance(app.screen, ErrorModal)
        assert "ZeroDivisionError" in said(app, "#message")


async def test_unreadable_users_leave_the_reason_on_the_screen() -> None:
    fake = Fake(users=FakeUsers(fails=ConsoleError("htpasswd is not for you", "Ask root.")))
    async with opened(fake) as (app, pilot):
        assert "htpasswd is not for you" in said(app, "#users")
        await press(pilot, "3")
        assert "htpasswd is not for you" in said(app, "#sum")


async def test_nobody_yet() -> None:
    async with opened(Fake(users=FakeUsers(users=[]))) as (app, pilot):
        await press(pilot, "3")
        assert table(app, "#users").empty == "Nobody yet: a adds the first user."


async def test_experiments_runs_and_a_run() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "4")
        assert column(app, "#experiments", 0)[0] == "resnet-cifar10"
        await settle(pilot)
        assert column(app, "#runs", 1)[0] == "calm-deer-0"
        await press(pilot, "enter", "j", "enter")
        assert isinstance(app.screen, RunScreen)
        assert "calm-deer-1" in said(app, "#about")
        assert column(app, "#params", 0) == ["epochs", "lr", "optimizer"]
        assert column(app, "#metrics", 1) == ["0.901", "nan", "0.125"]
        assert column(app, "#tags", 1) == ["cifar10", SAFE]
        await press(pilot, "escape")
        assert table(app, "#runs").has_focus
        await press(pilot, "escape")
        assert table(app, "#experiments").has_focus


async def test_an_experiment_without_runs() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "4", "G")
        await settle(pilot)
        assert table(app, "#runs").empty == "No run yet."


async def test_experiments_of_a_stopped_server() -> None:
    failure = UnreachableError("The server is stopped", "`u` on Stack brings it up.")
    async with opened(Fake(experiments=FakeExperiments(fails=failure))) as (app, pilot):
        await press(pilot, "4")
        assert table(app, "#experiments").empty == "✗ The server is stopped"
        assert "brings it up" in said(app, "#about")


async def test_runs_come_in_pages() -> None:
    fake = Fake(runs=FakeRuns(count=10_000))
    async with opened(fake) as (app, pilot):
        await press(pilot, "4")
        await settle(pilot)
        assert fake.runs.asked == [None]
        assert len(table(app, "#runs").rows) == 100
        await press(pilot, "enter", "G")
        assert fake.runs.asked == [None, "100"]
        assert len(table(app, "#runs").rows) == 200
        assert table(app, "#runs").cursor == 99


async def test_ten_thousand_users_draw_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [user(f"user-{number:05}") for number in range(10_000)]
    async with opened(Fake(users=FakeUsers(users=many))) as (app, pilot):
        await press(pilot, "3")
        users = table(app, "#users")
        drawn: list[str] = []
        original = users._strip

        def counted(gutter: str, cells: tuple[Cell, ...], style: Style, styled: bool) -> Strip:
            drawn.append(cells[0].text)
            return original(gutter, cells, style, styled)

        monkeypatch.setattr(users, "_strip", counted)
        await press(pilot, "G")
        assert users.key == "default/user-09999"
        assert 0 < len(drawn) <= 3 * app.size.height
        drawn.clear()
        await press(pilot, "r")
        assert drawn == []  # nothing changed, nothing is drawn again


async def test_storage_level_by_level() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "5")
        assert fake.storage.walks == 1  # Home's walk is shared
        assert column(app, "#usage", 4) == [
            "resnet-cifar10", "tabular-baselines", f"{SAFE}  in the trash", "(orphans)",
            "(unknown)", "empty",
        ]  # fmt: skip
        assert column(app, "#usage", 2)[0] == "68 %"
        assert "orphans 9.0 GB" in said(app, "#sum")
        await press(pilot, "enter")
        assert column(app, "#usage", 4)[:2] == ["calm-deer-0", "(models)"]
        await press(pilot, "left", "s", "s")
        assert "by name" in said(app, "#path")
        await press(pilot, "r")
        assert fake.storage.walks == 2


async def test_a_store_that_cannot_be_walked() -> None:
    fake = Fake(storage=FakeStorage(fails=ConsoleError("the folder is gone", "Look for it.")))
    async with opened(fake) as (app, pilot):
        assert "the folder is gone" in said(app, "#storage")
        await press(pilot, "5")
        assert "the folder is gone" in said(app, "#sum")


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5"])
@pytest.mark.parametrize("size", [(80, 24), (160, 45), (20, 5)])
async def test_every_size_can_be_drawn(key: str, size: tuple[int, int]) -> None:
    everything = FakeExperiments([experiment(1, NASTY * 50)])
    async with opened(Fake(experiments=everything), size) as (app, pilot):
        await press(pilot, key)
        assert app.export_screenshot()

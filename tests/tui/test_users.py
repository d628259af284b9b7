"""Who was here: the filter of those who are gone, one user's activity, and everybody's."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest

from console.core.errors import ConsoleError
from console.core.operations import OPERATIONS
from console.core.users.report import EVERYBODY, Asked, Report
from console.tui.modals.detail import DetailModal
from console.tui.screens import users as users_screen
from console.tui.screens.users import UsersScreen
from console.tui.screens.users_activity import ActivityScreen
from console.tui.screens.users_rows import Listing, UserRow, listing
from console.tui.widgets.table import Cell
from tests.tui.fake import Fake, FakeUsers, logged, user
from tests.tui.helpers import column, opened, press, said, settle, table

SAFE = "[/foo]  😀 a↵b\ufffd"


def _fake(days: float = 61) -> Fake:
    return Fake(users=FakeUsers(report=logged(days)))


async def test_only_who_is_proven_to_be_gone() -> None:
    async with opened(_fake(90)) as (app, pilot):
        await press(pilot, "3", "m")
        assert column(app, "#users", 0) == ["old-lab", "(carol)"]
        assert said(app, "#sum") == ("2 of 5 users not seen for 90 days   logs cover all 90 days")
        await press(pilot, "slash", *"lab")
        assert column(app, "#users", 0) == ["old-lab"]
        assert "   1 shown   " in said(app, "#sum")
        await press(pilot, "escape", "m")
        assert len(column(app, "#users", 0)) == 6
        assert said(app, "#sum") == "5 users   ! 1 weak   1 disabled   logs cover all 30 days"


async def test_nobody_is_called_gone_beyond_the_logs() -> None:
    async with opened(_fake(61)) as (app, pilot):
        await press(pilot, "3", "m")
        assert column(app, "#users", 0) == []
        assert table(app, "#users").empty == "The logs prove it of nobody."
        assert said(app, "#sum") == ("0 of 5 users not seen for 90 days   logs cover 61 of 90 days")


async def test_what_is_done_in_the_filter_is_done_to_its_rows_alone() -> None:
    fake = _fake(90)
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "space", "m", "g", "space", "d")
        assert said(app, "#lines") == "old-lab"  # and not alice, who is out of sight
        await press(pilot, "right", "enter")
        assert fake.users.removed == [("old-lab",)]


async def test_one_user_from_all_sides() -> None:
    fake = _fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "j", "j", "enter")
        assert isinstance(app.screen, ActivityScreen)
        assert fake.users.asked[-1] == Asked("ci", "default")
        about = said(app, "#about")
        assert "last 2026-11-23 13:56:11" in about
        assert "1,400,318 requests" in about
        assert "214 failed log-ins" in about
        assert about.endswith("The logs cover all 30 days.")
        assert len(column(app, "#did", 0)) == 9
        assert said(app, "#says") == (
            "9 addresses: is the account shared? The logs cover 61 of 90 days."
        )
        await press(pilot, "tab")
        assert column(app, "#did", 0) == ["runs/log-metric"]
        assert [column(app, "#did", index)[0] for index in range(1, 6)] == [
            "1.3M", "12 ms", "48 ms", "11 ms", "44 ms",
        ]  # fmt: skip
        assert said(app, "#says") == (
            "MLflow (with its database and store) takes 92 % of the time. "
            "The logs cover all 7 days."
        )
        await press(pilot, "tab")
        assert column(app, "#did", 1) == ["10.0.3.4"]
        await press(pilot, "tab", "tab", "escape")
        assert isinstance(app.screen, UsersScreen)
        assert table(app, "#users").key == "default/ci"


async def test_a_user_whom_no_log_knows() -> None:
    async with opened(_fake()) as (app, pilot):
        await press(pilot, "3", "j", "j", "j", "enter")
        assert "never" in said(app, "#about")
        assert "! weak" in said(app, "#about")
        assert table(app, "#did").empty == "From nowhere yet."
        await press(pilot, "tab")
        assert table(app, "#did").empty == "No request was measured yet."
        assert said(app, "#says") == "The logs cover all 7 days."


async def test_nothing_is_claimed_of_the_consoles_own_account() -> None:
    async with opened(_fake()) as (app, pilot):
        await press(pilot, "3", "G", "enter")
        assert "nobody counts them" in said(app, "#about")
        assert "never" not in said(app, "#about")


async def test_who_did_what() -> None:
    async with opened(_fake()) as (app, pilot):
        await press(pilot, "3", "w")
        assert column(app, "#did", 0) == ["root", SAFE]
        await press(pilot, "tab")
        assert column(app, "#did", 0) == ["ci", "alice", "alice", "alice"]
        assert column(app, "#did", 1) == [
            "runs/log-metric", "runs/log-batch", "runs/search (web)",
            "mlflow-artifacts/artifacts/*",
        ]  # fmt: skip
        assert column(app, "#did", 5)[3] == "-"  # the log does not say what was MLflow's
        await press(pilot, "tab", "slash", *"CI", "enter")
        assert column(app, "#did", 1) == ["ci"]
        assert column(app, "#did", 3) == ["403"]
        await press(pilot, "enter")
        modal = app.screen
        assert isinstance(modal, DetailModal)
        facts = dict(modal.pairs)
        assert facts["at"] == "2026-11-22 08:02:11"
        assert facts["answer"] == "403, not done"
        assert facts["run"] == "0123456789abcdef" * 2
        await press(pilot, "escape", "y")
        assert "10.0.3.4" in app.clipboard


async def test_names_that_were_tried_are_shown_as_text_in_full() -> None:
    async with opened(_fake()) as (app, pilot):
        await press(pilot, "3", "w", "j", "enter")
        assert said(app, "#dialog-title").startswith("[/foo]")
        assert "\x1b" not in said(app, "#dialog-title")


async def test_the_palette_leads_there() -> None:
    async with opened(_fake()) as (app, pilot):
        await app.run_verb(OPERATIONS["users.activity"])
        await settle(pilot)
        assert isinstance(app.screen, ActivityScreen)


async def test_a_log_that_cannot_be_read_leaves_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Report:
        raise ConsoleError("activity.db has format 99")

    monkeypatch.setattr(FakeUsers, "activity", failing)
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3")
        assert column(app, "#users", 0)[0] == "alice"
        assert column(app, "#users", 1)[0] == "-"
        assert "! Who was here is not known: activity.db has format 99" in said(app, "#notes")
        await press(pilot, "w")
        assert said(app, "#about").startswith("✗ activity.db has format 99")


async def test_a_change_by_somebody_else_is_shown_and_marks_and_cursor_stay() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "j", "space")
        screen = app.screen
        assert isinstance(screen, UsersScreen)
        fake.users.users.insert(0, user("aaron"))
        screen.look()
        await settle(pilot)
        assert column(app, "#users", 0)[:2] == ["aaron", "alice"]
        assert table(app, "#users").marks == {"default/bob"}
        assert table(app, "#users").key == "default/ci"
        listed = fake.users.listed
        screen.look()
        await settle(pilot)
        assert fake.users.listed == listed  # nothing changed, so nothing is read or drawn


async def test_looking_goes_on_by_itself_and_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(users_screen, "LOOK_SECONDS", 0.05)
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3")
        fake.users.fails = ConsoleError("The file is not for you")
        fake.users.users.insert(0, user("aaron"))
        while not said(app, "#sum").startswith("✗ The file is not for you"):
            await pilot.pause(0.05)
        fake.users.fails = None
        while not said(app, "#sum").startswith("6 users"):
            await pilot.pause(0.05)
        assert column(app, "#users", 0)[0] == "aaron"


@dataclass
class SlowUsers(FakeUsers):
    """Reading the log takes until it is let go."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def activity(self, asked: Asked = EVERYBODY, cancel: threading.Event | None = None) -> Report:
        found = super().activity(asked, cancel)
        self.go_on.wait(20)
        return found


async def test_a_long_log_is_read_once_at_a_time() -> None:
    users = SlowUsers()
    app = Fake(users=users).app()
    async with app.run_test() as pilot:
        await pilot.pause(0.3)
        await pilot.press("3")
        await pilot.pause(0.3)
        await pilot.press("r", "r", "r")
        await pilot.pause(0.3)
        assert users.asked == [Asked(brief=True)]
        assert column(app, "#users", 0)[0] == "alice"  # who can log in is known meanwhile
        users.go_on.set()
        await settle(pilot)
        assert users.asked == [Asked(brief=True)] * 2  # what was wanted meanwhile, once
        assert column(app, "#users", 1)[0] == "13:02"


async def test_ten_thousand_users_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The long part is done on a thread, and on the event loop one screen's worth of cells."""
    made: Counter[str] = Counter()
    threads: list[threading.Thread] = []
    cells = UserRow.cells

    def counted(row: UserRow) -> tuple[Cell, ...]:
        made[row.key] += 1
        return cells.__get__(row)  # type: ignore[no-any-return]  # a property's

    def watched(*arguments: object) -> Listing:
        threads.append(threading.current_thread())
        return listing(*arguments)  # type: ignore[arg-type]  # as it is called

    monkeypatch.setattr(UserRow, "cells", property(counted))
    monkeypatch.setattr(users_screen, "listing", watched)
    many = [user(f"user-{number:05}") for number in range(10_000)]
    async with opened(Fake(users=FakeUsers(users=many))) as (app, pilot):
        for keys in (("3",), ("slash", *"user-09", "escape"), ("m", "m"), ("space",), ("r",)):
            made.clear()
            await press(pilot, *keys)
            # Each key draws at most the screen, a few times over.
            assert len(made) <= 3 * app.size.height * len(keys)
        assert len(table(app, "#users").rows) == 10_000
    assert threads
    assert threading.main_thread() not in threads

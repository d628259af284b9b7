"""The first start: three questions, what was found of Docker, and what becomes of the answers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from console.core import engine, setup
from console.core.errors import CancelledError, ConsoleError, UnreachableError
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings
from console.core.setup import Plan
from console.core.stack.planning import Planned
from console.tui import opening
from console.tui.app import ConsoleApp
from console.tui.modals.error import ErrorModal
from console.tui.modals.paste import PasteModal
from console.tui.modals.progress import ProgressModal
from console.tui.screens.first_start import FirstStartScreen
from console.tui.screens.home import HomeScreen
from console.tui.widgets.choice import Choice
from tests.tui.fake import Fake
from tests.tui.helpers import SMALL, press, said, settle, toasts

NOT_RUNNING = UnreachableError(
    "The Docker engine is not running (unix:///var/run/docker.sock)",
    "Start it: systemctl start docker. `mlflow-console init DIR --driver embedded` needs none.",
)


@dataclass
class Core:
    """Stands in for what setting up does, and remembers what it was asked for."""

    planned: list[tuple[Path, str, int | None]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    begun: str = ""
    create_fails: ConsoleError | None = None
    up_fails: ConsoleError | None = None
    fake: Fake = field(default_factory=Fake.compose)

    def plan(self, directory: Path, driver: str = "", port: int | None = None) -> Plan:
        self.planned.append((directory, driver, port))
        chosen: Any = self.begun or driver
        server = ServerSettings(port=5000, mlflow="3.17.2") if chosen == "embedded" else None
        settings = Settings(format=1, name="lab", driver=chosen, server=server)
        return Plan(directory, Planned(settings, (), 5000), (), resumed=bool(self.begun))

    def create(
        self, chosen: Plan, first: tuple[str, Secret], cancel: threading.Event
    ) -> Iterator[Progress]:
        self.users.append(first[0])
        yield Progress("settings written")
        if self.create_fails is not None:
            raise self.create_fails

    def up(self, *, cancel: threading.Event) -> Iterator[Progress]:
        yield Progress("docker compose up (lab)")
        yield Progress("Container lab-database-1 Starting")
        if isinstance(self.up_fails, CancelledError):
            cancel.wait(20)
        if self.up_fails is not None:
            raise self.up_fails


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Core:
    """The set-up without a disk and without an engine."""
    core = Core()
    made = SimpleNamespace(
        driver=SimpleNamespace(url="http://localhost:5000"), stack=SimpleNamespace(up=core.up)
    )
    monkeypatch.setattr(setup, "plan", core.plan)
    monkeypatch.setattr(setup, "create", core.create)
    monkeypatch.setattr(opening, "Deployment", SimpleNamespace(open=lambda _: made))
    monkeypatch.setattr(opening, "session", lambda _: core.fake.session())
    return core


@asynccontextmanager
async def first_start() -> AsyncIterator[tuple[ConsoleApp, Pilot[int]]]:
    app = ConsoleApp(lambda _: [])
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FirstStartScreen)
        yield app, pilot


def refused(monkeypatch: pytest.MonkeyPatch, error: ConsoleError) -> None:
    def versions() -> tuple[str, str]:
        raise error

    monkeypatch.setattr(engine, "versions", versions)


async def test_embedded_is_what_one_gets_without_choosing(core: Core) -> None:
    async with first_start() as (app, pilot):
        await press(pilot, "ctrl+s")
        assert [driver for _, driver, _ in core.planned] == ["embedded"]
        assert isinstance(app.screen, PasteModal)


async def test_compose_is_offered_with_what_was_found_and_can_be_chosen(core: Core) -> None:
    async with first_start() as (app, pilot):
        assert "Docker 28.2, Compose 5.6" in said(app, "#found")
        await press(pilot, "tab", *"5123", "tab", "down", "ctrl+s")
        assert core.planned == [(Path.home() / "mlflow", "compose", 5123)]
        assert isinstance(app.screen, PasteModal)
        assert app.screen.lines[0] == "export MLFLOW_TRACKING_URI=http://localhost:5000"
        await press(pilot, "enter")
        assert isinstance(app.screen, HomeScreen)
        assert "database" in said(app, "#services")


async def test_enter_goes_through_the_questions_one_by_one(core: Core) -> None:
    async with first_start() as (_, pilot):
        await press(pilot, "enter", "enter", "down", "enter", "enter", "enter", "enter")
        assert [driver for _, driver, _ in core.planned] == ["compose"]


async def test_keys_that_arrive_at_once_reach_their_fields(core: Core) -> None:
    place, port = ("ctrl+u", *"lab"), (*"51", "backspace", *"123")
    async with first_start() as (_, pilot):
        for key in (*place, "enter", *port, "tab", "down", "tab", "ctrl+s"):
            pilot.app.simulate_key(key)
        await settle(pilot)
        assert core.planned == [(Path.cwd() / "lab", "compose", 5123)]


@pytest.mark.parametrize("key", ["down", "up", "space", "right"])
async def test_without_an_engine_compose_is_grey_and_says_why(
    core: Core, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    refused(monkeypatch, NOT_RUNNING)
    async with first_start() as (app, pilot):
        assert "The Docker engine is not running" in said(app, "#found")
        assert said(app, "#found").endswith("Start it: systemctl start docker.")
        await press(pilot, "tab", "tab", key, "ctrl+s")
        assert [driver for _, driver, _ in core.planned] == ["embedded"]


async def test_looking_again_finds_an_engine_that_was_started(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(monkeypatch, NOT_RUNNING)
    async with first_start() as (app, pilot):
        monkeypatch.setattr(engine, "versions", lambda: ("20.10", "2.30"))
        await press(pilot, "ctrl+r")
        assert "Docker 20.10, Compose 2.30" in said(app, "#found")
        await press(pilot, "tab", "tab", "down")
        assert app.screen.query_one(Choice).chosen == "compose"
        assert not app.screen.check_action("look", ())


async def test_looking_for_docker_holds_nothing_up(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked_on = threading.Event(), []

    def versions() -> tuple[str, str]:
        asked_on.append(threading.current_thread())
        answer.wait(20)
        return "28.2", "5.6"

    monkeypatch.setattr(engine, "versions", versions)
    app = ConsoleApp(lambda _: [])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause(0.3)
        assert isinstance(app.screen, FirstStartScreen)
        await pilot.press("tab", "7", "tab", "down")
        assert app.screen.query_one("#port", Input).value == "7"
        assert "Looking for Docker" in said(app, "#found")
        assert app.screen.query_one(Choice).chosen == "embedded"  # not before it is known
        answer.set()
        await settle(pilot)
        await press(pilot, "down")
        assert app.screen.query_one(Choice).chosen == "compose"
    assert len(asked_on) == 1
    assert threading.main_thread() not in asked_on


async def test_an_engine_that_went_away_takes_the_choice_back(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_start() as (app, pilot):
        await press(pilot, "tab", "tab", "down")
        refused(monkeypatch, NOT_RUNNING)
        assert isinstance(app.screen, FirstStartScreen)
        app.screen.action_look()
        await settle(pilot)
        assert app.screen.query_one(Choice).chosen == "embedded"


async def test_an_interrupted_set_up_of_the_other_kind_is_not_mixed_up(core: Core) -> None:
    core.begun = "compose"
    async with first_start() as (app, pilot):
        await press(pilot, "ctrl+s")
        assert "that was interrupted (compose)" in said(app, "#wrong")
        assert core.users == []
        await press(pilot, "tab", "tab", "down", "ctrl+s")
        assert isinstance(app.screen, PasteModal)


async def test_what_fails_before_there_is_a_deployment_leaves_the_answers(core: Core) -> None:
    core.create_fails = ConsoleError("the disk is full", "Free some space.")
    async with first_start() as (app, pilot):
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, ErrorModal)
        await press(pilot, "escape")
        assert isinstance(app.screen, FirstStartScreen)
        assert "the same answers go on" in said(app, "#wrong")


async def test_a_stack_that_does_not_come_up_is_there_all_the_same(core: Core) -> None:
    core.up_fails = UnreachableError("The image nginx is not here", "Bring it here.")
    async with first_start() as (app, pilot):
        await press(pilot, "tab", "tab", "down", "ctrl+s")
        assert isinstance(app.screen, ErrorModal)
        assert said(app, "#message") == "The image nginx is not here"
        await press(pilot, "escape")
        assert isinstance(app.screen, PasteModal)  # the made-up password is on no other page
        assert "does not run yet" in said(app, "#dialog-title")
        assert "…" not in said(app, "#lines")
        await press(pilot, "escape")
        assert isinstance(app.screen, HomeScreen)


async def test_cancelling_says_how_to_go_on(core: Core) -> None:
    core.up_fails = CancelledError("Cancelled; containers stay", "The same command goes on.")
    async with first_start() as (app, pilot):
        await pilot.press("tab", "tab", "down", "ctrl+s")
        for _ in range(40):
            await pilot.pause(0.05)
            if isinstance(app.screen, ProgressModal) and "lab-database-1" in said(app, "#said"):
                break
        await pilot.press("escape")
        await settle(pilot)
        assert toasts(app) == ["Cancelled; containers stay\nThe same command goes on."]
        assert isinstance(app.screen, PasteModal)


async def test_the_consoles_own_user_is_no_first_user(core: Core) -> None:
    async with first_start() as (app, pilot):
        app.screen.query_one("#user", Input).value = "mlflow-console"
        await press(pilot, "ctrl+s")
        assert "console's own user" in said(app, "#wrong")
        assert core.planned == []


async def test_a_weak_password_of_the_first_user_is_taken_at_the_second_time(core: Core) -> None:
    async with first_start() as (app, pilot):
        app.screen.query_one("#password", Input).value = "hunter2"
        app.screen.query_one("#again", Input).value = "hunter2"
        await press(pilot, "ctrl+s")
        assert "Too easy to guess: this is a very common password" in said(app, "#wrong")
        assert said(app, "#strength").startswith("✗ weak")
        assert core.planned == []
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, PasteModal)
        assert "hunter2" not in said(app, "#lines")


async def test_names_of_user_and_folder_make_a_weak_password(core: Core) -> None:
    async with first_start() as (app, pilot):
        app.screen.query_one("#directory", Input).value = "/srv/wqzkhost"
        app.screen.query_one("#user", Input).value = "brzezinska"
        for password in ("wqzkhost77", "brzezinska81"):
            app.screen.query_one("#password", Input).value = password
            app.screen.query_one("#again", Input).value = password
            await press(pilot, "ctrl+s")
            assert "a name of the user or of the server" in said(app, "#wrong")
        assert core.planned == []


async def test_a_password_typed_once_is_not_made_up(core: Core) -> None:
    async with first_start() as (app, pilot):
        app.screen.query_one("#again", Input).value = "steep-horse1"
        await press(pilot, "ctrl+s")
        assert said(app, "#wrong") == "✗ The two passwords differ"
        assert core.planned == []

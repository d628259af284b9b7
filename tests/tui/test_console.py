"""What all areas share: read-only, keys, the table of verbs, the palette, opening and leaving."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from console.core.errors import NoDeploymentError, SettingsError
from console.core.operations import OPERATIONS, Risk
from console.core.progress import Progress
from console.core.register import Known
from console.core.stack.driver import LogLine
from console.core.streams import Stream
from console.tui import calls, themes
from console.tui.app import ConsoleApp
from console.tui.area import AreaScreen
from console.tui.areas import AREAS
from console.tui.commands import commands
from console.tui.messages import Session
from console.tui.modals.confirm import ConfirmModal
from console.tui.modals.help import HelpModal
from console.tui.modals.user_form import UserFormModal
from console.tui.screens.backup import BackupScreen
from console.tui.screens.backup_browse import BrowseScreen
from console.tui.screens.backup_compare import CompareScreen
from console.tui.screens.backup_found import FoundScreen
from console.tui.screens.chooser import ChooserScreen
from console.tui.screens.doctor import DoctorScreen
from console.tui.screens.experiments import ExperimentsScreen
from console.tui.screens.failure import FailureScreen
from console.tui.screens.first_start import FirstStartScreen
from console.tui.screens.home import HomeScreen
from console.tui.screens.logs import LogsScreen
from console.tui.screens.run import RunScreen
from console.tui.screens.stack import StackScreen
from console.tui.screens.storage import StorageScreen
from console.tui.screens.users import UsersScreen
from console.tui.screens.users_activity import ActivityScreen
from console.tui.widgets.filter import FilterLine
from tests.tui.fake import Fake, FakeStack
from tests.tui.helpers import opened, press, said, settle, table, toasts

SCREENS: tuple[type[AreaScreen], ...] = (
    HomeScreen, StackScreen, LogsScreen, UsersScreen, ActivityScreen, ExperimentsScreen, RunScreen,
    StorageScreen, BackupScreen, BrowseScreen, CompareScreen, FoundScreen, DoctorScreen,
)  # fmt: skip


def test_every_verb_of_the_table_has_its_action() -> None:
    here = {each for screen in SCREENS for each in screen.VERBS.values()}
    here |= set(FirstStartScreen.VERBS.values())
    assert here == {each.id for each in OPERATIONS.values() if not each.cli_only}


def test_every_verb_names_an_action_that_exists() -> None:
    screens: tuple[type[AreaScreen] | type[FirstStartScreen], ...] = (*SCREENS, FirstStartScreen)
    for screen in screens:
        for action in screen.VERBS:
            assert callable(getattr(screen, f"action_{action}")), (screen, action)


def test_every_verb_can_be_reached_from_its_area() -> None:
    rooms = {room for area in AREAS for room in area.rooms}
    assert {each.area for each in OPERATIONS.values() if not each.cli_only} <= rooms


@pytest.mark.parametrize("screen", [*SCREENS, ConsoleApp, FirstStartScreen, ChooserScreen])
def test_every_binding_has_an_id_and_a_tooltip(screen: type[AreaScreen]) -> None:
    for binding in screen.BINDINGS:
        assert not isinstance(binding, tuple)
        assert binding.id, binding
        assert binding.tooltip, binding


def test_no_shifted_letter_is_a_sibling() -> None:
    for screen in SCREENS:
        for binding in screen.BINDINGS:
            assert not isinstance(binding, tuple)
            assert not binding.key.isupper()


async def test_the_same_id_has_the_same_key_everywhere() -> None:
    keys: dict[str, set[str]] = {}
    for screen in SCREENS:
        for binding in screen.BINDINGS:
            assert not isinstance(binding, tuple)
            keys.setdefault(str(binding.id), set()).add(binding.key)
    keys["app.back"] = {"escape"}  # left leads back too, where there is nothing to the left
    assert [each for each, used in keys.items() if len(used) > 1] == []


@pytest.mark.parametrize("keys", [("3",), ("4",), ("3", "w"), ("7", "enter"), ("7", "c")])
async def test_escape_on_the_rows_takes_the_filter_away(keys: tuple[str, ...]) -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, *keys)
        screen = app.screen
        assert screen.active_bindings["escape"].binding.action == "back"
        await press(pilot, "slash", *"zz", "enter")
        assert screen.query_one(FilterLine).value == "zz"
        assert screen.active_bindings["escape"].binding.description == "Show all"
        await press(pilot, "escape")
        assert app.screen is screen
        assert screen.query_one(FilterLine).value == ""
        assert screen.active_bindings["escape"].binding.action == "back"


async def test_read_only_greys_what_changes() -> None:
    fake = Fake(read_only="--read-only")
    async with opened(fake) as (app, pilot):
        assert "read-only" in str(app.screen.query_one("Header").render())
        await press(pilot, "3", "a", "d", "e")
        assert isinstance(app.screen, UsersScreen)
        assert toasts(app) == ["Read-only: nothing is changed here (--read-only)"] * 3
        for area in AREAS:
            await press(pilot, area.key)
            screen = app.screen
            assert isinstance(screen, AreaScreen)
            for action, operation in screen.VERBS.items():
                allowed = OPERATIONS[operation].risk is Risk.READ
                assert bool(screen.check_action(action, ())) is allowed, action


async def test_read_only_holds_for_the_palette_too() -> None:
    fake = Fake(read_only="--read-only")
    async with opened(fake) as (app, pilot):
        await app.run_verb(OPERATIONS["users.add"])
        await settle(pilot)
        assert isinstance(app.screen, UsersScreen)
        helps = {each.title: each.help for each in commands(app)}
        assert "read-only" in helps["users add"]
        assert "read-only" not in helps["users list"]


async def test_what_the_driver_lacks_is_grey() -> None:
    async with opened(Fake(missing={"stack.down": "nobody can"})) as (app, pilot):
        await press(pilot, "2", "x")
        assert isinstance(app.screen, StackScreen)


async def test_keys_can_be_remapped() -> None:
    fake = Fake(keys={"users.add": "ctrl+n"})
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "a")
        assert isinstance(app.screen, UsersScreen)
        await press(pilot, "ctrl+n")
        assert isinstance(app.screen, UserFormModal)


async def test_the_palette_offers_every_verb() -> None:
    async with opened(Fake()) as (app, pilot):
        offered = {each.title for each in commands(app)}
        for operation in OPERATIONS.values():
            if not operation.cli_only and operation.area != "deployment":
                assert f"{operation.area} {operation.verb}" in offered
        await app.run_verb(OPERATIONS["stack.restart"])
        await settle(pilot)
        assert isinstance(app.screen, ConfirmModal)


async def test_help_lists_the_keys() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3", "question_mark")
        assert isinstance(app.screen, HelpModal)
        listed = "".join(part if isinstance(part, str) else part[0] for part in app.screen.lines)
        assert "Give somebody a password" in listed


async def test_each_area_keeps_its_place() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3", "j", "j", "5", "3")
        assert table(app, "#users").key == "default/ci"


async def test_nothing_is_drawn_when_nothing_changed() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        drawn: list[object] = []
        for facts in app.screen.query("Facts"):
            facts.update = drawn.append  # type: ignore[attr-defined]
        app.look()
        await settle(pilot)
        assert drawn == []


# Opening


def _opener(answer: Session | list[Known] | Exception) -> ConsoleApp:
    def opener(wanted: str | None) -> Session | list[Known]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ConsoleApp(opener)


async def test_a_deployment_that_cannot_be_opened() -> None:
    app = _opener(SettingsError("console.toml: truncated [/b]", "Mend it by hand."))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FailureScreen)
        assert said(app, "#sentence") == "✗ console.toml: truncated [/b]"
        await press(pilot, "r")
        assert isinstance(app.screen, FailureScreen)
        await pilot.press("q")
    assert app.return_code == SettingsError.exit_code


async def test_what_nobody_expected_while_opening() -> None:
    app = _opener(NotImplementedError())
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "NotImplementedError" in said(app, "#sentence")


async def test_several_deployments_are_chosen_from() -> None:
    fake = Fake()
    asked: list[str | None] = []

    def opener(wanted: str | None) -> Session | list[Known]:
        asked.append(wanted)
        if wanted is None:
            return [
                Known("lab", Path("/srv/lab"), "machine"), Known("home", Path("/srv/home"), "yours")
            ]  # fmt: skip
        return fake.session()

    app = ConsoleApp(opener)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, ChooserScreen)
        await press(pilot, "j", "enter")
        assert asked == [None, "/srv/home"]
        assert isinstance(app.screen, HomeScreen)


async def test_the_first_start_asks() -> None:
    app = _opener([])
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FirstStartScreen)
        app.screen.query_one("#port", Input).value = "70000"
        await press(pilot, "ctrl+s")
        assert "1 to 65535" in said(app, "#wrong")
        app.screen.query_one("#port", Input).value = ""
        app.screen.query_one("#again", Input).value = "other"
        await press(pilot, "ctrl+s")
        assert "differ" in said(app, "#wrong")


async def test_opening_a_missing_one_is_no_first_start() -> None:
    app = _opener(NoDeploymentError("/srv/x holds no deployment"))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FailureScreen)


# Leaving


async def test_leaving_does_not_wait_for_what_hangs() -> None:
    block = threading.Event()
    lines = [LogLine("tracking", None, "a line")]
    fake = Fake(stack=FakeStack(block=block, lines=lines))
    app = fake.app()
    async with app.run_test() as pilot:
        await pilot.pause(0.3)
        for area in AREAS:
            await pilot.press(area.key)
            await pilot.pause(0.1)
        await pilot.press("2", "l", "1", "r")
        await pilot.pause(0.1)
        assert calls.running()
        await pilot.press("q")
    assert calls.running(), "it waited for what hangs"
    block.set()


async def test_streams_are_closed_on_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    original = Stream.close

    def close(stream: Stream[object]) -> None:
        closed.append(stream)
        original(stream)

    monkeypatch.setattr(Stream, "close", close)
    async with opened(Fake()) as (_, pilot):
        await press(pilot, "2", "l")
        await pilot.press("q")
    assert len(closed) >= 3


# Colours


@pytest.mark.parametrize(
    ("term", "colorterm", "no_color", "plain"),
    [
        ("xterm", None, None, True),
        ("linux", None, None, True),
        ("xterm-256color", None, None, False),
        ("xterm", "truecolor", None, False),
        ("xterm-256color", "truecolor", "1", True),
    ],
)
async def test_the_terminal_decides_the_colours(
    monkeypatch: pytest.MonkeyPatch,
    term: str, colorterm: str | None, no_color: str | None, plain: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("TERM", term)
    for name, value in (("COLORTERM", colorterm), ("NO_COLOR", no_color)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert themes.plain() is plain
    async with opened(Fake()) as (app, _):
        assert app.native_ansi_color is plain
        assert app.no_color is (no_color is not None)


async def test_home_is_left_and_come_back_to() -> None:
    app = Fake().app()
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, HomeScreen)
        home = app.screen
        await press(pilot, "3", "1")
        assert app.screen is home


async def test_a_defect_shows_no_local_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_self: ConsoleApp) -> None:
        password = "hunter" + "2"
        raise RuntimeError(f"a defect, {len(password)} long")

    monkeypatch.setattr(ConsoleApp, "action_help", broken)
    app = Fake().app()

    async def asked_for_help() -> None:
        async with app.run_test() as pilot:
            await settle(pilot)
            await pilot.press("question_mark")

    with pytest.raises(RuntimeError, match="a defect"):
        await asked_for_help()
    shown = "".join(capsys.readouterr())
    assert "This should not have happened: RuntimeError: a defect, 7 long" in shown
    assert "hunter2" not in shown
    assert app.return_code == 1


async def test_leaving_in_the_middle_of_work_says_how_to_go_on() -> None:
    app = Fake().app()
    async with app.run_test() as pilot:
        await settle(pilot)

        def work(cancel: threading.Event) -> Iterator[Progress]:
            yield Progress("half of it")
            cancel.wait(20)

        app.perform("Doing it", work, "done")
        await pilot.pause(0.2)
        await pilot.press("ctrl+q")
    assert app.return_code == 130

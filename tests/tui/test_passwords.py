"""Passwords in the console: how strong, made up, shown once, and on no picture or log."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.settings import UsersSettings
from console.core.users import passwords
from console.tui.app import ConsoleApp
from console.tui.modals.error import ErrorModal
from console.tui.modals.one_time import OneTimeModal
from console.tui.modals.paste import PasteModal
from console.tui.modals.user_form import Login, UserFormModal
from console.tui.opening import Created
from console.tui.widgets.meter import Meter
from tests.tui.fake import Fake
from tests.tui.helpers import LARGE, SMALL, opened, press, said, settle, toasts

STRONG = "steep-horse1"


def drawn(app: ConsoleApp) -> str:
    """What the terminal shows."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def typed(pilot: Pilot[int], name: str, password: str) -> None:
    """A new user in the form, but for the last enter."""
    await press(pilot, "3", "a")
    for key in (*name, "enter", *password, "enter", *password):
        await pilot.press(key)
    await settle(pilot)


# Strength


async def test_a_weak_password_is_taken_at_the_second_time() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "dora", "hunter2")
        await press(pilot, "enter")
        assert said(app, "#wrong") == (
            "✗ Too easy to guess: this is a very common password. Once more takes it all the same."
        )
        assert fake.users.passwords == {}
        await press(pilot, "enter")
        assert fake.users.passwords == {"dora": "hunter2"}


async def test_another_weak_password_is_refused_again() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "dora", "hunter2")
        await press(pilot, "enter")
        await press(pilot, "shift+tab", *"hunter1", "tab", *"hunter1", "enter")
        assert isinstance(app.screen, UserFormModal)
        assert fake.users.passwords == {}
        await press(pilot, "enter")
        assert fake.users.passwords == {"dora": "hunter1"}


async def test_two_enters_at_once_are_no_second_time() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "dora", "hunter2")
        app.simulate_key("enter")
        app.simulate_key("enter")
        await settle(pilot)
        assert "Too easy to guess" in said(app, "#wrong")
        assert fake.users.passwords == {}


async def test_the_name_of_the_user_makes_it_weak() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "brzezinska", "brzezinska81")
        assert said(app, "#strength").startswith("✗ very weak")
        await press(pilot, "enter")
        assert "a name of the user or of the server" in said(app, "#wrong")


async def test_names_of_the_server_make_it_weak() -> None:
    fake = Fake(name="gpulab")
    fake.driver.host_names = ("wqzkhost.example",)
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "e", *"gpulab2024")
        assert said(app, "#strength").startswith(("✗ weak", "✗ very weak"))
        await press(pilot, "ctrl+u", *"wqzkhost77")
        assert said(app, "#strength").startswith(("✗ weak", "✗ very weak"))


async def test_what_is_only_rather_weak_is_refused_too() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "dora", "Sommer2024")
        await press(pilot, "enter")
        assert fake.users.passwords == {}
        assert "similar to a commonly used password" in said(app, "#wrong")


async def test_the_meter_goes_with_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3", "e")
        assert said(app, "#strength") == ""
        await press(pilot, *"hunter2")
        assert said(app, "#strength") == (
            "✗ weak; whoever has the user file needs less than a second"
        )
        redrawn: list[object] = []
        meter = app.screen.query_one(Meter)
        monkeypatch.setattr(meter, "update", lambda *_, **__: redrawn.append(meter))
        await press(pilot, "tab", *"hunter2")
        assert redrawn == []
        monkeypatch.undo()
        await press(pilot, "shift+tab", "ctrl+u", *"Sommer2024")
        assert said(app, "#strength").startswith("✗ rather weak; ")
        await press(pilot, "ctrl+u", *STRONG)
        assert said(app, "#strength").startswith("✓ good; ")
        await press(pilot, "ctrl+u", *"x" * 73)
        assert said(app, "#strength").startswith("✗ This password cannot be used: it is 73 bytes")
        await press(pilot, "ctrl+u")
        assert said(app, "#strength") == ""


async def test_judging_holds_nothing_up_and_is_not_done_for_every_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, judged = threading.Event(), []

    def strength(password: Secret, familiar: object) -> passwords.Strength:
        judged.append((password.reveal(), threading.current_thread()))
        go_on.wait(20)
        return passwords.Strength(4, "centuries", "")

    monkeypatch.setattr(passwords, "strength", strength)
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "3")
        await pilot.press("e", *"one two", "tab")  # the keys are taken while it judges
        assert [password for password, _ in judged] == ["o"]
        assert said(app, "#strength") == ""
        go_on.set()
        await settle(pilot)
        assert [password for password, _ in judged] == ["o", "one two"]
        assert threading.main_thread() not in [thread for _, thread in judged]
        assert said(app, "#strength") == "✓ strong; whoever has the user file needs centuries"


# Made up


@pytest.mark.parametrize(
    ("usual", "key", "words"), [(0, "ctrl+g", 1), (0, "ctrl+o", 6), (5, "ctrl+g", 5),
                                (5, "ctrl+o", 5)]
)  # fmt: skip
async def test_one_key_makes_one_up(usual: int, key: str, words: int) -> None:
    fake = Fake()
    fake.settings.users = UsersSettings(generated_words=usual)  # type: ignore[arg-type]
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "e", "tab", key)
        assert isinstance(app.screen, OneTimeModal)
        made = fake.users.passwords["alice"]
        assert len(made.split("-")) == words
        assert words > 1 or len(made) == 20
        assert made in drawn(app)


async def test_nobody_is_given_one_without_a_name() -> None:
    async with opened(Fake()) as (app, pilot):
        for key in ("ctrl+g", "ctrl+o"):
            await press(pilot, "3", "a", key)
            assert "it is empty" in said(app, "#wrong")
            await press(pilot, "escape")


# Where it is not


async def test_it_is_sent_by_osc_52_and_nobody_claims_that_it_arrived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "e", "ctrl+g")
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        await press(pilot, "y")
        made = fake.users.passwords["alice"]
        assert f"\x1b]52;c;{base64.b64encode(made.encode()).decode()}\a" in written
        assert said(app, "#sent") == (
            "✓ Sent; your terminal may refuse it (tmux needs set-clipboard on)"
        )
        assert said(app, "#sent") in drawn(app).replace("│", "").replace("  ", " ")


def _one_time(app: ConsoleApp, made: Secret) -> OneTimeModal:
    return OneTimeModal("alice", made)


def _paste(app: ConsoleApp, made: Secret) -> PasteModal:
    assert app.session is not None
    return PasteModal(Created(app.session, "http://localhost:5000", "alice", made), up=True)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("text", ["Zk4w9oFqGxPm7sTdHu3y", "quokka-zygote-wombat-xylem-kumquat"])
@pytest.mark.parametrize("modal", [_one_time, _paste])
async def test_a_picture_covers_it(
    modal: Callable[[ConsoleApp, Secret], OneTimeModal | PasteModal], text: str,
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with opened(Fake(), size) as (app, pilot):
        app.push_screen(modal(app, Secret(text)))
        await settle(pilot)
        before = drawn(app)
        assert text in before
        delivered: list[str] = []
        monkeypatch.setattr(app, "deliver_text", lambda file, **_: delivered.append(file.read()))
        app.action_screenshot()
        app.save_screenshot("picture.svg", str(tmp_path))
        pictures = [app.export_screenshot(), (tmp_path / "picture.svg").read_text(), *delivered]
        app.push_screen(ErrorModal(ConsoleError("over it", "It is still seen below.")))
        await settle(pilot)
        pictures.append(app.export_screenshot())
        await press(pilot, "escape")
        assert len(pictures) == 4
        for picture in pictures:
            assert "•" * 20 in picture or "once" not in picture
            assert not [part for part in text.split("-") if part in picture]
        assert drawn(app) == before


async def test_it_is_in_no_toast() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await typed(pilot, "dora", "hunter2")
        await press(pilot, "enter", "enter", "e", "ctrl+g", "y")
        assert fake.users.passwords["dora"] == "hunter2"
        told = "".join(toasts(app)) + repr([*app.screen_stack, *app.screen.query("*")])
        assert "has a new password" in told
        for password in ("hunter2", fake.users.passwords["alice"]):
            assert password not in told


def test_textual_keeps_no_log_of_what_is_typed(tmp_path: Path) -> None:
    log = tmp_path / "textual.log"
    code = "import console.tui.app, textual; textual.log('what is typed')"
    for before, kept in (("import textual; ", True), ("", False)):
        subprocess.run(
            [sys.executable, "-c", before + code], check=True,
            env=os.environ | {"TEXTUAL_LOG": str(log)},
        )  # fmt: skip
        assert log.exists() is kept
        log.unlink(missing_ok=True)


def test_it_is_in_no_repr() -> None:
    made = Secret("hunter2")
    for thing in (Login("alice", made, True), OneTimeModal("alice", made)):
        assert "hunter2" not in repr(thing)

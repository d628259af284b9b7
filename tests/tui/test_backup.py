"""Backup by keys: what is shown, what is asked before, and what then goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from textual.widgets import Button

from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.core.stack.driver import Finding, Severity
from console.tui import backups
from console.tui.app import ConsoleApp
from console.tui.modals.confirm import ConfirmModal
from console.tui.modals.detail import DetailModal
from console.tui.modals.error import ErrorModal
from console.tui.modals.restore import RestoreModal
from console.tui.screens.backup import BackupScreen
from console.tui.screens.backup_browse import BrowseScreen
from console.tui.screens.backup_compare import CompareScreen
from console.tui.screens.backup_words import moment
from tests.tui.fake import NOW, Fake
from tests.tui.fake_backup import (
    FakeBackup,
    action,
    ill_backup,
    snapshot,
    snapshots,
    surplus,
    unplaced,
)
from tests.tui.helpers import LARGE, column, opened, opened_busy, press, said, settle, table, toasts

SAFE = "[/foo]  😀 a↵b\ufffd"
FIRST, SECOND, THIRD = (each.id for each in snapshots()[:3])


async def until(true: Callable[[], object]) -> None:
    """Wait until something is so; the test's own time-out is the limit."""
    while not true():  # noqa: ASYNC110  # threads change it, and tell nobody
        await asyncio.sleep(0.02)


def doing(app: ConsoleApp) -> backups.Doing | None:
    return app.backups.doing


# What is shown


async def test_the_questions_on_top() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "7")
        top = said(app, "#top")
        assert top.startswith("✓ last good today 08:00, verified   next tomorrow 08:00 (timer)")
        assert "drill 13 Nov, passed   1.4 TB free in /mnt/backups/lab" in top
        assert column(app, "#snapshots", 1)[:3] == [
            "today 08:00", "yesterday 08:00", "21 Nov 08:00"
        ]  # fmt: skip
        assert column(app, "#snapshots", 0) == ["✓", "✓", "✓", "!", "✓", "✗", "✗"]
        assert column(app, "#snapshots", 2)[0] == "12 GB"
        assert column(app, "#snapshots", 6)[5] == "✗ broken"
        assert column(app, "#snapshots", 7)[4] == "13 Nov"
        await press(pilot, "j", "j")
        assert "before-the-upgrade, never pruned" in said(app, "#detail")
        await press(pilot, "j")
        assert "holds only database, users" in said(app, "#detail")
        await press(pilot, "G", "k")
        assert f"model.pkl, artifacts/3/{SAFE}" in said(app, "#detail")
        await press(pilot, "G")
        assert said(app, "#detail") == "✗ its manifest.json was cut off"


async def test_what_is_wrong_is_said_with_the_key_that_mends_it() -> None:
    fake = Fake(backup=ill_backup())
    async with opened(fake) as (app, pilot):
        await press(pilot, "7")
        top = said(app, "#top")
        assert top.startswith("✓ last good 13 Nov 08:00")  # not the one whose drill failed
        assert "drill ✗ today, failed" in top
        assert "u takes the lock of a dead process away: root on gpu2" in top
        assert "! The last snapshot is 30 hours old" in top
        assert "✗ The last drill failed: it came up" in top
        assert "s sets one" in top
        await press(pilot, "u")
        assert toasts(app)[-1] == "The lock of root on gpu2 is gone"
        assert "lock" not in said(app, "#top")


async def test_a_wide_screen_says_all_of_it() -> None:
    async with opened(Fake(), LARGE) as (app, pilot):
        await press(pilot, "7")
        more = said(app, "#more")
        for words in ("made       2026-11-23 08:00:00, in 2 min", "12 experiments, 4,211 runs",
                      "mlflow 3.17.2", "3 changed, 1 gone"):  # fmt: skip
            assert words in more
        assert said(app, "#detail") == ""
        await press(pilot, "i")
        assert isinstance(app.screen, DetailModal)
        await press(pilot, "y")
        assert app.clipboard == "/mnt/backups/lab/20261123-080000"


async def test_a_place_that_is_not_there_hides_nothing_else() -> None:
    fake = Fake(backup=FakeBackup(fails=ConsoleError("The place is not there", "Mount its disk.")))
    async with opened(fake) as (app, pilot):
        assert "The place is not there" in said(app, "#backup")
        await press(pilot, "7")
        assert "! The place is not there. Mount its disk." in said(app, "#top")
        assert "next tomorrow 08:00" in said(app, "#top")


async def test_home_says_the_two_newest_and_the_drill() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        assert said(app, "#backup") == (
            "Backup   drilled 13 Nov\n✓ today 08:00, verified\n✓ yesterday 08:00, verified"
        )
        fake.backup.held.insert(0, snapshot(-0.25))
        await press(pilot, "7", "1")
        assert "today 14:00" in said(app, "#backup")
    async with opened(Fake(), LARGE) as (app, _):
        assert said(app, "#backup").startswith("Backup   drill 13 Nov, passed\n")
        assert "✓ today 08:00       12 GB  +340 MB   verified" in said(app, "#backup")
    async with opened(Fake(backup=ill_backup())) as (app, _):
        assert said(app, "#backup").startswith("Backup   ✗ drill failed\n✗ yesterday 08:00  12 GB")


async def test_home_before_the_first() -> None:
    async with opened(Fake(backup=unplaced())) as (app, _):
        assert said(app, "#backup") == "Backup   \nno backup yet\n7 then b makes one"


@pytest.mark.parametrize(("hours", "words"), [
    (0, "today 14:02"), (-24, "yesterday 14:02"), (24, "tomorrow 14:02"), (-240, "13 Nov 14:02"),
    (-24 * 400, "19 Oct 2025"),
])  # fmt: skip
def test_moments(hours: int, words: str) -> None:
    assert moment(NOW + timedelta(hours=hours)) == words


# Making one


async def test_the_first_one_asks_where() -> None:
    fake = Fake(backup=unplaced())
    async with opened(fake) as (app, pilot):
        await press(pilot, "7")
        assert (
            table(app, "#snapshots").empty == "b asks where the snapshots go, and makes the first."
        )
        await press(pilot, "b", "home", "shift+end", *"/srv/full", "enter")
        assert said(app, "#wrong") == "✗ /srv/full is not empty. Choose an empty folder."
        await press(pilot, "home", "shift+end", *"/srv/snaps", "enter")
        assert isinstance(app.screen, ConfirmModal)
        assert said(app, "#lines").startswith("/srv/snaps\n")
        learnt = said(app, "#learnt")
        assert learnt.startswith("✓ It needs at most 12 GB; 1.4 TB are free.")
        assert "! It is the same disk" in learnt
        await press(pilot, "enter")  # the answer that changes nothing has the focus
        assert fake.backup.done == []
        await press(pilot, "b")
        assert fake.backup.done == [("backup.create", {})]


async def test_making_one_goes_on_beside_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "SHOW_SECONDS", 0)
    fake = Fake()
    fake.backup.block = threading.Event()
    fake.backup.reports = [
        Progress("looking"), Progress("copying 1 of 2", 4_000_000, 8_000_000, "bytes")
    ]  # fmt: skip
    async with opened(fake) as (app, pilot):
        await pilot.press("7", "b")
        await until(lambda: (now := doing(app)) and now.report and now.report.done)
        await pilot.pause()
        assert said(app, "#doing") == (
            "○ making a snapshot   x stops it\n  copying 1 of 2   4.0 MB of 8.0 MB"
        )
        await pilot.press("b")
        await pilot.pause(0.1)
        assert "goes on; x in Backup stops it" in toasts(app)[-1]
        await pilot.press("1")
        await pilot.pause(0.2)
        assert "○ making a snapshot" in said(app, "#backup")
        await pilot.press("3", "j")
        fake.backup.reports = []
        fake.backup.block.set()
        await until(lambda: doing(app) is None)
        await settle(pilot)
        assert toasts(app)[-1] == "copying 1 of 2"
        assert len(fake.backup.done) == 1


def test_steps_are_shown_at_once_and_numbers_now_and_then() -> None:
    reports = [
        Progress("looking"), Progress("looking", said="at this"),
        *(Progress(f"copying {number:,} of 2,000", number, 2000) for number in range(1, 2001)),
        Progress("writing"),
    ]  # fmt: skip
    begun = backups.Doing("backup.create", NOW)
    seen = list(backups.worth_showing(begun, iter(reports), threading.Event()))
    labels = [each.report.label for each in seen if each.report]
    assert labels[:2] == ["looking", "copying 1 of 2,000"]
    assert labels[-3:] == ["copying 2,000 of 2,000", "writing", "writing"]
    assert len(labels) < 20
    assert seen[-1].over == ("looking", "copying 2,000 of 2,000")


def test_who_leaves_ends_the_following_alone() -> None:
    left, ended = threading.Event(), []

    def reports() -> Iterator[Progress]:
        try:
            yield Progress("one")
            left.set()
            yield Progress("two")
            yield Progress("three")
        finally:
            ended.append(True)

    begun = backups.Doing("backup.create", NOW)
    seen = list(backups.worth_showing(begun, reports(), left))
    assert [each.report.label for each in seen if each.report] == ["one", "two"]
    assert ended


async def test_stopping_asks_first() -> None:
    fake = Fake()
    fake.backup.block = threading.Event()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "x")
        assert toasts(app)[-1] == "Nothing goes on"
        await pilot.press("b")
        await until(lambda: doing(app))
        await pilot.press("x")
        await pilot.pause(0.1)
        assert said(app, "#lines") == "What was copied stays, and the next one goes on from there."
        await pilot.press("right", "enter")
        await until(lambda: doing(app) is None)
        await settle(pilot)
        assert fake.backup.stopped == 1
        assert toasts(app)[-1] == "Stopped; what was copied is kept\nb goes on."


async def test_what_goes_on_is_found_again() -> None:
    fake = Fake()
    fake.backup.block = threading.Event()
    fake.backup.going_on = action()
    async with opened_busy(fake) as app:
        await until(lambda: doing(app))
        now = doing(app)
        assert now is not None
        assert (now.operation, now.by) == ("backup.create", "bob")
        fake.backup.block.set()
        await until(lambda: doing(app) is None)


async def test_leaving_the_console_stops_nothing() -> None:
    fake = Fake()
    fake.backup.block = threading.Event()
    async with opened_busy(fake) as app:
        await until(lambda: app.status.value)
        app.backups.do("backup.create", [{}])
        await until(lambda: fake.backup.done)
        await app.action_quit()
    assert app.return_code == 0
    await asyncio.sleep(0.3)
    assert fake.backup.stopped == 0
    fake.backup.block.set()


async def test_what_others_have_begun_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.tui.screens.backup.LOOK_SECONDS", 0.05)
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7")
        assert len(table(app, "#snapshots").rows) == 7
        fake.backup.held.insert(0, snapshot(-0.25))
        fake.backup.last = action(outcome="done", ended_at=NOW)
        await until(lambda: len(table(app, "#snapshots").rows) == 8)


async def test_a_failure_is_a_dialog_here_and_a_toast_elsewhere() -> None:
    fake = Fake(backup=FakeBackup(reports=[]))
    async with opened(fake) as (app, pilot):
        await press(pilot, "7")
        fake.backup.fails = ConsoleError("The place has too little room", "Free some.")
        await press(pilot, "b")
        assert isinstance(app.screen, ErrorModal)
        await press(pilot, "escape", "3")
        app.backups.do("backup.create", [{}])
        await settle(pilot)
        assert not isinstance(app.screen, ErrorModal)
        assert toasts(app)[-1] == "The place has too little room\nFree some."


async def test_a_label_and_a_part() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "n")
        assert "It needs at most 12 GB" in said(app, "#learnt")
        await press(pilot, *"before", "enter", "down", "enter")
        assert fake.backup.done == [
            ("backup.create", {"label": "before", "parts": ["database", "users", "settings"]})
        ]


# Proving


async def test_the_marked_ones_are_verified_one_after_the_other() -> None:
    fake = Fake()
    async with opened(fake) as (_, pilot):
        await press(pilot, "7", "space", "space", "v", "t")
        assert fake.backup.done == [
            ("backup.verify", {"wanted": FIRST}), ("backup.verify", {"wanted": SECOND}),
            ("backup.drill", {"wanted": THIRD}),
        ]  # fmt: skip


# Bringing back


async def test_restoring_shows_what_would_change_and_who_is_at_work() -> None:
    fake = Fake()
    fake.stack.working = ["run calm-deer-1 of alice is RUNNING"]
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "j", "o")
        assert isinstance(app.screen, RestoreModal)
        lines = said(app, "#lines")
        assert "12 that came since go" in lines
        assert "users: carol comes back" in lines
        assert "it needs at most 460 MB; 1.4 TB are free" in lines
        assert "nobody logs anything" in lines
        assert "run calm-deer-1 of alice is RUNNING" in said(app, "#learnt")
        await press(pilot, "enter")
        assert fake.backup.done == []
        await press(pilot, "o", "p", "p", "right", "enter")
        assert fake.backup.done == [("backup.restore", {"wanted": SECOND, "parts": ["database"]})]


async def test_what_cannot_come_back_cannot_be_chosen() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "G", "o")
        assert said(app, "#lines").startswith("✗ its manifest.json was cut off")
        assert app.screen.query_one("#yes", Button).disabled
        await press(pilot, "right", "enter", "escape")
        assert fake.backup.done == []


async def test_runs_come_back_from_within_a_snapshot() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "j", "enter")
        assert isinstance(app.screen, BrowseScreen)
        assert said(app, "#about").startswith("4 experiments, 36 runs")
        assert column(app, "#browse", 0) == ["resnet-cifar10", "tabular-baselines", SAFE, "empty"]
        await press(pilot, "o")
        assert "enter goes to the runs" in toasts(app)[-1]
        await press(pilot, "j", "enter")
        assert said(app, "#about").startswith("tabular-baselines  12 runs")
        assert column(app, "#browse", 1)[3] == SAFE
        await press(pilot, "space", "j", "space", "o")
        assert "calm-deer-0  alice  " in said(app, "#lines")
        await press(pilot, "right", "enter")
        ids = [f"{number:032x}" for number in (0, 2)]
        assert fake.backup.done == [("restore_runs", {"wanted": SECOND, "runs": ids})]
        assert toasts(app)[-1] == "2 runs are back, as new ones"
        await press(pilot, "slash", *"deer-11", "enter")
        assert column(app, "#browse", 1) == ["calm-deer-11"]
        await press(pilot, "escape", "escape")
        assert table(app, "#browse").key == "2"
        await press(pilot, "escape")
        assert table(app, "#snapshots").key == SECOND


async def test_a_run_is_found_and_comes_back() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "slash", "enter")
        assert said(app, "#wrong") == "✗ Type a name or an id"
        await press(pilot, *"calm-deer-7", "enter")
        assert said(app, "#about") == "3 snapshots hold “calm-deer-7”"
        await press(pilot, "j", "o", "right", "enter")
        assert fake.backup.done == [
            ("restore_runs", {"wanted": SECOND, "runs": [f"{7:032x}"]})
        ]  # fmt: skip
        await press(pilot, "escape", "slash", *"nobody", "enter")
        assert table(app, "#found").empty == "No snapshot holds it."


async def test_two_are_compared() -> None:
    async with opened(Fake()) as (app, pilot):
        await press(pilot, "7", "c")
        assert isinstance(app.screen, CompareScreen)
        assert (app.screen.older.id, app.screen.newer.id) == (SECOND, FIRST)
        assert "runs        +21   -1   ~1   20 of them not listed" in said(app, "#about")
        assert column(app, "#changes", 2)[1] == SAFE
        assert column(app, "#changes", 3)[2] == "RUNNING → FINISHED"
        await press(pilot, "escape", "space", "j", "space", "c")
        assert isinstance(app.screen, CompareScreen)
        assert (app.screen.older.id, app.screen.newer.id) == (THIRD, FIRST)


# Clearing away


async def test_only_the_listed_ones_go() -> None:
    fake = Fake(backup=surplus())
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "p")
        lines = said(app, "#lines").splitlines()
        assert said(app, "#dialog-title") == "Remove 2 snapshots? It frees 4.2 GB."
        assert [line.split()[0] for line in lines[:2]] == list(fake.backup.surplus)
        assert "one of the last 3" in lines[4]
        before = fake.backup.surplus
        fake.backup.surplus = ()
        await press(pilot, "right", "enter")
        assert fake.backup.done == [("backup.prune", {"ids": list(before)})]
        await press(pilot, "p")
        assert isinstance(app.screen, DetailModal)
        assert "Nothing to remove" in said(app, "#dialog-title")


async def test_a_timer_is_set_and_removed() -> None:
    fake = Fake()
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "s", "home", "shift+end", *"25:00", "enter")
        assert said(app, "#wrong").startswith("✗ 25:00 is no time")
        await press(pilot, "home", "shift+end", *"04:04", "enter")
        assert isinstance(app.screen, ErrorModal)
        assert said(app, "#hint") == "cron does the same: 4 4 * * *"
        await press(pilot, "escape", "s", "home", "shift+end", *"23:30", "enter")
        assert fake.backup.done == [("backup.schedule", {"at": "23:30"})]
        assert toasts(app)[-1].startswith("A timer makes snapshots; the next one ")
        await press(pilot, "s", "home", "shift+end", "delete", "enter")
        assert toasts(app)[-1] == "No timer makes them"


async def test_read_only_shows_everything_and_changes_nothing() -> None:
    fake = Fake(backup=surplus(), read_only="--read-only")
    async with opened(fake) as (app, pilot):
        await press(pilot, "7", "b", "n", "v", "t", "o", "p", "s", "u", "e", "x")
        assert isinstance(app.screen, BackupScreen)
        assert fake.backup.done == []
        assert len(table(app, "#snapshots").rows) == 7
        await press(pilot, "enter", "enter", "o")
        assert isinstance(app.screen, BrowseScreen)


async def test_nothing_is_drawn_when_nothing_changed() -> None:
    fake = Fake()
    fake.backup.problems = [Finding("late", Severity.WARNING, "", "late")]
    async with opened(fake) as (app, pilot):
        await press(pilot, "7")
        drawn: list[object] = []
        for facts in app.screen.query("Facts"):
            facts.update = drawn.append  # type: ignore[attr-defined]
        await press(pilot, "r")
        assert drawn == []


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (20, 5)])
@pytest.mark.parametrize("keys", [(), ("enter", "enter"), ("c",), ("o",), ("i",), ("n",)])
async def test_every_size_can_be_drawn(keys: tuple[str, ...], size: tuple[int, int]) -> None:
    async with opened(Fake(backup=ill_backup()), size) as (app, pilot):
        await press(pilot, "7", *keys)
        assert app.export_screenshot()

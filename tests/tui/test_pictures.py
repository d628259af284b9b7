"""Pictures of every screen at both supported sizes; `pytest --snapshot-update` draws them anew."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from console.core import engine
from console.core import format as fmt
from console.core.errors import UnreachableError
from console.core.pace import Pace
from console.core.progress import Progress
from console.core.stack.driver import LogLine
from console.tui.app import ConsoleApp
from tests.tui.fake import (
    NASTY,
    NOW,
    Fake,
    FakeStack,
    FakeUsers,
    broken_stack,
    ill_stack,
    logged,
    stopped,
)
from tests.tui.fake_backup import action, ill_backup, surplus, unplaced
from tests.tui.helpers import LARGE, SMALL, press, settle

Compare = Callable[..., bool]
LINES = [LogLine("tracking", NOW, f"GET /api/2.0/mlflow/runs/search {n}") for n in range(60)]
LINES.append(LogLine("tracking", NOW, NASTY))


def _stack() -> Fake:
    return Fake(stack=FakeStack(lines=LINES, working=["run calm-deer-1 of alice is RUNNING"]))


PICTURES: dict[str, tuple[Callable[[], Fake], tuple[str, ...]]] = {
    "home": (Fake, ()),
    "stopped": (lambda: Fake(stack=FakeStack(now=stopped())), ()),
    "stack": (_stack, ("2",)),
    "details": (_stack, ("2", "t")),
    "stop": (_stack, ("2", "x")),
    "logs": (_stack, ("2", "l")),
    "users": (Fake, ("3", "j", "space")),
    "users-unseen": (lambda: Fake(users=FakeUsers(report=logged(90))), ("3", "m")),
    "users-unproven": (Fake, ("3", "m")),
    "user": (Fake, ("3", "j", "j", "enter")),
    "user-slow": (Fake, ("3", "enter", "tab")),
    "who": (Fake, ("3", "w")),
    "who-slow": (Fake, ("3", "w", "tab")),
    "who-deleted": (Fake, ("3", "w", "tab", "tab")),
    "nobody": (lambda: Fake(users=FakeUsers(users=[])), ("3",)),
    "add": (Fake, ("3", "a")),
    "remove": (Fake, ("3", "space", "j", "space", "d")),
    "read-only": (lambda: Fake(read_only="--read-only"), ("3",)),
    "experiments": (Fake, ("4",)),
    "run": (Fake, ("4", "enter", "enter")),
    "storage": (Fake, ("5",)),
    "storage-runs": (Fake, ("5", "enter")),
    "backup": (Fake, ("7",)),
    "backup-details": (Fake, ("7", "i")),
    "backup-browse": (Fake, ("7", "enter")),
    "backup-runs": (Fake, ("7", "enter", "enter", "j", "space")),
    "backup-restore": (Fake, ("7", "o")),
    "backup-prune": (lambda: Fake(backup=surplus()), ("7", "p")),
    "backup-compare": (Fake, ("7", "c")),
    "backup-found": (Fake, ("7", "slash", *"calm-deer-7", "enter")),
    "backup-label": (Fake, ("7", "n")),
    "backup-place": (lambda: Fake(backup=unplaced()), ("7", "b")),
    "backup-first": (lambda: Fake(backup=unplaced()), ("7", "b", "enter")),
    "backup-none": (lambda: Fake(backup=unplaced()), ("7",)),
    "backup-none-home": (lambda: Fake(backup=unplaced()), ()),
    "backup-ill": (lambda: Fake(backup=ill_backup()), ("7", "G", "k")),
    "doctor": (Fake, ("8",)),
    "help": (Fake, ("5", "question_mark")),
    "compose-home": (Fake.compose, ()),
    "compose-stack": (Fake.compose, ("2", "j")),
    "compose-details": (Fake.compose, ("2", "t", "j")),
    "compose-logs": (Fake.compose, ("2", "l")),
    "compose-stop": (Fake.compose, ("2", "x")),
    "compose-storage": (Fake.compose, ("5",)),
    "compose-ill-home": (ill_stack, ()),
    "compose-doctor": (ill_stack, ("8",)),
    "compose-doctor-detail": (ill_stack, ("8", "enter")),
    "compose-broken-home": (lambda: Fake.compose(broken_stack()), ()),
    "compose-broken-stack": (lambda: Fake.compose(broken_stack()), ("2",)),
    "compose-broken-details": (lambda: Fake.compose(broken_stack()), ("2", "t")),
}
FIRST_STARTS: dict[str, tuple[str, ...]] = {
    "first-start": (), "first-start-compose": ("tab", "tab", "down"), "first-start-without": (),
}  # fmt: skip


# Where columns come that a narrower terminal has no room for.
WIDE = ("users", "user", "who-deleted")


def _keys(keys: tuple[str, ...]) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def go(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await press(pilot, *keys)
        await settle(pilot)

    return go


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, size: tuple[int, int], snap_compare: Compare) -> None:
    make, keys = PICTURES[name]
    assert snap_compare(make().app(), terminal_size=size, run_before=_keys(keys))


@pytest.mark.parametrize("name", WIDE)
def test_wide_picture(name: str, snap_compare: Compare) -> None:
    make, keys = PICTURES[name]
    assert snap_compare(make().app(), terminal_size=(200, 50), run_before=_keys(keys))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
@pytest.mark.parametrize("name", FIRST_STARTS)
def test_first_start(
    name: str, size: tuple[int, int], snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> tuple[str, str]:
        raise UnreachableError(
            "The Docker engine is not running (unix:///var/run/docker.sock)",
            "Start it: systemctl start docker.",
        )

    async def go(pilot: Pilot[int]) -> None:
        await settle(pilot)
        for field, typed in (("directory", "/home/alice/mlflow"), ("user", "alice")):
            pilot.app.screen.query_one(f"#{field}", Input).value = typed
        await press(pilot, *FIRST_STARTS[name])
        await settle(pilot)

    if name.endswith("without"):
        monkeypatch.setattr(engine, "versions", missing)
    assert snap_compare(ConsoleApp(lambda _: []), terminal_size=size, run_before=go)


SAID = (
    "Image mysql:9.7 Pulling", "4f4fb700ef54 Download complete 0B",
    "c3fd97dd4ca1 Verifying Checksum 0B", "Image nginx:1.30 Pulling",
    "dfb74bd361e3 Downloading 39.52MB",
)  # fmt: skip


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
def test_coming_up(
    size: tuple[int, int], snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fmt, "clock", lambda _: "14:02:11")
    app = Fake.compose().app()

    def work(cancel: threading.Event) -> Iterator[Progress]:
        yield from (Progress("/home/alice/mlflow: settings written"), Progress("user alice added"))
        yield Progress("docker compose up")
        yield from (Progress("docker compose up", said=line) for line in SAID)
        cancel.wait(20)

    async def go(pilot: Pilot[int]) -> None:
        await settle(pilot)
        app.perform("Setting up lab", work, "done")
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=size, run_before=go)


COPYING = [
    Progress("looking at the deployment"), Progress("dumping", 214_000_000, None, "bytes"),
    Progress("copying 41,220 of 98,140 artifacts", 3_900_000_000, 12_100_000_000, "bytes"),
]  # fmt: skip
RESTORING = [
    Progress("safety snapshot 20261123-140209: 4,223 runs; 12 GB, 120 MB of them new"),
    Progress("stopping the tracking server"), Progress("loading the database"),
    Progress("writing artifacts", 92_000_000, 214_000_000, "bytes"),
]  # fmt: skip


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
@pytest.mark.parametrize("name", ["create", "restore", "home"])
def test_backup_going_on(
    name: str, size: tuple[int, int], snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "add", lambda *_: 92_000_000.0)
    fake = Fake()
    fake.backup.reports = RESTORING if name == "restore" else COPYING
    fake.backup.block = threading.Event()
    fake.backup.going_on = action("backup.restore" if name == "restore" else "backup.create")

    async def go(pilot: Pilot[int]) -> None:
        await pilot.pause(1)
        if name != "home":
            await pilot.press("7")
            await pilot.pause(1)

    assert snap_compare(fake.app(), terminal_size=size, run_before=go)

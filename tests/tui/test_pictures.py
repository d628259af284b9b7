"""Pictures of every screen at both supported sizes; `pytest --snapshot-update` draws them anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from console.core.stack.driver import LogLine
from tests.tui.fake import NASTY, NOW, Fake, FakeStack, FakeUsers, stopped
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
    "nobody": (lambda: Fake(users=FakeUsers(users=[])), ("3",)),
    "add": (Fake, ("3", "a")),
    "remove": (Fake, ("3", "space", "j", "space", "d")),
    "read-only": (lambda: Fake(read_only="--read-only"), ("3",)),
    "experiments": (Fake, ("4",)),
    "run": (Fake, ("4", "enter", "enter")),
    "storage": (Fake, ("5",)),
    "storage-runs": (Fake, ("5", "enter")),
    "help": (Fake, ("5", "question_mark")),
}


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

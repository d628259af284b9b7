"""Driving the console in tests: waiting for work instead of sleeping."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.app import App
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from console.tui.app import ConsoleApp
from console.tui.widgets.facts import Facts
from console.tui.widgets.table import Table
from tests.tui.fake import Fake

SMALL = (80, 24)
LARGE = (160, 45)


@asynccontextmanager
async def opened(
    fake: Fake, size: tuple[int, int] = SMALL
) -> AsyncIterator[tuple[ConsoleApp, Pilot[int]]]:
    """The console on Home with everything read."""
    app = fake.app()
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        yield app, pilot


@asynccontextmanager
async def opened_busy(fake: Fake, size: tuple[int, int] = SMALL) -> AsyncIterator[ConsoleApp]:
    """The console in which something goes on, so that it never settles."""
    app = fake.app()
    async with app.run_test(size=size, notifications=True):
        yield app


async def settle(pilot: Pilot[int]) -> None:
    """Wait until nothing is being read and everything that came is shown."""
    quiet = 0
    for _ in range(100):
        with contextlib.suppress(WorkerCancelled):  # a newer call took its place
            await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        quiet = 0 if _is_due(pilot.app) else quiet + 1
        if quiet == 3:
            return


def _is_due(app: App[int]) -> bool:
    """Whether something is put off for a moment: a list that follows, what is being typed."""
    return any(
        timer._repeat == 0
        and timer._interval < 0.5
        and timer._task is not None
        and not timer._task.done()
        for node in (app, *app.screen.walk_children(with_self=True))
        for timer in node._timers  # Textual has no public list of them
    )


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one after the other, and let each do what it does."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


def said(app: ConsoleApp, selector: str) -> str:
    """What some lines of the active screen say."""
    return app.screen.query_one(selector, Facts).said


def table(app: ConsoleApp, selector: str) -> Table:
    """A table of the active screen."""
    return app.screen.query_one(selector, Table)


def column(app: ConsoleApp, selector: str, index: int) -> list[str]:
    """The texts of one column."""
    return [row.cells[index].text for row in table(app, selector).rows]


def toasts(app: ConsoleApp) -> list[str]:
    """What was said in toasts."""
    return [each.message for each in app._notifications]  # Textual has no public list of them

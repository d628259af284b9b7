"""Draw the screens of a running deployment as SVG, at both supported sizes.

Usage: `python screenshots/draw.py --deployment DIR [--to FOLDER] [--back-up]`. Questions are
opened and never answered: nothing in the deployment is changed. With `--back-up` a snapshot is
made for each size, and drawn while it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from console.core.pace import left
from console.tui.app import OpenedApp
from console.tui.messages import Session
from console.tui.opening import open_session

SIZES = ((80, 24), (160, 45))
SCREENS: dict[str, tuple[str, ...]] = {
    "home": (),
    "stack": ("2",),
    "details": ("2", "t"),
    "logs": ("2", "l"),
    "actions": ("2", "enter"),
    "stop": ("2", "x"),
    "users": ("3",),
    "add-user": ("3", "a"),
    "experiments": ("4",),
    "run": ("4", "enter", "enter"),
    "storage": ("5",),
    "storage-runs": ("5", "enter"),
    "backup": ("7",),
    "backup-runs": ("7", "enter", "j", "enter"),
    "backup-restore": ("7", "o"),
    "doctor": ("8",),
    "help": ("question_mark",),
    "palette": ("ctrl+p",),
}


async def _settle(pilot: Pilot[int]) -> None:
    for _ in range(5):
        with contextlib.suppress(WorkerCancelled):  # a newer call took its place
            await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.2)


def _save(app: OpenedApp, to: Path, name: str, size: tuple[int, int]) -> None:
    path = to / f"{name}-{size[0]}x{size[1]}.svg"
    path.write_text(app.export_screenshot(title="mlflow-console"), encoding="utf-8")
    sys.stderr.write(f"{path}\n")


async def _back_up(app: OpenedApp, pilot: Pilot[int], to: Path, size: tuple[int, int]) -> None:
    """Make a snapshot, and draw it as soon as it can be told how long it takes."""
    await pilot.press("7")
    await _settle(pilot)
    app.backups.do("backup.create", [{}])
    while (doing := app.backups.doing) is not None:
        if doing.report is not None and left(doing.report, doing.rate) is not None:
            break
        await pilot.pause(0.2)
    await pilot.pause(0.2)
    _save(app, to, "backup-running", size)
    while app.backups.doing is not None:
        await pilot.pause(0.2)


async def _draw(directory: Path, to: Path, size: tuple[int, int], back_up: bool) -> None:
    session = open_session(str(directory), read_only=False)
    if not isinstance(session, Session):
        raise SystemExit(f"{directory} holds no deployment")
    app = OpenedApp(session, lambda _wanted: session)
    app.who = "alice@gpu1"
    async with app.run_test(size=size) as pilot:
        while app.status.value is None and app.status.error is None:
            await pilot.pause(0.2)  # containers need a moment
        await _settle(pilot)
        for name, keys in SCREENS.items():
            for key in keys:
                await pilot.press(key)
                await _settle(pilot)
            _save(app, to, name, size)
            for _ in keys:
                await pilot.press("escape")
            await pilot.press("1")
        if back_up:
            await _back_up(app, pilot, to, size)
        await pilot.press("ctrl+q")


async def _draw_all(directory: Path, to: Path, back_up: bool) -> None:
    for size in SIZES:
        await _draw(directory, to, size, back_up)


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--deployment", type=Path, required=True, help="its directory")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="where to draw")
    parser.add_argument("--back-up", action="store_true", help="draw a snapshot being made, too")
    chosen = parser.parse_args()
    os.environ["COLORTERM"] = "truecolor"
    os.environ.pop("NO_COLOR", None)
    chosen.to.mkdir(parents=True, exist_ok=True)
    asyncio.run(_draw_all(chosen.deployment.absolute(), chosen.to, chosen.back_up))


if __name__ == "__main__":
    main()

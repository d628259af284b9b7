"""Draw the screens of a running deployment as SVG, at both supported sizes.

Usage: `python screenshots/draw.py --deployment DIR [--to FOLDER]`. Questions are opened
and never answered: nothing in the deployment is changed.
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
    "doctor": ("8",),
    "help": ("question_mark",),
    "palette": ("ctrl+p",),
}


async def _settle(pilot: Pilot[int]) -> None:
    for _ in range(5):
        with contextlib.suppress(WorkerCancelled):  # a newer call took its place
            await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.2)


async def _draw(directory: Path, to: Path, size: tuple[int, int]) -> None:
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
            path = to / f"{name}-{size[0]}x{size[1]}.svg"
            path.write_text(app.export_screenshot(title="mlflow-console"), encoding="utf-8")
            sys.stderr.write(f"{path}\n")
            for _ in keys:
                await pilot.press("escape")
            await pilot.press("1")
        await pilot.press("ctrl+q")


async def _draw_all(directory: Path, to: Path) -> None:
    for size in SIZES:
        await _draw(directory, to, size)


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--deployment", type=Path, required=True, help="its directory")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="where to draw")
    chosen = parser.parse_args()
    os.environ["COLORTERM"] = "truecolor"
    os.environ.pop("NO_COLOR", None)
    chosen.to.mkdir(parents=True, exist_ok=True)
    asyncio.run(_draw_all(chosen.deployment.absolute(), chosen.to))


if __name__ == "__main__":
    main()

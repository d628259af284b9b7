"""Ten thousand users: whether the console stays at hand among them, and what a change takes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from textual.pilot import Pilot

from benchmarks.figure import Figure
from console.core.deployment import Deployment
from console.core.settings import ServerSettings, Settings, dump
from console.tui import calls
from console.tui.app import OpenedApp
from console.tui.opening import open_session
from console.tui.screens.users import UsersScreen
from console.tui.screens.users_rows import Listing
from console.tui.widgets.table import Table

USERS = 10_000
REQUESTS = 200_000
DAYS = 90
# Whose it is makes no difference: it is only looked at.
HASH = "$2y$12$" + "abcdefghijklmnopqrstuv" + "A" * 31
CHANGES = 15
PATIENCE_SECONDS = 120.0


def figures() -> Iterator[Figure]:
    """Measure the console in this process, whose event loop can be watched from within."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        deployment = _made(Path(folder))
        began = time.perf_counter()
        deployment.users.activity()
        yield Figure("10,000 users: their first 200,000 requests read",
                     time.perf_counter() - began, "s")  # fmt: skip
        for name, stall in asyncio.run(_stalls(deployment.directory)).items():
            yield Figure(f"10,000 users, {name}: longest stall", 1e3 * stall, "ms", 50)
        yield Figure("10,000 users: one change apart from the hash", _change(deployment), "s", 0.1)


def _made(directory: Path) -> Deployment:
    """A deployment that was never started, with a user file and an access log."""
    for name in ("htpasswd", "secrets", "run", "logs", "data/artifacts"):
        (directory / name).mkdir(parents=True)
    server = ServerSettings(port=5999, mlflow="3.17.2")
    settings = Settings(format=1, name="lab", driver="embedded", server=server)
    (directory / "console.toml").write_bytes(dump(settings))
    (directory / "secrets" / "service-user").write_text("nobody asks with it")
    names = (settings.users.service_user, *map(_name, range(USERS)))
    users = "".join(f"{name}:{HASH}\n" for name in names)
    (directory / "htpasswd" / "default").write_text(users)
    with (directory / "logs" / "access.log").open("w") as log:
        log.writelines(_lines())
    return Deployment.open(str(directory))


def _name(number: int) -> str:
    return f"user-{number:05}"


def _lines() -> Iterator[str]:
    """Requests of everybody, from three machines each, over all of the days until now."""
    rng = random.Random(6)  # noqa: S311  # no secrets
    began, step = time.time() - DAYS * 86_400, DAYS * 86_400 / REQUESTS
    for number in range(REQUESTS):
        user = rng.randrange(USERS)
        refused = rng.random() < 0.02
        yield "\t".join((
            f"{began + number * step:.3f}", "401" if refused else "200", "POST", "mlflow.lab",
            f"10.{user % 200}.0.{rng.randrange(3)}", _name(user), "0.012",
            "-" if refused else "0.010", "500", "250",
            f"/api/2.0/mlflow/runs/{rng.choice(('log-metric', 'log-batch', 'search'))}",
            "mlflow-python-client/3.17.2\n",
        ))  # fmt: skip


async def _stalls(directory: Path) -> dict[str, float]:
    """The longest that the loop was held up, by what was being done."""
    calls.share_memory()  # as `run` does
    session = open_session(str(directory), read_only=False)
    assert not isinstance(session, list)  # noqa: S101  # it is named
    found: dict[str, float] = {}
    app = OpenedApp(session, lambda _: session)
    async with app.run_test(size=(160, 45)) as pilot:
        for name, do in (("listing", _list), ("filtering", _filter), ("marking", _mark)):
            async with _watched(found, name):
                await do(pilot)
    return found


@contextlib.asynccontextmanager
async def _watched(found: dict[str, float], name: str) -> AsyncIterator[None]:
    """Come round every millisecond, and remember when that took longest."""
    found[name] = 0.0

    async def watch() -> None:
        while True:
            at = time.perf_counter()
            await asyncio.sleep(0.001)
            found[name] = max(found[name], time.perf_counter() - at - 0.001)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


async def _list(pilot: Pilot[int]) -> None:
    """Go to the users, and read them again twice."""
    app = pilot.app
    assert isinstance(app, OpenedApp)  # noqa: S101  # it was made here
    app.action_area("users")  # a pilot's key would wait until everything is shown
    await _until(lambda: _shown(pilot) == USERS + 1)
    await _until(lambda: _listing(pilot).covers != "")
    for _ in range(2):
        before = _listing(pilot)
        await pilot.press("r")
        await _until(lambda before=before: _listing(pilot) is not before)  # type: ignore[misc]
        await asyncio.sleep(1.0)  # what the log says comes after it


async def _filter(pilot: Pilot[int]) -> None:
    """Type a part of a name, take it back; then only those who were not seen for long."""
    await pilot.press("slash", *"user-099")
    await _until(lambda: _shown(pilot) == 100)
    await pilot.press(*["backspace"] * 3, "escape")
    await _until(lambda: _shown(pilot) == USERS + 1)
    await pilot.press("m")
    await _until(lambda: _shown(pilot) < USERS)
    await pilot.press("m")
    await _until(lambda: _shown(pilot) == USERS + 1)


async def _mark(pilot: Pilot[int]) -> None:
    """Mark some at both ends, look at the question about them, and leave it."""
    await pilot.press("j", *["space"] * 20, "G", *["space", "k"] * 5, "d", "escape", "g")


def _shown(pilot: Pilot[int]) -> int:
    screen = pilot.app.screen
    if not isinstance(screen, UsersScreen) or screen.listing is None:
        return 0
    return len(screen.query_one("#users", Table).rows)


def _listing(pilot: Pilot[int]) -> Listing:
    screen = pilot.app.screen
    found = screen.listing if isinstance(screen, UsersScreen) else None
    assert found is not None  # noqa: S101  # its rows are shown
    return found


async def _until(condition: Callable[[], bool]) -> None:
    end = time.perf_counter() + PATIENCE_SECONDS
    while not condition():
        if time.perf_counter() > end:
            raise TimeoutError("the console did not show what it should")
        await asyncio.sleep(0.005)


def _change(deployment: Deployment) -> float:
    """Seconds for a change that needs no hash, the usual one of several."""
    taken = []
    for number in range(CHANGES):
        name = _name(USERS * number // CHANGES)
        began = time.perf_counter()
        deployment.users.disable([name])
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)

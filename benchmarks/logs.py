"""The console while a container writes twenty thousand lines a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.deployment import CONSOLE, home
from benchmarks.figure import Figure
from benchmarks.terminal import Terminal
from console.core import engine as core
from console.core.deployment import Deployment
from tests.support import engine, stacks

LINES_A_SECOND, SECONDS = 20_000, 55
LINES = LINES_A_SECOND * SECONDS
# Among the last million, and not the newest of them.
NEEDLE = LINES - 900_000
KEYS_SECONDS = 0.4
# The service is seen, and what is loaded for a running one is loaded, before the lines come.
QUIET_SECONDS = 10
CHATTY = f"""
import sys, time, random
print("it begins soon", flush=True)
time.sleep({QUIET_SECONDS})
began = time.time()
for tick in range({SECONDS * 10}):
    first = tick * {LINES_A_SECOND // 10}
    sys.stdout.write("".join(
        ("haystack needle " if n == {NEEDLE} else "INFO:     ")
        + f'172.18.0.{{n % 255}}:{{random.randrange(65536)}} - '
          f'"POST /api/2.0/mlflow/runs/log-metric HTTP/1.1" 200 OK {{n}}\\n'
        for n in range(first, first + {LINES_A_SECOND // 10})))
    sys.stdout.flush()
    time.sleep(max(0, began + (tick + 1) / 10 - time.time()))
print("all is written", flush=True)
time.sleep(600)
"""


def figures() -> Iterator[Figure]:
    """Measure one console in front of one container that stands in for a service."""
    try:
        engine.require_engine()
    except pytest.skip.Exception as lacking:
        yield Figure("logs", 0, "", left_out=str(lacking))
        return
    with home() as env:
        directory = Path(env["MLFLOW_CONSOLE_DEPLOYMENT"])
        with stacks.stack(directory) as deployment:
            yield from _watched(deployment, env)


def _watched(deployment: Deployment, env: dict[str, str]) -> Iterator[Figure]:
    directory = deployment.directory
    labels = {core.PROJECT: _project(directory), core.SERVICE: "tracking",
              core.DIRECTORY: str(directory)}  # fmt: skip
    options = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    image = engine.images()["MLFLOW_IMAGE"]
    with Terminal([CONSOLE], env, columns=120, rows=40) as terminal:
        terminal.wait_for("Stopped")
        terminal.send("2")
        terminal.wait_for("Details")
        terminal.send("l")
        terminal.wait_for("following")
        with engine.container(image, "-uc", CHATTY, run=["--entrypoint", "python", *options]):
            terminal.wait_for("it begins soon")
            terminal.read(QUIET_SECONDS / 2)
            before = terminal.process.memory_info().rss
            keys, after_30, cpu = _pressed(terminal)
            yield Figure("20,000 log lines a second: slowest key", 1e3 * max(keys), "ms", 100)
            yield Figure("the same: usual key", 1e3 * statistics.median(keys), "ms")
            yield Figure("the same: CPU of the console", 100 * cpu, "%")
            yield Figure("memory (RSS) it grew by in 30 s", (after_30 - before) / 1e6, "MB", 30)
            grown = terminal.process.memory_info().rss - before
            yield Figure("memory (RSS) it grew by with a million lines", grown / 1e6, "MB")
            yield Figure("a filter among the last million lines", _filter(terminal), "s", 1.0)
            terminal.send("q")
            yield Figure("q with the log open", terminal.wait_for_end(), "s", 1.0)


def _project(directory: Path) -> str:
    (name,) = [line.partition("=")[2] for line in (directory / ".env").read_text().splitlines()
               if line.startswith("COMPOSE_PROJECT_NAME=")]  # fmt: skip
    return name.strip("'\"")


def _pressed(terminal: Terminal) -> tuple[list[float], int, float]:
    """Seconds that keys took, the memory after 30 s, and the cores in use while lines came."""
    terminal.wait_for("POST", 60)
    keys: list[float] = []
    after_30 = 0
    began, used = time.perf_counter(), terminal.cpu_seconds()
    while (passed := time.perf_counter() - began) < SECONDS:
        for answer in ("held", "following"):
            terminal.forget()
            at = time.perf_counter()
            terminal.send(" ")
            terminal.wait_for(answer)
            keys.append(time.perf_counter() - at)
            terminal.read(KEYS_SECONDS)
        if passed <= 30:
            after_30 = max(after_30, terminal.process.memory_info().rss)
    cpu = (terminal.cpu_seconds() - used) / (time.perf_counter() - began)
    terminal.send("G")
    terminal.wait_for("all is written", 60)
    return keys, after_30, cpu


def _filter(terminal: Terminal) -> float:
    terminal.send("/")
    terminal.read(0.3)
    terminal.forget()
    at = time.perf_counter()
    terminal.send("hay.*needle")
    terminal.wait_for("  1 of ")
    taken = time.perf_counter() - at
    terminal.send("\r")
    terminal.read(0.5)
    return taken

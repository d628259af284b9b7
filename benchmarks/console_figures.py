"""What the console costs: start against an empty Textual app, memory, idling, leaving."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.deployment import CONSOLE, sample
from benchmarks.figure import Figure
from benchmarks.terminal import Terminal

STARTS = 7
IDLE_SECONDS = 60
AREAS = "123457"


def figures() -> Iterator[Figure]:
    """Measure everything against one running sample deployment."""
    with sample() as env:
        yield from _start(env)
        yield from _areas_and_quit(env)
        yield from idle(env, "1", "Home", Bounds(40, 1))


def _start(env: dict[str, str]) -> Iterator[Figure]:
    """Both programs in turn, so that a busy machine is busy for both."""
    empty, first, filled = [], [], []
    for turn in range(STARTS + 1):
        with Terminal([sys.executable, "-m", "benchmarks.empty_app"], env) as terminal:
            nothing = terminal.wait_for("nothing here")
        with Terminal([CONSOLE], env) as terminal:
            frame = terminal.wait_for("Services")
            # Storage is the last to come: its walk starts when the rest is there.
            full = terminal.wait_for("walked")
            full = max(full, terminal.wait_for("healthy"))
            terminal.send("q")
            terminal.wait_for_end()
        if turn > 0:  # the first turn warms the caches of both
            empty.append(nothing)
            first.append(frame)
            filled.append(full)
    base = statistics.median(empty)
    yield Figure("an empty Textual app's first frame", base, "s")
    yield Figure("Home's first frame / an empty app's", statistics.median(first) / base, "x", 2.0)
    yield Figure("Home's last value / an empty app's first frame",
                 statistics.median(filled) / base, "x")  # fmt: skip


def _areas_and_quit(env: dict[str, str]) -> Iterator[Figure]:
    with Terminal([CONSOLE], env) as terminal:
        terminal.wait_for("healthy")
        for key in AREAS:
            terminal.send(key)
            terminal.read(4)
        terminal.send("3")
        terminal.read(2)
        yield Figure("memory (PSS) after all areas were opened", terminal.pss() / 1e6, "MB", 120)
        terminal.send("2")
        terminal.read(1)
        terminal.send("q")
        yield Figure("q with everything open", terminal.wait_for_end(), "s", 1.0)


class Bounds(NamedTuple):
    """What a screen may cost in a minute in which nothing happens: kB, seconds, MB."""

    written: float
    cpu: float
    memory: float | None = None


def idle(env: dict[str, str], key: str, screen: str, bounds: Bounds) -> Iterator[Figure]:
    """What a screen costs while nothing happens, statistics on.

    Args:
        env: Names the deployment.
        key: Of the screen.
        screen: Its name.
        bounds: What it may cost.
    """
    with Terminal([CONSOLE], env, columns=200, rows=50) as terminal:
        terminal.wait_for("healthy")
        terminal.send(key)
        terminal.read(8)
        before, written = terminal.cpu_seconds(), terminal.written
        terminal.read(IDLE_SECONDS)
        what = f"idle on {screen}, {IDLE_SECONDS} s at 200x50"
        kilobytes = (terminal.written - written) / 1e3
        yield Figure(f"{what}: written", kilobytes, "kB", bounds.written)
        yield Figure(f"{what}: CPU", terminal.cpu_seconds() - before, "s", bounds.cpu)
        if bounds.memory is not None:
            yield Figure(f"{what}: PSS", terminal.pss() / 1e6, "MB", bounds.memory)
        terminal.send("q")
        terminal.wait_for_end()

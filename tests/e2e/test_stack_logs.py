"""Logs of real containers: twenty thousand lines a second, very long lines, a terminal."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import psutil
import pytest
from docker.models.containers import Container

from console.core.engine import Engine
from console.core.regular import Regular
from console.core.stack import container_logs
from console.core.stack.log_filter import Shown, Wanted
from console.core.stack.log_lines import Raw
from console.core.stack.log_stream import LogStream
from tests.support import engine
from tests.support.engine import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-logs")]

LINES_A_SECOND, SECONDS = 20_000, 10
LINES = LINES_A_SECOND * SECONDS
NEEDLE = LINES // 3
CHATTY = f"""
import sys, time
began = time.time()
for second in range({SECONDS}):
    first = second * {LINES_A_SECOND}
    sys.stdout.write("".join(
        ("the needle " if n == {NEEDLE} else "") + f"INFO:  {{n}} GET /{{n * 7919 % 99991}}\\n"
        for n in range(first, first + {LINES_A_SECOND})))
    sys.stdout.flush()
    time.sleep(max(0, began + second + 1 - time.time()))
"""
MOST_GROWTH = 30_000_000


@pytest.fixture(autouse=True)
def _engine() -> None:
    engine.require_engine()


@contextmanager
def containers(
    programs: dict[str, str], follow: bool, last: int | None = None, run: Sequence[str] = ()
) -> Iterator[LogStream]:
    """The merged logs of containers that run Python programs."""
    image = engine.images()["MLFLOW_IMAGE"]
    with ExitStack() as stack:
        names = {
            name: stack.enter_context(
                engine.container(image, "-uc", text, run=["--entrypoint", "python", *run])
            )
            for name, text in programs.items()
        }
        asked = Engine()

        def find() -> dict[str, Container]:
            return {name: asked.client.containers.get(each) for name, each in names.items()}

        if not follow:
            for each in names.values():
                engine.docker("wait", each)
        logs = container_logs.stream(asked, find, list(names), last, follow)
        with closing(logs):
            yield logs


def taken(logs: LogStream, count: int) -> list[Raw]:
    """So many lines, or what came until it ended."""
    found: list[Raw] = []
    for batch in logs.batches():
        found += batch
        if len(found) >= count:
            break
    return found


def test_twenty_thousand_lines_a_second() -> None:
    shown = Shown()
    with containers({"chatty": CHATTY}, follow=True) as logs:
        first = next(logs.batches())
        shown.add(first)
        process = psutil.Process()
        before = process.memory_info().rss
        for batch in logs.batches():
            shown.add(batch)
            if shown.store.end >= LINES:
                break
        grown = process.memory_info().rss - before
    assert shown.store.end == LINES
    numbers = (shown.store.line(n) for n in range(LINES))
    assert [int(line.raw.split(b"INFO:")[1].split()[0]) for line in numbers if line] == list(
        range(LINES)
    )
    assert grown <= MOST_GROWTH
    found = shown.select(Wanted(Regular("needle")), threading.Event())
    assert [found.number(index) for index in range(len(found))] == [NEEDLE]


def test_services_are_merged_in_the_order_of_time_and_followed_without_a_gap() -> None:
    program = "import time\nfor n in range(60):\n print('{0}', n, flush=True)\n time.sleep(0.05)"
    programs = {name: program.format(name) for name in ("one", "two")}
    with containers(programs, follow=True) as logs:
        lines = taken(logs, 120)
    for name in programs:
        own = [line for line, service in lines if service == name]
        assert [line.split()[1:] for line in own] == [
            [name.encode(), str(n).encode()] for n in range(60)
        ]
    stamps = [line[:30] for line, _ in lines]
    late = sum(after < before for before, after in itertools.pairwise(stamps))
    assert late <= 10  # only where two batches meet


def test_the_last_lines_of_all_together() -> None:
    programs = {name: f"print('{name}\\n' * 50)" for name in ("one", "two")}
    with containers(programs, follow=False, last=7) as logs:
        lines = list(logs)
    assert len(lines) == 7
    assert [line.at for line in lines] == sorted(line.at for line in lines if line.at)
    with containers({"one": programs["one"]}, follow=False, last=0) as logs:
        assert list(logs) == []


def test_long_lines_come_in_one_piece_from_both_outputs() -> None:
    program = (
        "import sys\nfor n in range(3):\n"
        " print('o' * 40000 + str(n)); print('e' * 20000 + str(n), file=sys.stderr)\n"
        "print('\\x1b[31mred\\x1b[0m [/bold] \\u202e'); print('no end', end='')"
    )
    with containers({"long": program}, follow=False) as logs:
        lines = [line.text for line in logs]
    assert sorted(line[0] for line in lines) == ["e"] * 3 + ["n"] + ["o"] * 3 + ["r"]
    assert "red [/bold] \ufffd" in lines
    assert "no end" in lines
    assert {len(line) for line in lines if line[0] in "oe"} == {10_000}


def test_a_terminal_has_no_frames() -> None:
    with containers({"tty": "print('one'); print('two')"}, follow=False, run=["--tty"]) as logs:
        assert [line.text for line in logs] == ["one", "two"]


def test_closing_ends_every_thread_though_nothing_comes() -> None:
    before = {each.name for each in threading.enumerate()}
    with containers({"quiet": "print('up'); import time; time.sleep(600)"}, follow=True) as logs:
        assert next(logs).text == "up"
        wait_until(lambda: any(each.name == "log" for each in threading.enumerate()))
    wait_until(lambda: {each.name for each in threading.enumerate()} <= before | {"stream"}, 10)

"""An access log of five million lines, digested and remembered; beside goaccess where it is."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure
from console.core.stack.access_sources import FileSource
from console.core.users.activity import Activity

LINES = 5_000_000
DAYS = 90
PEOPLE = 25
AT_ONCE = 6  # people who are at work in the same hour
POOL = 250_000  # different requests; each comes again with other times
BEGAN = 1_787_000_000.0
CLIENTS = (b"mlflow-python-client/3.17.2", b"mlflow-python-client/3.4.0")
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
# The same fields for goaccess.
FORMAT = r"%x.%^\t%s\t%m\t%v\t%h\t%e\t%T\t%^\t%^\t%b\t%U\t%u"


def figures() -> Iterator[Figure]:
    """Measure a first look, a further one, and goaccess at the same file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "access.log"
        write(log, LINES)
        activity = Activity(log.with_name("activity.db"), log.with_name("lock"), DAYS + 1, "")
        source = FileSource(log)
        now = BEGAN + DAYS * 86_400
        log.read_bytes()  # both begin with a warm cache
        began, used = time.perf_counter(), time.process_time()
        counted = activity.collect(source, now=now).lines
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        if counted != LINES:
            raise RuntimeError(f"{counted} of {LINES} lines were counted")
        yield Figure("access log of 5 million lines: digested a second", LINES / seconds, "lines",
                     least=600_000)  # fmt: skip
        yield Figure("the same: CPU", cpu, "s")
        began = time.perf_counter()
        activity.collect(source, now=now)
        yield Figure("a further start with nothing new", time.perf_counter() - began, "s", 0.5)
        began = time.perf_counter()
        activity.people(now=now)
        yield Figure("what 25 people did, asked for", 1e3 * (time.perf_counter() - began), "ms")
        yield from _goaccess(log, seconds)


def _goaccess(log: Path, ours: float) -> Iterator[Figure]:
    program = shutil.which("goaccess")
    if program is None:
        yield Figure("goaccess", 0, "", left_out="it is not installed (apt-get install goaccess)")
        return
    report = str(log.with_name("out.json"))
    argv = [program, str(log), f"--log-format={FORMAT}", "--date-format=%s", "--time-format=%s",
            "--no-global-config", "--no-progress", "-o", report]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    yield Figure("goaccess on the same file: lines a second", LINES / seconds, "lines")
    yield Figure("times as fast as goaccess", seconds / ours, "x")


def write(path: Path, count: int) -> None:
    """Write a log of training clients and browsers over ninety days, in the shipped format.

    Args:
        path: The file.
        count: How many lines.
    """
    rng = random.Random(6)  # noqa: S311  # no secrets
    pool = _requests(rng, POOL)
    step = DAYS * 86_400 / count
    at = BEGAN
    with path.open("wb") as file:
        for first in range(0, count, POOL):
            lines = []
            for text in pool[: min(POOL, count - first)]:
                at += step * rng.uniform(0, 2)
                lines.append(b"%.3f\t%s\n" % (min(at, BEGAN + DAYS * 86_400), text))
            file.write(b"".join(lines))


def _requests(rng: random.Random, count: int) -> list[bytes]:
    """Lines without their times; people are at work for an hour or so, some of them at once."""
    machines = [_machines(rng, number) for number in range(PEOPLE)]
    an_hour = LINES // (DAYS * 24)
    found = []
    for number in range(count):
        if number % an_hour == 0:
            working = [machine for each in rng.sample(machines, AT_ONCE) for machine in each[:2]]
        user, address, client = rng.choice(working)
        method, path = _call(rng)
        status = b"401" if rng.random() < 0.01 else rng.choice((b"200",) * 60 + (b"404", b"500"))
        seconds = rng.lognormvariate(-4, 0.8)
        found.append(b"%s\t%s\tmlflow.lab\t%s\t%s\t%.3f\t%s\t%d\t%d\t%s\t%s" % (
            status, method, address, user, seconds,
            b"-" if status == b"401" else b"%.3f" % (0.9 * seconds),
            rng.randrange(300, 1500), rng.randrange(200, 600), path, client,
        ))  # fmt: skip
    return found


def _machines(rng: random.Random, number: int) -> list[tuple[bytes, bytes, bytes]]:
    """User, address and client of one person's machines."""
    user = b"user%02d" % number
    own = [
        (user, b"10.0.%d.%d" % (rng.randrange(4), rng.randrange(250)), rng.choice(CLIENTS))
        for _ in range(rng.randrange(1, 3))
    ]
    return [*own, (user, b"10.0.9.%d" % number, BROWSER)]


def _call(rng: random.Random) -> tuple[bytes, bytes]:
    """Method and path: half of all are metrics, a quarter names something that comes once."""
    run = b"%032x" % rng.getrandbits(128)
    calls = (
        (0.55, b"POST", b"/api/2.0/mlflow/runs/log-metric"),
        (0.75, b"POST", b"/api/2.0/mlflow/runs/log-batch"),
        (0.85, b"GET", b"/api/2.0/mlflow/runs/get?run_uuid=%s&run_id=%s" % (run, run)),
        (0.93, b"PUT", b"/api/2.0/mlflow-artifacts/artifacts/3/%s/artifacts/model/data" % run),
        (0.97, b"POST", b"/api/2.0/mlflow/runs/search"),
        (0.9999, b"GET", b"/ajax-api/2.0/mlflow/experiments/get?experiment_id=%d"
         % rng.randrange(100)),
        (1.0, b"POST", b"/api/2.0/mlflow/runs/delete"),
    )  # fmt: skip
    drawn = rng.random()
    return next((method, path) for share, method, path in calls if drawn < share)

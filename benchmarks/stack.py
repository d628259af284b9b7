"""What the shipped stack costs: its memory, and what a password in front of MLflow costs."""

from __future__ import annotations

import base64
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.console_figures import Bounds, idle
from benchmarks.deployment import console, home
from benchmarks.figure import Figure
from benchmarks.load import CONNECTIONS, Load, Target
from console.core.deployment import Deployment
from tests.support import containers, engine, stacks
from tests.support.guesses import guessing

GIB = 2**30
IDLE_SECONDS = 60
SAMPLES, SAMPLE_SECONDS = 5, 2
# Longer than half of the time that a verdict counts: each round of the proxy's checks a password.
ROUNDS, ROUND_SECONDS = 5, 10.0
# The first guesses are let through at once; it is about what comes then.
GUESSING_BEFORE_SECONDS = 15
USER, PASSWORD = "alice", "correct horse battery"
COST = "$2y$12$"
# One reads the database, the other does nothing but answer.
CALLS = {
    "experiments/get": "/api/2.0/mlflow/experiments/get?experiment_id=0",
    "/version": "/version",
}

MEMORY = f"stack of size small, idle for {IDLE_SECONDS} s: PSS"
DEFAULTS = "the same with MLflow's and MySQL's own defaults"
# MLflow's own number of workers, and its job runner; MySQL without our settings.
SERVER = """
import os, tracking
os.environ.pop("MLFLOW_SERVER_ENABLE_JOB_EXECUTION")
os.environ.update(tracking.environment())
os.execvp("mlflow", ["mlflow", "server", "--uvicorn-opts", "--uds " + tracking.SOCKET,
                     "--artifacts-destination", "s3://mlflow"])
"""
OVERRIDE = {
    "services": {
        "tracking": {"command": ["python", "-c", SERVER]},
        "database": {
            "volumes": [
                f"./empty.cnf:/etc/mysql/conf.d/{name}:ro" for name in ("my.cnf", "size.cnf")
            ]
        },
    }
}


def figures() -> Iterator[Figure]:
    """Measure one stack: first at rest, then under load, then with the defaults."""
    lacking = _lacking()
    if lacking:
        yield Figure("the shipped stack", 0, "", left_out=lacking)
        return
    with _running() as (directory, env):
        small = _pss_at_rest(directory)
        yield Figure(MEMORY, small / GIB, "GiB", 0.9)
        yield from idle(env, "1", "Home of the stack", Bounds(60, 1.5, 110))
        yield from idle(env, "2", "Stack", Bounds(150, 2.1))
        with closing(Load()) as load:
            yield from _requests(directory, load)
        (directory / "empty.cnf").touch()
        (directory / "compose.override.yaml").write_text(json.dumps(OVERRIDE))
        console(["up"], env)
        large = _pss_at_rest(directory)
        yield Figure(DEFAULTS, large / GIB, "GiB")
        yield Figure("small / defaults", small / large, "x")


def _lacking() -> str:
    """What this machine has not got; "" when it has all."""
    if os.geteuid() != 0:
        return "only root can look into containers"
    try:
        engine.require_engine()
    except (pytest.skip.Exception, pytest.fail.Exception) as reason:
        return str(reason)
    return ""


@contextmanager
def _running() -> Iterator[tuple[Path, dict[str, str]]]:
    """A stack as a person makes it; nothing of it is left behind."""
    with home() as env:
        directory = Path(env["MLFLOW_CONSOLE_DEPLOYMENT"])
        console(["init", str(directory), "--driver", "compose", "--size", "small",
                 "--user", USER, "--password-stdin"], env, f"{PASSWORD}\n")  # fmt: skip
        if COST not in (directory / "htpasswd" / "default").read_text():
            raise RuntimeError("the hash is not of bcrypt's cost 12")
        stacks.add_images(directory)
        try:
            console(["up"], env)
            yield directory, env
        finally:
            stacks.remove(directory)


def _pss_at_rest(directory: Path) -> float:
    """All processes of all containers, in bytes; the median, as health checks come and go."""
    time.sleep(IDLE_SECONDS)
    found = []
    for _ in range(SAMPLES):
        running = containers.ids(directory).values()
        found.append(sum(containers.memory(each, "Pss") for each in running))
        time.sleep(SAMPLE_SECONDS)
    return statistics.median(found)


def _requests(directory: Path, load: Load) -> Iterator[Figure]:
    """The same request by both ways in turn."""
    for name, path in CALLS.items():
        straight, proxied = _targets(directory, path)
        rates: dict[Target, list[float]] = {straight: [], proxied: []}
        for target in rates:
            load.rate(target, 1)
        for _ in range(ROUNDS):
            for target, found in rates.items():
                found.append(load.rate(target, ROUND_SECONDS))
        ours, theirs = statistics.median(rates[proxied]), statistics.median(rates[straight])
        what = f"GET {name}, {CONNECTIONS} connections"
        yield Figure(f"{what}: MLflow's socket", theirs, "/s")
        yield Figure(f"{what}: nginx", ours, "/s")
        yield Figure(f"{what}: nginx / socket", ours / theirs, "x", least=0.9)
    yield from _under_attack(directory, load)
    with _nothing_remembered(directory):
        rate = load.rate(proxied, ROUND_SECONDS)
    yield Figure("the last one, every password hashed: nginx", rate, "/s")


def _under_attack(directory: Path, load: Load) -> Iterator[Figure]:
    """A verified client while another address guesses passwords, and in peace, in turn."""
    _, proxied = _targets(directory, CALLS["experiments/get"])
    peace, attacked, rates = [], [], []
    for _ in range(ROUNDS):
        peace.append(load.rate(proxied, ROUND_SECONDS))
        with guessing(directory, USER) as guessed:
            time.sleep(GUESSING_BEFORE_SECONDS)
            attacked.append(load.rate(proxied, ROUND_SECONDS))
            rates.append(guessed())
    made, answered = (statistics.median(each) for each in zip(*rates, strict=True))
    yield Figure("guesses at passwords by another address", made, "/s")
    yield Figure("of these answered", answered, "/s")
    ratio = statistics.median(attacked) / statistics.median(peace)
    yield Figure("a verified client meanwhile / in peace", ratio, "x", least=0.8)


def _targets(directory: Path, path: str) -> tuple[Target, Target]:
    """MLflow's own socket without a password, and the proxy with one."""
    own = urlsplit(Deployment.open(str(directory)).driver.own_url)
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return (
        Target(str(containers.tracking_socket(directory)), path),
        Target(("127.0.0.1", own.port or 80), path, (("Authorization", f"Basic {login}"),)),
    )


@contextmanager
def _nothing_remembered(directory: Path) -> Iterator[None]:
    """The proxy without its memory of verdicts, and without its limit of attempts."""
    paths = [directory / "nginx" / name for name in ("verdict.conf", "once.conf", "verify.conf")]
    shipped = {path: path.read_text() for path in paths}
    for path, text in shipped.items():
        without = text.replace("proxy_cache verdicts;", "proxy_cache off;")
        path.write_text(without.replace("limit_req zone", "#limit_req zone"))
    _restart_proxy(directory)
    try:
        yield
    finally:
        for path, text in shipped.items():
            path.write_text(text)
        _restart_proxy(directory)


def _restart_proxy(directory: Path) -> None:
    """Not a reload, which lets the old workers end when they like."""
    stacks.compose(directory, "restart", "proxy")
    stacks.compose(directory, "up", "--detach", "--wait")

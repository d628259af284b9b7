"""What a walk of an S3 store costs: against `mc du`, and against a listing that reads nothing."""

from __future__ import annotations

import hashlib
import random
import re
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import urllib3
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from benchmarks.figure import Figure
from console.core.deployment import Deployment
from console.core.settings import ServerSettings, Settings
from console.core.stack.places import Bucket, SqliteFile
from tests.images.recipes import RESULT
from tests.support import engine
from tests.support.s3_server import KEY, SECRET, S3Server, s3_server

RUNS = 2500
FILES = [
    "model/MLmodel", "model/model.pkl", "model/conda.yaml", "plots/roc curve.png", "metrics.json",
    *(f"checkpoints/epoch={number}/weights.bin" for number in range(15)),
]  # fmt: skip
OBJECTS = RUNS * len(FILES)
EXPERIMENTS = 12
ROUNDS = 9
WALK = f"a walk of {OBJECTS:,} objects"
OVER_MC, OVER_BARE = f"{WALK} / mc du", f"{WALK} / a bare listing"
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]*)<")


@dataclass(frozen=True)
class Places:
    """As much of a driver as a walk asks."""

    bucket: Bucket
    database: Path

    def artifact_store(self) -> Bucket:
        """The bucket."""
        return self.bucket

    def backend_store(self) -> SqliteFile:
        """A file, so that the figures say something about the walk only."""
        return SqliteFile(self.database)


def figures() -> Iterator[Figure]:
    """Fill a store, walk it by turns, and compare."""
    lack = lacking()
    if lack:
        yield Figure(OVER_MC, 0, "x", left_out=lack)
        yield Figure(OVER_BARE, 0, "x", left_out=lack)
        return
    image = dict(line.split("=", 1) for line in RESULT.read_text().splitlines())["STORE_IMAGE"]
    with s3_server(image) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield from _compare(server, Path(folder))


def lacking() -> str:
    """What this machine has not got; "" when it has all."""
    if not RESULT.exists():
        return "there are no images: make images"
    try:
        engine.docker("version")
    except (AssertionError, OSError) as error:
        return f"no Docker engine answers ({error})"
    return ""


def _compare(server: S3Server, folder: Path) -> Iterator[Figure]:
    client = server.client()
    for name in ("full", "empty"):
        client.make_bucket(name)
    bucket = server.bucket("full")
    deployment = _deployment(folder, bucket, _fill(server))
    server_of_mc = ["docker", "exec", server.container, "mc"]
    subprocess.run([*server_of_mc, "alias", "set", "here", "http://127.0.0.1:9000", KEY, SECRET],
                   check=True, capture_output=True)  # fmt: skip

    def du(name: str) -> str:
        done = subprocess.run([*server_of_mc, "du", f"here/{name}"], check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout

    _must(f"{OBJECTS} objects" in du("full"), "mc counts otherwise")
    took = _by_turns(
        {
            "console": lambda: _walk(deployment),
            "mc": lambda: du("full"),
            # Starting a program in a container is no part of walking.
            "start of mc": lambda: du("empty"),
            "bare": lambda: bare(bucket),
        }
    )
    # Within a turn the machine is as busy for one side as for the other.
    over_mc = [
        walk / (mc - start)
        for walk, mc, start in zip(took["console"], took["mc"], took["start of mc"], strict=True)
    ]
    over_bare = [walk / bare for walk, bare in zip(took["console"], took["bare"], strict=True)]
    yield Figure(f"{WALK}, each with its owner", statistics.median(took["console"]), "s")
    yield Figure(OVER_MC, statistics.median(over_mc), "x", 0.8)
    yield Figure(OVER_BARE, statistics.median(over_bare), "x", 1.4)


def _by_turns(sides: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of every turn but the first, which warms the caches of all sides."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, work in sides.items():
            began = time.perf_counter()
            work()
            if turn > 0:
                took[name].append(time.perf_counter() - began)
    return took


def _fill(server: S3Server) -> list[tuple[str, int]]:
    """Write what training runs leave behind; returns their ids and experiments."""
    source = random.Random(1)  # noqa: S311  # the same every time
    runs = [(f"{source.getrandbits(128):032x}", number % EXPERIMENTS) for number in range(RUNS)]
    for first in range(0, RUNS, 250):
        server.put("full", {
            f"{experiment}/{run_id}/artifacts/{name}": source.randbytes(source.randint(10, 900))
            for run_id, experiment in runs[first : first + 250]
            for name in FILES
        })  # fmt: skip
    return runs


def _deployment(folder: Path, bucket: Bucket, runs: list[tuple[str, int]]) -> Deployment:
    """One that knows all of these runs."""
    path = folder / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE experiments (experiment_id, name, artifact_location, lifecycle_stage);
            CREATE TABLE runs (run_uuid, name, lifecycle_stage, experiment_id);
            CREATE TABLE logged_models (model_id, experiment_id, lifecycle_stage);
            CREATE TABLE trace_info (request_id, experiment_id);
        """)
        connection.executemany(
            "INSERT INTO experiments VALUES (?, ?, ?, 'active')",
            [(each, f"e{each}", f"mlflow-artifacts:/{each}") for each in range(EXPERIMENTS)],
        )
        connection.executemany("INSERT INTO runs VALUES (?, 'run', 'active', ?)", runs)
    server = ServerSettings(port=5000, mlflow="3.17.2")
    deployment = Deployment(folder, Settings(format=1, name="b", driver="embedded", server=server))
    deployment.__dict__["driver"] = Places(bucket, path)
    return deployment


def _walk(deployment: Deployment) -> None:
    """As both front ends do it, reports on the way included."""
    *_, last = deployment.storage.usage(cancel=threading.Event())
    owned = sum(run.objects for experiment in last.experiments for run in experiment.runs)
    _must(last.objects == owned == OBJECTS, "the console counts otherwise")


def _must(true: bool, otherwise: str) -> None:
    """A comparison of sides that do not do the same would say nothing."""
    if not true:
        raise RuntimeError(otherwise)


def bare(bucket: Bucket) -> None:
    """Every page of the listing, of which nothing is read but how to ask for the next one."""
    empty = hashlib.sha256(b"").hexdigest()
    keys = Credentials(bucket.access_key, bucket.secret_key.reveal())
    token = ""
    with urllib3.PoolManager() as pool:
        while True:
            query = f"continuation-token={quote(token, safe='')}&" if token else ""
            url = (f"{bucket.endpoint}/{bucket.name}?{query}"
                   "encoding-type=url&list-type=2&max-keys=1000")  # fmt: skip
            now = datetime.now(UTC)
            headers: dict[str, str | list[str] | tuple[str]] = {
                "Host": urlsplit(url).netloc, "x-amz-content-sha256": empty,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            }  # fmt: skip
            sign_v4_s3(method="GET", url=urlsplit(url), region=bucket.region, headers=headers,
                       credentials=keys, content_sha256=empty, date=now)  # fmt: skip
            answer = pool.request("GET", url, headers={k: str(v) for k, v in headers.items()})
            _must(answer.status == 200, "the bare listing is refused")
            found = _TOKEN.search(answer.data)
            if not found:
                return
            token = found[1].decode()

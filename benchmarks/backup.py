"""What a snapshot's artifacts cost: against `mc mirror` and `rclone copy`, and a bare listing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import walk
from benchmarks.figure import Figure
from console.core.backup.artifacts import copying, index
from console.core.backup.snapshot import ARTIFACTS, Artifacts, Snapshot, State
from console.core.secrets import Secret
from console.core.stack.places import Bucket
from console.core.storage.s3 import S3Store
from tests.images.recipes import RESULT
from tests.support import engine
from tests.support.s3_server import KEY, SECRET, S3Server, s3_server

RUNS = 2500
FILES = [
    "model/MLmodel", "model/model.pkl", "model/conda.yaml", "model/python_env.yaml",
    "model/requirements.txt", "model/input_example.json", "plots/roc curve.png",
    "plots/confusion matrix.png", "metrics.json",
    *(f"checkpoints/epoch={number:02}.bin" for number in range(11)),
]  # fmt: skip
SMALL = RUNS * len(FILES)
LARGE, LARGE_BYTES, PART = 8, 1 << 28, 1 << 24
ROUNDS = 3
SAMPLE = 500
MEGABYTE = 1e6
WHAT = f"a snapshot of {SMALL:,} small and 2 GiB in large"
OVER_OTHERS, OVER_BARE = f"{WHAT} / the faster", "an unchanged one / a bare listing"
NEW, MEMORY = "an unchanged one's new bytes", "memory of a snapshot"


def figures() -> Iterator[Figure]:
    """Fill a store, copy it by all sides onto the same disk, and compare."""
    lacking = walk.lacking() or ("" if shutil.which("rclone") else "there is no rclone")
    if lacking:
        for name in (OVER_OTHERS, OVER_BARE, NEW, MEMORY):
            yield Figure(name, 0, "", left_out=lacking)
        return
    image = dict(line.split("=", 1) for line in RESULT.read_text().splitlines())["STORE_IMAGE"]
    with s3_server(image) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _fill(server)
        yield from _compare(server, Path(folder))


def _fill(server: S3Server) -> None:
    """Write what training runs leave behind."""
    source = random.Random(1)  # noqa: S311  # the same every time
    client = server.client()
    client.make_bucket("full")
    runs = [f"{number % 12}/{source.getrandbits(128):032x}/artifacts" for number in range(RUNS)]
    for first in range(0, RUNS, 250):
        server.put("full", {
            f"{run}/{name}": source.randbytes(source.randint(10, 4000))
            for run in runs[first : first + 250]
            for name in FILES
        })  # fmt: skip
    for run in runs[:LARGE]:
        data = b"".join(source.randbytes(PART) for _ in range(LARGE_BYTES // PART))
        client.put_object("full", f"{run}/weights.bin", io.BytesIO(data), len(data), part_size=PART)


def _compare(server: S3Server, folder: Path) -> Iterator[Figure]:
    bucket = server.bucket("full")
    mc = _mc(server, folder)
    rclone = {
        "RCLONE_CONFIG": str(folder / "rclone.conf"), "RCLONE_CONFIG_HERE_TYPE": "s3",
        "RCLONE_CONFIG_HERE_PROVIDER": "Minio", "RCLONE_CONFIG_HERE_ENDPOINT": bucket.endpoint,
        "RCLONE_CONFIG_HERE_ACCESS_KEY_ID": KEY, "RCLONE_CONFIG_HERE_SECRET_ACCESS_KEY": SECRET,
    }  # fmt: skip
    walk.bare(bucket)  # warms the server's caches for all sides
    by_mc, by_rclone = folder / "mc", folder / "rclone"
    mirror = _seconds([*mc, "mirror", "--quiet", "here/full", str(by_mc)])
    ours = _snapshot(bucket, folder / "first")
    copy = _seconds(["rclone", "copy", "--transfers", "16", "here:full", str(by_rclone)], rclone)
    for other in (by_mc, by_rclone):
        _must_be_the_same(folder / "first", other)
    yield Figure(f"{WHAT} (mc {mirror:.0f}, rclone {copy:.0f} s)", ours["seconds"], "s")
    yield Figure(OVER_OTHERS, ours["seconds"] / min(mirror, copy), "x", 0.8)
    ratios, seconds = [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        walk.bare(bucket)
        bare = time.perf_counter() - began
        again = _snapshot(bucket, folder / f"again-{number}", folder / "first")
        _must(again["linked"] == SMALL + LARGE, "not everything was linked")
        seconds.append(again["seconds"])
        ratios.append(again["seconds"] / bare)
    yield Figure("an unchanged one", statistics.median(seconds), "s")
    yield Figure(OVER_BARE, statistics.median(ratios), "x", 2.0)
    yield Figure(NEW, 100 * again["new_bytes"] / again["bytes"], "%", 1.0)
    memory = max(ours["memory"], again["memory"]) / MEGABYTE
    yield Figure(MEMORY, memory, "MB", 150)


def _mc(server: S3Server, folder: Path) -> list[str]:
    """The server's own client, on this side of the network."""
    where = engine.docker("exec", server.container, "sh", "-c", "command -v mc").strip()
    engine.docker("cp", "--follow-link", f"{server.container}:{where}", str(folder / "mc-client"))
    mc = [str(folder / "mc-client"), "--config-dir", str(folder / "mc-config")]
    subprocess.run([*mc, "alias", "set", "here", f"http://{server.address}", KEY, SECRET],
                   check=True, capture_output=True)  # fmt: skip
    return mc


def _seconds(command: list[str], more: Mapping[str, str] | None = None) -> float:
    """How long a program takes; none begins before what was written earlier is on the disk."""
    # A version of rclone's cannot do with a bundle of its own.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    os.sync()
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment | dict(more or {}))
    return time.perf_counter() - began


def _snapshot(bucket: Bucket, making: Path, previous: Path | None = None) -> dict[str, float]:
    """Copy the artifacts in a process of its own, as the console does; tells what it took."""
    os.sync()
    wanted = {"endpoint": bucket.endpoint, "name": bucket.name, "making": str(making),
              "previous": str(previous or "")}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "benchmarks.backup"], input=json.dumps(wanted),
                          check=True, capture_output=True, text=True)  # fmt: skip
    took: dict[str, float] = json.loads(done.stdout)
    return took


def _must_be_the_same(snapshot: Path, other: Path) -> None:
    """Every object by its size, some by their content."""
    entries = list(index.read(snapshot))
    _must(len(entries) == SMALL + LARGE, "the snapshot lacks objects")
    _must(all((other / each.name).stat().st_size == each.size for each in entries),
          f"{other.name} has copied something else")  # fmt: skip
    for each in random.Random(2).sample(entries, SAMPLE):  # noqa: S311  # the same every time
        for path in (other / each.name, snapshot / each.file):
            _must(hashlib.sha256(path.read_bytes()).hexdigest() == each.sha256,
                  f"{path} has another content")  # fmt: skip


def _must(true: bool, otherwise: str) -> None:
    if not true:
        raise RuntimeError(otherwise)


def _main() -> None:
    """One snapshot's artifacts, in this process; prints what it took as JSON."""
    wanted = json.load(sys.stdin)
    store = S3Store(Bucket(wanted["endpoint"], wanted["name"], "", KEY, Secret(SECRET)))
    making = Path(wanted["making"])
    making.mkdir(mode=0o700)
    previous = wanted["previous"]
    before = Snapshot(Path(previous), None, State()) if previous else None
    began = time.perf_counter()
    found = _copy(store, making, before)
    seconds = time.perf_counter() - began
    # What getrusage tells may be of the process that began this one; there are no others.
    status = Path("/proc/self/status").read_text()
    memory = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    linked = sum(path.stat().st_nlink > 1 for path in (making / ARTIFACTS).rglob("*")
                 if path.is_file())  # fmt: skip
    print(json.dumps({"seconds": seconds, "memory": memory, "bytes": found.bytes,
                      "new_bytes": found.new_bytes, "linked": linked}))  # fmt: skip


def _copy(store: S3Store, making: Path, before: Snapshot | None) -> Artifacts:
    steps = copying.copy(store, making, before, clock=store.clock(), room=lambda *_: None,
                         cancel=threading.Event())  # fmt: skip
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Artifacts = end.value
            return found


if __name__ == "__main__":
    _main()

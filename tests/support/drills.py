"""Deployments with something to drill, and snapshots that somebody has broken."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from console.core.deployment import Deployment
from console.core.progress import Progress
from console.core.secrets import read_secret
from console.core.stack.compose_scratch import LABEL
from console.core.stack.driver import Role
from console.core.stack.embedded_scratch import MARK

FILL = """\
import os, pathlib, tempfile
from mlflow import MlflowClient
client = MlflowClient(os.environ["URL"])
gone = client.create_experiment("gone")
for experiment in (client.create_experiment("colours é"), gone):
    for number in range(3):
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "number", number)
        for step in range(4):
            client.log_metric(run, "loss", 1 / (step + 1), step=step)
        with tempfile.TemporaryDirectory() as folder:
            deep = pathlib.Path(folder, "deep", "a b+c")
            deep.mkdir(parents=True)
            (deep / "some.bin").write_bytes(os.urandom(3000 * (number + 1)))
            (deep / "gr\\u00fc\\u00dfe #1.txt").write_text("\\u00fc")
            pathlib.Path(folder, "empty").touch()
            client.log_artifacts(run, folder)
    client.delete_run(run)
client.delete_experiment(gone)
"""


def fill(deployment: Deployment) -> None:
    """Log two experiments with three runs each, of which half is deleted, with four artifacts."""
    secret = read_secret(deployment.paths.service_secret).reveal()
    env = {
        "URL": deployment.driver.inner_url,
        "MLFLOW_TRACKING_USERNAME": deployment.settings.users.service_user,
        "MLFLOW_TRACKING_PASSWORD": secret,
    }
    argv = ["python", "-c", FILL]
    for _ in deployment.driver.run_in(Role.TRACKING, argv, env, threading.Event()):
        pass


def snapshot(deployment: Deployment, place: Path) -> Path:
    """Choose a place, make a snapshot; returns its folder."""
    place.mkdir(mode=0o700)
    deployment.backup.choose(place)
    again = Deployment.open(str(deployment.directory))
    for _ in again.backup.create(cancel=threading.Event()):
        pass
    return again.backup.list()[0].path


def copy(folder: Path, target: Path) -> Path:
    """Copy a snapshot to where a test may break it; its list of checksums is left out."""
    shutil.copytree(folder, target / folder.name, symlinks=True)
    made = target / folder.name
    for name in ("SHA256SUMS", "SHA256SUMS.sha256", "state.json"):
        (made / name).unlink(missing_ok=True)
    return made


def manifest(folder: Path) -> dict[str, dict[str, object]]:
    """What manifest.json says."""
    said: dict[str, dict[str, object]] = json.loads((folder / "manifest.json").read_bytes())
    return said


def set_database(folder: Path, **changed: object) -> None:
    """Change what manifest.json says of the dump."""
    said = manifest(folder)
    said["database"] |= changed
    (folder / "manifest.json").write_text(json.dumps(said))


def dump_file(folder: Path) -> Path:
    """The file of the dump."""
    return folder / str(manifest(folder)["database"]["file"])


def change_dump(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Pack the dump anew with another content."""
    path = dump_file(folder)
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), 1))


def in_sqlite(*statements: str) -> Callable[[bytes], bytes]:
    """A change of the content of a SQLite file."""

    def change(content: bytes) -> bytes:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(content)
        for each in statements:
            connection.execute(each)
        connection.commit()
        return connection.serialize()

    return change


def drill(deployment: Deployment, wanted: str, cancel: threading.Event | None = None) -> list[str]:
    """Drill; returns what was reported, without repetitions."""
    steps: Iterator[Progress] = deployment.backup.drill(
        wanted=wanted, cancel=cancel or threading.Event()
    )
    return list(dict.fromkeys(step.label for step in steps))


def left(deployment: Deployment, place: Path) -> list[str]:
    """What a drill has left behind: containers, processes, folders."""
    from console.core import process

    found = [each.name for each in place.glob(".drill-*")]
    found += [f"process {each.pid}" for each in process.marked(MARK, str(deployment.directory))]
    if deployment.settings.driver == "compose":
        found += subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter",
             f"label={LABEL}={deployment.directory}"],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
    return found

"""Backups on real parts: taken while people log, everything destroyed, brought back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.core.backup import catalog
from console.core.backup.restoring import restore_into
from console.core.backup.snapshot import Snapshot
from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.support import deployments, snapshots, stacks, steady_client

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-backup"), pytest.mark.timeout(600)]

ALICE = ("alice", "correct horse battery")
RUN = "from console.cli.main import run; run()"
BEFORE, DURING = 3, 2


@pytest.fixture(params=["compose", "embedded"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of each driver, with a place for its snapshots."""
    directory = tmp_path / "lab-backup"
    user = (ALICE[0], Secret(ALICE[1]))
    if request.param == "compose":
        with stacks.stack(directory, user) as deployment:
            deployments.up(deployment)
            deployment.backup.choose(tmp_path / "snapshots")
            yield deployment
    else:
        with deployments.ended(directory):
            deployment = deployments.create(directory, user)
            deployments.up(deployment)
            deployment.backup.choose(tmp_path / "snapshots")
            yield deployment


def destroy(deployment: Deployment) -> None:
    """Everything of it, volumes too."""
    if deployment.settings.driver == "compose":
        stacks.remove(deployment.directory)
    else:
        deployments.down(deployment)
    shutil.rmtree(deployment.directory)


def restored(snapshot: Snapshot, directory: Path) -> Deployment:
    for _ in restore_into.into(snapshot.path, directory, threading.Event()):
        pass
    return Deployment.open(str(directory))


def check_client(deployment: Deployment, done: list[dict[str, Any]], folder: Path) -> None:
    """What the client was told is done is there, by MLflow's own client as the user."""
    with snapshots.client(deployment, ALICE) as client:
        for each in done:
            run = client.get_run(each["run_id"])
            assert run.info.status == "FINISHED"
            assert run.data.metrics["loss"] == pytest.approx(each["metric"])
            path = client.download_artifacts(each["run_id"], each["artifact"], str(folder))
            assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == each["sha256"]
            assert client.get_logged_model(each["model_id"]).status == "READY"


def test_everything_destroyed_and_brought_back(running: Deployment, tmp_path: Path) -> None:
    """With a client that logs runs and models all the while."""
    written = tmp_path / "acknowledged"
    with steady_client.logging(running.driver.own_url, ALICE, written):
        before = steady_client.wait_for(written, BEFORE)
        snapshots.perform(running, "backup.create")
        steady_client.wait_for(written, len(before) + DURING)
    snapshot = running.backup.list()[0]
    manifest = snapshot.manifest
    assert manifest is not None
    assert manifest.complete
    snapshots.perform(running, "backup.verify")
    runs = {run.run_id for run in catalog.runs(snapshot.path)}
    assert runs >= {each["run_id"] for each in before}

    destroy(running)
    again = restored(snapshot, running.directory)

    assert {row.run_id for row in again.database.runs()} == runs
    there = snapshots.in_store(again, tmp_path)
    promised = snapshots.promised(snapshot)
    assert {key: there.get(key) for key in promised} == promised
    check_client(again, before, tmp_path)
    assert again.stack.status().healthy
    assert any(user.name == "alice" for user in again.users.list())
    console = subprocess.run(
        [sys.executable, "-c", RUN, "--deployment", str(again.directory), "runs",
         "list", steady_client.EXPERIMENT, "--json"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert console.returncode == 0, console.stderr
    with snapshots.client(again, ALICE) as client:  # and it takes new runs
        run = client.create_run(
            client.get_experiment_by_name(steady_client.EXPERIMENT).experiment_id
        )
        client.set_terminated(run.info.run_id)
    if again.settings.driver == "compose":
        stacks.remove(again.directory)


def test_back_into_what_runs(running: Deployment, tmp_path: Path) -> None:
    """A deployment that goes on: what was logged since is in the safety snapshot."""
    written = tmp_path / "acknowledged"
    with steady_client.logging(running.driver.own_url, ALICE, written):
        before = steady_client.wait_for(written, BEFORE)
        snapshots.perform(running, "backup.create", label="then")
        steady_client.wait_for(written, len(before) + DURING)
        then = running.backup.show("then")
        lines = running.backup.restore_plan("then").lines
        assert any("that came since go" in line for line in lines)
        snapshots.perform(running, "backup.restore", wanted=then.id)
        told = steady_client.acknowledged(written)
        steady_client.wait_for(written, len(told) + 1)  # it goes on by itself
    runs = {run.run_id for run in catalog.runs(then.path)}
    now = {row.run_id for row in running.database.runs()}
    assert now > runs  # and those that came after it
    check_client(running, before, tmp_path)
    safety = running.backup.list()[0]
    assert safety.manifest is not None
    assert safety.manifest.reason == "safety"
    lost = {each["run_id"] for each in told} - now
    assert lost <= {run.run_id for run in catalog.runs(safety.path)}
    assert running.stack.status().healthy

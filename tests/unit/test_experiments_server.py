"""Experiments, runs, database and storage of a real MLflow server."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from console.core.deployment import Deployment
from console.core.errors import UsageError
from console.core.experiments.service import Totals
from console.core.settings import ServerSettings, Settings
from console.core.stack.places import Folder, SqliteFile
from console.core.storage.service import Amount
from tests.support.server_environment import server_environment

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mlflow"), pytest.mark.timeout(600)]

START_SECONDS = 120

# Runs in the server's environment, which has the whole of MLflow; prints what it made.
SEED = r"""
import json, os, sys, tempfile
import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracing.attachments import Attachment

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
os.chdir(tempfile.mkdtemp())

def experiment(name, location=None):
    return client.create_experiment(name, location, {"team": "a"})

def run(experiment_id, name, size, **more):
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, **more) as active:
        mlflow.log_param("lr", 0.1)
        mlflow.log_metrics({"loss": float("nan"), "acc": 0.5})
        mlflow.log_metric("acc", 0.75, step=2)
        mlflow.set_tags({"mlflow.note.content": "a *note*", "mlflow.user": "ada", "mine": "[/x]"})
        with open("f.bin", "wb") as file:
            file.write(b"x" * size)
        mlflow.log_artifact("f.bin", "sub/dir")
    return active.info.run_id

made = {}
alpha = made["alpha"] = experiment("alpha")
odd = made["odd"] = experiment("[bold]x[/] \u2603", "mlflow-artifacts:/my%20place/b")
number = made["number"] = experiment("77", "mlflow-artifacts:/sp ace/\u00fcml")
doomed = made["doomed"] = experiment("doomed")
made["first"] = run(alpha, "first", 1000)
made["deleted"] = run(alpha, "deleted", 400)
made["odd_run"] = run(odd, "odd", 30)
made["number_run"] = run(number, "number", 11)
made["doomed_run"] = run(doomed, "doomed", 7)
with mlflow.start_run(experiment_id=alpha, run_name="parent") as parent:
    with mlflow.start_run(experiment_id=alpha, run_name="child", nested=True) as child:
        made["parent"], made["child"] = parent.info.run_id, child.info.run_id
running = client.create_run(alpha, run_name="at work", tags={"mlflow.user": "eve"})
made["running"] = running.info.run_id
client.delete_run(made["deleted"])
client.delete_experiment(doomed)
mlflow.set_experiment(experiment_id=alpha)
model = mlflow.initialize_logged_model(name="model")
made["model"] = model.model_id
get_artifact_repository(model.artifact_location).log_artifact("f.bin")
with mlflow.start_span("span") as span:
    span.set_inputs({"f": Attachment(content_type="text/plain", content_bytes=b"attached")})
    made["trace"] = span.trace_id
print("MADE " + json.dumps(made))
"""


@pytest.fixture(scope="module")
def environment() -> Path:
    """The server's environment."""
    return server_environment()


@pytest.fixture(scope="module")
def dep(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose server runs; without the lock, whose tests are in tests/server."""
    directory = tmp_path_factory.mktemp("deployment")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = ServerSettings(port=port, mlflow="3.17.2")
    dep = Deployment(directory, Settings(format=1, name="t", driver="embedded", server=server))
    dep.__dict__["driver"] = SimpleNamespace(
        own_url=f"http://127.0.0.1:{port}", not_ours=lambda: None,
        artifact_store=lambda: Folder(dep.paths.artifacts),
        backend_store=lambda: SqliteFile(dep.paths.database),
    )  # fmt: skip
    dep.paths.artifacts.mkdir(parents=True)
    dep.paths.service_secret.parent.mkdir()
    dep.paths.service_secret.write_text("secret")
    with (directory / "server.log").open("wb") as log:
        child = subprocess.Popen(
            [environment / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1", "--serve-artifacts",
             "--backend-store-uri", f"sqlite:///{dep.paths.database}",
             "--artifacts-destination", str(dep.paths.artifacts)],
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true",
                              "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"{dep.driver.own_url}/health", child, directory / "server.log")
        yield dep
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)


def wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert child.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own server
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def made(dep: Deployment, environment: Path) -> dict[str, str]:
    done = subprocess.run(
        [environment / "bin" / "python", "-c", SEED, dep.driver.own_url],
        # In the background spans race with their trace, and the slower one decides what is a file.
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true",
                          "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("MADE ")] or [""]
    assert line, done.stderr
    return msgspec.json.decode(line.removeprefix("MADE "), type=dict[str, str])


def recent(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(minutes=10)


def test_experiments(dep: Deployment, made: dict[str, str]) -> None:
    found = {each.experiment_id: each for each in dep.experiments.list()}
    assert set(found) == {"0", made["alpha"], made["odd"], made["number"]}
    alpha = found[made["alpha"]]
    assert (alpha.name, alpha.lifecycle_stage, alpha.runs) == ("alpha", "active", 4)
    assert (alpha.artifact_location, alpha.tags) == ("mlflow-artifacts:/1", {"team": "a"})
    assert recent(alpha.created_at)
    assert recent(alpha.updated_at)
    every = dep.experiments.list(deleted=True)
    assert every[0].experiment_id == made["doomed"], "the newest change comes first"
    assert (every[0].lifecycle_stage, every[0].runs) == ("deleted", 0)
    assert len(every) == 5


def test_an_experiment_by_id_or_name(dep: Deployment, made: dict[str, str]) -> None:
    assert dep.experiments.show("alpha") == dep.experiments.show(made["alpha"])
    assert dep.experiments.show("77").experiment_id == made["number"]
    assert dep.experiments.show("[bold]x[/] ☃").experiment_id == made["odd"]
    assert dep.experiments.show("doomed").lifecycle_stage == "deleted"
    for unknown in ("nobody", "4711", "", "²"):
        with pytest.raises(UsageError):
            dep.experiments.show(unknown)


def test_without_the_database_there_are_no_counts(
    dep: Deployment, made: dict[str, str], tmp_path: Path
) -> None:
    other = Deployment(tmp_path, dep.settings)
    other.__dict__["driver"] = SimpleNamespace(
        own_url=dep.driver.own_url, not_ours=lambda: None,
        backend_store=lambda: SqliteFile(other.paths.database),
    )  # fmt: skip
    other.paths.service_secret.parent.mkdir()
    other.paths.service_secret.write_text("secret")
    assert other.experiments.show(made["alpha"]).runs is None
    assert other.experiments.totals() == Totals(experiments=4)


def test_the_totals_need_no_client(
    dep: Deployment, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = dep.experiments.list()
    monkeypatch.setattr(dep.experiments, "list", None)
    totals = dep.experiments.totals()
    assert totals.experiments == len(listed)
    assert totals.runs == sum(each.runs or 0 for each in listed)
    assert recent(totals.last)


def test_runs(dep: Deployment, made: dict[str, str]) -> None:
    runs = list(dep.runs.list("alpha"))
    assert [run.name for run in runs] == ["at work", "child", "parent", "first"]
    first = runs[-1]
    shown = dep.runs.show(made["first"])
    assert replace(first, metrics={}) == replace(shown, metrics={})  # NaN equals nothing
    assert (first.status, first.lifecycle_stage, first.user) == ("FINISHED", "active", "ada")
    assert (first.params, first.tags) == ({"lr": "0.1"}, {"mine": "[/x]"})
    assert first.metrics["acc"] == 0.75
    assert math.isnan(first.metrics["loss"])
    assert first.description == "a *note*"
    assert recent(first.started_at)
    assert recent(first.ended_at)
    assert runs[1].parent_run_id == made["parent"]
    assert (runs[0].status, runs[0].ended_at) == ("RUNNING", None)
    assert {run.lifecycle_stage for run in dep.runs.list("alpha", deleted=True)} == {
        "active",
        "deleted",
    }


def test_pages(dep: Deployment, made: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = dep.runs.page(made["alpha"], size=3)
    assert (len(first.runs), first.next is None) == (3, False)
    second = dep.runs.page(made["alpha"], first.next, size=3)
    assert (len(second.runs), second.next) == (1, None)
    monkeypatch.setattr("console.core.experiments.runs.LISTING_PAGE", 1)
    assert [run.run_id for run in dep.runs.list("alpha")] == [
        run.run_id for run in first.runs + second.runs
    ]


def test_runs_that_are_not_there(dep: Deployment, made: dict[str, str]) -> None:
    calls: list[Callable[[], object]] = [
        lambda: dep.runs.show("0" * 32),
        lambda: dep.runs.show("../x?y"),
        lambda: dep.runs.show(" "),
        lambda: list(dep.runs.list("nobody")),
        lambda: dep.runs.page(made["alpha"], token="rubbish"),
        lambda: dep.runs.page("no number"),
    ]
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        assert "Error" not in caught.value.message


def test_the_database_agrees(dep: Deployment, made: dict[str, str]) -> None:
    assert {key: count.runs for key, count in dep.database.run_counts().items()} == {
        made["alpha"]: 4,
        made["odd"]: 1,
        made["number"]: 1,
    }
    assert {root.experiment_id: root.artifact_location for root in dep.database.roots()} == {
        each.experiment_id: each.artifact_location for each in dep.experiments.list(deleted=True)
    }
    assert (made["deleted"], made["alpha"], "deleted", "deleted") in list(dep.database.runs())
    assert list(dep.database.models()) == [(made["model"], made["alpha"], "active")]
    assert list(dep.database.traces()) == [(made["trace"], made["alpha"])]
    (running,) = dep.database.running()
    assert (running.run_id, running.name) == (made["running"], "at work")
    assert (running.experiment, running.user) == ("alpha", "eve")
    assert recent(running.started_at)


def test_every_byte_of_the_store_has_its_owner(dep: Deployment, made: dict[str, str]) -> None:
    usage = list(dep.storage.usage(cancel=threading.Event()))[-1]
    files = [path for path in dep.paths.artifacts.rglob("*") if path.is_file()]
    assert usage.objects == len(files)
    assert usage.bytes == sum(path.stat().st_size for path in files)
    assert (usage.orphans, usage.unknown, usage.problems) == (Amount(), Amount(), ())
    assert usage.trash == Amount(407, 2)
    experiments = {each.experiment_id: each for each in usage.experiments}
    alpha = experiments[made["alpha"]]
    assert [(run.run_id, run.bytes, run.name) for run in alpha.runs] == [
        (made["first"], 1000, "first"),
        (made["deleted"], 400, "deleted"),
    ]
    assert alpha.models == Amount(7, 1)
    assert alpha.traces == Amount(8, 1)
    for experiment, run, size in (("odd", "odd_run", 30), ("number", "number_run", 11)):
        (found,) = experiments[made[experiment]].runs
        assert (found.run_id, found.bytes) == (made[run], size)

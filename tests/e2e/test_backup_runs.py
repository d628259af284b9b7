"""Single runs of a snapshot come back into a real server as new ones."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from console.core.backup.restoring import restore_runs, run_making
from console.core.backup.snapshot import Snapshot
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.secrets import Secret
from console.core.stack.driver import Role
from tests.support import deployments, snapshots

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("backup"), pytest.mark.timeout(900)]

ALICE = ("alice", "correct horse battery")

# Runs in the server's environment, which has the whole of MLflow; prints what it made.
SEED = r"""
import json, os, sys, tempfile
os.environ.update(MLFLOW_TRACKING_USERNAME="alice", MLFLOW_TRACKING_PASSWORD=sys.argv[2])
import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
os.chdir(tempfile.mkdtemp())
made = {}
experiment = client.create_experiment("alpha", tags={"team": "a [/x]"})
mlflow.set_experiment(experiment_id=experiment)
made["experiment"] = experiment

def write(name, content):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(content)

write("files/plain.txt", b"plain")
write("files/empty", b"")
write("files/sub dir/\u00fc #100%?.bin", bytes(range(256)) * 5000)
with mlflow.start_run(run_name="parent \u2603") as parent:
    made["parent"] = parent.info.run_id
    for at in range(0, 230, 100):
        client.log_batch(parent.info.run_id, params=[
            Param(f"p{n}", f"it's \\ \n '{n}'),(\U0001f600")
            for n in range(at, min(at + 100, 230))])
    client.log_batch(parent.info.run_id, tags=[
        RunTag(f"t{n}", "\u00fc" * 5000) for n in range(90)])
    for at in range(0, 2500, 500):
        client.log_batch(parent.info.run_id, metrics=[
            Metric("loss", 1 / (n + 1), 1700000000000 + n, n) for n in range(at, at + 500)])
    mlflow.log_metric("odd", float("nan"), step=-3)
    mlflow.log_metric("odd", float("inf"), step=4)
    mlflow.log_metric("odd", float("-inf"), step=5)
    mlflow.log_metric("odd", 1e-300, step=6)
    mlflow.set_tags({"mlflow.note.content": "a *note*", "mlflow.user": "ada"})
    client.log_inputs(parent.info.run_id, [DatasetInput(
        Dataset("data", "d1", "local", "{}", "schema", "profile"), [InputTag("k", "v")])])
    mlflow.log_artifacts("files", "deep/er")
    mlflow.log_artifact("files/plain.txt")
    model = mlflow.initialize_logged_model(
        name="model", source_run_id=parent.info.run_id, params={"a": "b"}, tags={"c": "d"},
        model_type="kind")
    made["model"] = model.model_id
    get_artifact_repository(model.artifact_location).log_artifact("files/plain.txt", "in")
    mlflow.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(parent.info.run_id,
                       [mlflow.entities.LoggedModelOutput(model.model_id, 7)])
    mlflow.log_metric("of model", 0.5, step=1, model_id=model.model_id)
    with mlflow.start_run(run_name="child", nested=True) as child:
        made["child"] = child.info.run_id
at_work = client.create_run(experiment, run_name="at work")
made["at_work"] = at_work.info.run_id
made["strange"] = client.create_run(experiment, run_name="strange").info.run_id
print("MADE " + json.dumps(made))
"""

# What a client sees of a run, everything but ids and times of its making.
LOOK = r"""
import hashlib, json, os, sys, tempfile
os.environ.update(MLFLOW_TRACKING_USERNAME="alice", MLFLOW_TRACKING_PASSWORD=sys.argv[2])
import mlflow

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()

def files(uri):
    folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=tempfile.mkdtemp())
    return {os.path.relpath(os.path.join(where, name), folder):
            hashlib.sha256(open(os.path.join(where, name), "rb").read()).hexdigest()
            for where, _, names in os.walk(folder) for name in names}

def look(run_id):
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    models = []
    for output in outputs:
        model = client.get_logged_model(output.model_id)
        models.append([model.name, str(model.status), model.model_type, model.params, model.tags,
                       output.step, files(model.artifact_location),
                       [[m.key, m.value, m.step] for m in model.metrics or []]])
    has_files = client.list_artifacts(run_id)
    return {
        "id": run_id,
        "name": run.info.run_name, "status": run.info.status, "user": run.info.user_id,
        "times": [run.info.start_time, run.info.end_time],
        "stage": run.info.lifecycle_stage,
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "params": run.data.params, "tags": run.data.tags,
        "latest": {key: repr(value) for key, value in run.data.metrics.items()},
        "history": sorted([m.key, repr(m.value), m.timestamp, m.step] for key in run.data.metrics
                          for m in client.get_metric_history(run_id, key)),
        "inputs": [[i.dataset.name, i.dataset.digest, i.dataset.schema, i.dataset.profile,
                    [[t.key, t.value] for t in i.tags]] for i in run.inputs.dataset_inputs],
        "files": files(run.info.artifact_uri) if has_files else {},
        "models": models,
    }

print("MADE " + json.dumps([look(each) for each in sys.argv[3:]]))
"""


def inside(deployment: Deployment, program: str, *arguments: str) -> Any:
    """Run a program with the whole of MLflow; what it prints after MADE."""
    argv = ["python", "-c", program, deployment.driver.own_url, ALICE[1], *arguments]
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    lines = list(deployment.driver.run_in(Role.TRACKING, argv, env, threading.Event()))
    (line,) = [each for each in lines if each.startswith("MADE ")] or [""]
    assert line, "\n".join(lines)
    return json.loads(line.removeprefix("MADE "))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("runs") / "lab"
    with deployments.ended(directory):
        made = deployments.create(directory, (ALICE[0], Secret(ALICE[1])))
        deployments.up(made)
        made.backup.choose(directory.parent / "snapshots")
        yield made
        deployments.down(made)


STRANGE = "ü #100%25?&;+ 😀.bin"  # MLflow's own client uploads none of that name
Seeded = tuple[Deployment, dict[str, str], Snapshot, dict[str, Any]]


@pytest.fixture(scope="module")
def seeded(running: Deployment) -> Seeded:
    """What was made, a snapshot of it, and what a client saw of its runs."""
    made = inside(running, SEED)
    before = {each["id"]: each for each in look(running, *runs_of(made))}
    folder = running.paths.artifacts / made["experiment"] / made["strange"] / "artifacts"
    folder.mkdir(parents=True)
    (folder / STRANGE).write_bytes(b"strange")
    for _ in running.backup.create(cancel=threading.Event()):
        pass
    return running, made, running.backup.show("latest"), before


def runs_of(made: dict[str, str]) -> list[str]:
    return [made["parent"], made["child"], made["at_work"]]


def look(deployment: Deployment, *runs: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inside(deployment, LOOK, *runs)
    return found


def bring(deployment: Deployment, runs: Sequence[str], again: bool = False) -> list[str]:
    """Bring runs back; what was reported, without what is repeated."""
    steps = restore_runs.run(deployment, "latest", runs, threading.Event(), again)
    return list(dict.fromkeys(step.label for step in steps))


def new_ones(labels: Sequence[str]) -> list[str]:
    return [
        label.split(" is back as ")[1].split(";")[0] for label in labels if " is back " in label
    ]


def delete_experiment(deployment: Deployment, name: str, rename: str) -> None:
    """As a person does who wants the name for another one."""
    with snapshots.client(deployment, ALICE) as client:
        experiment = client.get_experiment_by_name(name)
        client.rename_experiment(experiment.experiment_id, rename)
        client.delete_experiment(experiment.experiment_id)


def test_runs_come_back_whole(seeded: Seeded) -> None:
    running, made, snapshot, before = seeded
    delete_experiment(running, "alpha", "gone for good")
    # The child is named first, and comes back below its parent all the same.
    labels = bring(running, [made["child"], made["parent"][:12], made["at_work"]])
    assert "the experiment alpha is made anew" in labels
    parent, child, at_work = new_ones(labels)
    assert {parent, child, at_work}.isdisjoint(before)
    for then, now in zip(runs_of(made), look(running, parent, child, at_work), strict=True):
        was = before[then]
        tags = dict(was["tags"]) | {run_making.ORIGIN: f"{snapshot.id}/{then}"}
        if then == made["child"]:
            tags["mlflow.parentRunId"] = parent
        assert now["tags"] == tags
        for (name, *_, measured), (_, *_, then_measured) in zip(
            now["models"], was["models"], strict=True
        ):
            assert name == "model"
            assert measured == then_measured
        status = "KILLED" if then == made["at_work"] else was["status"]
        compared = ("name", "user", "times", "stage", "experiment", "params", "latest", "history",
                    "inputs", "files")  # fmt: skip
        assert {key: now[key] for key in compared} == {key: was[key] for key in compared}
        assert now["status"] == status
    whole = look(running, parent)[0]
    assert len(whole["history"]) == 2505
    assert len(whole["files"]) == 4
    ((name, status, kind, params, tags, step, files, metrics),) = whole["models"]
    assert (name, kind, params, step) == ("model", "kind", {"a": "b"}, 7)
    assert status.endswith("READY")
    assert tags["c"] == "d"
    assert tags[run_making.ORIGIN] == f"{snapshot.id}/{made['model']}"
    assert list(files) == ["in/plain.txt"]
    assert metrics == [["of model", 0.5, 1]]
    assert any("is KILLED now" in label for label in labels)
    experiment = running.experiments.show("alpha")
    assert experiment.tags["team"] == "a [/x]"
    assert experiment.tags[run_making.ORIGIN] == f"{snapshot.id}/{made['experiment']}"
    odd = {(step, value) for key, value, _, step in whole["history"] if key == "odd"}
    assert math.isnan(float(next(value for step, value in odd if step == -3)))


def test_any_name_of_an_artifact_comes_back(seeded: Seeded) -> None:
    running, made, _, _ = seeded
    (new,) = new_ones(bring(running, [made["strange"]]))
    (file,) = running.paths.artifacts.glob(f"*/{new}/artifacts/*")
    assert (file.name, file.read_bytes()) == (STRANGE, b"strange")


def test_a_second_time_makes_no_copy(seeded: Seeded) -> None:
    running, made, _, _ = seeded
    (first,) = new_ones(bring(running, [made["child"]], again=True))
    count = len(list(running.database.runs()))
    labels = bring(running, [made["child"], made["child"]])
    (label,) = [label for label in labels if "is there already, as " in label]
    assert running.runs.show(label.split(", as ")[1]).name == "child"
    assert len(list(running.database.runs())) == count
    (second,) = new_ones(bring(running, [made["child"]], again=True))
    assert second != first
    running.runs.show(second)


def test_one_that_was_left_half_made_is_made_anew(
    seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, made, _, _ = seeded
    cancel = threading.Event()
    steps = restore_runs.run(running, "latest", [made["parent"]], cancel, again=True)
    for step in steps:
        if step.label.endswith(": artifacts"):
            cancel.set()
            break
    with pytest.raises(CancelledError, match="is half made and marked as FAILED") as caught:
        list(steps)
    half = caught.value.message.split("The new run ")[1].split(" ")[0]
    assert running.runs.show(half).status == "FAILED"
    assert "throws it away" in caught.value.hint
    labels = bring(running, [made["parent"]], again=True)
    assert f"{half}, which was left half made, is thrown away" in labels
    assert running.runs.show(half).lifecycle_stage == "deleted"
    (whole,) = new_ones(labels)
    assert look(running, whole)[0]["models"]
    with snapshots.client(running, ALICE) as client:
        found = client.search_logged_models(
            [running.experiments.show("alpha").experiment_id],
            filter_string=f"source_run_id = '{half}'",
        )
        assert list(found) == []


def test_a_broken_artifact_is_not_passed_on(seeded: Seeded) -> None:
    running, made, snapshot, _ = seeded
    folder = snapshot.path / "artifacts" / made["experiment"] / made["parent"] / "artifacts"
    (file,) = folder.glob("deep/er/sub dir/*")
    kept = file.read_bytes()
    mode = file.stat().st_mode
    file.chmod(0o600)
    file.write_bytes(b"x" + kept[1:])
    try:
        with pytest.raises(ConsoleError, match=r"is not as it was written.* marked as FAILED"):
            bring(running, [made["parent"]], again=True)
        file.unlink()
        with pytest.raises(ConsoleError, match=r"cannot be read: No such file"):
            bring(running, [made["parent"]], again=True)
    finally:
        file.write_bytes(kept)
        file.chmod(mode)


def test_a_deleted_experiment_of_the_name_is_said(seeded: Seeded) -> None:
    running, made, _, _ = seeded
    with snapshots.client(running, ALICE) as client:
        experiment = client.get_experiment_by_name("alpha")
        client.delete_experiment(experiment.experiment_id)
        with pytest.raises(ConsoleError, match="alpha is deleted in the live server") as caught:
            bring(running, [made["child"]])
        assert f"restore -x {experiment.experiment_id}" in caught.value.hint
        client.restore_experiment(experiment.experiment_id)


def test_what_is_not_there_is_said(seeded: Seeded) -> None:
    running, made, snapshot, _ = seeded
    for wanted in ("0" * 32, "", "zz"):
        with pytest.raises(UsageError, match=f"{snapshot.id} holds no run"):
            bring(running, [made["child"], wanted])


def test_without_the_server_it_is_said(seeded: Seeded) -> None:
    running, made, _, _ = seeded
    deployments.down(running)
    try:
        with pytest.raises(ConsoleError):
            bring(running, [made["child"]])
    finally:
        deployments.up(running)

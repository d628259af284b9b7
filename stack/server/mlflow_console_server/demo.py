"""Sample data, logged for real: ``python -m mlflow_console_server.demo``.

Runs in the server's environment and talks HTTP to the server that MLFLOW_TRACKING_URI,
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD name. Progress goes to stdout, one JSON
object a line; what went wrong goes to stderr in one sentence, with exit code 1.

Every run carries the tag `KEY`; when it is complete it gets `DONE` as well. Called again, the
program leaves complete runs alone, puts what an interruption left half-done into the trash, and
makes what is missing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

# Read when MLflow is imported, so both stand before the import.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# By default a server that is not there is asked for two minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

import mlflow
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sklearn import __version__ as sklearn_version
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

FORESTS = "RF Tree Numbers"
CURVES = "Loss curves"

#: The tags that name a run of the demo and say that it is complete.
KEY = "mlflow-console.demo"
DONE = "mlflow-console.demo.complete"

TREES = 20
STEPS = 200
RATES = (0.1, 0.03, 0.01)


class DemoError(Exception):
    """The demo cannot be logged; the message is one sentence for the user."""


@dataclass(frozen=True)
class Item:
    """One run of the demo.

    Attributes:
        experiment: The experiment's name.
        key: The value of the tag `KEY`.
        label: What the progress says.
        fill: Fills the run, given its id.
        status: How the run ends.
        parent: The key of the run that it is nested in.
        trash: Whether it ends in the trash.
    """

    experiment: str
    key: str
    label: str
    fill: Callable[[MlflowClient, str], None]
    status: str = "FINISHED"
    parent: str | None = None
    trash: bool = False


def items() -> list[Item]:
    """Return the runs of the demo, parents before their children."""
    forests = [
        Item(FORESTS, f"forest-{n}", f"{n} tree{'s' * (n > 1)}", _forest(n))
        for n in range(1, TREES + 1)
    ]
    children = [
        Item(CURVES, f"rate-{rate}", f"rate {rate}", _curve(rate), parent="sweep") for rate in RATES
    ]
    return [
        *forests,
        Item(CURVES, "sweep", "sweep", _sweep),
        *children,
        Item(CURVES, "diverged", "diverged", _diverged),
        Item(CURVES, "failed", "failed", _failed, status="FAILED"),
        Item(CURVES, "deleted", "deleted", _curve(1.0), trash=True),
    ]


def _forest(trees: int) -> Callable[[MlflowClient, str], None]:
    """Return what trains and logs a random forest on the iris data."""

    def fill(client: MlflowClient, run_id: str) -> None:
        features, labels = load_iris(return_X_y=True)
        split = train_test_split(features, labels, test_size=0.4, random_state=7)
        model = RandomForestClassifier(n_estimators=trees, max_depth=3, random_state=trees)
        model.fit(split[0], split[2])
        client.log_param(run_id, "n_est", trees)
        client.log_metric(run_id, "accuracy", float(model.score(split[1], split[3])))
        with mlflow.start_run(run_id=run_id):
            # Without requirements MLflow would load the model in a process of its own to find
            # them out: ten seconds a run. The tree's type is one that skops does not trust
            # unasked; this model was made two lines above.
            mlflow.sklearn.log_model(
                model,
                name="model",
                pip_requirements=[f"scikit-learn=={sklearn_version}"],
                skops_trusted_types=["sklearn.tree._tree.Tree"],
            )

    return fill


def _losses(rate: float) -> tuple[list[float], list[float]]:
    """Return training and validation losses of `STEPS` steps; the same for the same rate."""
    noise = random.Random(rate)  # noqa: S311 - for a curve that looks real, not for a secret
    train = [2.35 * math.exp(-rate * n / 2) + noise.gauss(0.05, 0.01) for n in range(STEPS)]
    return train, [loss + 0.0005 * n + noise.gauss(0.1, 0.01) for n, loss in enumerate(train)]


def _curve(rate: float) -> Callable[[MlflowClient, str], None]:
    """Return what logs the two loss curves of a learning rate, and three artifacts."""

    def fill(client: MlflowClient, run_id: str) -> None:
        train, validation = _losses(rate)
        _log_steps(client, run_id, {"train_loss": train, "val_loss": validation})
        client.log_batch(
            run_id,
            metrics=[Metric("best_val_loss", min(validation), _milliseconds(), STEPS)],
            params=[Param("learning_rate", str(rate)), Param("steps", str(STEPS))],
            tags=[RunTag("optimizer", "sgd"), RunTag("stage", "demo")],
        )
        client.log_text(run_id, f"Learning rate {rate}, {STEPS} steps.\n", "notes.txt")
        client.log_figure(run_id, _picture(train, validation), "loss.png")
        rows = {"step": list(range(STEPS)), "train_loss": train, "val_loss": validation}
        client.log_table(run_id, rows, "losses.json")

    return fill


def _sweep(client: MlflowClient, run_id: str) -> None:
    """Fill the parent of the learning rates."""
    client.log_batch(
        run_id,
        params=[Param("rates", ", ".join(map(str, RATES)))],
        tags=[RunTag("mlflow.note.content", "Three learning rates of the same toy problem.")],
    )
    client.log_text(run_id, "# Sweep\n\nThe children differ in their learning rate.\n", "readme.md")


def _diverged(client: MlflowClient, run_id: str) -> None:
    """Fill a run whose loss grows until it is no number."""
    loss = [2.3 * math.exp(n / 20) if n < STEPS // 2 else math.nan for n in range(STEPS)]
    _log_steps(client, run_id, {"train_loss": loss})
    client.log_param(run_id, "learning_rate", 30)


def _failed(client: MlflowClient, run_id: str) -> None:
    """Fill a run that stopped in the middle."""
    train, _ = _losses(0.03)
    _log_steps(client, run_id, {"train_loss": train[: STEPS // 4]})
    client.log_text(run_id, "MemoryError: the batch does not fit.\n", "error.txt")


def _log_steps(client: MlflowClient, run_id: str, series: dict[str, list[float]]) -> None:
    """Log series of values, one a step and a second, in one request."""
    end = _milliseconds()
    metrics = [
        Metric(name, value, end - 1000 * (len(values) - step), step)
        for name, values in series.items()
        for step, value in enumerate(values)
    ]
    client.log_batch(run_id, metrics=metrics)


def _picture(train: list[float], validation: list[float]) -> Figure:
    """Draw both curves: 480 by 300 pixels."""
    figure = Figure(figsize=(4.8, 3.0), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(train, label="train")
    axes.plot(validation, label="validation")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    return figure


def _milliseconds() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _experiment(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is made if need be.

    Raises:
        DemoError: If it is in the trash.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        raise DemoError(f'The experiment "{name}" is in the trash: restore or purge it first.')
    return str(found.experiment_id)


def _clear(client: MlflowClient, experiment_id: str) -> dict[str, str]:
    """Return the ids of complete runs by key; put what was left half-done into the trash."""
    complete = {}
    # Two experiments of a few runs each: a thousand is one page.
    runs = client.search_runs([experiment_id], "", ViewType.ALL, max_results=1000)
    for run in runs:
        tags = run.data.tags
        if KEY not in tags:
            continue
        if DONE in tags:
            complete[tags[KEY]] = run.info.run_id
        elif run.info.lifecycle_stage == "active":
            client.set_terminated(run.info.run_id, "KILLED")
            client.delete_run(run.info.run_id)
    return complete


def _make(client: MlflowClient, experiment_id: str, item: Item, parent_id: str | None) -> str:
    """Log one run and return its id."""
    tags = {
        KEY: item.key,
        "mlflow.source.name": "mlflow-console demo",
        "mlflow.user": os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
    }
    if parent_id is not None:
        tags["mlflow.parentRunId"] = parent_id
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=item.label).info.run_id)
    item.fill(client, run_id)
    client.set_terminated(run_id, item.status)
    client.set_tag(run_id, DONE, "true")
    if item.trash:
        client.delete_run(run_id)
    return run_id


def log_demo(client: MlflowClient, out: TextIO) -> None:
    """Log what is missing of the demo.

    Args:
        client: A client of the server.
        out: Gets one JSON object a line: ``done``, ``total``, ``unit`` and ``label``.

    Raises:
        DemoError: If one of the experiments is in the trash.
        MlflowException: If the server refuses or cannot be reached.
    """
    todo = items()
    ids = {name: _experiment(client, name) for name in (FORESTS, CURVES)}
    complete = {name: _clear(client, ids[name]) for name in ids}
    made = 0
    for done, item in enumerate(todo, 1):
        runs = complete[item.experiment]
        if item.key in runs:
            label = f"{item.experiment}: {item.label} (there already)"
        else:
            parent_id = runs.get(item.parent) if item.parent else None
            runs[item.key] = _make(client, ids[item.experiment], item, parent_id)
            label = f"{item.experiment}: {item.label}"
            made += 1
        _tell(out, done, len(todo), label)
    if not made:
        _tell(out, len(todo), len(todo), "The demo is there already; nothing was logged.")


def _tell(out: TextIO, done: int, total: int, label: str) -> None:
    """Write one line of progress."""
    out.write(json.dumps({"done": done, "total": total, "unit": "runs", "label": label}) + "\n")
    out.flush()


def main() -> int:
    """Log the demo into the server that the environment names.

    Returns:
        The exit code: 0, or 1 after a sentence on stderr.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://")):
        sys.stderr.write("MLFLOW_TRACKING_URI must be the address of a running server.\n")
        return 1
    try:
        # MLflow announces every run on stdout, which here is for the progress alone.
        with contextlib.redirect_stdout(sys.stderr):
            log_demo(MlflowClient(), sys.__stdout__ or sys.stdout)
    except (DemoError, MlflowException, OSError) as error:
        sentence = " ".join(str(error).split())
        sys.stderr.write(f"The demo could not be logged: {sentence}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

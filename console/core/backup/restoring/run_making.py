"""Making a run anew in the live server, through MLflow's client.

MLflow is imported by whoever calls this (`experiments/client.py`).
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from console.core.backup.restoring.run_upload import Uploads
from console.core.backup.restoring.run_values import Held, Metric, Model
from console.core.backup.snapshot import Experiment
from console.core.errors import CancelledError, ConsoleError
from console.core.experiments.client import Client
from console.core.progress import Progress
from console.core.storage.attribution import root_key
from console.core.text import clean

ORIGIN = "mlflow-console.restored-from"
"""Where a run, a model or an experiment comes from: "<snapshot>/<its id there>"."""
UNFINISHED = "mlflow-console.unfinished"
"""Stands at a run that is being made, or that was left half made."""
PARENT = "mlflow.parentRunId"

# mlflow/utils/validation.py; and a request may have a million characters.
METRICS_A_CALL, VALUES_A_CALL, CHARACTERS_A_CALL = 1000, 100, 400_000
_ENDED = ("FINISHED", "FAILED", "KILLED")
_READY, _UPLOAD_FAILED = 2, 3  # mlflow/entities/logged_model_status.py

T = TypeVar("T")


class Making:
    """One run that is made anew.

    Attributes:
        run_id: The new one.
        notes: What is another way than it was, one sentence each.

    Args:
        client: Of the live server.
        uploads: To the same server.
        snapshot: Where it comes from.
        held: What is known of it.
        cancel: Leaves off.
    """

    def __init__(
        self, client: Client, uploads: Uploads, snapshot: Path, held: Held,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._client = client
        self._uploads = uploads
        self._snapshot = snapshot
        self._held = held
        self._cancel = cancel
        self._models: dict[str, str] = {}
        self.run_id = ""
        self.notes: list[str] = []

    def create(self, experiment_id: str) -> None:
        """Make it, empty and marked as unfinished."""
        from mlflow.entities import RunTag  # noqa: PLC0415  # imported by now

        run = self._held.run
        tags = {ORIGIN: self._origin(run.run_id), UNFINISHED: "true"}
        with self._client.calls() as store:
            made = store.create_run(
                experiment_id, run.user, run.started or 0,
                [RunTag(*tag) for tag in tags.items()], run.name,
            )  # fmt: skip
        self.run_id = made.info.run_id

    def fill(self, parent: str | None) -> Iterator[Progress]:
        """Log everything that it held.

        Args:
            parent: The id of its parent; None where that is not there.
        """
        yield Progress(f"{self.name}: parameters, tags, metrics")
        self._log_values(parent)
        self._log_inputs()
        for model in self._held.models:
            self._make_model(model)
        self._log_metrics()
        yield from self._upload_all()
        self._finish_models()
        self._finish()

    @property
    def name(self) -> str:
        """What it is called, for a sentence."""
        run = self._held.run
        return clean(run.name or run.run_id, 60)

    def fail(self) -> None:
        """Mark what is half made as failed."""
        from mlflow.entities import RunStatus  # noqa: PLC0415  # imported by now

        if self.run_id:
            with self._client.calls() as store:
                store.update_run_info(
                    self.run_id, RunStatus.FAILED, self._held.run.ended, self._held.run.name
                )

    def _origin(self, number: str) -> str:
        return f"{self._snapshot.name}/{number}"

    def _log_values(self, parent: str | None) -> None:
        from mlflow.entities import Param, RunTag  # noqa: PLC0415  # imported by now

        for some in batches(self._held.params.items()):
            self._batch(params=[Param(*each) for each in some])
        tags = dict(self._held.tags)
        if PARENT in tags and parent is None:
            self.notes.append("its parent run is not there")
            del tags[PARENT]
        elif parent:
            tags[PARENT] = parent
        for key in (ORIGIN, UNFINISHED):  # of a run that was itself brought back once
            tags.pop(key, None)
        if "mlflow.log-model.history" in tags:  # JSON that names the run
            value = tags["mlflow.log-model.history"]
            tags["mlflow.log-model.history"] = value.replace(self._held.run.run_id, self.run_id)
        for some in batches(tags.items()):
            self._batch(tags=[RunTag(*each) for each in some])

    def _batch(
        self, metrics: Iterable[Any] = (), params: Iterable[Any] = (), tags: Iterable[Any] = ()
    ) -> None:
        self._check()
        with self._client.calls() as store:
            store.log_batch(self.run_id, list(metrics), list(params), list(tags))

    def _check(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("Stopped")

    def _log_inputs(self) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415  # as above

        inputs = []
        for each in self._held.inputs:
            row: Mapping[str, Any] = each.dataset
            dataset = Dataset(
                row["name"], row["digest"], row["dataset_source_type"], row["dataset_source"],
                row["dataset_schema"], row["dataset_profile"],
            )  # fmt: skip
            inputs.append(DatasetInput(dataset, [InputTag(*tag) for tag in each.tags.items()]))
        for some in chunks(inputs, VALUES_A_CALL):
            self._check()
            with self._client.calls() as store:
                store.log_inputs(self.run_id, some)

    def _log_metrics(self) -> None:
        for some in chunks(self._held.metrics, METRICS_A_CALL // 2):  # some are logged twice
            self._batch(metrics=[each for metric in some for each in self._metrics_of(metric)])

    def _metrics_of(self, metric: Metric) -> Iterator[Any]:
        """The metric, once for each model that it tells of."""
        from mlflow.entities import Metric as Logged  # noqa: PLC0415  # imported by now

        value = float("nan") if metric.nan else metric.value
        at = (metric.key, metric.timestamp, metric.step)
        measured: list[tuple[str | None, str | None, str | None]] = [
            (self._models[model], name or None, digest or None)
            for model, name, digest in self._held.measured.get(at, ())
            if model in self._models
        ]
        for model, name, digest in measured or [(None, None, None)]:
            yield Logged(metric.key, value, metric.timestamp, metric.step, model, name, digest)

    def _make_model(self, model: Model) -> None:
        from mlflow.entities import (  # noqa: PLC0415  # imported by now
            LoggedModelOutput,
            LoggedModelParameter,
            LoggedModelTag,
        )

        self._check()
        tags = model.tags | {ORIGIN: self._origin(model.model_id)}
        with self._client.calls() as store:
            run = store.get_run(self.run_id)
            made = store.create_logged_model(
                run.info.experiment_id, model.name, self.run_id,
                [LoggedModelTag(*each) for each in tags.items()],
                [LoggedModelParameter(*each) for each in model.params.items()],
                model.model_type or None,
            )  # fmt: skip
            store.log_outputs(self.run_id, [LoggedModelOutput(made.model_id, model.step)])
        self._models[model.model_id] = made.model_id

    def _upload_all(self) -> Iterator[Progress]:
        with self._client.calls() as store:
            places = [(store.get_run(self.run_id).info.artifact_uri, self._held.files)]
            for model in self._held.models:
                made = store.get_logged_model(self._models[model.model_id])
                places.append((made.artifact_location, model.files))
        label, total, done = f"{self.name}: artifacts", self._held.bytes, 0
        for location, files in places:
            yield Progress(label, done, total, "bytes")
            if not files:
                continue
            root = root_key(location)
            if root is None:
                self.notes.append(
                    f"its artifacts are not uploaded: the server does not serve {clean(location)}"
                )
                continue
            for name, entry in files:
                self._check()
                self._uploads.bring(f"{root}/{name}", entry)
                done += entry.size
                yield Progress(label, done, total, "bytes")

    def _finish_models(self) -> None:
        from mlflow.entities import LoggedModelStatus  # noqa: PLC0415  # imported by now

        status = {_READY: LoggedModelStatus.READY, _UPLOAD_FAILED: LoggedModelStatus.FAILED}
        for model in self._held.models:
            if model.status in status:
                with self._client.calls() as store:
                    store.finalize_logged_model(self._models[model.model_id], status[model.status])

    def _finish(self) -> None:
        from mlflow.entities import RunStatus  # noqa: PLC0415  # imported by now

        run = self._held.run
        status = run.status if run.status in _ENDED else "KILLED"
        if status != run.status:
            self.notes.append(f"it was {run.status or 'without a status'} then, and is KILLED now")
        with self._client.calls() as store:
            store.update_run_info(
                self.run_id, RunStatus.from_string(status), run.ended, run.name or None
            )
            store.delete_tag(self.run_id, UNFINISHED)


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Some at a time."""
    rest = iter(values)
    while some := list(itertools.islice(rest, size)):
        yield some


def batches(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Parameters or tags, as many as a call may have."""
    some: list[tuple[str, str]] = []
    length = 0
    for pair in pairs:
        more = len(json.dumps(pair))
        if some and (len(some) == VALUES_A_CALL or length + more > CHARACTERS_A_CALL):
            yield some
            some, length = [], 0
        some.append(pair)
        length += more
    if some:
        yield some


def experiment_for(
    client: Client, snapshot: Path, experiment: Experiment, tags: Callable[[], Mapping[str, str]]
) -> tuple[str, bool]:
    """The live experiment of a name, made when there is none; its id, and whether it was made.

    Args:
        client: Of the live server.
        snapshot: Where it comes from.
        experiment: As it was.
        tags: Its tags then.

    Raises:
        ConsoleError: One of that name is deleted.
    """
    from mlflow.entities import ExperimentTag  # noqa: PLC0415  # imported by now

    with client.calls() as store:
        found = store.get_experiment_by_name(experiment.name)
        if found is None:
            origin = f"{snapshot.name}/{experiment.experiment_id}"
            kept = dict(tags()) | {ORIGIN: origin}
            made = store.create_experiment(
                experiment.name, None, [ExperimentTag(*each) for each in kept.items()]
            )
            return str(made), True
    if found.lifecycle_stage == "deleted":
        raise ConsoleError(
            f"The experiment {clean(experiment.name)} is deleted in the live server, and no other "
            "one can have its name",
            f"`mlflow experiments restore -x {found.experiment_id}` brings it back; then do this "
            "again.",
        )
    return str(found.experiment_id), False

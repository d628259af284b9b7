"""All that a snapshot's dump and index hold of single runs.

Read in two passes over the dump: the first finds what belongs to the runs, the second their values.
The history of metrics, of which a run may have millions, waits on the disk.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from console.core.backup.artifacts import index
from console.core.backup.dumping import dumps
from console.core.backup.dumping.dump_reader import Only, Row
from console.core.backup.snapshot import Dump, Entry, Run
from console.core.storage.attribution import root_key


class Metric(msgspec.Struct, array_like=True, frozen=True):
    """One value of a metric.

    Attributes:
        nan: It is no number; MLflow's tables then have 0 as the value.
    """

    key: str
    value: float
    timestamp: int
    step: int
    nan: bool


class Metrics:
    """The history of a run's metrics, in a file without a name."""

    def __init__(self) -> None:
        self.count = 0
        self._file: IO[bytes] | None = None
        self._encoder = msgspec.json.Encoder()

    def add(self, row: Row) -> None:
        """One more value."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed below
        self.count += 1
        metric = Metric(
            _text(row["key"]), _number(row["value"]), _whole(row["timestamp"]), _whole(row["step"]),
            bool(row["is_nan"]),
        )  # fmt: skip
        self._file.write(self._encoder.encode(metric) + b"\n")

    def __iter__(self) -> Iterator[Metric]:
        decoder = msgspec.json.Decoder(Metric)
        if self._file is not None:
            self._file.seek(0)
            for line in self._file:
                yield decoder.decode(line)

    def close(self) -> None:
        """Give the room back."""
        if self._file is not None:
            self._file.close()


@dataclass
class Model:
    """A logged model that a run has made.

    Attributes:
        status: As MLflow's tables have it (mlflow/entities/logged_model_status.py).
        step: At which it was logged.
        files: Its artifacts, by the name below its folder.
    """

    model_id: str
    name: str
    model_type: str
    status: int
    location: str
    step: int = 0
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Entry]] = field(default_factory=list)


@dataclass
class Input:
    """A dataset that a run has used; columns as in MLflow's table `datasets`."""

    dataset: Row
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Held:
    """What a snapshot holds of a run.

    Attributes:
        location: Where its artifacts were, a URI.
        models: Those that it has made.
        measured: Of which models its metrics tell: by metric, time and step the model, and the name
            and digest of a dataset.
    """

    run: Run
    location: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    inputs: list[Input] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    files: list[tuple[str, Entry]] = field(default_factory=list)
    measured: dict[tuple[str, int, int], list[tuple[str, str, str]]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of all artifacts."""
        listed = [*self.files, *(each for model in self.models for each in model.files)]
        return sum(entry.size for _, entry in listed)


@contextlib.contextmanager
def read(snapshot: Path, dump: Dump, runs: Sequence[Run], base: str) -> Iterator[list[Held]]:
    """All that a snapshot holds of some runs, for as long as the block lasts.

    Args:
        snapshot: Its folder.
        dump: Its dump.
        runs: Which ones.
        base: The absolute place of the artifact store, as `Store.base` has it.

    Raises:
        ConsoleError: The dump or the index is damaged.
    """
    reading = _Reading(runs)
    try:
        for table, row in dumps.rows(snapshot, dump, reading.found_by, reading.found_by):
            reading.found(table, row)
        wanted = reading.values_by()
        for table, row in dumps.rows(snapshot, dump, wanted, wanted):
            reading.value(table, row)
        held = reading.held()
        _list_files(snapshot, held, base)
        yield held
    finally:
        reading.close()


class _Reading:
    def __init__(self, runs: Sequence[Run]) -> None:
        self._held = {run.run_id: Held(run) for run in runs}
        ids = tuple(self._held)
        self.found_by: Only = {
            "runs": (("run_uuid",), ids),
            "inputs": (("source_id", "destination_id"), ids),
            "logged_models": (("source_run_id",), ids),
        }
        self._models: dict[str, Model] = {}
        self._steps: dict[str, int] = {}
        self._uses: list[tuple[str, str, str]] = []  # run, dataset, input
        self._datasets: dict[str, Row] = {}
        self._input_tags: dict[str, dict[str, str]] = {}

    def found(self, table: str, row: Row) -> None:
        """Take in a row of the first pass."""
        if table == "runs":
            self._held[_text(row["run_uuid"])].location = _text(row["artifact_uri"])
        elif table == "logged_models":
            model = Model(
                _text(row["model_id"]), _text(row["name"]), _text(row["model_type"]),
                _whole(row["status"]), _text(row["artifact_location"]),
            )  # fmt: skip
            if row.get("lifecycle_stage") != "deleted":
                self._models[model.model_id] = model
                self._held[_text(row["source_run_id"])].models.append(model)
        elif row["destination_type"] == "RUN" and row["source_type"] == "DATASET":
            self._uses.append(
                (_text(row["destination_id"]), _text(row["source_id"]), _text(row["input_uuid"]))
            )
        elif row["source_type"] == "RUN_OUTPUT":
            self._steps[_text(row["destination_id"])] = _whole(row.get("step"))

    def values_by(self) -> Only:
        """What is asked for in the second pass."""
        ids = tuple(self._held)
        asked: dict[str, tuple[Sequence[str], Sequence[str]]] = {
            table: (("run_uuid",), ids) for table in ("metrics", "params", "tags")
        }
        if self._uses:
            asked["datasets"] = (("dataset_uuid",), [use[1] for use in self._uses])
            asked["input_tags"] = (("input_uuid",), [use[2] for use in self._uses])
        if self._models:
            for table in ("logged_model_params", "logged_model_tags", "logged_model_metrics"):
                asked[table] = (("model_id",), tuple(self._models))
        return asked

    def value(self, table: str, row: Row) -> None:
        """Take in a row of the second pass."""
        match table:
            case "params" | "tags":
                held = self._held[_text(row["run_uuid"])]
                values = held.params if table == "params" else held.tags
                values[_text(row["key"])] = _text(row["value"])
            case "metrics":
                self._held[_text(row["run_uuid"])].metrics.add(row)
            case "datasets":
                self._datasets[_text(row["dataset_uuid"])] = row
            case "input_tags":
                tags = self._input_tags.setdefault(_text(row["input_uuid"]), {})
                tags[_text(row["name"])] = _text(row["value"])
            case "logged_model_params":
                self._models[_text(row["model_id"])].params[_text(row["param_key"])] = _text(
                    row["param_value"]
                )
            case "logged_model_tags":
                self._models[_text(row["model_id"])].tags[_text(row["tag_key"])] = _text(
                    row["tag_value"]
                )
            case "logged_model_metrics":
                self._measured(row)

    def _measured(self, row: Row) -> None:
        held = self._held.get(_text(row["run_id"]))
        if held is not None:
            key = (
                _text(row["metric_name"]), _whole(row["metric_timestamp_ms"]),
                _whole(row["metric_step"]),
            )  # fmt: skip
            of = (_text(row["model_id"]), _text(row["dataset_name"]), _text(row["dataset_digest"]))
            held.measured.setdefault(key, []).append(of)

    def held(self) -> list[Held]:
        """What was found, put together."""
        for model_id, model in self._models.items():
            model.step = self._steps.get(model_id, 0)
        for run_id, dataset, number in self._uses:
            if dataset in self._datasets and run_id in self._held:
                used = Input(self._datasets[dataset], self._input_tags.get(number, {}))
                self._held[run_id].inputs.append(used)
        return list(self._held.values())

    def close(self) -> None:
        for held in self._held.values():
            held.metrics.close()


def _list_files(snapshot: Path, held: Sequence[Held], base: str) -> None:
    """Find the artifacts of runs and models in the index."""
    roots: dict[str, list[tuple[str, Entry]]] = {}
    for each in held:
        places = [(each.location, each.files)]
        places += [(model.location, model.files) for model in each.models]
        for location, files in places:
            key = root_key(location, base)
            if key:
                roots[key] = files
    depths = {key.count("/") + 1 for key in roots}
    for entry in index.read(snapshot):
        name = entry.name
        parts = name.split("/")
        for depth in depths:
            root = "/".join(parts[:depth])
            if len(parts) > depth and root in roots:
                roots[root].append((name[len(root) + 1 :], entry))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole(value: Any) -> int:
    return int(value or 0)


def _number(value: Any) -> float:
    return float(value or 0)


def families(held: Sequence[Held], parent: str) -> list[Held]:
    """Parents before their children, else in the order that they were asked for.

    Args:
        held: The runs.
        parent: The tag that names a run's parent.
    """
    by_id: Mapping[str, Held] = {each.run.run_id: each for each in held}
    placed: dict[str, Held] = {}

    def place(each: Held, above: frozenset[str]) -> None:
        over = by_id.get(each.tags.get(parent, ""))
        if over is not None and over.run.run_id not in above:
            place(over, above | {each.run.run_id})
        placed.setdefault(each.run.run_id, each)

    for each in held:
        place(each, frozenset())
    return list(placed.values())

"""The experiments and runs in a snapshot's dump, one line each: `catalog.jsonl.gz`.

It is made from the dump itself as that is written, so that the two agree, and that a snapshot can
be looked through without its dump being read. Experiments stand before runs; runs are in the order
of their ids, as the database has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from console.core.backup import gzipped
from console.core.backup.snapshot import CATALOG, Experiment, Run
from console.core.errors import ConsoleError

LEVEL = 1
_LINES = 1000

Row = Mapping[str, object]


class Writer:
    """The catalog of a snapshot that is being made; whole when the block is left.

    Args:
        folder: Of the snapshot.
    """

    def __init__(self, folder: Path) -> None:
        self._file = gzipped.Writer(folder / CATALOG, LEVEL)
        self._encoder = msgspec.json.Encoder()
        self._waiting: list[Experiment | Run] = []

    def add(self, table: str, row: Row) -> None:
        """Note a row of `experiments` or, after all of those, of `runs`."""
        self._waiting.append(experiment_of(row) if table == "experiments" else run_of(row))
        if len(self._waiting) == _LINES:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._encoder.encode_lines(self._waiting))
        self._waiting.clear()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is None:
            self._flush()
        self._file.__exit__(kind, error, trace)


def write(folder: Path, experiments: Iterable[Row], runs: Iterable[Row]) -> None:
    """Write the catalog of a snapshot from rows of MLflow's tables.

    Args:
        folder: Of the snapshot.
        experiments: Rows of the table `experiments`.
        runs: Rows of the table `runs`.
    """
    with Writer(folder) as catalog:
        for row in experiments:
            catalog.add("experiments", row)
        for row in runs:
            catalog.add("runs", row)


def experiment_of(row: Row) -> Experiment:
    """An experiment from its row."""
    return Experiment(
        experiment_id=_text(row.get("experiment_id")),
        name=_text(row.get("name")),
        lifecycle_stage=_text(row.get("lifecycle_stage")) or "active",
        artifact_location=_text(row.get("artifact_location")),
    )


def run_of(row: Row) -> Run:
    """A run from its row."""
    return Run(
        run_id=_text(row.get("run_uuid")),
        experiment_id=_text(row.get("experiment_id")),
        name=_text(row.get("name")),
        status=_text(row.get("status")),
        lifecycle_stage=_text(row.get("lifecycle_stage")) or "active",
        user=_text(row.get("user_id")),
        started=_time(row.get("start_time")),
        ended=_time(row.get("end_time")),
    )


def _text(value: object) -> str:
    """What a column of text holds; SQLite keeps any type in any column."""
    if value is None:
        return ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode()


def _time(value: object) -> int | None:
    return int(value) if isinstance(value, int) and value else None


def read(folder: Path) -> Iterator[Experiment | Run]:
    """All of a catalog; nothing where a snapshot was taken without the database.

    Args:
        folder: Of the snapshot.

    Raises:
        ConsoleError: It is damaged.
    """
    path = folder / CATALOG
    if not path.exists():
        return
    decoder: msgspec.json.Decoder[Experiment | Run] = msgspec.json.Decoder(Experiment | Run)
    try:
        for line in gzipped.Reader(path).lines():
            yield decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise ConsoleError(
            f"{path} is damaged: {error}",
            "`mlflow-console backup verify` shows what else is broken.",
        ) from error


def experiments(folder: Path) -> list[Experiment]:
    """The experiments, deleted ones too, by their ids; raises as `read`."""
    found = []
    for each in read(folder):
        if isinstance(each, Run):
            break
        found.append(each)
    return sorted(found, key=lambda each: (len(each.experiment_id), each.experiment_id))


def runs(folder: Path, experiment_id: str | None = None) -> Iterator[Run]:
    """The runs, deleted ones too, of one experiment or of all; raises as `read`."""
    for each in read(folder):
        if isinstance(each, Run) and experiment_id in (None, each.experiment_id):
            yield each

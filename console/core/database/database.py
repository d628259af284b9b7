"""The contract of a backend store, read directly: what MLflow's API cannot give, or not fast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_epoch_ms(milliseconds: int | None) -> datetime | None:
    """MLflow's times: milliseconds since 1970, UTC; None for none and for an impossible one."""
    if not milliseconds:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except (OverflowError, TypeError):  # SQLite keeps any type in any column
        return None


@dataclass(frozen=True, slots=True)
class Root:
    """Where an experiment's artifacts go.

    Attributes:
        lifecycle_stage: "active" or "deleted".
        artifact_location: A URI, for instance "mlflow-artifacts:/1".
    """

    experiment_id: str
    name: str
    lifecycle_stage: str
    artifact_location: str


class RunCount(NamedTuple):
    """The active runs of an experiment.

    Attributes:
        runs: How many there are.
        last: When the latest of them began or ended.
    """

    runs: int
    last: datetime | None


class RunRow(NamedTuple):
    """A run, without its parameters, metrics and tags."""

    run_id: str
    experiment_id: str
    name: str
    lifecycle_stage: str


class ModelRow(NamedTuple):
    """A logged model."""

    model_id: str
    experiment_id: str
    lifecycle_stage: str


class TraceRow(NamedTuple):
    """A trace."""

    trace_id: str
    experiment_id: str


@dataclass(frozen=True, slots=True)
class Running:
    """A run that is at work, and whose it is.

    Attributes:
        user: "" where MLflow does not know.
    """

    run_id: str
    name: str
    experiment: str
    user: str
    started_at: datetime | None


class Database(Protocol):
    """What every backend store answers. Nothing is ever written.

    Every method raises UnreachableError when the database is not there or does not answer,
    BusyError when it stays locked, and ConsoleError when it cannot be understood. All of them may
    be called from any thread.
    """

    def run_counts(self) -> dict[str, RunCount]:
        """The active runs by experiment id; an experiment without any is left out."""

    def roots(self) -> list[Root]:
        """Every experiment, deleted ones too."""

    def runs(self) -> Iterator[RunRow]:
        """Every run, deleted ones too."""

    def models(self) -> Iterator[ModelRow]:
        """Every logged model, deleted ones too."""

    def traces(self) -> Iterator[TraceRow]:
        """Every trace."""

    def running(self, limit: int) -> list[Running]:
        """The active runs whose status is RUNNING, newest first, at most `limit`."""

    def row_counts(self, tables: Iterable[str]) -> dict[str, int]:
        """How many rows these tables have; they are MLflow's own."""

    def revision(self) -> str | None:
        """The revision of MLflow's schema as Alembic notes it; None when there is no schema."""

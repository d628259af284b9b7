"""What is asked of MLflow's tables; the same words for every database.

Tables and columns: mlflow/store/tracking/dbmodels/models.py.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from console.core.database.database import (
    ModelRow,
    Root,
    RunCount,
    Running,
    RunRow,
    TraceRow,
    from_epoch_ms,
)
from console.core.errors import ConsoleError

Row = tuple[Any, ...]

_COUNTS = """
    SELECT experiment_id, COUNT(*),
           MAX(CASE WHEN end_time > COALESCE(start_time, 0) THEN end_time ELSE start_time END)
    FROM runs WHERE lifecycle_stage = 'active'
    GROUP BY experiment_id"""
_ROOTS = """
    SELECT experiment_id, name, lifecycle_stage, COALESCE(artifact_location, '')
    FROM experiments ORDER BY experiment_id"""
_RUNS = "SELECT run_uuid, experiment_id, COALESCE(name, ''), lifecycle_stage FROM runs"
_MODELS = "SELECT model_id, experiment_id, lifecycle_stage FROM logged_models"
_TRACES = "SELECT request_id, experiment_id FROM trace_info"
_RUNNING = """
    SELECT runs.run_uuid, COALESCE(runs.name, ''), experiments.name,
           COALESCE(tags.value, runs.user_id, ''), runs.start_time
    FROM runs
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    LEFT JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'mlflow.user'
    WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
    ORDER BY runs.start_time DESC LIMIT ?"""
_REVISION = "SELECT version_num FROM alembic_version"


class SchemaError(ConsoleError):
    """The database has not the tables of MLflow 3."""

    def __init__(self, database: str, detail: str) -> None:
        super().__init__(
            f"{database} has not the tables of MLflow 3 ({detail})",
            "A server that starts brings it up to date; if it has just begun, wait a moment.",
        )


class SqlDatabase(ABC):
    """A backend store that is asked in SQL; what is left to a subclass is how."""

    @abstractmethod
    def _ask(self, query: str, *values: object) -> Iterable[Row]:
        """All rows of an answer; `?` stands for a value."""

    def _each(self, query: str, key: str) -> Iterable[Row]:
        """All rows of a table that may be large.

        Args:
            query: Without WHERE and ORDER; its first column is `key`.
            key: The table's primary key.
        """
        return self._ask(query)

    def run_counts(self) -> dict[str, RunCount]:
        return {
            str(experiment_id): RunCount(count, from_epoch_ms(last))
            for experiment_id, count, last in self._ask(_COUNTS)
        }

    def roots(self) -> list[Root]:
        return [
            Root(str(experiment_id), name, stage or "active", location)
            for experiment_id, name, stage, location in self._ask(_ROOTS)
        ]

    def runs(self) -> Iterator[RunRow]:
        for run_id, experiment_id, name, stage in self._each(_RUNS, "run_uuid"):
            yield RunRow(run_id, str(experiment_id), name, stage or "active")

    def models(self) -> Iterator[ModelRow]:
        for model_id, experiment_id, stage in self._each(_MODELS, "model_id"):
            yield ModelRow(model_id, str(experiment_id), stage or "active")

    def traces(self) -> Iterator[TraceRow]:
        for trace_id, experiment_id in self._each(_TRACES, "request_id"):
            yield TraceRow(trace_id, str(experiment_id))

    def running(self, limit: int) -> list[Running]:
        return [
            Running(run_id, name, experiment, user, from_epoch_ms(started))
            for run_id, name, experiment, user, started in self._ask(_RUNNING, limit)
        ]

    def row_counts(self, tables: Iterable[str]) -> dict[str, int]:
        return {
            table: int(next(iter(self._ask(f"SELECT COUNT(*) FROM {_plain(table)}")))[0])  # noqa: S608  # a plain name
            for table in tables
        }

    def revision(self) -> str | None:
        try:
            return next((version for (version,) in self._ask(_REVISION)), None)
        except SchemaError:
            return None


def _plain(table: str) -> str:
    """The name of a table, which must be one that needs no quotes."""
    if not re.fullmatch("[a-z_]+", table):
        raise ValueError(f"{table!r} is no table of MLflow's")
    return table

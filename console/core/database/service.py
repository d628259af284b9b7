"""The database area: the backend store of the deployment, whatever it is."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from console.core.database.database import (
    Database,
    ModelRow,
    Root,
    RunCount,
    Running,
    RunRow,
    TraceRow,
)
from console.core.deployment import Deployment


class DatabaseService:
    """The backend store, read directly and never written; see `Database` for what it raises."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @functools.cached_property
    def database(self) -> Database:
        """The implementation for this deployment; an embedded server keeps a SQLite file."""
        from console.core.database.sqlite import SqliteDatabase  # noqa: PLC0415  # first use

        return SqliteDatabase(self.deployment.paths.database)

    def run_counts(self) -> dict[str, RunCount]:
        """The active runs by experiment id, counted by the database."""
        return self.database.run_counts()

    def roots(self) -> list[Root]:
        """Every experiment and where its artifacts go, deleted ones too."""
        return self.database.roots()

    def runs(self) -> Iterator[RunRow]:
        """Every run, deleted ones too."""
        return self.database.runs()

    def models(self) -> Iterator[ModelRow]:
        """Every logged model, deleted ones too."""
        return self.database.models()

    def traces(self) -> Iterator[TraceRow]:
        """Every trace."""
        return self.database.traces()

    def running(self, limit: int = 100) -> list[Running]:
        """Who would be interrupted now: the runs that are RUNNING, newest first."""
        return self.database.running(limit)

"""The database area: the backend store of the deployment, whatever it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from console.core.stack.places import SqliteFile


class DatabaseService:
    """The backend store, read directly and never written; see `Database` for what it raises."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @property
    def database(self) -> Database:
        """Where the backend store is now, as its driver says: a restart can move a server."""
        place = self.deployment.driver.backend_store()
        if isinstance(place, SqliteFile):
            from console.core.database.sqlite import SqliteDatabase  # noqa: PLC0415  # first use

            return SqliteDatabase(place.path)
        from console.core.database.mysql import MysqlDatabase  # noqa: PLC0415  # first use

        return MysqlDatabase(place)

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

    def row_counts(self, tables: Iterable[str]) -> dict[str, int]:
        """How many rows these tables have; they are MLflow's own."""
        return self.database.row_counts(tables)

    def revision(self) -> str | None:
        """The revision of MLflow's schema; None when there is no schema."""
        return self.database.revision()

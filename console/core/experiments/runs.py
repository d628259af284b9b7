"""The runs of an experiment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.core.database.database import from_epoch_ms
from console.core.deployment import Deployment
from console.core.errors import UsageError
from console.core.experiments.client import Client
from console.core.operations import operation
from console.core.text import clean

PAGE = 100  # runs a page for a screen
LISTING_PAGE = 500  # runs a request for a whole list: about 1 MB each at 20 values a run

# MLflow's own tags: mlflow/utils/mlflow_tags.py.
_OWN = "mlflow."


@dataclass(frozen=True, slots=True)
class Run:
    """One run; the JSON shape of `runs list` and `runs show`.

    Attributes:
        status: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
        metrics: The last value of each; NaN and infinities occur.
        tags: Without MLflow's own (`mlflow.*`).
        parent_run_id: The run it is nested in, if any.
        description: MLflow's note, Markdown.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    lifecycle_stage: str
    started_at: datetime | None
    ended_at: datetime | None
    user: str
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    parent_run_id: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, newest first.

    Attributes:
        next: Give it to the next call; None when there are no more.
    """

    runs: tuple[Run, ...]
    next: str | None


class RunsService:
    """The runs of an experiment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._client = Client(deployment)

    @operation("runs.list")
    def list(self, experiment: str, deleted: bool = False) -> Iterator[Run]:
        """Every run of an experiment (id or name), newest first, fetched page by page.

        MLflow counts its pages from the newest run on: a run that begins meanwhile pushes others
        onto the next page, where they are left out the second time.

        Args:
            experiment: Id or name.
            deleted: The deleted runs as well.

        Raises:
            UsageError: There is no such experiment.
            UnreachableError: The server is stopped or does not answer.
        """
        from console.core.experiments.service import find  # noqa: PLC0415  # it imports this

        experiment_id = find(self._client, experiment).experiment_id
        seen: set[str] = set()
        token: str | None = None
        while True:
            page = self.page(experiment_id, token, deleted, LISTING_PAGE)
            yield from (run for run in page.runs if run.run_id not in seen)
            seen.update(run.run_id for run in page.runs)
            token = page.next
            if token is None:
                return

    def page(
        self, experiment_id: str, token: str | None = None, deleted: bool = False, size: int = PAGE
    ) -> Page:
        """One page of an experiment's runs, newest first.

        Args:
            experiment_id: The experiment's id, not its name.
            token: The `next` of the page before; None for the first.
            deleted: The deleted runs as well.
            size: The most runs on the page.

        Raises:
            UsageError: There is no such experiment, or the token is none.
            UnreachableError: The server is stopped or does not answer.
        """
        with self._client.calls(f"There is no experiment {clean(experiment_id)}") as store:
            found = store.search_runs(
                [experiment_id], "", _view(deleted), size, ["attributes.start_time DESC"], token
            )
        return Page(tuple(_run(run) for run in found), found.token or None)

    @operation("runs.show")
    def show(self, run_id: str) -> Run:
        """One run.

        Raises:
            UsageError: There is none.
            UnreachableError: The server is stopped or does not answer.
        """
        if not run_id.strip():
            raise UsageError("No run is named")
        missing = f"There is no run {clean(run_id)}"
        with self._client.calls(missing) as store:
            return _run(store.get_run(run_id))


def _view(deleted: bool) -> int:
    """MLflow's ViewType (mlflow/entities/view_type.py): ACTIVE_ONLY is 1, ALL is 3."""
    return 3 if deleted else 1


def _run(run: Any) -> Run:
    info, data = run.info, run.data
    tags: dict[str, str] = data.tags
    return Run(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        name=info.run_name or tags.get("mlflow.runName", ""),
        status=info.status,
        lifecycle_stage=info.lifecycle_stage,
        started_at=from_epoch_ms(info.start_time),
        ended_at=from_epoch_ms(info.end_time),
        user=tags.get("mlflow.user") or info.user_id or "",
        metrics=dict(data.metrics),
        params=dict(data.params),
        tags={key: value for key, value in tags.items() if not key.startswith(_OWN)},
        parent_run_id=tags.get("mlflow.parentRunId"),
        description=tags.get("mlflow.note.content", ""),
    )

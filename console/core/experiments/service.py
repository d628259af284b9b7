"""The experiments area: experiments and runs, through MLflow's API."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from console.core.database.database import RunCount, from_epoch_ms
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.experiments.client import Client
from console.core.experiments.runs import Page, Run, RunsService
from console.core.operations import operation
from console.core.text import clean

__all__ = ["Experiment", "ExperimentsService", "Page", "Run", "RunsService"]

LISTING_PAGE = 1000  # experiments a request
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment; the JSON shape of `experiments list`.

    Attributes:
        lifecycle_stage: "active" or "deleted".
        updated_at: When it, or the latest of its active runs, last changed.
        runs: Its number of active runs; None when the database cannot be asked.
    """

    experiment_id: str
    name: str
    lifecycle_stage: str
    created_at: datetime | None
    updated_at: datetime | None
    runs: int | None
    artifact_location: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is of active experiments.

    Attributes:
        experiments: Their number.
        runs: The number of their active runs; None when the database cannot be asked.
        last: When the latest of those began or ended.
    """

    experiments: int
    runs: int | None = None
    last: datetime | None = None


class ExperimentsService:
    """The experiments."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._client = Client(deployment)

    @operation("experiments.list")
    def list(self, deleted: bool = False) -> list[Experiment]:
        """The active experiments, newest activity first; with `deleted` also the deleted ones.

        Raises:
            UnreachableError: The server is stopped or does not answer.
        """
        found: dict[str, Experiment] = {}
        token = None
        view = 3 if deleted else 1  # MLflow's ViewType: ALL or ACTIVE_ONLY
        with self._client.calls() as store:
            while True:
                page = store.search_experiments(
                    view_type=view,
                    max_results=LISTING_PAGE,
                    page_token=token,
                )
                found.update((each.experiment_id, _experiment(each)) for each in page)
                token = page.token
                if not token:
                    break
        counts = self._counts()
        experiments = [_counted(experiment, counts) for experiment in found.values()]
        return sorted(experiments, key=lambda each: each.updated_at or _NEVER, reverse=True)

    def totals(self) -> Totals:
        """How much there is: by the database, and by MLflow's client where that is no help.

        The client takes the better part of a second and 40 MB.

        Raises:
            UnreachableError: Neither the database nor the server answers.
        """
        try:
            roots = self.deployment.database.roots()
            counts = self.deployment.database.run_counts().values()
        except ConsoleError:
            return Totals(len(self.list()))
        return Totals(
            sum(each.lifecycle_stage == "active" for each in roots),
            sum(each.runs for each in counts),
            max((each.last for each in counts if each.last), default=None),
        )

    @operation("experiments.show")
    def show(self, experiment: str) -> Experiment:
        """One experiment by id or name.

        Where a number is the id of one and the name of another, the id is meant.

        Raises:
            UsageError: There is none.
            UnreachableError: The server is stopped or does not answer.
        """
        return _counted(find(self._client, experiment), self._counts())

    def _counts(self) -> dict[str, RunCount] | None:
        """The runs of each experiment; None when the database cannot be asked."""
        try:
            return self.deployment.database.run_counts()
        except ConsoleError:
            return None


def find(client: Client, experiment: str) -> Experiment:
    """An experiment by id, else by name; its runs are not counted.

    Raises:
        UsageError: There is none.
        UnreachableError: The server is stopped or does not answer.
    """
    missing = UsageError(
        f"There is no experiment {clean(experiment)}" if experiment else "No experiment is named",
        "`mlflow-console experiments list` shows them.",
    )
    if not experiment:
        raise missing
    # Ids are numbers; anything else is no id, and MLflow would call it an invalid parameter.
    if experiment.isascii() and experiment.isdecimal():
        try:
            with client.calls() as store:
                return _experiment(store.get_experiment(experiment))
        except UsageError:
            pass  # it may be a name all the same
    with client.calls() as store:
        by_name = store.get_experiment_by_name(experiment)
    if by_name is None:
        raise missing
    return _experiment(by_name)


def _experiment(experiment: Any) -> Experiment:
    return Experiment(
        experiment_id=experiment.experiment_id,
        name=experiment.name,
        lifecycle_stage=experiment.lifecycle_stage,
        created_at=from_epoch_ms(experiment.creation_time),
        updated_at=from_epoch_ms(experiment.last_update_time),
        runs=None,
        artifact_location=experiment.artifact_location or "",
        tags=dict(experiment.tags),
    )


def _counted(experiment: Experiment, counts: dict[str, RunCount] | None) -> Experiment:
    if counts is None:
        return experiment
    runs, last = counts.get(experiment.experiment_id, RunCount(0, None))
    # MLflow's own time of the last update stands still while runs come and go.
    times = [at for at in (experiment.updated_at, last) if at]
    return replace(experiment, runs=runs, updated_at=max(times, default=None))

"""The experiments area: experiments and runs, through the MLflow client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from console.core.deployment import Deployment
from console.core.operations import operation


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment; the JSON shape of `experiments list`.

    Attributes:
        lifecycle_stage: "active" or "deleted".
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


class ExperimentsService:
    """The experiments."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("experiments.list")
    def list(self, deleted: bool = False) -> list[Experiment]:
        """The active experiments, newest activity first; with `deleted` also the deleted ones.

        Raises:
            UnreachableError: The server is stopped or does not answer.
        """

    @operation("experiments.show")
    def show(self, experiment: str) -> Experiment:
        """One experiment by id or name.

        Raises:
            UsageError: There is none.
        """


class RunsService:
    """The runs of an experiment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("runs.list")
    def list(self, experiment: str, deleted: bool = False) -> Iterator[Run]:
        """Every run of an experiment (id or name), newest first, fetched page by page."""

    def page(
        self, experiment_id: str, token: str | None = None, deleted: bool = False, size: int = 100
    ) -> Page:
        """One page of an experiment's runs."""

    @operation("runs.show")
    def show(self, run_id: str) -> Run:
        """One run.

        Raises:
            UsageError: There is none.
        """

"""The figures of a walk of the artifact store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of something: bytes and objects (files)."""

    bytes: int = 0
    objects: int = 0


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What one run holds, its logged models and traces not included."""

    run_id: str
    bytes: int
    objects: int
    name: str = ""
    lifecycle_stage: str = "active"


@dataclass(frozen=True, slots=True)
class ExperimentUsage:
    """What one experiment holds: its runs, its logged models and its traces.

    Attributes:
        runs: Those that hold something, the largest first.
        models: Logged models under the experiment.
        traces: Traces under the experiment.
    """

    experiment_id: str
    name: str
    lifecycle_stage: str
    bytes: int
    objects: int
    runs: tuple[RunUsage, ...]
    models: Amount = Amount()
    traces: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Usage:
    """A walk of the artifact store; the JSON shape of `storage usage`.

    `bytes` is everything: the experiments, the orphans and the unknown, which do not overlap.
    `trash` is the part of the experiments that belongs to deleted runs, logged models and
    experiments.

    Attributes:
        scanned_at: When the walk began, UTC.
        complete: The walk reached the end; else these are the figures so far.
        seconds: How long the walk has taken.
        experiments: Every one that the database knows, the largest first.
        orphans: Under an experiment's root, but of a run, model or trace that the database does
            not know. Zero until the walk is complete: only then can it be told.
        unknown: What no root of an experiment explains; never called garbage.
        incomplete_uploads: What no object shows; at least so much, as a store may not tell of all.
            Zero until the walk is complete, and where the store has no such thing.
        free_bytes: Left on the store's disk for this account; None where it cannot be known.
        problems: What could not be read, one sentence each.
    """

    scanned_at: datetime
    complete: bool
    seconds: float
    bytes: int
    objects: int
    experiments: tuple[ExperimentUsage, ...]
    trash: Amount
    orphans: Amount
    unknown: Amount
    incomplete_uploads: Amount
    free_bytes: int | None = None
    problems: tuple[str, ...] = ()

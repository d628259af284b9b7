"""Whose object it is: keys of the store mapped to experiments, runs, logged models and traces.

The roots come from the database and never from the layout, as experiments may have a location of
their own. Under a root MLflow lays out `<run_id>/artifacts`, `models/<model_id>/artifacts` and
`traces/<trace_id>/artifacts` (mlflow/store/tracking/sqlalchemy_store.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

from console.core.database.database import ModelRow, Root, RunRow
from console.core.database.service import DatabaseService

MODELS, TRACES = "models", "traces"
DELETED = "deleted"

# Ids as MLflow makes them: uuid4().hex for runs, with a prefix for models and traces.
_RUN_ID = re.compile("[0-9a-f]{32}")
_MODEL_ID = re.compile("m-[0-9a-f]{32}")
_TRACE_ID = re.compile("tr-[0-9a-f]{32}")

# How many folders a place outside of the known roots keeps of its path. The deepest layout there
# is, workspaces/<name>/<experiment>/models/<id>, so that a root that is learnt later still fits.
_DEPTH = 5


class Kind(Enum):
    """What an object belongs to."""

    RUN = "run"
    MODEL = "model"
    TRACE = "trace"
    ORPHAN = "orphan"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is.

    Attributes:
        experiment_id: "" for orphans and the unknown.
        id: Of the run, model or trace.
        trash: It, or its experiment, is deleted.
    """

    kind: Kind
    experiment_id: str = ""
    id: str = ""
    trash: bool = False


ORPHAN: Final = Owner(Kind.ORPHAN)
UNKNOWN: Final = Owner(Kind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the database knows.

    Attributes:
        roots: Every experiment, deleted ones too.
        runs: By run id.
        models: By model id.
        traces: The experiment's id by trace id.
    """

    roots: tuple[Root, ...]
    runs: dict[str, RunRow]
    models: dict[str, ModelRow]
    traces: dict[str, str]

    @classmethod
    def read(cls, database: DatabaseService) -> Catalog:
        """Ask the database; the runs before the experiments, so that none lacks its own."""
        runs = {row.run_id: row for row in database.runs()}
        models = {row.model_id: row for row in database.models()}
        traces = {row.trace_id: row.experiment_id for row in database.traces()}
        return cls(tuple(database.roots()), runs, models, traces)


def root_key(location: str, base: str = "") -> str | None:
    """Where in the store an experiment's location lies.

    Args:
        location: For instance "mlflow-artifacts:/1", "mlflow-artifacts://host:5000/1",
            "file:///srv/artifacts/1", "/srv/artifacts/1" or "s3://bucket/folder/1".
        base: The store's own absolute path, or "s3://bucket/folder"; "" when it has none.

    Returns:
        The key of the root without slashes around it, "" for the store's root; None when the
        location lies outside of the store.
    """
    try:
        parts = urlsplit(location)
    except ValueError:  # for instance an unclosed bracket in the host
        return None
    if parts.scheme == "mlflow-artifacts":
        # The client puts the path into the path of a URL, so that the server decodes it once.
        return _tidy(unquote(parts.path))
    if not base or parts.scheme not in ("", "file", "s3"):
        return None
    if parts.scheme == "s3":
        # The client takes bucket and key as they stand (mlflow/store/artifact/s3_artifact_repo.py).
        path, base = _in_bucket(location), _in_bucket(base)
    else:
        path = unquote(parts.path) if parts.scheme else location
    if not (path.startswith("/") and base.startswith("/")):
        return None
    return _below(_tidy(path), _tidy(base))


def _in_bucket(location: str) -> str:
    """An S3 location as a path with the bucket as its first folder; "" for anything else."""
    parts = urlsplit(location)
    return f"/{parts.netloc}/{parts.path}" if parts.scheme == "s3" and parts.netloc else ""


def _below(path: str | None, home: str | None) -> str | None:
    """What is left of a path below another one; None when it lies elsewhere."""
    if path is None or home is None:
        return None
    if path == home:
        return ""
    return path[len(home) + 1 :] if path.startswith(home + "/") else None


def _tidy(path: str) -> str | None:
    folders = [folder for folder in path.split("/") if folder not in ("", ".")]
    return None if ".." in folders else "/".join(folders)


@dataclass(slots=True)
class Attribution:
    """The owner of every place of the store.

    A place is as much of an object's folder as decides whose it is: one run, model or trace is one
    place, so that there are few of them and each is looked up once.

    Args:
        catalog: What the database knows.
        base: Where the store lies, see `root_key`.
    """

    catalog: Catalog
    base: str = ""
    _roots: set[tuple[str, ...]] = field(init=False)
    _above_roots: set[tuple[str, ...]] = field(init=False)
    _deleted: set[str] = field(init=False)

    def __post_init__(self) -> None:
        """Find the roots that lie in the store."""
        keys = (root_key(root.artifact_location, self.base) for root in self.catalog.roots)
        self._roots = {tuple(key.split("/")) if key else () for key in keys if key is not None}
        self._above_roots = {root[:n] for root in self._roots for n in range(len(root))}
        self._deleted = {
            root.experiment_id for root in self.catalog.roots if root.lifecycle_stage == DELETED
        }

    def place(self, folder: str) -> str:
        """The place of the objects of a folder.

        Args:
            folder: A key's part before its last slash; "" for the store's root.
        """
        parts = folder.split("/") if folder else []
        root = self._root(parts)
        if root is None:
            return "/".join(parts[:_DEPTH])
        below = parts[root : root + 1]
        return "/".join(parts[: root + (2 if below in ([MODELS], [TRACES]) else 1)])

    def is_whole(self, place: str) -> bool:
        """Whether everything below a place's folder is of that place too.

        It is not where another root lies below, nor where the place is cut short because the
        folder was: what lies deeper has a longer one.
        """
        parts = place.split("/") if place else []
        root = self._root(parts)
        if root is None or tuple(parts) in self._above_roots:
            return False
        below = parts[root : root + 1]
        return len(parts) == root + (2 if below in ([MODELS], [TRACES]) else 1)

    def owner(self, place: str) -> Owner:
        """Whose a place is. The longest root wins; an id that is known anywhere is no orphan."""
        parts = place.split("/") if place else []
        root = self._root(parts)
        match parts[root:] if root is not None else []:
            case ["models", model_id, *_]:
                return self._model(model_id)
            case ["traces", trace_id, *_]:
                return self._trace(trace_id)
            case [run_id, *_]:
                return self._run(run_id)
        return UNKNOWN

    def _root(self, parts: list[str]) -> int | None:
        """How many folders the longest root above a folder has; None when there is no root."""
        for length in range(len(parts), -1, -1):
            if tuple(parts[:length]) in self._roots:
                return length
        return None

    def _run(self, run_id: str) -> Owner:
        row = self.catalog.runs.get(run_id)
        if row is None:
            return ORPHAN if _RUN_ID.fullmatch(run_id) else UNKNOWN
        return self._owned(Kind.RUN, row.experiment_id, run_id, row.lifecycle_stage == DELETED)

    def _model(self, model_id: str) -> Owner:
        row = self.catalog.models.get(model_id)
        if row is None:
            return ORPHAN if _MODEL_ID.fullmatch(model_id) else UNKNOWN
        return self._owned(Kind.MODEL, row.experiment_id, model_id, row.lifecycle_stage == DELETED)

    def _trace(self, trace_id: str) -> Owner:
        experiment_id = self.catalog.traces.get(trace_id)
        if experiment_id is None:
            return ORPHAN if _TRACE_ID.fullmatch(trace_id) else UNKNOWN
        return self._owned(Kind.TRACE, experiment_id, trace_id, trash=False)

    def _owned(self, kind: Kind, experiment_id: str, owner_id: str, trash: bool) -> Owner:
        return Owner(kind, experiment_id, owner_id, trash or experiment_id in self._deleted)

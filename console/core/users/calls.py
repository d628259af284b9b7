"""What a request was about: its endpoint, whether it deletes, and the ids that it names.

The paths are MLflow's REST API (mlflow/protos/service.proto and mlflow/server/handlers.py).
"""

from __future__ import annotations

import re

OTHER = b"(other)"

# A run, a model (m-), a trace (tr-), a UUID, or a number that is not a version such as 2.0.
_ID = re.compile(
    rb"(?<=/)(?:(?:[a-z]{1,3}-)?[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+)(?=/|$)"
)
# What goes on with names that people chose: all of them are one endpoint.
_TREES = re.compile(
    rb"(.*?/(?:mlflow-artifacts/(?:artifacts|mpu/[a-z]+|presigned)|static-files|get-artifact"
    rb"|model-versions/get-artifact|upload-artifact))/"
)
_API = re.compile(rb"(?:/[\w.~-]{1,40}){0,3}/(?:ajax-)?(?:api|graphql|version|static-files)\b")
_LONGEST = 120

# The last word of the path says it: runs/delete, runs/delete-tag, traces/delete-traces.
_DELETES = re.compile(rb"/[^/]+/delete(?:-[a-z-]+)?$")
_RUN = re.compile(rb"(?:run_id=|run_uuid=|/)([0-9a-f]{32})(?![0-9a-f])")
_EXPERIMENT = re.compile(rb"(?:experiment_id=|mlflow-artifacts/artifacts/)(\d{1,20})(?!\d)")


def endpoint(path: bytes) -> bytes:
    """A path without its query, with `:id` for ids and `*` for names of files.

    Whatever is no part of MLflow's API is one endpoint, `OTHER`: anybody can ask for any path.
    """
    base = path.partition(b"?")[0]
    if base == b"/":
        return base
    tree = _TREES.match(base)
    if tree is not None:
        base = tree[1] + b"/*"
    if len(base) > _LONGEST or not _API.match(base):
        return OTHER
    return _ID.sub(b":id", base)


def deletes(method: bytes, base: bytes) -> bool:
    """Whether a call deletes.

    Args:
        method: Of HTTP.
        base: The path without its query, or its endpoint.
    """
    return method == b"DELETE" or (method == b"POST" and _DELETES.search(base) is not None)


def run_id(path: bytes) -> str:
    """The run that a path with its query names, "" for none: most bodies name it, not the path."""
    found = _RUN.search(path)
    return found[1].decode() if found else ""


def experiment_id(path: bytes) -> str:
    """The experiment that a path with its query names, "" for none."""
    found = _EXPERIMENT.search(path)
    return found[1].decode() if found else ""

"""What a drill asks of the scratch server; it runs there, with MLflow and its client beside it.

The text of this file goes to that Python's stdin, with a question after it, JSON in and JSON out.
It knows nothing of the rest of the console.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

DATABASE = "MLFLOW_BACKEND_STORE_URI"
PAGE, AT_ONCE = 1000, 4

Json = dict[str, Any]


def schema(_: Json) -> Json:
    """The revisions of the schema that this MLflow knows, and the one that it works with."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # each question its own
    from mlflow.store.db import utils  # noqa: PLC0415  # as above

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    known = [each.revision for each in scripts.walk_revisions()]
    return {"head": scripts.get_current_head(), "known": known}


def migrate(_: Json) -> Json:
    """Bring the database's schema up to this MLflow's."""
    from mlflow import db  # noqa: PLC0415  # as above

    db.upgrade.callback(os.environ[DATABASE])
    return {}


def rows(asked: Json) -> Json:
    """How many rows the database itself has, by table; -1 where there is no such table."""
    import sqlalchemy  # noqa: PLC0415  # as above

    engine = sqlalchemy.create_engine(os.environ[DATABASE])
    there = set(sqlalchemy.inspect(engine).get_table_names())
    with engine.connect() as connection:

        def ask(query: str) -> list[list[Any]]:
            return [list(row) for row in connection.execute(sqlalchemy.text(query))]

        def count(table: str) -> int:
            chosen = sqlalchemy.select(sqlalchemy.func.count()).select_from(sqlalchemy.table(table))
            return int(connection.execute(chosen).scalar_one())

        return {
            "rows": {each: count(each) if each in there else -1 for each in asked["tables"]},
            "revision": ask("SELECT version_num FROM alembic_version")[0][0],
            "experiments": ask("SELECT lifecycle_stage, COUNT(*) FROM experiments GROUP BY 1"),
            "runs": ask("SELECT experiment_id, lifecycle_stage, COUNT(*) FROM runs GROUP BY 1, 2"),
            "default": bool(ask("SELECT 1 FROM experiments WHERE experiment_id = 0")),
            "some": _some_runs(ask, asked["some"]),
        }


def _some_runs(ask: Callable[[str], list[list[Any]]], how_many: int) -> list[list[Any]]:
    """Some runs with the number of their parameters and metrics; their ids are random."""
    found = []
    chosen = f"SELECT run_uuid FROM runs ORDER BY run_uuid LIMIT {int(how_many)}"  # noqa: S608
    for (run,) in ask(chosen):
        quoted = str(run).replace("'", "''")
        counted = [
            ask(f"SELECT COUNT(*) FROM {table} WHERE run_uuid = '{quoted}'")[0][0]  # noqa: S608
            for table in ("params", "latest_metrics")
        ]
        found.append([run, *counted])
    return found


def visit(asked: Json) -> Json:
    """What MLflow's client sees: experiments, the runs of some of them, some runs, artifacts."""
    from mlflow import MlflowClient  # noqa: PLC0415  # as above

    client = MlflowClient()
    return {
        "experiments": _experiments(client),
        "runs": _runs(client, asked["experiments"]),
        "some": [_run(client, run) for run in asked["some"]],
        "artifacts": _artifacts(client, asked["artifacts"]),
    }


def _pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _experiments(client: Any) -> dict[str, int]:
    from mlflow.entities import ViewType  # noqa: PLC0415  # as above

    found: dict[str, int] = {}
    for each in _pages(
        lambda token: client.search_experiments(ViewType.ALL, PAGE, page_token=token)
    ):
        found[each.lifecycle_stage] = found.get(each.lifecycle_stage, 0) + 1
    return found


def _runs(client: Any, experiments: list[str]) -> dict[str, dict[str, int]]:
    from mlflow.entities import ViewType  # noqa: PLC0415  # as above

    found: dict[str, dict[str, int]] = {each: {} for each in experiments}
    if not experiments:
        return found
    for run in _pages(
        lambda token: client.search_runs(
            experiments, "", ViewType.ALL, max_results=PAGE, page_token=token
        )
    ):
        stages = found[run.info.experiment_id]
        stages[run.info.lifecycle_stage] = stages.get(run.info.lifecycle_stage, 0) + 1
    return found


def _run(client: Any, run: str) -> list[Any]:
    data = client.get_run(run).data
    return [run, len(data.params), len(data.metrics)]


def _artifacts(client: Any, wanted: list[str]) -> list[Json]:
    listed: dict[tuple[str, str], dict[str, int]] = {}
    runs: dict[str, bool] = {}

    def fetch(key: str) -> Json:
        try:
            with tempfile.TemporaryDirectory() as folder:
                run, path = _place(client, runs, key)
                if run:
                    _require_listed(client, listed, run, path)
                    file = client.download_artifacts(run, path, folder)
                else:
                    file = _download(path, folder)
                return {"sha256": _digest(file), "size": os.path.getsize(file)}
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            return {"error": f"{type(error).__name__}: {error}"[:500]}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(fetch, wanted))


def _place(client: Any, runs: dict[str, bool], key: str) -> tuple[str, str]:
    """The run that a key belongs to, and where in it; without a run, the key itself."""
    parts = key.split("/")
    if len(parts) < 4 or parts[2] != "artifacts" or len(parts[1]) != 32:
        return "", key
    run, root = parts[1], "/".join(parts[:3])
    if run not in runs:
        try:
            runs[run] = client.get_run(run).info.artifact_uri == f"mlflow-artifacts:/{root}"
        except Exception:  # noqa: BLE001  # what a run has left behind that was removed for good
            runs[run] = False
    return (run, "/".join(parts[3:])) if runs[run] else ("", key)


def _download(path: str, folder: str) -> str:
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415  # as above

    return str(download_artifacts(artifact_uri=f"mlflow-artifacts:/{path}", dst_path=folder))


def _require_listed(
    client: Any, listed: dict[tuple[str, str], dict[str, int]], run: str, path: str
) -> None:
    folder = posixpath.dirname(path)
    if (run, folder) not in listed:
        every = client.list_artifacts(run, folder or None)
        listed[run, folder] = {each.path: each.file_size for each in every}
    if path not in listed[run, folder]:
        raise FileNotFoundError("the server does not list it")


def _digest(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


QUESTIONS = {"schema": schema, "migrate": migrate, "rows": rows, "visit": visit}


def answer(question: bytes) -> None:
    """Answer one question on stdout; what MLflow prints goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    asked = json.loads(question)
    said = json.dumps(QUESTIONS[asked["what"]](asked))
    with open(out, "w") as file:
        file.write(said)

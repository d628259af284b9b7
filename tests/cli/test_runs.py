"""experiments and runs; the services are stand-ins, the real ones need a server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from console.core.errors import UnreachableError
from console.core.experiments.service import (
    Experiment,
    ExperimentsService,
    Run,
    RunsService,
)
from tests.cli.conftest import Cli

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EXPERIMENTS = [
    Experiment("1", "RF Tree Numbers", "active", NOON, NOON, 20, "mlflow-artifacts:/1", {"a": "b"}),
    Experiment("2", "old\x1b[31m [/b]", "deleted", NOON, None, None),
]
RUN = Run(
    "a" * 32, "1", "trees 20", "FINISHED", "active", NOON, NOON + timedelta(seconds=90), "ada",
    {"accuracy": 0.966666, "loss": math.nan}, {"n_estimators": "20"}, {"team": "x\ny"},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _services(monkeypatch: pytest.MonkeyPatch) -> None:
    def experiments(_self: ExperimentsService, deleted: bool = False) -> list[Experiment]:
        return EXPERIMENTS if deleted else EXPERIMENTS[:1]

    def runs(_self: RunsService, experiment: str, deleted: bool = False) -> Iterator[Run]:
        assert experiment == "RF Tree Numbers"
        yield RUN
        yield replace(RUN, run_id="b" * 32, status="RUNNING", ended_at=None, started_at=None)
        if deleted:
            yield replace(RUN, run_id="c" * 32, lifecycle_stage="deleted")

    monkeypatch.setattr(ExperimentsService, "list", experiments)
    monkeypatch.setattr(ExperimentsService, "show", lambda _self, _which: EXPERIMENTS[0])
    monkeypatch.setattr(RunsService, "list", runs)
    monkeypatch.setattr(RunsService, "show", lambda _self, _run_id: RUN)


def test_experiments(cli: Cli) -> None:
    assert cli("experiments", "list", "--deleted").out == (
        "ID  NAME             RUNS  LAST CHANGE          STAGE\n"
        "1   RF Tree Numbers    20  2026-11-23 12:00:00  active\n"
        "2   old [/b]            -  -                    deleted\n"
    )
    assert json.loads(cli("experiments", "list", "--json").out) == [
        {
            "experiment_id": "1", "name": "RF Tree Numbers", "lifecycle_stage": "active",
            "created_at": "2026-11-23T12:00:00Z", "updated_at": "2026-11-23T12:00:00Z",
            "runs": 20, "artifact_location": "mlflow-artifacts:/1", "tags": {"a": "b"},
        }
    ]  # fmt: skip


def test_one_experiment(cli: Cli) -> None:
    assert cli("experiments", "show", "1").out == (
        "name         RF Tree Numbers\n"
        "id           1\n"
        "stage        active\n"
        "runs         20\n"
        "created      2026-11-23 12:00:00\n"
        "last change  2026-11-23 12:00:00\n"
        "artifacts    mlflow-artifacts:/1\n"
        "tag a        b\n"
    )
    assert json.loads(cli("experiments", "show", "1", "--json").out)["name"] == "RF Tree Numbers"


def test_runs(cli: Cli) -> None:
    lines = cli("runs", "list", "RF Tree Numbers", "--deleted").out.splitlines()
    assert lines[0].split() == ["RUN", "NAME", "STATUS", "STARTED", "TOOK", "USER", "METRICS"]
    assert lines[1].split() == [
        "a" * 32, "trees", "20", "FINISHED", "2026-11-23", "12:00:00", "1", "min", "ada",
        "accuracy=0.966666", "loss=nan",
    ]  # fmt: skip
    assert "RUNNING" in lines[2]
    assert "deleted" in lines[3]


def test_runs_as_json(cli: Cli) -> None:
    found = json.loads(cli("runs", "list", "RF Tree Numbers", "--json").out)
    assert [run["run_id"][0] for run in found] == ["a", "b"]
    assert set(found[0]) >= {
        "run_id", "name", "status", "lifecycle_stage", "started_at", "ended_at", "user",
        "metrics", "params", "tags",
    }  # fmt: skip
    assert found[0]["metrics"] == {"accuracy": 0.966666, "loss": None}
    lines = cli("runs", "list", "RF Tree Numbers", "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == found


def test_no_runs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunsService, "list", lambda *_, **__: iter(()))
    assert cli("runs", "list", "x", "--json").out == "[]\n"
    assert "no runs yet" in cli("runs", "list", "x").err


def test_a_server_that_is_gone_leaves_stdout_empty(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Iterator[Run]:
        raise UnreachableError("It is stopped", "`mlflow-console up` starts it.")
        yield RUN

    monkeypatch.setattr(RunsService, "list", gone)
    result = cli("runs", "list", "x", "--json")
    assert (result.code, result.out) == (4, "")
    assert "mlflow-console up" in result.err


def test_one_run(cli: Cli) -> None:
    out = cli("runs", "show", "a" * 32).out
    assert "status      FINISHED\n" in out
    assert "\nMetrics\n  accuracy  0.966666\n  loss      nan\n" in out
    assert "\nParameters\n  n_estimators  20\n" in out
    assert "\nTags\n  team  x↵y\n" in out
    assert "nested in" not in out
    assert json.loads(cli("runs", "show", "a" * 32, "--json").out)["tags"] == {"team": "x\ny"}

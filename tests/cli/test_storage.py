"""storage usage, of real files explained by a real SQLite database."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.storage.service import StorageService, Usage
from tests.cli.conftest import Cli


@pytest.fixture
def files(deployment: Deployment, database: Path) -> None:
    """1,500 bytes of a run, 500 of a deleted one's experiment, 7 of nobody's."""
    for name, size in (
        ("1/a1/artifacts/model.bin", 1_000), ("1/a1/artifacts/plot.png", 500),
        ("2/b1/artifacts/old.bin", 500), ("what/is/this", 7),
    ):  # fmt: skip
        path = deployment.paths.artifacts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def test_usage(cli: Cli, files: None) -> None:
    result = cli("storage", "usage", "--runs")
    assert result.code == 0
    assert result.out == (
        " BYTES  SHARE  OBJECTS  NAME     ID  STAGE\n"
        "1.5 kB   75 %        2  alpha    1   active\n"
        "1.5 kB   75 %        2    first  a1  active\n"
        " 500 B   25 %        1  beta     2   deleted\n"
        " 500 B   25 %        1    gone   b1  active\n"
        "\n"
        "all: 2.0 kB in 4 objects\n"
        "trash: 500 B in 1 object\n"
        "unknown: 7 B in 1 object\n"
    )
    assert "free" in result.err
    assert "first" not in cli("storage", "usage").out


def test_usage_as_json(cli: Cli, files: None) -> None:
    found = json.loads(cli("storage", "usage", "--json").out)
    assert (found["bytes"], found["objects"], found["complete"]) == (2_007, 4, True)
    assert found["trash"] == {"bytes": 500, "objects": 1}
    assert found["unknown"] == {"bytes": 7, "objects": 1}
    assert set(found) >= {"scanned_at", "seconds", "orphans", "incomplete_uploads"}
    first = found["experiments"][0]
    assert (first["experiment_id"], first["name"], first["bytes"]) == ("1", "alpha", 1_500)
    run = first["runs"][0]
    assert (run["run_id"], run["bytes"], run["objects"]) == ("a1", 1_500, 2)
    lines = cli("storage", "usage", "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == found["experiments"]


def test_ctrl_c_gives_the_figures_so_far(
    cli: Cli, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = StorageService.usage

    def interrupted(self: StorageService, **arguments: object) -> Iterator[Usage]:
        os.kill(os.getpid(), signal.SIGINT)
        yield from walk(self, **arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(StorageService, "usage", interrupted)
    result = cli("storage", "usage", "--json")
    assert result.code == 130
    assert not result.out or json.loads(result.out)["complete"] is False
    assert "Traceback" not in result.err

"""The commands of the backups on a real server: restored, made anew, one run of it, drilled."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.cli.conftest import PROGRAM
from tests.e2e.test_backup_by_hand import ALICE, assert_there, log
from tests.support import deployments, snapshots

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def call(*words: str, code: int = 0, deployment: Deployment | None = None) -> str:
    """What a command writes to stdout, away from any deployment but the given one."""
    env = dict(os.environ)
    if deployment is not None:
        env["MLFLOW_CONSOLE_DEPLOYMENT"] = str(deployment.directory)
    done = subprocess.run(
        [*PROGRAM, "backup", *words], capture_output=True, text=True, check=False, env=env, cwd="/",
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def runs(deployment: Deployment) -> dict[str, Any]:
    with snapshots.client(deployment, ALICE) as client:
        return {run.info.run_name: run for run in client.search_runs(["0"])}


def test_every_way_back(tmp_path: Path) -> None:
    directory, new = tmp_path / "lab", tmp_path / "new"
    with deployments.ended(directory), deployments.ended(new):
        lab = deployments.create(directory, (ALICE[0], Secret(ALICE[1])))
        deployments.up(lab)
        then = {name: log(lab, name) for name in ("first", "second")}
        made = json.loads(
            call("create", "--to", str(tmp_path / "snapshots"), "--json", deployment=lab)
        )
        log(lab, "later")
        with snapshots.client(lab, ALICE) as client:
            client.delete_run(then["second"])

        # All of it: what came since goes, and is in the safety snapshot.
        call("restore", made["id"], code=2, deployment=lab)  # nobody can be asked
        assert set(runs(lab)) == {"first", "later"}
        call("restore", made["id"], "--yes", deployment=lab)
        assert set(runs(lab)) == {"first", "second"}
        assert_there(lab, then)
        [safety, _] = json.loads(call("list", "--json", deployment=lab))
        assert safety["reason"] == "safety"
        [held] = json.loads(call("find", "later", "--json", deployment=lab))
        assert held["snapshot"] == safety["id"]

        # One run of the safety snapshot, as another one, and once.
        for _ in range(2):
            call("restore", safety["id"], "--run", held["run"]["run_id"], deployment=lab)
        back = runs(lab)["later"]
        assert back.data.params == {"of": "later"}
        assert back.info.run_id != held["run"]["run_id"]
        assert len(runs(lab)) == 3

        # Proof, and a deployment of its own, for which there need be none.
        [drilled] = json.loads(call("drill", made["id"], "--json", deployment=lab))
        assert drilled["drilled_at"] is not None
        call("restore", made["path"], "--into", str(new))
        again = Deployment.open(str(new))
        assert set(runs(again)) == {"first", "second"}
        assert_there(again, then)
        call("restore", made["path"], "--into", str(new), code=1)  # it is one by now

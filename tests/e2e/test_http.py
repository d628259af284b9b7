"""Somebody with a password and nothing but curl logs a run; the console shows it."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret, generate

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("real")]


def curl(
    deployment: Deployment, path: str, user: str | None, password: str, body: object = None
) -> tuple[int, str]:
    """Status and body; the password goes through curl's standard input, not its arguments."""
    config = [f'url = "{deployment.driver.url}{path}"']
    if user is not None:
        config.append(f'user = "{user}:{password}"')
    if body is not None:
        text = json.dumps(body).replace("\\", "\\\\").replace('"', '\\"')
        config += ['header = "Content-Type: application/json"', f'data = "{text}"']
    result = subprocess.run(
        ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", "-K", "-"],
        input="\n".join(config), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer, _, status = result.stdout.rpartition("\n")
    return int(status), answer


def test_curl_logs_a_run_and_the_console_shows_it(real_deployment: Deployment) -> None:
    password = generate()
    real_deployment.users.add("carol", password)
    name = f"from curl, [/b] \x1b[31m 🙂 {time.time()}"

    def call(path: str, body: object) -> dict[str, object]:
        status, answer = curl(
            real_deployment, f"/api/2.0/mlflow/{path}", "carol", password.reveal(), body
        )
        assert status == 200, answer
        result: dict[str, object] = json.loads(answer)
        return result

    started = int(time.time() * 1000)
    made = call("runs/create", {"experiment_id": "0", "run_name": name, "start_time": started})
    run: dict[str, dict[str, str]] = made["run"]  # type: ignore[assignment]  # MLflow's shape
    run_id = run["info"]["run_id"]
    call("runs/log-parameter", {"run_id": run_id, "key": "depth", "value": "3"})
    metric = {"run_id": run_id, "key": "loss", "value": 0.25, "timestamp": started, "step": 1}
    call("runs/log-metric", metric)
    call("runs/set-tag", {"run_id": run_id, "key": "team", "value": "[red]blue"})

    running = real_deployment.stack.at_work()
    assert any("from curl" in line for line in running)
    assert not any("\x1b" in line for line in running)

    call("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": started + 1000})
    shown = real_deployment.runs.show(run_id)
    assert shown.name == name
    assert (shown.params, shown.metrics) == ({"depth": "3"}, {"loss": 0.25})
    assert shown.tags["team"] == "[red]blue"
    assert run_id in {each.run_id for each in real_deployment.runs.list("Default")}
    counts = {each.experiment_id: each.runs for each in real_deployment.experiments.list()}
    assert (counts["0"] or 0) >= 1


def test_who_is_out_is_out_at_once(real_deployment: Deployment) -> None:
    call = "/api/2.0/mlflow/experiments/search?max_results=1"
    real_deployment.users.add("dave", Secret("first password"))
    assert curl(real_deployment, call, "dave", "first password")[0] == 200
    assert curl(real_deployment, call, "dave", "wrong")[0] == 401
    assert curl(real_deployment, call, None, "")[0] == 401
    real_deployment.users.passwd("dave", Secret("second password"))
    assert curl(real_deployment, call, "dave", "first password")[0] == 401
    assert curl(real_deployment, call, "dave", "second password")[0] == 200
    real_deployment.users.remove(["dave"])
    assert curl(real_deployment, call, "dave", "second password")[0] == 401
    assert curl(real_deployment, "/health", None, "")[0] == 200

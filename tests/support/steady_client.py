"""A client that logs runs and models without an end, and writes down what was acknowledged.

    python -m tests.support.steady_client FILE

The server and the user come from MLflow's own variables. Each line of FILE is a run that was
finished: `{"run_id", "metric", "artifact", "sha256", "model_id", "at"}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STEPS = 20
EXPERIMENT = "steady"


def main(written: Path) -> None:
    """Log until somebody ends this."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    number = 0
    with written.open("a", buffering=1) as file, tempfile.TemporaryDirectory() as folder:
        while True:
            number += 1
            try:
                file.write(json.dumps(_log(client, number, Path(folder))) + "\n")
            except MlflowException as error:  # the server is being restored
                print(error, file=sys.stderr, flush=True)
                time.sleep(0.5)


def _log(client: Any, number: int, folder: Path) -> dict[str, object]:
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    run = client.create_run(experiment, run_name=f"run {number}", tags={"number": str(number)})
    run_id = run.info.run_id
    client.log_param(run_id, "number", number)
    for step in range(STEPS):
        client.log_metric(run_id, "loss", number + step / STEPS, step=step)
    path = folder / f"weights-{number}.bin"
    content = os.urandom(1000 + number)
    path.write_bytes(content)
    client.log_artifact(run_id, str(path), "weights")
    model = client.create_logged_model(experiment, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.set_terminated(run_id)
    path.unlink()
    return {
        "run_id": run_id, "metric": number + (STEPS - 1) / STEPS,
        "artifact": f"weights/weights-{number}.bin",
        "sha256": hashlib.sha256(content).hexdigest(), "model_id": model.model_id,
        "at": time.time(),
    }  # fmt: skip


@contextlib.contextmanager
def logging(url: str, user: tuple[str, str], written: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have it log while the block runs."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_USERNAME": user[0],
        "MLFLOW_TRACKING_PASSWORD": user[1], "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }  # fmt: skip
    errors = written.with_suffix(".errors").open("wb")
    with errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.steady_client", str(written)], env=environment,
            stdout=errors, stderr=errors,
        )  # fmt: skip
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


def acknowledged(written: Path) -> list[dict[str, Any]]:
    """What was finished so far; the last line may be half there."""
    if not written.exists():
        return []
    whole = written.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def wait_for(written: Path, runs: int, seconds: float = 120) -> list[dict[str, Any]]:
    """Wait until so many runs are finished."""
    deadline = time.monotonic() + seconds
    while len(done := acknowledged(written)) < runs:
        assert time.monotonic() < deadline, written.with_suffix(".errors").read_text()
        time.sleep(0.2)
    return done


if __name__ == "__main__":
    main(Path(sys.argv[1]))

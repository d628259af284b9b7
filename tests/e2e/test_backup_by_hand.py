"""The README's lines that bring a snapshot back with standard tools, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import urllib3

from console.core import process
from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.images.recipes import REPOSITORY
from tests.support import deployments, snapshots, stacks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ALICE = ("alice", "correct horse battery")
# Keys that can be no file names, and such as a shell or a tool could stumble over.
ODD = ("0/odd/folder/", "0/odd/line\nend", "0/odd/lost+found/x", "0/odd/it's $HOME `x` \\ü")
# Too long for a path below a snapshot.
LONG = b"/".join([b"n" * 240] * 13) + b"/end"


def lines(which: str) -> tuple[str, str]:
    """The first line, which says what is where, and the others, of the block for one driver."""
    readme = (REPOSITORY / "README.md").read_text()
    section = readme.partition("### Restoring with nothing but standard tools\n")[2]
    section = section.partition("\n### ")[0].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    first, _, rest = next(each for each in blocks if which in each).partition("\n")
    assert re.fullmatch(r"snapshot=/\S+ directory=/\S+", first)
    return first, rest


def by_hand(which: str, snapshot: Path, directory: Path) -> None:
    """Type the lines into a shell, but for the first one's paths."""
    _, rest = lines(which)
    path = f"{REPOSITORY}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    typed = f"snapshot='{snapshot}' directory='{directory}'\n{rest}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", typed],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, env=process.environment({"PATH": path}, ("XDG_", "UV_", "MLFLOW_", "DOCKER_")),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def ask(deployment: Deployment, path: str, body: object = None, data: bytes | None = None) -> bytes:
    """What MLflow answers alice."""
    headers = urllib3.make_headers(basic_auth=":".join(ALICE))
    method = "PUT" if data is not None else "POST" if body is not None else "GET"
    url = f"{deployment.driver.own_url}/api/2.0/{path}"
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        answer = (
            pool.request(method, url, headers=headers, json=body)
            if data is None
            else pool.request(method, url, headers=headers, body=data)
        )
    assert answer.status == 200, (answer.status, answer.data[:500])
    return answer.data


def artifact(run_id: str, name: str) -> str:
    return f"mlflow-artifacts/artifacts/0/{run_id}/artifacts/{quote(name)}"


def log(deployment: Deployment, name: str) -> str:
    """A run of alice's with a parameter and an artifact; its id."""
    made = ask(deployment, "mlflow/runs/create", {"experiment_id": "0", "run_name": name})
    run_id = json.loads(made)["run"]["info"]["run_id"]
    ask(deployment, "mlflow/runs/log-parameter", {"run_id": run_id, "key": "of", "value": name})
    ask(deployment, artifact(run_id, "model/weights 1.bin"), data=name.encode() * 1000)
    return str(run_id)


def assert_there(deployment: Deployment, runs: dict[str, str]) -> None:
    for name, run_id in runs.items():
        run = json.loads(ask(deployment, f"mlflow/runs/get?run_id={run_id}"))["run"]
        assert run["data"]["params"] == [{"key": "of", "value": name}]
        assert ask(deployment, artifact(run_id, "model/weights 1.bin")) == name.encode() * 1000


def test_a_stack(tmp_path: Path) -> None:
    directory, new = tmp_path / "lab-by-hand", tmp_path / "the new one"
    user = (ALICE[0], Secret(ALICE[1]))
    with stacks.stack(directory, user) as deployment:
        deployments.up(deployment)
        runs = {name: log(deployment, name) for name in ("first", "ünïcode")}
        put(deployment, ODD)
        held = in_store(deployment, tmp_path)
        deployment.backup.choose(tmp_path / "snapshots")
        snapshot = snapshots.make(deployment)
        stacks.remove(directory)
        shutil.rmtree(directory)
        try:
            by_hand("docker compose", snapshot.path, new)
            again = Deployment.open(str(new))
            assert_there(again, runs)
            assert in_store(again, tmp_path) == held
            assert set(ODD) <= set(held)
            assert again.stack.status().healthy
        finally:
            stacks.remove(new)
            shutil.copytree(new, directory, dirs_exist_ok=True)  # for what removes the stack


def in_store(deployment: Deployment, folder: Path) -> dict[str, str]:
    place = folder / "fetched"
    place.mkdir(exist_ok=True)
    return snapshots.in_store(deployment, place)


def put(deployment: Deployment, keys: Sequence[str]) -> None:
    """Write small objects past MLflow, each with its key for content; folders are empty."""
    from console.core.stack.driver import Role

    script = (
        "import sys; sys.path.insert(0, '/opt/stack')\n"
        "import boto3, json, os, tracking\n"
        "os.environ |= tracking.environment()\n"
        "s3 = boto3.client('s3', endpoint_url=os.environ['MLFLOW_S3_ENDPOINT_URL'])\n"
        "for key in json.loads(sys.argv[1]):\n"
        "    body = b'' if key.endswith('/') else key.encode()\n"
        "    s3.put_object(Bucket=os.environ['STORE_BUCKET'], Key=key, Body=body)\n"
    )
    done = deployment.driver.run_in(
        Role.TRACKING, ["python", "-c", script, json.dumps(list(keys))], {}, threading.Event()
    )
    assert list(done) == []


def test_an_embedded_one(tmp_path: Path) -> None:
    directory, new = tmp_path / "lab", tmp_path / "the new one"
    with deployments.ended(directory), deployments.ended(new):
        deployment = deployments.create(directory, (ALICE[0], Secret(ALICE[1])))
        deployments.up(deployment)
        runs = {name: log(deployment, name) for name in ("first", "ünïcode")}
        for key in (b"0/odd/\xff\xfe", b"0/odd/line\nend", b"0/" + LONG):
            path = bytes(deployment.paths.artifacts) + b"/" + key
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(key)
        held = in_store(deployment, tmp_path)
        deployment.backup.choose(tmp_path / "snapshots")
        snapshot = snapshots.make(deployment)
        assert len(list((snapshot.path / "odd").iterdir())) == 1
        deployments.down(deployment)
        shutil.rmtree(directory)
        by_hand("mlflow.db", snapshot.path, new)
        again = Deployment.open(str(new))
        assert_there(again, runs)
        assert in_store(again, tmp_path) == held
        assert again.stack.status().healthy

"""A real MLflow behind the lock: every route that it has, and the demo."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.server.conftest import Server, line

#: Prints every route of the application as a list of [method, path]. FastAPI keeps included
#: routers as they are, so their prefixes are put before their paths here.
ROUTES = """
import json, sys
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app

def native(routes, prefix=""):
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from native(inner.routes, prefix + route.include_context.prefix)
        elif hasattr(route, "endpoint"):
            for method in getattr(route, "methods", None) or ["GET"]:
                yield method, prefix + route.path
        elif type(route).__name__ != "Mount" or route.path:
            sys.exit(f"a kind of route that is not known: {route!r}")

flask = [(m, rule.rule) for rule in flask_app.url_map.iter_rules() for m in rule.methods]
json.dump({"native": sorted(native(app.routes)), "flask": sorted(flask)}, sys.stdout)
"""

#: What a parameter of a route looks like. It is filled with a word: a number could be the id of
#: an experiment, and the walk with the right password really writes.
PARAMETER = re.compile(r"\{[^}]*\}|<[^>]*>")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

RIGHT = ("alice", "geheim")
WRONG = ("alice", "falsch")
REMOVED = ("carol", "weg")


@pytest.fixture(scope="module")
def routes(server: Server) -> list[tuple[str, str]]:
    """Every method and path of the application, parameters filled in."""
    found = subprocess.run(
        [server.environment / "bin" / "python", "-W", "ignore", "-c", ROUTES],
        capture_output=True,
        text=True,
        check=False,
        cwd=server.directory,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert found.returncode == 0, found.stderr
    listed = json.loads(found.stdout)
    assert len(listed["native"]) > 20
    assert len(listed["flask"]) > 200
    every = {
        (method, PARAMETER.sub("probe", path)) for kind in listed.values() for method, path in kind
    }
    for known in (
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/probe"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("POST", "/api/2.0/mlflow/runs/create"),
        ("GET", "/health"),
    ):
        assert known in every
    return sorted(every)


class Client:
    """Sends requests over one connection, from an address of its own: attempts are limited."""

    _addresses = itertools.count(1)

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=30,
            source_address=(f"127.0.1.{next(self._addresses)}", 0),
        )  # fmt: skip

    def send(
        self,
        method: str,
        path: str,
        user: tuple[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        headers = dict(headers or {})
        if user is not None:
            token = base64.b64encode(":".join(user).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def call(self, path: str, content: dict[str, Any]) -> Any:
        """Call MLflow's API as alice."""
        headers = {"Content-Type": "application/json"}
        status, body = self.send(
            "POST", f"/api/2.0/mlflow/{path}", RIGHT, json.dumps(content).encode(), headers
        )
        assert status == 200, body
        return json.loads(body)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server)


@pytest.mark.parametrize("who", [None, WRONG, REMOVED], ids=["nobody", "wrong", "removed"])
def test_no_route_is_open(
    server: Server, client: Client, routes: list[tuple[str, str]], who: tuple[str, str] | None
) -> None:
    if who == REMOVED:  # who was in a moment ago, so that a remembered verdict would show
        server.user_file.write_text(line("alice", "geheim") + line("carol", "weg"))
        assert client.send("GET", "/version", REMOVED)[0] == 200
        server.user_file.write_text(line("alice", "geheim"))
    every = set(routes)
    if who is None:  # costs no hash, so also the methods that a route does not declare
        every |= {(method, path) for _, path in routes for method in METHODS}
    health = {("GET", "/health"), ("HEAD", "/health")}
    opened = {
        (method, path, status)
        for method, path in sorted(every - health)
        if (status := client.send(method, path, who)[0]) not in (401, 429)
    }
    assert opened == set()
    assert {client.send(*request, who)[0] for request in health} == {200}


def test_the_right_password_is_never_asked_again(
    client: Client, routes: list[tuple[str, str]]
) -> None:
    refused, assistant = set(), set()
    for method, path in routes:
        if path == "/ajax-api/3.0/mlflow/demo/generate":
            continue  # MLflow's own demo takes a minute of work and fills the database
        status, _ = client.send(method, path, RIGHT)
        if "/mlflow/assistant" in path:
            assistant.add(status)
        elif status in {401, 403}:
            refused.add((method, path, status))
    assert refused == set()
    assert assistant == {403}


def test_the_web_page_needs_a_password(client: Client) -> None:
    status, body = client.send("GET", "/", RIGHT)
    assert status == 200
    assert b"<html" in body
    script = re.search(rb'src="(static-files/[^"]+\.js)"', body)
    assert script
    assert client.send("GET", "/" + script[1].decode())[0] == 401
    assert client.send("GET", "/" + script[1].decode(), RIGHT)[0] == 200


def test_an_artifact_is_written_with_a_password_only(server: Server, client: Client) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/0/probe/file.txt"
    file = server.directory / "artifacts" / "0" / "probe" / "file.txt"
    assert client.send("PUT", path, WRONG, b"x")[0] == 401
    assert client.send("PUT", path, None, b"x")[0] == 401
    assert not file.parent.exists()
    assert client.send("PUT", path, RIGHT, b"x")[0] == 200
    assert file.read_bytes() == b"x"
    assert file.stat().st_mode & 0o077 == 0


def test_artifacts_go_through_the_server(client: Client) -> None:
    found = client.call("experiments/search", {"max_results": 100})["experiments"]
    default = next(e for e in found if e["name"] == "Default")
    assert default["artifact_location"] == "mlflow-artifacts:/0"


def test_a_websocket_is_refused(client: Client) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # the example of RFC 6455
    }
    assert client.send("GET", "/", headers=upgrade)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/%61ssistant/config",
        "//ajax-api/3.0//mlflow/assistant/config",
        "/ajax-api/3.0/mlflow/assistant/config/",
    ],
)
def test_no_spelling_reaches_the_assistant(client: Client, path: str) -> None:
    assert client.send("GET", path, RIGHT)[0] == 403


def test_mlflows_own_checks_still_stand_inside(client: Client) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    status, body = client.send("GET", path, RIGHT, headers={"Host": "evil.example"})
    assert (status, b"Host" in body) == (403, True)
    assert client.send("GET", path, None, headers={"Host": "evil.example"})[0] == 401
    origin = {"Origin": "http://evil.example"}
    path = "/api/2.0/mlflow/experiments/create"
    status, body = client.send("POST", path, RIGHT, b"{}", origin)
    assert (status, b"ross-origin" in body) == (403, True)


def test_a_new_password_counts_at_once(server: Server, client: Client) -> None:
    try:
        for number in range(5):
            server.user_file.write_text(line("alice", f"new-{number}"))
            assert client.send("GET", "/version", ("alice", f"new-{number}"))[0] == 200
            assert client.send("GET", "/version", RIGHT)[0] == 401
        server.user_file.unlink()
        assert client.send("GET", "/version", ("alice", "new-4"))[0] == 503
        assert client.send("GET", "/health")[0] == 200
    finally:
        server.user_file.write_text(line("alice", "geheim"))
    assert client.send("GET", "/version", RIGHT)[0] == 200


def test_it_runs_in_two_processes_that_talk_to_nobody(server: Server, client: Client) -> None:
    state = json.loads((server.directory / "run" / "tracking.json").read_text())
    supervisor = psutil.Process(state["pid"])
    assert supervisor.create_time() == pytest.approx(state["start_time"], abs=1e-6)
    family = [supervisor, *supervisor.children(recursive=True)]
    assert len(family) == 2
    client.send("GET", "/version", RIGHT)
    for process in family:
        for connection in process.net_connections():
            assert connection.laddr.ip == "127.0.0.1"
            assert not connection.raddr or connection.raddr.ip.startswith("127.")


def test_no_password_is_in_the_log(server: Server, client: Client) -> None:
    client.send("GET", "/version", ("alice", "a-word-to-look-for"))
    client.send("GET", "/version", ("typed-into-the-wrong-field", "x"))
    log = (server.directory / "logs" / "tracking.log").read_text()
    assert 'user "alice": password mismatch' in log
    token = base64.b64encode(b"alice:a-word-to-look-for").decode()
    for secret in ("a-word-to-look-for", "typed-into", token):
        assert secret not in log


def demo(server: Server, user: tuple[str, str] = RIGHT) -> subprocess.CompletedProcess[str]:
    """Run the demo against the server."""
    return subprocess.run(
        [server.environment / "bin" / "python", "-m", "mlflow_console_server.demo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=server.directory,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_TRACKING_USERNAME": user[0],
            "MLFLOW_TRACKING_PASSWORD": user[1],
        },
    )


def runs_of(server: Server, name: str) -> list[dict[str, Any]]:
    """Return the runs of an experiment, those in the trash too."""
    client = Client(server)  # a new one: the server closes connections that idle for 5 s
    found = client.call("experiments/search", {"max_results": 100})["experiments"]
    ids = [e["experiment_id"] for e in found if e["name"] == name]
    query = {"experiment_ids": ids, "run_view_type": "ALL", "max_results": 1000}
    runs = client.call("runs/search", query)["runs"]
    assert isinstance(runs, list)
    return runs


def test_the_demo_is_logged_once_and_mended(server: Server) -> None:
    first = demo(server)
    assert first.returncode == 0, first.stderr
    progress = [json.loads(text) for text in first.stdout.splitlines()]
    assert [step["done"] for step in progress] == list(range(1, 28))
    assert {(step["total"], step["unit"]) for step in progress} == {(27, "runs")}

    forests, curves = runs_of(server, "RF Tree Numbers"), runs_of(server, "Loss curves")
    trees = sorted(int(run["data"]["params"][0]["value"]) for run in forests)
    assert trees == list(range(1, 21))
    assert all(run["data"]["metrics"][0]["key"] == "accuracy" for run in forests)
    models = list(Path(server.directory, "artifacts").glob("*/models/*/artifacts/MLmodel"))
    assert len(models) == 20
    assert sorted((run["info"]["status"], run["info"]["lifecycle_stage"]) for run in curves) == [
        ("FAILED", "active"),
        *[("FINISHED", "active")] * 5,
        ("FINISHED", "deleted"),
    ]
    nested = [r for r in curves if any(t["key"] == "mlflow.parentRunId" for t in r["data"]["tags"])]
    assert len(nested) == 3
    run_id = nested[0]["info"]["run_id"]
    query = f"run_id={run_id}&metric_key=val_loss&max_results=1000"
    _, body = Client(server).send("GET", f"/api/2.0/mlflow/metrics/get-history?{query}", RIGHT)
    assert len(json.loads(body)["metrics"]) == 200
    files = next(Path(server.directory, "artifacts").glob(f"*/{run_id}/artifacts")).iterdir()
    assert {file.name for file in files} == {"losses.json", "loss.png", "notes.txt"}

    again = demo(server)
    assert "nothing was logged" in again.stdout.splitlines()[-1]
    assert len(runs_of(server, "RF Tree Numbers")) == 20

    # As if the program had been killed within the last forest.
    broken = next(r for r in forests if r["data"]["params"][0]["value"] == "20")["info"]["run_id"]
    tag = {"run_id": broken, "key": "mlflow-console.demo.complete"}
    Client(server).call("runs/delete-tag", tag)
    mended = demo(server)
    assert mended.returncode == 0, mended.stderr
    active = [
        run
        for run in runs_of(server, "RF Tree Numbers")
        if run["info"]["lifecycle_stage"] == "active"
    ]
    assert len(active) == 20
    assert broken not in {run["info"]["run_id"] for run in active}


def test_the_demo_says_in_one_sentence_why_not(server: Server) -> None:
    refused = demo(server, WRONG)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "401" in refused.stderr
    assert "Traceback" not in refused.stderr

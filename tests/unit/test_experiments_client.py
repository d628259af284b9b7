"""MLflow's client against servers that refuse, fail, babble or are not there."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from console.core.deployment import Deployment
from console.core.errors import AccessError, ConsoleError, UnreachableError, UsageError
from console.core.experiments import client
from console.core.settings import ServerSettings, Settings
from console.core.stack.driver import Finding, Severity
from console.core.stack.places import SqliteFile
from tests.support.loopback import serving

PASSWORD = "geheim-ü"


class Answers(BaseHTTPRequestHandler):
    """Answers every request with what the test put into the class."""

    status = 200
    body = b"{}"
    headers_out: dict[str, str] = {}  # noqa: RUF012  # the tests replace it whole
    seen: list[str | None] = []  # noqa: RUF012  # as above
    wait = 0.0

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.wait)
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Answers.status, Answers.body, Answers.headers_out = 200, b"{}", {}
    Answers.seen, Answers.wait = [], 0.0
    with serving(Answers) as port:
        yield f"http://127.0.0.1:{port}"


def deployment(directory: Path, url: str) -> Deployment:
    server = ServerSettings(port=5000, mlflow="3.17.2")
    dep = Deployment(directory, Settings(format=1, name="t", driver="embedded", server=server))
    dep.__dict__["driver"] = SimpleNamespace(
        own_url=url, not_ours=lambda: None, backend_store=lambda: SqliteFile(dep.paths.database)
    )
    dep.paths.service_secret.parent.mkdir(parents=True)
    dep.paths.service_secret.write_text(PASSWORD)
    return dep


@pytest.fixture
def dep(tmp_path: Path, url: str) -> Deployment:
    return deployment(tmp_path, url)


def answer(status: int, body: bytes | dict[str, str], **headers: str) -> None:
    Answers.status = status
    Answers.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    Answers.headers_out = headers


def failure(call: Callable[[], object]) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in shown
    assert base64.b64encode(f"mlflow-console:{PASSWORD}".encode()).decode() not in shown
    return caught.value


def test_it_logs_in_as_the_service_user_whatever_the_environment_says(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login eve password evil\n")
    netrc.chmod(0o600)
    for name, value in {
        "MLFLOW_TRACKING_TOKEN": "token", "MLFLOW_TRACKING_USERNAME": "eve",
        "MLFLOW_TRACKING_PASSWORD": "evil", "MLFLOW_TRACKING_AUTH": "kubernetes",
        "MLFLOW_TRACKING_AWS_SIGV4": "true", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_WORKSPACE": "other", "NETRC": str(netrc), "http_proxy": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert dep.experiments.list() == []
    expected = base64.b64encode(f"mlflow-console:{PASSWORD}".encode()).decode()
    assert Answers.seen == [f"Basic {expected}"]
    assert PASSWORD not in os.environ.values()


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dep = deployment(tmp_path, f"http://127.0.0.1:{probe.getsockname()[1]}")
    began = time.monotonic()
    error = failure(dep.experiments.list)
    assert isinstance(error, UnreachableError)
    assert "does not answer" in error.message
    assert "mlflow-console up" in error.hint
    assert time.monotonic() - began < 20, "MLflow's own seven tries take minutes"


def test_a_server_that_hangs(dep: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(client._SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    Answers.wait = 3
    error = failure(dep.experiments.list)
    assert isinstance(error, UnreachableError)
    assert "in time" in error.message or "does not answer" in error.message


@pytest.mark.parametrize("body", [b"A user name and a password are needed.", {"message": "no"}])
def test_a_password_that_is_not_accepted(dep: Deployment, body: bytes | dict[str, str]) -> None:
    if isinstance(body, dict):
        body["error_code"] = "UNAUTHENTICATED"
    answer(401, body)
    error = failure(dep.experiments.list)
    assert isinstance(error, AccessError)
    assert "does not accept the password" in error.message
    assert "mlflow-console users renew" in error.hint


def test_a_host_name_that_is_rejected(dep: Deployment) -> None:
    answer(403, b"Invalid Host header - possible DNS rebinding attack detected")
    error = failure(dep.experiments.list)
    assert "403" in error.message
    assert "host_names" in error.hint


def test_what_does_not_exist(dep: Deployment) -> None:
    answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 'x' not found"})
    error = failure(lambda: dep.runs.show("[/x]\x1b[2J"))
    assert isinstance(error, UsageError)
    assert error.message == "There is no run [/x]"


def test_something_else_listens(dep: Deployment) -> None:
    answer(404, b"<html>not here</html>")
    error = failure(dep.experiments.list)
    assert not isinstance(error, UsageError)
    assert "does not know the API" in error.message
    answer(200, b"<html>welcome</html>")
    assert "not as MLflow does" in failure(dep.experiments.list).message


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_fails_is_not_waited_for(dep: Deployment, status: int) -> None:
    answer(status, b"oops", **{"Retry-After": "3600"})
    began = time.monotonic()
    error = failure(dep.experiments.list)
    assert str(status) in error.message
    assert isinstance(error, UnreachableError) is (status != 500)
    assert len(Answers.seen) == 2, "one more try"
    assert time.monotonic() - began < 5


def test_redirects_are_not_followed(dep: Deployment, url: str) -> None:
    answer(302, b"", Location=f"{url}/login")
    failure(dep.experiments.list)
    assert len(Answers.seen) == 1


def test_a_missing_secret_is_a_sentence(dep: Deployment) -> None:
    dep.paths.service_secret.unlink()
    assert "service-user" in failure(dep.experiments.list).message


QUIET = """
import sys, threading
from pathlib import Path
from types import SimpleNamespace
from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.settings import ServerSettings, Settings
from console.core.stack.places import SqliteFile
dep = Deployment(Path(sys.argv[1]), Settings(
    format=1, name="t", driver="embedded", server=ServerSettings(port=5000, mlflow="3.17.2")))
dep.__dict__["driver"] = SimpleNamespace(
    own_url=sys.argv[2], not_ours=lambda: None,
    backend_store=lambda: SqliteFile(dep.paths.database))
said = []
dep.experiments, dep.runs
assert "mlflow" not in sys.modules, "MLflow is imported on first use"
def call():
    try:
        said.append(type(dep.experiments.list()).__name__)
    except ConsoleError as error:
        said.append(error.message)
threads = [threading.Thread(target=call) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert said == ["list"] * 6, said
import mlflow.telemetry.client as telemetry
assert telemetry.get_telemetry_client() is None
"""


def test_the_import_is_late_silent_safe_in_threads_and_sends_nothing_home(
    dep: Deployment, url: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", QUIET, str(dep.directory), url],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        env={key: value for key, value in os.environ.items() if key not in client._SETTINGS},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_sent_to_whoever_took_the_port(tmp_path: Path) -> None:
    dep = deployment(tmp_path, "http://127.0.0.1:9")
    taken = Finding("port-taken", Severity.ERROR, "tracking", "Port 9 is taken by x", fix="end it")
    dep.__dict__["driver"] = SimpleNamespace(own_url="http://127.0.0.1:9", not_ours=lambda: taken)
    with pytest.raises(UnreachableError) as caught:
        dep.experiments.list()
    assert (caught.value.message, caught.value.hint) == ("Port 9 is taken by x", "end it")

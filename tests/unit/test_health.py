"""What each answer of a server means, and what it asks a person to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from console.core import secrets
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UnreachableError
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings
from console.core.stack import containers, health, status
from console.core.stack.driver import Direct, Finding, Role, Severity, State
from tests.support.loopback import serving

GOOD = b'{"experiments": [], "next_page_token": "x"}'


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    server = ServerSettings(port=5999, mlflow="3.17.2", host_names=("mlflow.lab", "other.lab"))
    made = Deployment(tmp_path, Settings(format=1, name="lab", driver="embedded", server=server))
    made.paths.service_secret.parent.mkdir()
    secrets.write_secret(made.paths.service_secret, Secret("geheim"))
    made.__dict__["driver"] = SimpleNamespace(
        not_ours=lambda _: None, host_names=server.host_names, direct=lambda: None,
        host_names_setting="host_names under [server] in console.toml",
    )  # fmt: skip
    made.__dict__["database"] = SimpleNamespace(revision=lambda: "76601a5f987d")
    return made


def check(deployment: Deployment, url: str) -> tuple[health.Api, list[Finding]]:
    deployment.driver.own_url = url  # type: ignore[misc]  # a stand-in of this file
    return health.check(deployment, [])


@contextmanager
def answers(
    status: int, body: bytes, refused: str = "", header: str = "X-Nothing"
) -> Iterator[str]:
    """A server that answers everything alike; 403 to the host name `refused`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = 403 if self.headers["Host"] == refused else status
            text = b"3.17.2\x1b[31m" if self.path == "/version" else body
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.send_header(header, "restore")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_call_that_works(deployment: Deployment) -> None:
    with answers(200, GOOD) as url:
        api, findings = check(deployment, url)
    assert (api.ok, api.http_status, api.version, api.error) == (True, 200, "3.17.2", "")
    assert api.checked_as == "mlflow-console"
    assert findings == []


@pytest.mark.parametrize(
    ("status", "body", "name", "title"),
    [
        (401, b"", "api-unauthorized", "MLflow answers 401: the password of the service user"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected",
         "api-host-rejected", "MLflow answers 403: the name it is called by"),
        (403, b"Forbidden", "api-forbidden", "MLflow answers 403: the call is forbidden"),
        (500, b"<html>oops", "api-error", "MLflow answers 500: something behind it fails"),
        (502, b"", "api-behind-proxy", "The proxy runs, but MLflow behind it does not answer"),
        (400, b'{"error_code": "BAD_REQUEST", "message": "(sqlite3.DatabaseError)"}',
         "api-error", "MLflow answers 400"),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE"}', "api-error", "MLflow answers 503"),
        (503, b"The server cannot read its user file", "api-unavailable",
         "MLflow answers 503: The server cannot read its user file"),
        (404, b"<html>nginx</html>", "api-not-mlflow", "What answers at the server's port"),
        (200, b"<html>Welcome</html>", "api-not-mlflow", "What answers at the server's port"),
        (200, b"[]", "api-not-mlflow", "What answers"),
        (200, b'{"hello": 1}', "api-not-mlflow", "What answers"),
        (302, b"", "api-not-mlflow", "What answers"),
    ],
)  # fmt: skip
def test_every_other_answer_has_a_cause_and_a_remedy(
    deployment: Deployment, status: int, body: bytes, name: str, title: str
) -> None:
    with answers(status, body) as url:
        api, [finding] = check(deployment, url)
    assert (api.ok, api.http_status, api.error) == (False, status, finding.title)
    assert (finding.id, finding.severity) == (name, Severity.ERROR)
    assert finding.title.startswith(title)
    assert finding.fix


def test_a_server_that_is_being_restored_says_so_and_not_a_status(deployment: Deployment) -> None:
    deployment.__dict__["database"] = None  # nobody is asked who is to blame
    with answers(503, b"This server is being restored", header="X-Maintenance") as url:
        api, [finding] = check(deployment, url)
    assert (api.ok, api.http_status, finding.id) == (False, 503, "maintenance")
    assert finding.title.startswith("The proxy turns everybody away: the server is being restored")
    assert finding.fix.startswith("wait for it; without the file htpasswd/.maintenance")
    assert finding.detail == "This server is being restored"


def test_what_the_server_says_cannot_steer_a_terminal(deployment: Deployment) -> None:
    with answers(500, b"\x1b]0;owned\x07\x1b[2J" + b"x" * 5000) as url:
        _, [finding] = check(deployment, url)
    assert finding.detail.startswith("xxx")
    assert len(finding.detail) <= 300


def test_a_configured_name_that_the_server_refuses(deployment: Deployment) -> None:
    with answers(200, GOOD, refused="other.lab") as url:
        api, [finding] = check(deployment, url)
    assert api.ok
    assert finding.title.startswith("MLflow answers 403 to the host name other.lab")
    assert finding.fix == "mlflow-console restart"


def test_nothing_answers(deployment: Deployment) -> None:
    api, [finding] = check(deployment, "http://127.0.0.1:9")
    assert (api.ok, api.http_status) == (False, None)
    assert finding.id == "api-unreachable"
    assert finding.title == "MLflow does not answer: Nothing listens at http://127.0.0.1:9" + (
        health.CALL
    )


@pytest.mark.parametrize(
    ("name", "direct", "blamed", "title"),
    [
        ("api-unreachable", Direct(200, ""), "proxy-fails", "MLflow works, but the proxy"),
        ("api-behind-proxy", Direct(200, ""), "proxy-fails", "MLflow works, but the proxy"),
        ("api-behind-proxy", Direct(None, "gone"), "api-behind-proxy", "The proxy works, but"),
        ("api-error", Direct(500, ""), "api-error", "as it was"),
        ("api-unauthorized", Direct(200, ""), "api-unauthorized", "as it was"),
    ],
)  # fmt: skip
def test_the_call_past_the_proxy_tells_who_is_to_blame(
    name: str, direct: Direct, blamed: str, title: str
) -> None:
    found = health.blame(Finding(name, Severity.ERROR, "tracking", "as it was"), direct)
    assert found.id == blamed
    assert found.title.startswith(title)


def test_a_database_that_refuses_is_the_cause(deployment: Deployment) -> None:
    def revision() -> str:
        raise ConsoleError("The database refuses the password", "Set it back.")

    deployment.__dict__["database"] = SimpleNamespace(revision=revision)
    with answers(500, b"") as url:
        api, [finding] = check(deployment, url)
    assert (finding.id, finding.title) == ("database-refuses", "The database refuses the password")
    assert finding.detail.startswith("MLflow answers 500")
    assert finding.fix == "Set it back."
    assert not api.ok


def test_without_the_secret_nobody_is_asked(deployment: Deployment) -> None:
    deployment.paths.service_secret.unlink()
    api, [finding] = check(deployment, "http://127.0.0.1:9")
    assert finding.id == "service-user-secret"
    assert "mlflow-console cannot be read" in finding.title
    assert finding.fix == "mlflow-console users renew"
    assert api.error == finding.title


def test_an_engine_that_goes_while_it_is_looked_at_is_a_finding(deployment: Deployment) -> None:
    def gone() -> NoReturn:
        raise UnreachableError("The Docker engine is not running", "Start it.")

    runs = replace(containers.missing("proxy", Role.PROXY, "nginx"), state=State.RUNNING)
    deployment.driver.__dict__.update(services=lambda _: [runs], findings=lambda _: [], rooms=gone)
    seen = status.look(deployment)
    assert seen.exit_code == 4
    assert [each.id for each in seen.findings] == ["engine-unreachable"]

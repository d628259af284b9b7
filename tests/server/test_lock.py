"""The lock as an ASGI application, around one that writes down what reaches it."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from mlflow_console_server import lock as lock_module
from mlflow_console_server.attempts import ADDRESSES, AT_ONCE, Attempts
from mlflow_console_server.credentials import UserFile, Verifier
from mlflow_console_server.lock import Lock, Message, Receive, Scope, Send, read_credentials
from passlib.hash import bcrypt


class Inner:
    """An application that answers 200 and remembers the scopes that it was given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"inside"})


class Client:
    """Sends requests to a lock."""

    def __init__(self, user_file: Path) -> None:
        self.inner = Inner()
        self.lock = Lock(self.inner, Verifier(UserFile(user_file)))

    async def send(self, path: str, authorization: str | None = None, **more: Any) -> list[Message]:
        headers = [] if authorization is None else [(b"authorization", authorization.encode())]
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers, **more}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.lock(scope, receive, send)
        return sent

    async def status(self, path: str, authorization: str | None = None, **more: Any) -> int:
        return int((await self.send(path, authorization, **more))[0]["status"])


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


RIGHT = basic("älice", "ge:heim")


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"älice:{bcrypt.using(rounds=4).hash('ge:heim')}\n", encoding="utf-8")
    return path


@pytest.fixture
def client(user_file: Path) -> Client:
    return Client(user_file)


async def test_the_right_password_opens_and_goes_no_further(client: Client) -> None:
    assert await client.status("/", RIGHT, state={"kept": 1}) == 200
    (scope,) = client.inner.scopes
    assert scope["headers"] == []
    assert scope["state"] == {"kept": 1, "mlflow_console_user": "älice"}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":ge:heim").decode(),
        "Bearer " + RIGHT.removeprefix("Basic "),
        basic("älice", "ge"),
        basic("älice", ""),
        basic("nobody", "ge:heim"),
        basic("Älice", "ge:heim"),
    ],
)
async def test_everything_else_gets_the_same_401(client: Client, authorization: str | None) -> None:
    answer = await client.send("/", authorization)
    assert answer == await client.send("/")
    assert answer[0]["status"] == 401
    assert (b"www-authenticate", b'Basic realm="MLflow", charset="UTF-8"') in answer[0]["headers"]
    assert client.inner.scopes == []


def test_two_authorization_headers_are_none() -> None:
    header = (b"Authorization", RIGHT.encode())
    assert read_credentials([header]) is not None
    assert read_credentials([header, header]) is None
    assert read_credentials([(b"authorization", b"bAsIc  " + RIGHT.encode()[6:])]) is not None


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/health", {}, 200),
        ("/health", {"method": "HEAD"}, 200),
        ("/health", {"raw_path": b"/health"}, 200),
        ("/health", {"raw_path": b"/%68ealth"}, 401),
        ("/health", {"method": "POST"}, 401),
        ("/health", {"method": "OPTIONS"}, 401),
        ("/health/", {}, 401),
        ("//health", {}, 401),
        ("/healthy", {}, 401),
        ("/x/../health", {}, 401),
        ("/prefix/health", {"root_path": "/prefix"}, 401),
        ("/version", {}, 401),
    ],
)
async def test_only_health_is_open(
    client: Client, path: str, more: dict[str, Any], status: int
) -> None:
    assert await client.status(path, **more) == status


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/assistant",
        "/ajax-api/3.0/mlflow/assistant/",
        "/ajax-api/3.0/mlflow/assistant/message",
        "/ajax-api/9.9/mlflow/assistant/message",
        "/api/3.0/mlflow/assistant/message",
        "//ajax-api//3.0///mlflow//assistant//message",
        "/AJAX-API/3.0/mlflow/Assistant/message",
        "/ajax-api/3.0/mlflow/%61ssistant/message",
        "/ajax-api/3.0/mlflow/%2561ssistant/message",
        "/ajax-api%2F3.0/mlflow/assistant/message",
        "/ajax-api/./3.0/x/../mlflow/assistant/message",
        "/ajax-api/3.0/mlflow/assistant/../message",
        "/ajax-api/3.0/mlflow/assistant\n",
        "/ajax-api/3.0/mlflow/assistant;x=1/message",
        "/prefix/ajax-api/3.0/mlflow/assistant/message",
    ],
)
async def test_the_assistant_is_closed_to_everybody(client: Client, path: str) -> None:
    assert await client.status(path, RIGHT) == 403
    assert await client.status(path, RIGHT, method="POST", root_path="/prefix") == 403
    assert await client.status(path) == 401
    assert client.inner.scopes == []


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/assistants",
        "/ajax-api/2.0/mlflow/runs/search",
        "/api/2.0/mlflow-artifacts/artifacts/1/assistant",
        "/static-files/assistant.js",
    ],
)
async def test_what_only_looks_like_the_assistant_is_served(client: Client, path: str) -> None:
    assert await client.status(path, RIGHT) == 200


async def test_without_the_user_file_everybody_gets_503(
    client: Client, user_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await client.status("/", RIGHT) == 200
    os.unlink(user_file)
    assert await client.status("/", RIGHT) == 503
    assert await client.status("/") == 503
    assert await client.status("/health") == 200
    assert [str(user_file) in record.getMessage() for record in caplog.records] == [True]
    assert len(client.inner.scopes) == 2


async def test_a_websocket_is_checked(client: Client) -> None:
    more: dict[str, Any] = {"type": "websocket", "method": None}
    assert await client.send("/ws", **more) == [{"type": "websocket.close", "code": 1008}]
    more["extensions"] = {"websocket.http.response": {}}
    (start, _) = await client.send("/health", **more)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert await client.send("/ws", RIGHT, **more) == []
    assert len(client.inner.scopes) == 1


async def test_the_lifespan_passes_and_the_unknown_does_not(client: Client) -> None:
    await client.send("", type="lifespan")
    with pytest.raises(ValueError, match="not supported"):
        await client.send("/", RIGHT, type="gopher")
    assert [scope["type"] for scope in client.inner.scopes] == ["lifespan"]


async def test_the_log_has_names_of_users_and_never_a_password(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await client.send("/", basic("älice", "wrong-word"), client=("192.0.2.1", 5))
    await client.send("/", basic("typed-here", "wrong-word"))
    await client.send("/", RIGHT)
    text = caplog.text
    assert "\\u00e4lice" in text
    assert "192.0.2.1" in text
    for secret in ("wrong-word", "typed-here", "ge:heim", "Basic "):
        assert secret not in text


def test_a_server_without_the_variable_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lock_module.USER_FILE_VARIABLE, raising=False)
    with pytest.raises(RuntimeError, match="MLFLOW_CONSOLE_HTPASSWD"):
        lock_module.create_app()


async def test_who_guesses_is_slowed_and_nobody_who_is_in(client: Client) -> None:
    here, there = ("10.0.0.1", 1), ("10.0.0.2", 1)
    assert await client.status("/", RIGHT, client=here) == 200
    guesses = [
        await client.status("/", basic("älice", str(n)), client=here) for n in range(AT_ONCE + 5)
    ]
    assert guesses[: AT_ONCE - 1] == [401] * (AT_ONCE - 1)
    assert guesses[-1] == 429
    assert await client.status("/", RIGHT, client=here) == 200
    assert await client.status("/", basic("älice", "x"), client=there) == 401


def test_attempts_come_back_with_time() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    assert [attempts.take("a") for _ in range(AT_ONCE + 2)] == [True] * AT_ONCE + [False] * 2
    assert attempts.take("b")
    now = 1.5
    assert [attempts.take("a") for _ in range(2)] == [True, False]
    now = 1000.0
    assert [attempts.take("a") for _ in range(AT_ONCE + 1)] == [True] * AT_ONCE + [False]


def test_the_attempts_of_a_flood_of_addresses_take_no_memory() -> None:
    attempts = Attempts(lambda: 0.0)
    for n in range(ADDRESSES + 100):
        assert attempts.take(str(n))
    assert len(attempts._left) == ADDRESSES

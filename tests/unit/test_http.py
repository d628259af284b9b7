"""One request, one answer: bounded in time and size, and a sentence for every silence."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from console.core import http
from console.core.errors import UnreachableError
from console.core.http import Credentials
from console.core.secrets import Secret

Talk = Callable[[socket.socket, bytes], None]


@contextmanager
def server(talk: Talk) -> Iterator[str]:
    """A server of one connection that says exactly what the test wants."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                    request += piece
                with contextlib.suppress(OSError):  # the client had enough
                    talk(connection, request)
                ended.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)
        assert ended.is_set()


def says(answer: bytes) -> Talk:
    return lambda connection, request: connection.sendall(answer)


def test_what_is_asked_and_what_is_answered() -> None:
    seen = []

    def talk(connection: socket.socket, request: bytes) -> None:
        seen.append(request.decode())
        connection.sendall(b"HTTP/1.1 418 Teapot\r\nX-Thing: Yes\r\nContent-Length: 2\r\n\r\nhi")

    with server(talk) as url:
        credentials = Credentials("zoë", Secret("pä:ss"))
        answer = http.get(f"{url}/path?a=b", credentials, host="mlflow.lab")
    assert (answer.status, answer.body) == (418, b"hi")
    assert answer.headers["x-thing"] == "Yes"
    lines = seen[0].split("\r\n")
    assert lines[0] == "GET /path?a=b HTTP/1.1"
    assert "Host: mlflow.lab" in lines
    token = next(line for line in lines if line.lower().startswith("authorization:")).split()[-1]
    assert base64.b64decode(token).decode() == "zoë:pä:ss"


def test_no_redirect_is_followed() -> None:
    talk = says(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    with server(talk) as url:
        assert http.get(url).status == 302


def test_a_huge_answer_is_cut() -> None:
    body = b"x" * 3_000_000
    with server(says(b"HTTP/1.1 200 OK\r\n\r\n" + body)) as url:
        assert len(http.get(url).body) == http.LARGEST_ANSWER


def drip(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


def silence(connection: socket.socket, request: bytes) -> None:
    connection.settimeout(10)
    connection.recv(1)


def test_a_drop_now_and_then_is_no_answer() -> None:
    began = time.monotonic()
    with server(drip) as url, pytest.raises(UnreachableError, match="does not answer in time"):
        http.get(url, timeout=0.5)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        (silence, "does not answer in time"),
        (says(b""), "closed the connection without an answer in HTTP"),
        (says(b"SSH-2.0-OpenSSH_9\r\n"), "closed the connection without an answer in HTTP"),
        (says(b"\x16\x03\x01" * 30_000), "closed the connection without an answer in HTTP"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"),
         "closed the connection without an answer in HTTP"),
    ],
)  # fmt: skip
def test_what_is_no_answer(talk: Talk, sentence: str) -> None:
    with server(talk) as url, pytest.raises(UnreachableError) as caught:
        http.get(url, timeout=0.5)
    assert caught.value.message == f"{url} {sentence}"
    assert caught.value.exit_code == 4


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"Nothing listens at http://127.0.0.1:{port}"):
        http.get(f"http://127.0.0.1:{port}")


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        http.get("http://no-such-name.invalid/")


def test_no_proxy_of_the_environment_sees_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        assert http.get(url, Credentials("a", Secret("b"))).status == 200

"""The access log of the lock: its lines are those of the proxy, and no password is in one."""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow_console_server import accesslog
from mlflow_console_server.accesslog import AccessLog, escape
from mlflow_console_server.credentials import UserFile, Verifier
from mlflow_console_server.lock import Lock, Message, Receive, Scope, Send
from passlib.hash import bcrypt

from console.core.users import access_log
from tests.server.conftest import Server

PASSWORD = "ge:heim-and-long"


def basic(name: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


class Inner:
    """Reads the body and answers; "/boom" fails, "/gone" answers nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/boom":
            raise RuntimeError("boom")
        if scope["path"] == "/gone" or scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b"y" * 500})


class Locked:
    """A lock with a log that is written when it is looked at."""

    def __init__(self, folder: Path, **more: Any) -> None:
        user_file = folder / "htpasswd"
        user_file.write_text(f"älice:{bcrypt.using(rounds=4).hash(PASSWORD)}\n", encoding="utf-8")
        self.path = folder / "access.log"
        self.log = AccessLog(self.path, **more)
        self.lock = Lock(Inner(), Verifier(UserFile(user_file)), self.log)

    async def ask(
        self, path: str, authorization: bytes = basic("älice", PASSWORD), **more: Any
    ) -> None:
        headers = [(b"authorization", authorization), (b"host", b"MLflow.lab:5000"),
                   (b"user-agent", b"mlflow-python-client/3.17.2")]  # fmt: skip
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers,
                 "client": ("10.0.0.7", 4711), "query_string": b"", **more}  # fmt: skip
        parts = [b"1" * 300, b"2" * 200]

        async def receive() -> Message:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            pass

        await self.lock(scope, receive, send)

    def lines(self) -> list[access_log.Request]:
        self.log.flush()
        read = [access_log.tabs(line) for line in self.path.read_bytes().splitlines()]
        assert None not in read
        return [each for each in read if each]


async def test_a_line_is_what_the_proxy_would_write(tmp_path: Path) -> None:
    locked = Locked(tmp_path)
    await locked.ask("/api/x", raw_path=b"/api/x", query_string=b"run_id=1")
    [line] = locked.lines()
    assert (line.status, line.method, line.host) == (b"201", b"POST", b"mlflow.lab")
    assert (line.address, line.user) == (b"10.0.0.7", b"\\xC3\\xA4lice")
    assert access_log.unescape(line.user) == "älice"
    assert (line.path, line.client) == (b"/api/x?run_id=1", b"mlflow-python-client/3.17.2")
    assert abs(float(line.at) - time.time()) < 5
    assert 0.02 <= float(line.upstream) <= float(line.seconds) < 5
    assert 500 < int(line.received) < 800
    assert 1500 < int(line.sent) < 1600
    assert locked.path.stat().st_mode & 0o777 == 0o600


async def test_refused_failed_and_left(tmp_path: Path) -> None:
    locked = Locked(tmp_path)
    await locked.ask("/", basic("älice", "wrong"))
    await locked.ask("/", basic('new\nline\tand "quotes"', "x"))
    await locked.ask("/", b"Bearer token")
    with pytest.raises(RuntimeError):
        await locked.ask("/boom")
    await locked.ask("/gone")
    wrong, odd, bearer, boom, gone = locked.lines()
    assert (wrong.status, wrong.user, wrong.upstream) == (b"401", b"\\xC3\\xA4lice", b"-")
    assert access_log.unescape(odd.user) == 'new\nline\tand "quotes"'
    assert (bearer.status, bearer.user) == (b"401", b"-")
    assert (boom.status, gone.status) == (b"500", b"499")
    text = locked.path.read_text()
    for secret in (PASSWORD, "wrong", "Bearer", "token", basic("älice", PASSWORD).decode()):
        assert secret not in text


@given(st.binary(max_size=30))
def test_no_field_breaks_the_format(field: bytes) -> None:
    escaped = escape(field)
    assert escaped
    assert escaped.isascii()
    assert escaped.decode().isprintable()
    assert access_log.unescape(escaped) == (field or b"-").decode("utf-8", "backslashreplace")


def test_it_is_written_every_second_and_turned_over(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log", file_bytes=1000, every=0.02)
    for number in range(30):
        log.add(b"%d" % number * 60)
        deadline = time.monotonic() + 10
        while log._lines and time.monotonic() < deadline:
            time.sleep(0.005)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"access.log", "access.log.1", "access.log.2"} <= names
    assert len(names) <= 5


def test_lines_of_many_threads_are_all_there(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log", every=0.001)

    def work(who: int) -> None:
        for number in range(2000):
            log.add(b"%d %d" % (who, number))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    assert len(set((tmp_path / "access.log").read_bytes().splitlines())) == 8000


def test_a_disk_that_cannot_be_written_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accesslog, "MOST_WAITING", 10)
    (tmp_path / "access.log").mkdir()
    log = AccessLog(tmp_path / "access.log", every=60)
    for _ in range(2):
        for _ in range(30):
            log.add(b"x")
        log.flush()
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "access.log").rmdir()
    log.add(b"there is room")
    log.flush()
    assert (tmp_path / "access.log").read_bytes() == b"there is room\n"
    assert "60 lines of the access log were lost" in caplog.text


async def test_the_loop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    locked = Locked(tmp_path)
    os.mkfifo(locked.path)  # opening it for writing waits for a reader, as a hanging disk would
    await locked.ask("/")
    await asyncio.wait_for(locked.ask("/"), 5)
    reader = os.open(locked.path, os.O_RDONLY | os.O_NONBLOCK)
    os.close(reader)


@pytest.mark.e2e
def test_a_real_server_writes_it(server: Server) -> None:
    log = server.directory / "logs" / "access.log"
    token = base64.b64encode(b"alice:geheim").decode()
    wrong = base64.b64encode(b"alice:not-this").decode()
    port = server.port
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0&by=this-test"
    for each in (token, wrong):
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Basic {each}"}
        asking.request("GET", path, headers=headers)
        assert asking.getresponse().status == (200 if each == token else 401)
        asking.close()
    deadline = time.monotonic() + 20
    found: list[access_log.Request] = []
    while time.monotonic() < deadline and len(found) < 2:
        lines = log.read_bytes().splitlines() if log.exists() else []
        read = [access_log.tabs(line) for line in lines]
        assert None not in read
        found = [each for each in read if each and each.path == path.encode()]
        time.sleep(0.1)
    # The line of an answer comes when all of it is sent, which the client does not wait for.
    refused, right = sorted(found[-2:], key=lambda each: each.status, reverse=True)
    assert (right.status, right.user, right.address) == (b"200", b"alice", b"127.0.0.1")
    assert float(right.upstream) > 0
    assert (refused.status, refused.user, refused.upstream) == (b"401", b"alice", b"-")
    assert b"not-this" not in log.read_bytes()

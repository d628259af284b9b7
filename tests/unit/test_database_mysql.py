"""What answers where MySQL should; a real one is in tests/contract/test_database.py."""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.database import mysql
from console.core.database.mysql import MysqlDatabase
from console.core.errors import ConsoleError, UnreachableError
from console.core.secrets import Secret
from console.core.stack.places import MysqlServer

PASSWORD = "do not show mé €"


def database(port: int) -> MysqlDatabase:
    return MysqlDatabase(MysqlServer("127.0.0.1", port, "mlflow", "me", Secret(PASSWORD)))


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[MysqlDatabase]:
    """Whoever connects is sent this and then the end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield database(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def packet(payload: bytes, number: int = 0) -> bytes:
    """The frame that MySQL puts around everything."""
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def failure(code: int, text: bytes) -> bytes:
    return packet(b"\xff" + code.to_bytes(2, "little") + b"#HY000" + text)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>" + b"x" * 5000, "is no MySQL server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n" * 3, "is no MySQL server|broke off|does not run"),
        (b"", "broke off"),
        (
            failure(1040, b"Too many connections"),
            r"no connection left \(Too many connections, 1040",
        ),
        (failure(1053, b"Server shutdown in progress"), "broke off"),
        (failure(9999, b"\x1b[2Jnobody knows\n"), r"cannot be read \(nobody knows↵, 9999\)"),
    ],
)
def test_every_answer_is_a_sentence(answer: bytes, message: str) -> None:
    with server(answer) as other, pytest.raises(ConsoleError, match=message) as caught:
        other.roots()
    assert "do not show" not in "".join(traceback.format_exception(caught.value))
    assert "\x1b" not in caught.value.message


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(packet)))
def test_any_bytes_are_a_sentence(answer: bytes) -> None:
    with server(answer) as other, pytest.raises(ConsoleError):
        other.roots()


def test_nothing_listens() -> None:
    with server(b"") as other:
        pass
    with pytest.raises(UnreachableError, match="nothing answers there") as caught:
        other.roots()
    assert "mlflow-console status" in caught.value.hint


def test_a_name_that_nobody_knows() -> None:
    unknown = MysqlServer("there-is.invalid", 3306, "mlflow", "me", Secret(PASSWORD))
    with pytest.raises(UnreachableError):
        MysqlDatabase(unknown).roots()


def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "READ_SECONDS", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(UnreachableError, match="does not answer in time"),
    ):
        database(listener.getsockname()[1]).roots()

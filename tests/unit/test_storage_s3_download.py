"""Objects from a server that misbehaves; from a real one: tests/contract/test_store.py."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import time_machine
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from console.core.errors import AccessError, ConsoleError, DiskFullError, UnreachableError
from console.core.secrets import Secret
from console.core.stack.places import Bucket
from console.core.storage import s3_client, s3_download, s3_fetch
from console.core.storage.s3 import S3Store
from console.core.storage.s3_signing import Signer
from console.core.storage.store import GONE, Fetched, Item
from tests.support.certificates import certificate
from tests.support.s3_answers import page

BIG = bytes(range(256)) * 40_000  # more than is read at once
WHEN = "Wed, 25 Nov 2026 01:09:35 GMT"

Answer = Callable[[int, str], bytes]


def http(body: bytes, status: str = "200 OK", more: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f'HTTP/1.1 {status}\r\nContent-Length: {size}\r\nETag: "m"\r\n'
    return f"{head}Last-Modified: {WHEN}\r\n{more}\r\n".encode() + body


def failure(code: str, status: str) -> bytes:
    return http(f"<Error><Code>{code}</Code><Message>why</Message></Error>".encode(), status)


class Server:
    """Answers what `answer` makes of a request's number and head; hangs up after b""."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.seen: list[str] = []
        self.connections = 0
        self.store = S3Store(Bucket(
            f"http://127.0.0.1:{self._listener.getsockname()[1]}", "data", "", "key", Secret("s")
        ))  # fmt: skip
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                with self._lock:
                    self.seen.append(head.decode("latin-1"))
                    number = len(self.seen)
                said = self._answer(number, head.decode("latin-1"))
                if not said:
                    return
                connection.sendall(said)
                if said.endswith(b"CUT"):
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def always(said: bytes) -> contextlib.AbstractContextManager[Server]:
    return serving(lambda _number, head: http(page([])) if "list-type" in head else said)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a server of a test."""
    monkeypatch.setattr(s3_client, "BACKOFF_SECONDS", 0.01)


def item(key: str = "key", size: int = 4) -> Item:
    return Item(key, size, 5, "m")


def fetch(store: S3Store, folder: Path, *items: Item) -> list[Fetched]:
    shutil.rmtree(folder / "to", ignore_errors=True)
    wanted = [(each, folder / f"to/{number}") for number, each in enumerate(items or (item(),))]
    batches = store.fetch(wanted, folder / "parts", threading.Event())
    found = [each for batch in batches for each in batch]
    assert len(found) == len(wanted)
    assert not list((folder / "parts").iterdir())
    return found


def test_one_connection_takes_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_fetch, "SMALL_CONNECTIONS", 1)
    monkeypatch.setattr(s3_fetch, "SMALL_THREADS", ("one",))
    with always(http(b"data")) as server:
        found = fetch(server.store, tmp_path, *(item(f"{number}") for number in range(20)))
        assert server.connections == 2, "one to learn where it is"
    assert [each.path.read_bytes() for each in found] == [b"data"] * 20


@pytest.mark.parametrize("large", [False, True])
def test_an_answer_that_is_cut_off_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(s3_fetch, "LARGE", 1 if large else 1 << 40)
    data = BIG[:3_000_000] + b"CUT" + BIG

    def answer(_number: int, head: str) -> bytes:
        found = re.search(r"\r\nRange: bytes=(\d+)-\r\nIf-Match: \"m\"", head)
        if not found:
            return http(data[:3_000_003], length=len(data))
        return http(data[int(found[1]) :], "206 Partial Content")

    with serving(answer) as server:
        (found,) = fetch(server.store, tmp_path, item(size=len(data)))
        assert len(server.seen) == 2
    assert (found.error, found.sha256) == ("", hashlib.sha256(data).hexdigest())
    assert found.path.read_bytes() == data


def test_what_changed_before_it_is_gone_on_with_is_begun_anew(tmp_path: Path) -> None:
    new = BIG[::-1]

    def answer(number: int, head: str) -> bytes:
        if "Range" in head:
            return failure("PreconditionFailed", "412 Precondition Failed")
        return http(BIG[:999], length=len(BIG)) + b"CUT" if number == 1 else http(new)

    with serving(answer) as server:
        (found,) = fetch(server.store, tmp_path, item(size=len(BIG)))
    assert found.path.read_bytes() == new
    assert found.sha256 == hashlib.sha256(new).hexdigest()


def test_a_server_that_knows_no_ranges(tmp_path: Path) -> None:
    def answer(number: int, _head: str) -> bytes:
        return http(BIG[:999], length=len(BIG)) + b"CUT" if number == 1 else http(BIG)

    with serving(answer) as server:
        (found,) = fetch(server.store, tmp_path, item(size=len(BIG)))
    assert found.path.read_bytes() == BIG


def test_connections_that_the_server_closes_are_made_again(tmp_path: Path) -> None:
    with always(http(b"data", more="Connection: close\r\n")) as server:
        found = fetch(server.store, tmp_path, *(item(f"{number}") for number in range(99)))
    assert {each.error for each in found} == {""}
    with serving(lambda number, _: http(b"data") if number % 3 else b"") as server:
        found = fetch(server.store, tmp_path, *(item(f"{n}") for n in range(99)))
    assert {each.error for each in found} == {""}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (failure("NoSuchKey", "404 Not Found"), GONE),
        (failure("AccessDenied", "403 Forbidden"), "AccessDenied"),
        (failure("InvalidObjectState", "403 Forbidden"), "InvalidObjectState"),
        (failure("InternalError", "500 Internal Server Error"), "InternalError"),
        (http(b"dat", length=4) + b"CUT", "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\nCUT", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n", "no HTTP"),
        (http(b"data and more", length=4), "no HTTP"),
    ],
)
def test_what_cannot_be_read_is_told_when_the_store_works(
    tmp_path: Path, said: bytes, why: str
) -> None:
    with always(said) as server:
        (found,) = fetch(server.store, tmp_path)
    assert why in found.error
    assert (found.item, found.sha256) == (item(), "")
    assert not found.path.exists()


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (failure("NoSuchBucket", "404 Not Found"), ConsoleError, "lost its bucket"),
        (failure("SignatureDoesNotMatch", "403 Forbidden"), AccessError, "accept the access key"),
        (failure("RequestTimeTooSkewed", "403 Forbidden"), ConsoleError, "clocks"),
        (http(b"<html>", "404 Not Found"), ConsoleError, "as an S3 server does"),
        (http(b"", "307 Temporary Redirect"), ConsoleError, "307"),
    ],
)
def test_what_is_wrong_with_the_store_is_an_error(
    tmp_path: Path, said: bytes, kind: type[ConsoleError], message: str
) -> None:
    with always(said) as server, pytest.raises(kind, match=message):
        fetch(server.store, tmp_path)


def test_a_store_that_reads_nothing_any_more_is_given_up(tmp_path: Path) -> None:
    busy = failure("SlowDown", "503 Slow Down")
    with always(busy) as server, pytest.raises(UnreachableError, match="SlowDown"):
        fetch(server.store, tmp_path, *(item(f"{number}") for number in range(200)))
    with serving(lambda *_: busy) as server, pytest.raises(UnreachableError, match="SlowDown"):
        fetch(server.store, tmp_path)


def test_an_overloaded_store_is_asked_again(tmp_path: Path) -> None:
    busy = failure("SlowDown", "503 Slow Down")
    with serving(lambda number, _: http(b"data") if number > 3 else busy) as server:
        (found,) = fetch(server.store, tmp_path)
    assert found.error == ""


def test_nothing_listens(tmp_path: Path) -> None:
    with always(b"") as server:
        pass
    with pytest.raises(UnreachableError, match="nothing listens"):
        fetch(server.store, tmp_path)


def test_a_server_without_tls_at_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with always(http(b"data")) as server:
        endpoint = server.store._bucket.endpoint.replace("http:", "https:")
        store = S3Store(Bucket(endpoint, "data", "", "key", Secret("s")))
        monkeypatch.setattr(s3_client, "CONNECT_SECONDS", 0.5)
        with pytest.raises(UnreachableError):
            fetch(store, tmp_path)


def test_a_silent_server_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_download, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(s3_download, "RETRIES", 1)
    waiting = threading.Event()

    def answer(_number: int, head: str) -> bytes:
        if "list-type" in head:
            return http(page([]))
        waiting.wait(20)
        return b""

    with serving(answer) as server:
        (found,) = fetch(server.store, tmp_path)
        waiting.set()
    assert "not answer in time" in found.error


def test_cancelling_does_not_wait_for_the_server(tmp_path: Path) -> None:
    waiting, cancel = threading.Event(), threading.Event()

    def answer(_number: int, _head: str) -> bytes:
        waiting.wait(20)
        return b""

    with serving(answer) as server:
        threading.Timer(0.2, cancel.set).start()
        began = time.monotonic()
        wanted = [(item(), tmp_path / "x")]
        assert list(server.store.fetch(wanted, tmp_path / "parts", cancel)) == []
        assert time.monotonic() - began < 5
        waiting.set()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    with always(http(b"data")) as server:
        monkeypatch.setattr("os.write", refuse)
        with pytest.raises(DiskFullError, match="full"):
            fetch(server.store, tmp_path)


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    with always(http(b"data")) as server:
        wanted = [(item(), tmp_path / ("x" * 300)), (item("other"), tmp_path / "other")]
        batches = server.store.fetch(wanted, tmp_path / "parts", threading.Event())
        found = {each.item.key: each for batch in batches for each in batch}
    assert "name" in found["key"].error
    assert found["other"].path.read_bytes() == b"data"


def test_objects_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, private = certificate("localhost", 1)
    (tmp_path / "both").write_bytes(public + private)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "both"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both")
    plain = Server._serve
    monkeypatch.setattr(
        Server, "_serve",
        lambda self, each: plain(
            self, context.wrap_socket(each, server_side=True, do_handshake_on_connect=False)
        ),
    )  # fmt: skip
    with always(http(BIG)) as server:
        endpoint = server.store._bucket.endpoint.replace("http://127.0.0.1", "https://localhost")
        store = S3Store(Bucket(endpoint, "data", "", "key", Secret("s")))
        found = fetch(store, tmp_path, *(item(f"{n}", size=len(BIG)) for n in range(5)))
    assert all(each.path.read_bytes() == BIG for each in found)


@pytest.mark.parametrize("prefix", ["", "a b/ö"])
@pytest.mark.parametrize("key", ["x", "a b/c+d", "ä😀", "a%20b", "\udcff", "~-_.!*'()"])
@time_machine.travel(datetime(2026, 11, 25, 1, 9, 35, tzinfo=UTC), tick=False)
def test_a_request_is_signed_as_the_client_of_minio_does(prefix: str, key: str) -> None:
    bucket = Bucket("http://127.0.0.1:9000", "data", prefix, "key", Secret("secret"), "eu-north-1")
    request = Signer(bucket).get(key).decode()
    first, *lines = request.rstrip("\r\n").split("\r\n")
    said = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    nothing = hashlib.sha256(b"").hexdigest()
    headers: dict[str, str | list[str] | tuple[str]] = {
        "Host": "127.0.0.1:9000", "x-amz-date": "20261125T010935Z",
        "x-amz-content-sha256": nothing,
    }  # fmt: skip
    sign_v4_s3(
        method="GET", url=urlsplit(f"http://127.0.0.1:9000{first.split()[1]}"),
        region="eu-north-1", headers=headers, credentials=Credentials("key", "secret"),
        content_sha256=nothing, date=datetime.now(UTC),
    )  # fmt: skip
    assert said == {name.lower(): str(value) for name, value in headers.items()}

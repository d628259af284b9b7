"""A bucket whose server misbehaves; how a real one answers is in tests/contract/test_store.py."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from console.core.errors import AccessError, ConsoleError, UnreachableError
from console.core.secrets import Secret
from console.core.stack.places import Bucket
from console.core.storage import s3, s3_client
from console.core.storage.s3 import S3Store
from console.core.storage.usage import Amount
from tests.support.s3_answers import page, uploads_page

SECRET = "do-not-show-me"


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


def failure(code: str, status: str) -> bytes:
    return http(f"<Error><Code>{code}</Code><Message>why</Message></Error>".encode(), status)


def store(endpoint: str, prefix: str = "", access_key: str = "key") -> S3Store:
    return S3Store(Bucket(endpoint, "data", prefix, access_key, Secret(SECRET)))


@contextlib.contextmanager
def server(answer: Callable[[int, str], bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server that sends what `answer` makes of a request's number and target, then hangs up."""
    seen: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                request = connection.recv(65536).decode("latin-1")
                seen.append(request.partition(" ")[2].partition(" ")[0])
                connection.sendall(answer(len(seen), seen[-1]))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def always(answer: bytes) -> contextlib.AbstractContextManager[tuple[str, list[str]]]:
    """A server that has one answer for everything."""
    return server(lambda _number, _target: answer)


def keys(found: S3Store) -> list[str]:
    return [key for batch in found.walk(threading.Event()) for key, _ in batch]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a server of a test."""
    monkeypatch.setattr(s3, "PAGE_SECONDS", 0.5)
    monkeypatch.setattr(s3_client, "BACKOFF_SECONDS", 0.01)


def test_pages_follow_each_other() -> None:
    def answer(number: int, _target: str) -> bytes:
        return http(page([(str(number), 1)], token=f"t{number}&=" if number < 3 else ""))

    with server(answer) as (endpoint, seen):
        assert keys(store(endpoint)) == ["1", "2", "3"]
    tokens = [target.partition("continuation-token=")[2] for target in seen]
    assert tokens == ["", "t1%26%3D", "t2%26%3D"]
    assert all(target.startswith("/data?list-type=2&encoding-type=url") for target in seen)


def test_a_folder_is_asked_for_and_left_out() -> None:
    with always(http(page([("a b/c/x", 1)]))) as (endpoint, seen):
        assert keys(store(endpoint, "a b/c")) == ["x"]
    assert "&prefix=a%20b%2Fc%2F" in seen[0]
    assert store("http://x", "a b/c").base == "s3://data/a b/c"
    assert store("http://x").base == "s3://data"


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (failure("NoSuchBucket", "404 Not Found"), ConsoleError, "has lost its bucket data"),
        (failure("SignatureDoesNotMatch", "403 Forbidden"), AccessError, "accept the access key"),
        (failure("InvalidAccessKeyId", "403 Forbidden"), AccessError, "accept the access key key"),
        (failure("AccessDenied", "403 Forbidden"), AccessError, "let the access key key read"),
        (failure("RequestTimeTooSkewed", "403 Forbidden"), ConsoleError, "clocks"),
        (failure("InvalidArgument", "400 Bad Request"), ConsoleError, "400 InvalidArgument: why"),
        (http(b"<html>", "403 Forbidden"), AccessError, "HTTP 403"),
        (http(b"<html>", "404 Not Found"), ConsoleError, "not answer as an S3 server does"),
        (http(b"<html>"), ConsoleError, "no ListBucketResult"),
        (http(b"", "307 Temporary Redirect"), ConsoleError, "HTTP 307"),
        (failure("SlowDown", "503 Slow Down"), UnreachableError, "503 SlowDown"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnreachableError, "speaks no HTTP"),
        (b"", UnreachableError, "broke off"),
        (http(page([("a", 1)]), length=9999), UnreachableError, "broke off in the middle"),
        (http(page([("a", 1)])[:-30]), ConsoleError, "its end is missing"),
    ],
)  # fmt: skip
def test_every_failure_is_a_sentence(answer: bytes, kind: type[ConsoleError], message: str) -> None:
    with always(answer) as (endpoint, _):
        for call in (store(endpoint).check, lambda: keys(store(endpoint))):
            with pytest.raises(kind, match=message) as caught:
                call()
            assert type(caught.value) is kind
            assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_nothing_listens() -> None:
    with always(b"") as (endpoint, _):
        pass
    with pytest.raises(UnreachableError, match="nothing listens"):
        store(endpoint).check()
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        store("http://there-is.invalid:9000").check()


def test_a_server_without_tls_at_https() -> None:
    with always(http(page([]))) as (endpoint, _), pytest.raises(UnreachableError, match="TLS"):
        store(endpoint.replace("http:", "https:")).check()


def test_without_keys_nobody_is_asked() -> None:
    with (
        always(http(page([]))) as (endpoint, seen),
        pytest.raises(AccessError, match="no key"),
    ):
        store(endpoint, access_key="").check()
    assert seen == []


def test_an_overloaded_server_is_asked_again() -> None:
    def answer(number: int, _target: str) -> bytes:
        # MinIO says a minute, but a person is waiting.
        busy = failure("SlowDown", "503 Slow Down\r\nRetry-After: 60")
        return http(page([("a", 1)])) if number == 4 else busy

    began = time.monotonic()
    with server(answer) as (endpoint, seen):
        assert keys(store(endpoint)) == ["a"]
        assert len(seen) == 4
    assert time.monotonic() - began < 30
    with server(answer) as (endpoint, seen), pytest.raises(UnreachableError):
        store(endpoint).check()
    assert len(seen) == 1, "a check is quick"


def test_a_connection_that_is_dropped_is_made_again() -> None:
    with server(lambda number, _: http(page([("a", 1)])) if number == 2 else b"") as (endpoint, _):
        assert keys(store(endpoint)) == ["a"]


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = store(f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="not answer in time"):
            keys(silent)
        assert time.monotonic() - began < 5


def test_a_server_that_sends_a_byte_now_and_then() -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(http(b"", length=10**6))
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        dripping = store(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(UnreachableError, match="not answer in time"):
            keys(dripping)


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "LARGEST_ANSWER", 1000)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000
    with always(endless) as (endpoint, _), pytest.raises(ConsoleError, match="without an end"):
        keys(store(endpoint))


def test_a_listing_in_circles() -> None:
    with (
        always(http(page([("a", 1)], token="same"))) as (endpoint, seen),
        pytest.raises(ConsoleError, match="circles"),
    ):
        keys(store(endpoint))
    assert len(seen) == 2


def test_cancelling_does_not_wait_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE_SECONDS", 20.0)
    cancel = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = store(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for call in (lambda: list(silent.walk(cancel)), lambda: [silent.incomplete(cancel)]):
            cancel.clear()
            threading.Timer(0.2, cancel.set).start()
            began = time.monotonic()
            assert call() in ([], [Amount()])
            assert 0.1 < time.monotonic() - began < 2
    assert silent.problems == []


def test_cancelling_between_pages_asks_for_no_more() -> None:
    cancel = threading.Event()
    with server(lambda n, _: http(page([("a", 1)], token=f"t{n}"))) as (endpoint, seen):
        for _ in store(endpoint).walk(cancel):
            cancel.set()
        assert len(seen) == 1


def parts(*sizes: int, marker: str = "") -> bytes:
    items = "".join(f"<Part><Size>{size}</Size></Part>" for size in sizes)
    return http(
        f"<ListPartsResult><IsTruncated>{str(bool(marker)).lower()}</IsTruncated>"
        f"<NextPartNumberMarker>{marker}</NextPartNumberMarker>{items}</ListPartsResult>".encode()
    )


def test_incomplete_uploads_of_the_folder_are_counted() -> None:
    def answer(_number: int, target: str) -> bytes:
        if "key-marker" in target:
            return http(uploads_page(["in/ä b", "elsewhere"], truncated=False))
        if "uploads=" in target:
            return http(uploads_page(["in/1", "in/gone"], truncated=True))
        if "/in/gone" in target:
            return failure("NoSuchUpload", "404 Not Found")
        if "/in/1" in target:
            return parts(3, 4, marker="2") if "marker=0" in target else parts(5)
        return parts(100)

    with server(answer) as (endpoint, seen):
        found = store(endpoint, "in")
        assert found.incomplete(threading.Event()) == Amount(112, 3)
        assert found.problems == []
    assert any(target.startswith("/data/in/%C3%A4%20b?uploadId=id%260&") for target in seen)
    assert not any("elsewhere" in target for target in seen)


def test_there_is_an_end_to_counting_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_UPLOADS", 2)

    def answer(_number: int, target: str) -> bytes:
        if "uploads=" in target:
            return http(uploads_page(["1", "2", "3"], truncated=False))
        return parts(7)

    with server(answer) as (endpoint, _):
        found = store(endpoint)
        assert found.incomplete(threading.Event()) == Amount(14, 2)
    assert found.problems == ["There are more than 2 incomplete uploads; so many were counted"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (failure("NotImplemented", "501 Not Implemented"), "501 NotImplemented"),
        (failure("AccessDenied", "403 Forbidden"), "AccessDenied"),
        (http(uploads_page([], truncated=True)), "circles"),
    ],
)
def test_uploads_that_cannot_be_asked_for_are_a_problem(answer: bytes, why: str) -> None:
    with always(answer) as (endpoint, _):
        found = store(endpoint)
        assert found.incomplete(threading.Event()) == Amount()
    (problem,) = found.problems
    assert problem.startswith("Incomplete uploads could not be counted: ")
    assert why in problem


def test_nothing_is_known_of_free_room() -> None:
    assert store("http://x").free_bytes() is None

"""Signed requests to one bucket, bounded in time and size, and their failures as sentences.

The minio client has all of this, but not at the server's speed: it reads every listing with an
XML parser. Its signer is used, its requests are not.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from console.core.errors import AccessError, CancelledError, ConsoleError
from console.core.stack.places import Bucket
from console.core.storage import s3_answers, s3_failures

if TYPE_CHECKING:
    import urllib3

T = TypeVar("T")

CONNECT_SECONDS = 5.0
BACKOFF_SECONDS = 0.5  # a server that is overloaded is left alone for 0, 1, 2 and 4 seconds
LARGEST_ANSWER = 16_000_000  # a thousand of the longest keys, percent-encoded, take four
PIECE = 1 << 18
POLL_SECONDS = 0.05
_NOTHING = hashlib.sha256(b"").hexdigest()


class S3Client:
    """Asks one bucket, one question at a time.

    Args:
        bucket: Where it is, and the keys for it.
        timeout: Seconds until an answer must begin, and as many again until it must end.
        retries: How often a server that is overloaded is asked again.
    """

    def __init__(self, bucket: Bucket, timeout: float, retries: int) -> None:
        from urllib3 import PoolManager, Retry, Timeout  # noqa: PLC0415  # first use

        self._bucket = bucket
        self._endpoint = bucket.endpoint.rstrip("/")
        self._timeout = timeout
        self.date = ""
        """When the last answer was given by the store's clock, as HTTP writes it."""
        again = Retry(
            total=None, connect=0, read=min(retries, 1), redirect=0, other=0, status=retries,
            status_forcelist=s3_failures.OVERLOADED, raise_on_status=False,
            backoff_factor=BACKOFF_SECONDS,
            # MinIO always says a minute, and a person is waiting.
            respect_retry_after_header=False,
        )  # fmt: skip
        self._pool = PoolManager(
            retries=again, timeout=Timeout(connect=min(CONNECT_SECONDS, timeout), read=timeout)
        )

    def close(self) -> None:
        """Drop the connections."""
        self._pool.clear()

    def get(
        self, query: Mapping[str, str], key: str = "", *, gone: str = "",
        cancel: threading.Event | None = None,
    ) -> bytes:  # fmt: skip
        """Ask once.

        Args:
            query: Of the request, not yet encoded.
            key: Of an object; "" asks the bucket.
            gone: An error's code that is an empty answer and no failure.
            cancel: Ends the waiting at any moment.

        Raises:
            UnreachableError: The store does not answer, not in time, or is overloaded.
            AccessError: It does not accept the keys.
            CancelledError: `cancel` was set.
            ConsoleError: It answers with another error, for instance that the bucket is lost.
        """
        if cancel is None:
            return self._get(query, key, gone)
        return abandonable(lambda: self._get(query, key, gone), cancel)

    def _get(self, query: Mapping[str, str], key: str, gone: str) -> bytes:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  # first use

        path = _quoted(f"{self._bucket.name}/{key}" if key else self._bucket.name, safe="/")
        pairs = "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
        url = f"{self._endpoint}/{path}?{pairs}"
        try:
            response = self._pool.request(
                "GET", url, headers=self._signed(url), redirect=False, preload_content=False
            )
            body = self._body(response)
        except HTTPError as error:
            raise s3_failures.unreachable(self._bucket, error) from error
        self.date = response.headers.get("Date", "")
        if response.status == 200:
            return body
        code, message = s3_answers.failure(body)
        if gone and code == gone:
            return b""
        raise s3_failures.refused(self._bucket, response.status, code, message)

    def _signed(self, url: str) -> dict[str, str]:
        """The headers of a GET, signed (AWS Signature Version 4)."""
        from minio.credentials.credentials import Credentials  # noqa: PLC0415  # first use
        from minio.signer import sign_v4_s3  # noqa: PLC0415  # as above

        if not (self._bucket.access_key and self._bucket.secret_key.reveal()):
            raise AccessError("There is no key for the artifact store, so it cannot be asked")
        now, parts = datetime.now(UTC), urlsplit(url)
        headers: dict[str, str | list[str] | tuple[str]] = {
            "Host": parts.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": _NOTHING,
        }
        sign_v4_s3(
            method="GET", url=parts, region=self._bucket.region, headers=headers,
            credentials=Credentials(self._bucket.access_key, self._bucket.secret_key.reveal()),
            content_sha256=_NOTHING, date=now,
        )  # fmt: skip
        return {name: str(value) for name, value in headers.items()}

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """All of it, but neither for ever nor without an end."""
        body = bytearray()
        deadline = time.monotonic() + self._timeout
        while piece := response.read1(PIECE):
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise ConsoleError(f"{s3_failures.store(self._bucket)} answers without an end")
            if time.monotonic() > deadline:
                raise s3_failures.slow(self._bucket)
        response.release_conn()
        return bytes(body)


def _quoted(text: str, safe: str = "") -> str:
    """As a signature wants it: everything but the unreserved characters (RFC 3986, 2.3)."""
    return quote(text, safe=safe, errors="surrogateescape")


def abandonable(work: Callable[[], T], cancel: threading.Event) -> T:
    """Do something that waits for a socket, and leave it behind when `cancel` is set.

    Raises:
        CancelledError: `cancel` was set.
    """
    return awaited(begin(work), cancel)


def begin(work: Callable[[], T]) -> futures.Future[T]:
    """Begin something that waits for a socket.

    Nothing wakes a thread that waits for a socket; its own time-out ends it.
    """
    future: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # whoever waits for it must learn of it
            future.set_exception(error)

    threading.Thread(target=run, name="s3", daemon=True).start()
    return future


def awaited(future: futures.Future[T], cancel: threading.Event) -> T:
    """Wait for what was begun, or leave it behind when `cancel` is set.

    Raises:
        CancelledError: `cancel` was set.
    """
    while not futures.wait((future,), POLL_SECONDS).done:
        if cancel.is_set():
            raise CancelledError("Asking the artifact store was cancelled")
    return future.result()

"""The door to HTTP: one request, one answer, bounded in time and size."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.core.errors import UnreachableError
from console.core.secrets import Secret

if TYPE_CHECKING:
    import urllib3

LARGEST_ANSWER = 1_000_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password for HTTP Basic authentication (RFC 7617)."""

    name: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: The HTTP status.
        headers: With lower-case names.
        body: At most a megabyte of it.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def get(
    url: str, credentials: Credentials | None = None, timeout: float = 5.0, host: str | None = None
) -> Answer:
    """Ask once; no redirect is followed and nothing is tried again.

    Args:
        url: With scheme; never with a password in it.
        credentials: For HTTP Basic.
        timeout: Seconds for connecting, for each read, and for the whole body.
        host: Another name for the Host header than the URL's.

    Raises:
        UnreachableError: Nothing listens there, it does not answer in time, or not in HTTP.
    """
    import urllib3  # noqa: PLC0415  # first use, not start-up
    from urllib3.util import Retry, Timeout, make_headers  # noqa: PLC0415  # as above

    headers = {"User-Agent": "mlflow-console"} | ({"Host": host} if host else {})
    if credentials:
        pair = f"{credentials.name}:{credentials.password.reveal()}"
        # Latin-1 is urllib3's default; MLflow's own client and browsers send UTF-8.
        headers |= make_headers(basic_auth=pair.encode().decode("latin-1"))
    with urllib3.PoolManager(retries=Retry(False), timeout=Timeout(timeout)) as pool:
        try:
            response = pool.request(
                "GET", url, headers=headers, redirect=False, preload_content=False
            )
            body = _body(response, url, time.monotonic() + timeout)
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(_sentence(url, error)) from error
    return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, body)


def _body(response: urllib3.BaseHTTPResponse, url: str, deadline: float) -> bytes:
    """At most a megabyte, even from a server that sends a byte now and then for ever."""
    body = b""
    while len(body) < LARGEST_ANSWER:
        piece = response.read1(LARGEST_ANSWER - len(body))
        if not piece:
            break
        body += piece
        if time.monotonic() > deadline:
            raise UnreachableError(f"{url} does not answer in time")
    return body


def _sentence(url: str, error: Exception) -> str:
    import urllib3  # noqa: PLC0415  # already imported by the caller

    match error:
        case urllib3.exceptions.NameResolutionError():
            return f"The name of {url} cannot be resolved"
        case urllib3.exceptions.NewConnectionError():
            return f"Nothing listens at {url}"
        case urllib3.exceptions.TimeoutError():
            return f"{url} does not answer in time"
        case urllib3.exceptions.ProtocolError():
            return f"{url} closed the connection without an answer in HTTP"
    return f"{url} cannot be reached ({type(error).__name__})"

"""Sentences for what can be wrong with a bucket."""

from __future__ import annotations

import socket
import ssl

from console.core.errors import AccessError, ConsoleError, UnreachableError
from console.core.stack.places import Bucket
from console.core.text import clean

OVERLOADED = (429, 500, 502, 503, 504)
_HINT = "`mlflow-console status` shows whether the store runs."
_NO_NAME = "has a name that cannot be resolved"
_NO_LISTENER = "does not run: nothing listens there"
_NO_TLS = "has no certificate that is trusted here, or speaks no TLS"
_BROKE_OFF = "broke off in the middle of an answer, or speaks no HTTP"


def store(bucket: Bucket) -> str:
    """What it is called at the beginning of a sentence."""
    return f"The artifact store at {clean(bucket.endpoint)}"


def slow(bucket: Bucket) -> UnreachableError:
    """It takes longer than anybody should wait."""
    return UnreachableError(f"{store(bucket)} does not answer in time", _HINT)


def unreachable(bucket: Bucket, error: Exception) -> UnreachableError:
    """There is no whole answer.

    Args:
        bucket: That was asked.
        error: Of urllib3.
    """
    from urllib3 import exceptions  # noqa: PLC0415  # already imported by the caller

    if isinstance(error, exceptions.MaxRetryError) and error.reason:
        error = error.reason
    match error:
        case exceptions.NameResolutionError():
            what = _NO_NAME
        case exceptions.NewConnectionError():
            what = _NO_LISTENER
        case exceptions.TimeoutError():
            return slow(bucket)
        case exceptions.SSLError():
            what = _NO_TLS
        case exceptions.ProtocolError():
            what = _BROKE_OFF
        case _:
            what = f"cannot be reached ({type(error).__name__})"
    return UnreachableError(f"{store(bucket)} {what}", _HINT)


def lost(bucket: Bucket, error: OSError | None = None) -> UnreachableError:
    """A socket gave no whole answer.

    Args:
        bucket: That was asked.
        error: Of the socket; None when it was closed.
    """
    match error:
        case socket.gaierror():
            what = _NO_NAME
        case TimeoutError():
            return slow(bucket)
        case ssl.SSLError():
            what = _NO_TLS
        case ConnectionRefusedError():
            what = _NO_LISTENER
        case None | ConnectionError():
            what = _BROKE_OFF
        case _:
            what = f"cannot be reached ({error.strerror or error})"
    return UnreachableError(f"{store(bucket)} {what}", _HINT)


def refused(
    bucket: Bucket, status: int, code: str, message: str, what: str = "list"
) -> ConsoleError:
    """There is an answer, but not the one that was asked for.

    Args:
        bucket: That was asked.
        status: Of HTTP.
        code: Of S3; "" when the body had none.
        message: The same in words.
        what: Was to be done with the bucket.
    """
    said = clean(f"{status} {code}: {message}") if code else f"HTTP {status}"
    if code == "NoSuchBucket":
        return ConsoleError(
            f"The artifact store has lost its bucket {bucket.name}",
            "`mlflow-console up` makes it anew, but what it held is gone.",
        )
    if code == "RequestTimeTooSkewed":
        return ConsoleError(
            "The clocks of this machine and of the artifact store differ too much",
            "Let both follow NTP.",
        )
    if status in (401, 403):
        return _forbidden(bucket, code, said)
    if status in OVERLOADED:
        return UnreachableError(
            f"{store(bucket)} is overloaded or not ready ({said})", "Try again in a moment."
        )
    if not code:
        return ConsoleError(
            f"{store(bucket)} does not answer as an S3 server does ({said})",
            "Look whether its address and port are right.",
        )
    return ConsoleError(f"{store(bucket)} cannot {what} the bucket {bucket.name} ({said})")


def _forbidden(bucket: Bucket, code: str, said: str) -> AccessError:
    key = clean(bucket.access_key)
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return AccessError(
            f"{store(bucket)} does not accept the access key {key} ({code})",
            "The store and the deployment must hold the same key: it was changed on one side only.",
        )
    return AccessError(
        f"{store(bucket)} does not let the access key {key} read the bucket {bucket.name} ({said})",
        "Give it the right to list that bucket.",
    )

"""The lock around MLflow's whole ASGI application.

MLflow looks :func:`create_app` up in the entry points ``mlflow.app`` when it is started as
``mlflow server --app-name mlflow-console``. The lock stands outside of everything: a Flask
``before_request`` would leave the routes open that MLflow serves natively (artifacts among them).
It speaks HTTP Basic (RFC 7617) with the challenge's ``charset="UTF-8"``.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import logging
import os
import posixpath
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflow_console_server.accesslog import ACCESS_LOG_VARIABLE, AccessLog, Exchange
from mlflow_console_server.attempts import Attempts
from mlflow_console_server.credentials import (
    BusyError,
    Credentials,
    UserFile,
    UserFileError,
    Verifier,
    matches,
)

#: Names the htpasswd file.
USER_FILE_VARIABLE = "MLFLOW_CONSOLE_HTPASSWD"

#: The challenge of a 401 (RFC 7617, sections 2 and 2.1).
CHALLENGE = b'Basic realm="MLflow", charset="UTF-8"'

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)

#: MLflow's assistant can run a shell, and trusts whoever comes from loopback: behind a proxy or
#: an SSH forward that is everybody. Looked for at any depth (a static prefix, a root path), in
#: any version, and with anything but a letter after it: refusing too much costs nothing here.
_ASSISTANT = re.compile(r"/(?:ajax-api|api)/[^/]+/mlflow/assistant(?![a-z0-9_])", re.IGNORECASE)
_SLASHES = re.compile(r"[/\\]+")

#: Rounds of percent-decoding. The server decodes once; more is for whatever may stand before it.
_DECODINGS = 4

_REPEAT_AFTER = 60.0

_LATER = "Too many log-ins are being checked: try again in a moment."
_RETRY: Headers = [(b"retry-after", b"1")]


class RefusalError(Exception):
    """A request that goes no further.

    Attributes:
        status: The HTTP status.
        text: One sentence for the client.
        headers: Headers beside those that every refusal has.
    """

    def __init__(self, status: int, text: str, headers: Headers | None = None) -> None:
        """Keep status, text and headers."""
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or []


class Lock:
    """An ASGI application that lets only verified users through to another one."""

    def __init__(
        self, application: Application, verifier: Verifier, access_log: AccessLog | None = None
    ) -> None:
        """Stand before an application.

        Args:
            application: What is protected.
            verifier: Says whose password is right.
            access_log: Where requests are noted; None for nowhere.
        """
        self._application = application
        self._verifier = verifier
        self._access_log = access_log
        self._attempts = Attempts()
        self._complained = -_REPEAT_AFTER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3).

        Raises:
            ValueError: For a scope that is neither http, websocket nor lifespan: what cannot be
                checked does not pass.
        """
        if scope["type"] not in {"http", "websocket", "lifespan"}:
            raise ValueError(f"ASGI scope {scope['type']!r} is not supported.")
        if self._access_log is None or scope["type"] != "http":
            await self._serve(scope, receive, send, lambda: None)
            if self._access_log is not None and scope["type"] == "lifespan":
                self._access_log.flush()  # the server ends
            return
        exchange = Exchange(scope)
        failed = False
        try:
            await self._serve(
                scope, exchange.received(receive), exchange.sent(send), exchange.enter
            )
        except Exception:
            failed = True
            raise
        finally:
            credentials = read_credentials(scope["headers"])
            user = b"" if credentials is None else credentials.name
            self._access_log.add(exchange.line(user, failed))

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, entered: Callable[[], None]
    ) -> None:
        """Serve one connection, and call `entered` before MLflow is asked."""
        if scope["type"] == "lifespan" or is_open(scope):
            entered()
            await self._application(scope, receive, send)
            return
        try:
            user = await self._admit(scope)
            if is_assistant(scope["path"]):
                raise RefusalError(403, "The MLflow assistant is switched off on this server.")
        except RefusalError as refusal:
            await _refuse(scope, send, refusal)
            return
        entered()
        await self._application(_inner(scope, user), receive, send)

    async def _admit(self, scope: Scope) -> str:
        """Return the name of the verified user.

        Raises:
            RefusalError: 401 for missing, malformed or wrong credentials, always the same; 429 when
                too many passwords were tried from the client's address; 503 when the user file
                cannot be read or too many verifications wait.
        """
        credentials = read_credentials(scope["headers"])
        client = (scope.get("client") or ["unknown"])[0]
        try:
            if credentials is None:
                self._verifier.knows(b"")  # says 503 when nobody could get in, whoever asks
            # Who is let in is not slowed by those who guess at the same address.
            elif self._verifier.must_hash(credentials) and not self._attempts.take(client):
                raise RefusalError(429, _LATER, _RETRY)
            elif await self._verifier.verify(credentials):
                return credentials.name.decode("utf-8", "backslashreplace")
            else:
                self._report(credentials, client)
        except UserFileError as error:
            self._complain(str(error))
            text = "The server cannot read its user file, so nobody can log in: ask its operator."
            raise RefusalError(503, text) from error
        except BusyError as error:
            raise RefusalError(503, _LATER, _RETRY) from error
        text = "A user name and a password of this server are needed."
        raise RefusalError(401, text, [(b"www-authenticate", CHALLENGE)])

    def _report(self, credentials: Credentials, client: str) -> None:
        """Log a failed log-in, in nginx's words.

        An unknown name is left out: it may be a password that was typed into the wrong field.
        """
        if self._verifier.knows(credentials.name):
            # As JSON: a name with control characters must not write log lines of its own.
            name = json.dumps(credentials.name.decode("utf-8", "backslashreplace"))
            _log.warning("user %s: password mismatch, client: %s", name, client)
        else:
            _log.warning("user was not found, client: %s", client)

    def _complain(self, sentence: str) -> None:
        """Log that the user file is unreadable, at most once a minute."""
        now = time.monotonic()
        if now - self._complained >= _REPEAT_AFTER:
            self._complained = now
            _log.error("%s Nobody can log in until it can be read.", sentence)


def is_open(scope: Scope) -> bool:
    """Say whether a request needs no password: a GET or HEAD of exactly ``/health``.

    The path must also have been sent in this spelling: nothing is to be gained by an encoded one.
    """
    return (
        scope["type"] == "http"
        and scope["method"] in {"GET", "HEAD"}
        and scope["path"] == "/health"
        and scope.get("raw_path", b"/health") in {b"/health", None}
    )


def is_assistant(path: str) -> bool:
    """Say whether a path leads, or could be taken to lead, to MLflow's assistant.

    Args:
        path: A decoded path (``scope["path"]``).

    Returns:
        Whether it does in any reading of percent-encoding, doubled slashes and dot segments.
    """
    for _ in range(_DECODINGS):
        plain = _SLASHES.sub("/", path)
        if _ASSISTANT.search(plain) or _ASSISTANT.search(posixpath.normpath(plain)):
            return True
        path, before = unquote(path), path
        if path == before:
            break
    return False


def read_credentials(headers: Headers) -> Credentials | None:
    """Read the Authorization header (RFC 7617).

    Args:
        headers: The headers of an ASGI scope.

    Returns:
        The credentials; None when there are none, more than one, another scheme, no valid
        base64, or no colon or no name in it.
    """
    values = [value for key, value in headers if key.lower() == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(token.strip(), validate=True)
    except binascii.Error:
        return None
    name, colon, password = decoded.partition(b":")
    return Credentials(name, password) if name and colon else None


def _inner(scope: Scope, user: str) -> Scope:
    """Return the scope that MLflow sees: with the user's name, without the password.

    MLflow needs no Authorization header behind the lock, and its gateway passes the header on to
    the model's provider when the client calls itself one of a few command-line agents
    (``mlflow.gateway.providers.base._client_provides_auth``): a user's password would leave the
    machine. All that MLflow loses is the name in the records of its scorer jobs.
    """
    headers = [(key, value) for key, value in scope["headers"] if key.lower() != b"authorization"]
    state = {**scope.get("state", {}), "mlflow_console_user": user}
    return {**scope, "headers": headers, "state": state}


async def _refuse(scope: Scope, send: Send, refusal: RefusalError) -> None:
    """Answer with a status, a sentence and nothing else."""
    body = refusal.text.encode() + b"\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *refusal.headers,
    ]
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            # Without the extension a close before the handshake is all there is; servers turn
            # it into a 403. 1008: policy violation (RFC 6455, section 7.4.1).
            await send({"type": "websocket.close", "code": 1008})
            return
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def create_app() -> Lock:
    """Make the locked MLflow application; the factory of the entry point ``mlflow-console``.

    Raises:
        RuntimeError: If the variable with the user file's path is not set.
    """
    path = os.environ.get(USER_FILE_VARIABLE)
    if not path:
        raise RuntimeError(f"{USER_FILE_VARIABLE} must name the htpasswd file of this server.")
    _log_to_stderr()
    # The first use of a hash loads its backend; better now than in the first request.
    matches(b"$2b$04$" + b"." * 53, b"")
    # By name and late: the tests of the lock need no MLflow.
    application: Application = importlib.import_module("mlflow.server.fastapi_app").app
    noted = os.environ.get(ACCESS_LOG_VARIABLE)
    access_log = AccessLog(Path(noted).absolute()) if noted else None
    return Lock(application, Verifier(UserFile(Path(path).absolute())), access_log)


def _log_to_stderr() -> None:
    """Make this package's log lines visible: uvicorn configures no logger but its own."""
    logger = logging.getLogger("mlflow_console_server")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False

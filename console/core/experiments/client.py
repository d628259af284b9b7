"""The door to MLflow's API: a client for one deployment, and its errors as sentences.

MLflow is imported on first use: it takes the better part of a second and 60 MB, whichever of its
modules is asked for, because `mlflow/__init__.py` imports them all.

The client is `RestStore`, which `MlflowClient` itself stands on. `MlflowClient` takes its
credentials from the environment and from `~/.mlflow/credentials`, at every request anew; then the
password would be in the environment of every child, two deployments in one process would mix
theirs, and the person's own `MLFLOW_TRACKING_TOKEN` and the like would have their say. `RestStore`
is told its credentials.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from console.core.deployment import Deployment
from console.core.errors import AccessError, ConsoleError, UnreachableError, UsageError
from console.core.secrets import read_secret
from console.core.text import clean

if TYPE_CHECKING:
    from mlflow.store.tracking.rest_store import RestStore

TIMEOUT_SECONDS = 20  # for connecting and for each read

# What MLflow and `requests` read at every request; see mlflow/environment_variables.py.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # One more try, at once: the server may have closed an idle connection. All calls are reads.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT_SECONDS),
    # Or a "Retry-After: 3600" would hold a screen for an hour.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # A redirect leads somewhere else than to this deployment.
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
    # `requests` lets the entry of a netrc file replace the Authorization header that it is given.
    "NETRC": os.devnull,
}
# They would send every request to a workspace, or with a header, that is not this deployment's.
_REMOVED = ("MLFLOW_WORKSPACE", "MLFLOW_WORKSPACE_STORE_URI", "_MLFLOW_DATABRICKS_TRAFFIC_ID")

_STATUS = re.compile(r"failed with error code (\d{3}) !=|too many (\d{3}) error responses")
_STATUS_OF_CODE = {
    "UNAUTHENTICATED": 401,
    "CUSTOMER_UNAUTHORIZED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "NOT_FOUND": 404,
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
}

_importing = threading.Lock()


def rest_store_class() -> type[RestStore]:
    """Import MLflow, once, whoever asks first; it stays silent and sends no telemetry."""
    with _importing:
        os.environ.update(_SETTINGS)
        for name in _REMOVED:
            os.environ.pop(name, None)
        logger = logging.getLogger("mlflow")
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.store.tracking.rest_store import RestStore  # noqa: PLC0415  # first use
    warnings.filterwarnings("ignore", module=r"mlflow(\.|$)")
    return RestStore  # type: ignore[no-any-return]  # MLflow ships no types


class Client:
    """MLflow's client for one deployment; usable from any thread.

    Args:
        deployment: Whose server, and whose service user's password.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @contextlib.contextmanager
    def calls(self, missing: str = "") -> Iterator[Any]:
        """MLflow's store for some calls, whose errors come out as sentences.

        Args:
            missing: The sentence for something that the server does not know.

        Raises:
            UnreachableError: The server is stopped or does not answer.
            AccessError: It does not take the service user's password, or the host name.
            UsageError: What was asked for does not exist.
            ConsoleError: It failed, or answered what is not MLflow's.
        """
        url = self._deployment.driver.own_url
        stranger = self._deployment.driver.not_ours()
        if stranger:
            raise UnreachableError(stranger.title, stranger.fix)
        store = self._store(url)
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  # imported by now

        try:
            yield store
        except MlflowException as error:
            raise self._explained(error, url, missing) from error

    def _store(self, url: str) -> RestStore:
        """A store with the password as it is now; it holds no connection, so it costs nothing."""
        store_class = rest_store_class()
        from mlflow.utils.rest_utils import MlflowHostCreds  # noqa: PLC0415  # imported by now

        _no_proxy_for(urlsplit(url).hostname or "")
        secret = read_secret(self._deployment.paths.service_secret)
        name = self._deployment.settings.users.service_user
        credentials = MlflowHostCreds(url, username=name, password=secret.reveal())
        return store_class(lambda: credentials)

    def _explained(self, error: Any, url: str, missing: str) -> ConsoleError:
        said = _message(error)
        status = _status(error)
        if status is None:
            return _not_answered(error, url, said)
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return UsageError((missing if status == 404 else "") or said)
        user = clean(self._deployment.settings.users.service_user)
        return _failed(status, url, user, said)


def _no_proxy_for(host: str) -> None:
    """Keep `requests` from sending the service user's password to the proxy of the environment."""
    for variable in ("NO_PROXY", "no_proxy"):
        hosts = [entry for entry in os.environ.get(variable, "").split(",") if entry.strip()]
        if host not in (entry.strip() for entry in hosts):
            os.environ[variable] = ",".join([*hosts, host])


def _status(error: Any) -> int | None:
    """The HTTP status behind an MlflowException; None when there was no answer of MLflow's."""
    match = _STATUS.search(str(error))
    if match:
        return int(match[1] or match[2])
    if hasattr(error, "json"):  # RestException: the server's own answer
        return _STATUS_OF_CODE.get(error.error_code, 500)
    return None


def _message(error: Any) -> str:
    """What the server itself said, safe to show; "" for what MLflow's client made of a page."""
    answer = getattr(error, "json", None)
    return clean(str(answer.get("message", "")), 300) if isinstance(answer, dict) else ""


def _failed(status: int, url: str, user: str, said: str) -> ConsoleError:
    """The sentence for an HTTP status that MLflow's client took for a failure."""
    told = f": {said}" if said else ""
    match status:
        case 401:
            return AccessError(
                f"The server at {url} does not accept the password of the console's user {user}",
                "`mlflow-console users renew` gives it a new one.",
            )
        case 403:
            return AccessError(
                f"The server at {url} refuses the request (HTTP 403){told}",
                "If it refuses everything, it does not know the host name it is called by: add "
                "that to host_names in console.toml and restart it.",
            )
        case 404:
            return ConsoleError(
                f"{url} does not know the API of MLflow (HTTP 404)",
                "Something else may listen there; `mlflow-console status` shows what runs.",
            )
        case 502 | 503 | 504:
            return UnreachableError(
                f"The server at {url} is not ready (HTTP {status})",
                "It may be starting, or cannot read its user file; `mlflow-console logs` says.",
            )
    return ConsoleError(
        f"The server at {url} failed (HTTP {status}){told}", "`mlflow-console logs` shows why."
    )


def _not_answered(error: Any, url: str, said: str) -> ConsoleError:
    """There was no HTTP answer, or none in JSON; requests' own exception says which."""
    import requests  # noqa: PLC0415  # imported with MLflow

    cause = error.__cause__ or error.__context__
    up = "`mlflow-console up` starts it, `mlflow-console logs` shows what it says."
    if isinstance(cause, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return UnreachableError(f"The server at {url} does not answer in time", up)
    if isinstance(cause, requests.exceptions.RequestException):
        return UnreachableError(f"The server at {url} does not answer", up)
    if "not in a valid JSON format" in str(error):
        return ConsoleError(
            f"{url} answers, but not as MLflow does",
            "Something else may listen there; `mlflow-console status` shows what runs.",
        )
    return ConsoleError(f"The call of {url} failed: {said or clean(str(error), 300)}")

"""Health means that a real, authenticated call of the API worked; anything else has a cause.

MLflow exempts `/health` and `/version` from its check of host names, so a server can be "up"
while every call of its API is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from console.core import http
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UnreachableError
from console.core.http import Answer, Credentials
from console.core.secrets import read_secret
from console.core.stack.driver import Direct, Finding, Service, Severity
from console.core.text import clean

# How long the call may take; MLflow itself may be slow, a broken service is not waited for.
PATIENCE_SECONDS, BROKEN_SECONDS = 5.0, 2.0
# The header of the proxy's own 503 (stack/nginx/maintenance.conf).
MAINTENANCE = "x-maintenance"
CALL = "/api/2.0/mlflow/experiments/search?max_results=1"


@dataclass(frozen=True, slots=True)
class Api:
    """An authenticated call of the MLflow API.

    Attributes:
        ok: It worked.
        checked_as: The user it was made as.
        http_status: None when nothing answered.
        version: MLflow's version, when it says so.
        error: The sentence when it did not work, else "".
        direct: The same call past the proxy; None where there is none, or nobody needed it.
    """

    ok: bool
    checked_as: str
    http_status: int | None
    version: str | None
    error: str
    direct: Direct | None = None


def stopped(deployment: Deployment) -> Api:
    """What stands in for the call while nothing runs."""
    return Api(False, deployment.settings.users.service_user, None, None, "It is stopped")


def check(
    deployment: Deployment,
    services: Sequence[Service],
    known: Api | None = None,
    broken: bool = False,
) -> tuple[Api, list[Finding]]:
    """Call the API as the service user, and where that fails, look who is to blame.

    Args:
        deployment: Whose settings name the service user.
        services: As its driver has just given them.
        known: What an earlier call learnt of the version; every host name was tried then.
        broken: A service is known not to be well: a call that hangs is not waited for.

    Returns:
        The outcome, and what it found to be wrong.
    """
    user = deployment.settings.users.service_user
    stranger = deployment.driver.not_ours(services)
    if stranger:
        return Api(False, user, None, None, stranger.title), [stranger]
    try:
        credentials = Credentials(user, read_secret(deployment.paths.service_secret))
    except ConsoleError as error:
        finding = Finding(
            "service-user-secret", Severity.ERROR, "",
            f"The password of the service user {user} cannot be read: {error.message}",
            fix="mlflow-console users renew",
        )  # fmt: skip
        return Api(False, user, None, None, finding.title), [finding]
    url, seconds = deployment.driver.own_url, BROKEN_SECONDS if broken else PATIENCE_SECONDS
    try:
        answer = http.get(url + CALL, credentials, seconds)
    except UnreachableError as error:
        status, problem = None, Finding(
            "api-unreachable", Severity.ERROR, "tracking",
            f"MLflow does not answer: {error.message}",
            fix="" if broken else "mlflow-console restart",
        )  # fmt: skip
    else:
        if answer.status == 200 and _is_search_result(answer.body):
            return _works(deployment, url, credentials, known)
        status = answer.status
        problem = _problem(answer, user, deployment.driver.host_names_setting)
    direct = None if broken else deployment.driver.direct()
    problem = blame(problem, direct) if direct else problem
    if not broken and (direct is None or not direct.ok):
        problem = _of_database(deployment, problem)
    return Api(False, user, status, None, problem.title, direct), [problem]


def _works(
    deployment: Deployment, url: str, credentials: Credentials, known: Api | None
) -> tuple[Api, list[Finding]]:
    if known is not None and known.ok:
        return known, []
    said = http.get(url + "/version", credentials).body
    version = clean(said.decode(errors="replace"), 40)
    api = Api(True, credentials.name, 200, version, "", deployment.driver.direct())
    return api, _refused_names(deployment, url, credentials)


def blame(problem: Finding, direct: Direct) -> Finding:
    """What the same call shows that goes past the proxy.

    Args:
        problem: What the call through the proxy showed.
        direct: The one past it.
    """
    if direct.ok and problem.id in ("api-unreachable", "api-behind-proxy"):
        return replace(
            problem, id="proxy-fails", service="proxy",
            title=f"MLflow works, but the proxy in front of it does not: {problem.title}",
            fix="mlflow-console restart proxy; mlflow-console logs proxy says more",
        )  # fmt: skip
    if problem.id == "api-behind-proxy" and direct.http_status is None:
        return replace(
            problem, detail=direct.said,
            title="The proxy works, but MLflow behind it does not answer",
        )  # fmt: skip
    return problem


def _of_database(deployment: Deployment, problem: Finding) -> Finding:
    """The database's own refusal, where MLflow fails because of it."""
    if problem.id not in ("api-error", "api-unreachable", "api-behind-proxy"):
        return problem
    try:
        deployment.database.revision()
    except ConsoleError as error:
        return replace(
            problem, id="database-refuses", service="database", title=error.message,
            detail=f"{problem.title}: {problem.detail}", fix=error.hint,
        )  # fmt: skip
    return problem


def _problem(answer: Answer, user: str, names: str) -> Finding:
    said = clean(answer.body.decode(errors="replace").strip(), 300)
    match answer.status:
        case 401:
            found = (
                "api-unauthorized",
                f"MLflow answers 401: the password of the service user {user} is not accepted",
                "mlflow-console users renew",
            )
        case 403 if "host" in said.lower():
            found = (
                "api-host-rejected",
                "MLflow answers 403: the name it is called by is not in its allowed hosts",
                f"add the name to {names}, then mlflow-console restart",
            )
        case 403:
            found = (
                "api-forbidden", "MLflow answers 403: the call is forbidden", "mlflow-console logs",
            )  # fmt: skip
        case 503 if MAINTENANCE in answer.headers:
            found = (
                "maintenance",
                "The proxy turns everybody away: the server is being restored from a backup",
                "wait for it; without the file htpasswd/.maintenance everybody is let in as it is",
            )
        case 503 if not _is_error_of_mlflow(answer.body):
            found = (
                "api-unavailable", f"MLflow answers 503: {said}",
                "see that htpasswd/default is there for its owner; mlflow-console logs says more",
            )  # fmt: skip
        case 502 | 504:
            found = (
                "api-behind-proxy",
                f"The proxy runs, but MLflow behind it does not answer (HTTP {answer.status})",
                "mlflow-console logs tracking",
            )
        case status if status >= 500 or _is_error_of_mlflow(answer.body):
            found = (
                "api-error",
                f"MLflow answers {status}: something behind it fails, often the database",
                "mlflow-console logs",
            )
        case status:
            found = (
                "api-not-mlflow",
                f"What answers at the server's port is not MLflow (HTTP {status})",
                "see who listens on that port, or set another in the deployment's settings",
            )
    name, title, fix = found
    return Finding(name, Severity.ERROR, "tracking", title, said, fix)


def _is_error_of_mlflow(body: bytes) -> bool:
    """Whether it is MLflow that answers so: it says 400 or 503 of a broken database."""
    try:
        result = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return isinstance(result, dict) and "error_code" in result


def _is_search_result(body: bytes) -> bool:
    try:
        result = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return isinstance(result, dict) and set(result) <= {"experiments", "next_page_token"}


def _refused_names(deployment: Deployment, url: str, credentials: Credentials) -> list[Finding]:
    """The configured host names that the running server still refuses: it was started before."""
    return [
        Finding("api-host-rejected", Severity.ERROR, "tracking", said, fix="mlflow-console restart")
        for name in deployment.driver.host_names
        if (said := _refusal(url, credentials, name))
    ]


def _refusal(url: str, credentials: Credentials, name: str) -> str:
    """How a host name is refused, one sentence; "" when it is not.

    A proxy may lead elsewhere (to https) or want another password for it: both are answers.
    """
    try:
        if http.get(url + CALL, credentials, host=name).status != 403:
            return ""
    except UnreachableError:  # as the shipped proxy does at every name that is not its own
        return f"The proxy hangs up at the host name {name}: it was started before that was set"
    return f"MLflow answers 403 to the host name {name}: it is not in its allowed hosts"

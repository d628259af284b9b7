"""Why Compose failed: what it said, and what the containers said, as one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from console.core.errors import ConsoleError, DiskFullError, NotOursError, UnreachableError
from console.core.stack.driver import Finding, Health, Role, Service, Severity, State
from console.core.text import clean

FULL = re.compile(r"no space left on device|disk is full|\(errno: 28|disk quota exceeded", re.I)
_IMAGE = re.compile(
    r"pull access denied for (?P<a>\S+?),|manifest for (?P<b>\S+) not found|"
    r"No such image: (?P<c>\S+)|image (?P<d>\S+) (?:could not be found|not found)|"
    r"Image (?P<e>\S+) (?:Error|Interrupted)",
    re.I,
)
_NETWORK = re.compile(
    r"dial tcp|i/o timeout|no such host|TLS handshake|connection refused|failed to resolve|"
    r"Client\.Timeout|network is unreachable|failed to do request",
    re.I,
)
_PORT = re.compile(r"(?:bind for|exposing port TCP) \S*?:(\d+)|:(\d+): bind: address already", re.I)
# MySQL rolls no DDL back, so a migration that was cut short meets its own first half; Alembic does
# not know a revision of a newer MLflow. Numbers: MySQL's error reference.
_HALF = re.compile(
    r"\((?:1050|1060|1061|1091|1146|1826|1828|3822|1419|1553), |Duplicate column name"
    r"|already exists|You do not have the SUPER privilege and binary logging is enabled"
)
_NEWER = re.compile(r"Can't locate revision identified by '(\w+)'")
_OTHER = re.compile(r"out-of-date database schema \(found version (\w+), but expected (\w+)\)")
_ERROR = re.compile(r"error|exception|refused|denied|failed|fatal", re.I)
# What SQLAlchemy and MLflow write below each of their errors.
_ADVICE = re.compile(r"Background on this error at|MLFLOW_LOGGING_LEVEL")


# What others wait for comes first: the tracking server fails because its database does.
ORDER = [Role.JOB, Role.DATABASE, Role.STORE, Role.TRACKING, Role.PROXY, Role.OTHER]


@dataclass(frozen=True, slots=True)
class Ended:
    """A service that is broken, and the last lines of its log, oldest first."""

    service: Service
    lines: Sequence[str]


class UnhealthyError(ConsoleError):
    """Compose waited for a service that runs and was not well when it looked."""


class SchemaError(ConsoleError):
    """The database and the tracking server are of different versions."""


def is_broken(service: Service) -> bool:
    """Whether a service ended that should run, or runs and is not well."""
    if service.role is Role.JOB:
        return service.state is State.EXITED and service.health is Health.UNHEALTHY
    if service.state is State.RUNNING:
        # One that ends again and again is "starting" in between.
        again = service.restarts > 0 and service.health is Health.STARTING
        return again or service.health is Health.UNHEALTHY
    return service.state in (State.EXITED, State.RESTARTING)


def findings(services: Sequence[Service], ended: Sequence[Ended]) -> list[Finding]:
    """What ended, is stopped or is not well while others run; causes before what they cause.

    Args:
        services: All of them.
        ended: The broken ones, with their logs.
    """
    said = {each.service.name: each for each in ended}
    found = []
    for service in sorted(services, key=lambda each: ORDER.index(each.role)):
        down = service.role is not Role.JOB and service.state is State.STOPPED
        if not (down or is_broken(service)):
            continue
        error = _of_service(said.get(service.name, Ended(service, [])))
        found.append(Finding(
            _id(service, error), Severity.ERROR, service.name, error.message, fix=error.hint
        ))  # fmt: skip
    return found


def _id(service: Service, error: ConsoleError) -> str:
    if isinstance(error, DiskFullError):
        return "disk-full"
    if isinstance(error, SchemaError):
        return "schema-mismatch"
    return "unhealthy" if service.state is State.RUNNING else "service-ended"


def explain(said: str, ended: Sequence[Ended]) -> ConsoleError:
    """The sentence for a failed call of Compose.

    Args:
        said: Its last lines.
        ended: The services that are broken now.
    """
    error = (
        _of_compose(said)
        or _of_services(ended)
        or ConsoleError(
            f"Docker Compose failed: {_last(said)}",
            "`mlflow-console logs` shows what the services say.",
        )
    )
    return UnhealthyError(error.message, error.hint) if _may_recover(said, ended) else error


def _may_recover(said: str, ended: Sequence[Ended]) -> bool:
    return "is unhealthy" in said and all(
        each.service.state is State.RUNNING and not each.service.restarts for each in ended
    )


def _of_compose(said: str) -> ConsoleError | None:
    if FULL.search(said):
        return DiskFullError(
            "The disk of the Docker engine is full",
            "Free some space (`docker system df` shows what uses it), then do it again.",
        )
    if match := _PORT.search(said):
        return NotOursError(
            f"Port {match[1] or match[2]} was taken meanwhile",
            "End that program, or set another port in .env; then do it again.",
        )
    if "buildx" in said and not _NETWORK.search(said):  # it also only warns that it is missing
        return UnreachableError(
            "The image of the tracking server cannot be built: Docker's buildx is missing",
            "Install docker-buildx-plugin (Docker's own) or docker-buildx (Debian 13), or name a "
            "ready image as MLFLOW_IMAGE in .env.",
        )
    if match := _IMAGE.search(said):
        return UnreachableError(_image(next(filter(None, match.groups())), said), IMAGE_REMEDY)
    if _NETWORK.search(said):
        return UnreachableError(
            f"An image cannot be fetched: {_last(said)}",
            IMAGE_REMEDY,
        )
    return None


IMAGE_REMEDY = (
    "Check the connection to the registry and do it again, bring the image here with "
    "`docker load`, or name another one in .env (MLFLOW_IMAGE, DATABASE_IMAGE, STORE_IMAGE, "
    "PROXY_IMAGE)."
)


def _image(name: str, said: str) -> str:
    why = "the registry cannot be reached" if _NETWORK.search(said) else "no registry has it"
    return f"The image {clean(name.strip(chr(39)), 200)} cannot be fetched: {why}"


def _of_services(ended: Sequence[Ended]) -> ConsoleError | None:
    first = min(ended, key=lambda each: ORDER.index(each.service.role), default=None)
    return _of_service(first) if first else None


def _of_service(each: Ended) -> ConsoleError:
    name, text = each.service.name, "\n".join(each.lines)
    if FULL.search(text):
        return DiskFullError(
            f"{name}: its disk is full", "Free some space there, then do it again."
        )
    if each.service.role is Role.TRACKING and (problem := _of_schema(text)):
        return problem
    reason = "" if _says_enough(each.service) else _reason(each.lines)
    start = "" if each.service.state is State.RUNNING else "`mlflow-console up` starts it; "
    return ConsoleError(
        f"{name}: {each.service.reason or 'it does not become healthy'}"
        + (f": {reason}" if reason else ""),
        f"{start}`mlflow-console logs {name}` shows all that it said.",
    )


def _says_enough(service: Service) -> bool:
    """Whether a line of its log, which may be an older one, would only lead astray."""
    by_signal = service.exit_code is not None and service.exit_code > 128  # shells
    return by_signal or (service.state is State.RUNNING and bool(service.reason))


def _of_schema(text: str) -> SchemaError | None:
    if match := _NEWER.search(text):
        return SchemaError(
            f"The database was migrated by a newer MLflow (its revision {match[1]} is unknown)",
            "Set MLFLOW_IMAGE in .env to that version, or restore a backup from before.",
        )
    if _HALF.search(text):
        return SchemaError(
            "The database was left half migrated: MySQL cannot take a broken migration back",
            "Restore the dump from before the upgrade, then `mlflow-console up`; where there are "
            "no runs yet, remove the database's volume instead. `mlflow-console logs tracking` "
            "names the step.",
        )
    if match := _OTHER.search(text):
        return SchemaError(
            f"The database has the schema of another MLflow (revision {match[1]}, this one wants "
            f"{match[2]})",
            "Of a newer one: set MLFLOW_IMAGE in .env to it. Of an older one: dump it first, "
            "then `docker compose run --rm tracking python /opt/stack/prepare.py migrate` in its "
            "folder.",
        )
    return None


def _reason(lines: Sequence[str]) -> str:
    told = [line.strip() for line in lines if line.strip() and not _ADVICE.search(line)]
    return clean(next((line for line in reversed(told) if _ERROR.search(line)), ""), 300)


def _last(said: str) -> str:
    told = [line.strip() for line in said.splitlines() if line.strip()]
    worst = next((line for line in reversed(told) if _ERROR.search(line)), told[-1] if told else "")
    return clean(worst, 300) or "it gave no reason"

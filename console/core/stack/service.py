"""The stack area: status, logs and the verbs that start and stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from console.core import setup
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UnreachableError
from console.core.operations import operation
from console.core.progress import Progress
from console.core.stack import health
from console.core.stack.driver import (
    Finding,
    Health,
    LogLine,
    Role,
    Service,
    Severity,
    State,
)
from console.core.stack.health import Api
from console.core.streams import Stream
from console.core.text import clean

API_CHECK_SECONDS = 10.0
SHOWN_AT_WORK = 10
UNREACHED = ("api-unreachable", "port-changed", "port-taken", "starting")


@dataclass(frozen=True, slots=True)
class Status:
    """The deployment as it is now; the JSON shape of `status`."""

    deployment: str
    driver: str
    url: str
    healthy: bool
    services: tuple[Service, ...]
    api: Api
    findings: tuple[Finding, ...]
    checked_at: datetime

    @property
    def stopped(self) -> bool:
        """No service runs."""
        return all(service.state in (State.STOPPED, State.EXITED) for service in self.services)

    @property
    def exit_code(self) -> int:
        """0 healthy, 3 something is unhealthy, 4 it is stopped or nothing answers."""
        if self.healthy:
            return 0
        unreached = any(finding.id in UNREACHED for finding in self.findings)
        return 4 if self.stopped or unreached else 3


def _names(services: Sequence[str] = (), **_: object) -> str:
    return " ".join(services)


class StackService:
    """What runs, how it is, and how to start and stop it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("stack.status")
    def status(self) -> Status:
        """Look at every service and make one authenticated call of the API."""
        services = self.deployment.driver.services()
        return self._status(services, *self._check(services))

    def watch(self, interval: float = 2.0) -> Stream[Status]:
        """The status again and again: services every `interval` seconds, the API every ten.

        The API is asked at once when a service changes its state, and more often while the
        deployment is not healthy, so that a repair is seen soon.
        """

        def produce(cancel: threading.Event, emit: Callable[[Status], None]) -> None:
            asked, seen, outcome = 0.0, None, None
            while not cancel.is_set():
                services = self.deployment.driver.services()
                states = [(service.name, service.state) for service in services]
                due = time.monotonic() - asked > API_CHECK_SECONDS
                if outcome is None or due or states != seen or not outcome[0].ok:
                    outcome, asked, seen = self._check(services), time.monotonic(), states
                emit(self._status(services, *outcome))
                cancel.wait(interval)

        return Stream(produce)

    def _check(self, services: Sequence[Service]) -> tuple[Api, list[Finding]]:
        if any(service.state is State.RUNNING for service in services):
            api, findings = health.check(self.deployment, self.deployment.driver.own_url)
            # A service that has ended is the cause, what the API says of it the consequence.
            return api, [*self.deployment.driver.findings(services), *findings]
        return health.stopped(self.deployment), [_stopped_finding(services)]

    def _status(self, services: Sequence[Service], api: Api, findings: Sequence[Finding]) -> Status:
        settings = self.deployment.settings
        starting = any(finding.id == "starting" for finding in findings)
        unwell = Health.STARTING if starting else Health.UNHEALTHY
        judged = tuple(_judge(service, api, unwell) for service in services)
        return Status(
            deployment=settings.name,
            driver=settings.driver,
            url=self.deployment.driver.url,
            healthy=api.ok
            and all(service.health is Health.HEALTHY for service in judged)
            and not any(finding.severity is Severity.ERROR for finding in findings),
            services=judged,
            api=api,
            findings=tuple(findings),
            checked_at=datetime.now(UTC),
        )

    @operation("stack.logs")
    def logs(
        self, services: Sequence[str] = (), tail: int = 200, follow: bool = False
    ) -> Stream[LogLine]:
        """The last lines of the logs, and with `follow` the new ones as they come."""
        return self.deployment.driver.logs(services, tail, follow)

    @operation("stack.up", target=_names)
    def up(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Start what does not run and wait until the API answers.

        Raises:
            ConsoleError: It did not start, or the API refuses the service user.
        """
        yield from setup.complete(self.deployment, cancel)
        yield from self.deployment.driver.up(services, cancel)
        status = self.status()
        if not status.api.ok:
            fix = status.findings[0].fix if status.findings else ""
            kind = UnreachableError if status.api.http_status is None else ConsoleError
            raise kind(status.api.error, fix)
        yield Progress(f"healthy at {status.url}")

    @operation("stack.down", target=_names)
    def down(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Stop everything, or the named services; no data is removed."""
        yield from self.deployment.driver.down(services, cancel)

    @operation("stack.restart", target=_names)
    def restart(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Stop and start again."""
        self.deployment.driver.check_start()
        yield from self.deployment.driver.down(services, cancel)
        yield from setup.complete(self.deployment, cancel)
        yield from self.deployment.driver.up(services, cancel)

    def at_work(self) -> list[str]:
        """Who would be interrupted now, one line each: the runs that are RUNNING."""
        try:
            runs = self.deployment.database.running(limit=SHOWN_AT_WORK)
        except ConsoleError:
            return []  # no database yet, or one that cannot be read: nobody writes to it either
        return [
            clean(
                f"run {run.name} of {run.user or 'somebody'} in {run.experiment} is RUNNING "
                + (f"since {run.started_at:%Y-%m-%d %H:%M} UTC" if run.started_at else "")
            )
            for run in runs
        ]


def _stopped_finding(services: Sequence[Service]) -> Finding:
    for service in services:
        done = service.role is Role.JOB and service.health is Health.HEALTHY
        if service.state in (State.EXITED, State.RESTARTING) and not done:
            return Finding(
                "service-ended", Severity.ERROR, service.name,
                f"{service.name}: {service.reason}", fix="mlflow-console up",
            )  # fmt: skip
    return Finding("stopped", Severity.ERROR, "", "It is stopped", fix="mlflow-console up")


def _judge(service: Service, api: Api, unwell: Health) -> Service:
    """Give the tracking server the health that its API shows."""
    if service.role is not Role.TRACKING or service.health is not Health.UNKNOWN:
        return service
    if api.ok:
        return replace(service, health=Health.HEALTHY)
    return replace(service, health=unwell, reason=api.error)

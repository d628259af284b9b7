"""The stack area: status, logs and the verbs that start and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from console.core.deployment import Deployment
from console.core.operations import operation
from console.core.progress import Progress
from console.core.stack import health
from console.core.stack.driver import Finding, Health, LogLine, Service, Severity, State
from console.core.streams import Stream

API_CHECK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Api:
    """An authenticated call of the MLflow API.

    Attributes:
        ok: It worked.
        checked_as: The user it was made as.
        http_status: None when nothing answered.
        version: MLflow's version, when it says so.
        error: The sentence when it did not work, else "".
    """

    ok: bool
    checked_as: str
    http_status: int | None
    version: str | None
    error: str


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
        return 4 if self.stopped or self.api.http_status is None else 3


class StackService:
    """What runs, how it is, and how to start and stop it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("stack.status")
    def status(self) -> Status:
        """Look at every service and make one authenticated call of the API."""

    def watch(self, interval: float = 2.0) -> Stream[Status]:
        """The status again and again: services every `interval` seconds, the API every ten."""

    @operation("stack.logs")
    def logs(
        self, services: Sequence[str] = (), tail: int = 200, follow: bool = False
    ) -> Stream[LogLine]:
        """The last lines of the logs, and with `follow` the new ones as they come."""

    @operation("stack.up", target=lambda services=(), **_: " ".join(services))
    def up(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Start what does not run and wait until the API answers."""

    @operation("stack.down", target=lambda services=(), **_: " ".join(services))
    def down(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Stop everything, or the named services; no data is removed."""

    @operation("stack.restart", target=lambda services=(), **_: " ".join(services))
    def restart(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Stop and start again."""

    def at_work(self) -> list[str]:
        """Who would be interrupted now, one line each: the runs that are RUNNING."""

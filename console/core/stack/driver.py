"""The contract of a driver: what runs a deployment's services."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from console.core.progress import Progress
from console.core.stack.places import ArtifactStore, BackendStore
from console.core.streams import Stream


class Role(StrEnum):
    """What a service is for. A job is a one-shot: exited with 0 is its healthy state."""

    TRACKING = "tracking"
    DATABASE = "database"
    STORE = "store"
    PROXY = "proxy"
    JOB = "job"
    OTHER = "other"


class State(StrEnum):
    """Whether a service runs."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    EXITED = "exited"
    STOPPED = "stopped"


class Health(StrEnum):
    """Whether a service does what it is for."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    STARTING = "starting"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How much a finding matters: an error makes the deployment unhealthy, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs a person.

    Attributes:
        id: Stable, for scripts, for instance "api-host-rejected".
        service: The service it is about, or "".
        title: One sentence with the cause.
        detail: What was seen, for instance the last line of the log; may be "".
        fix: What to do, for instance a command; may be "".
    """

    id: str
    severity: Severity
    service: str
    title: str
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One service as it is now; the JSON shape of `status`.

    Attributes:
        reason: Why it is in this state or health, in words; "" when there is nothing to say.
        image: Its image, or what stands in for one.
        cpu_percent: 100 is one core; None when not measured.
        memory_bytes: Of processes their proportional set sizes, of a container what its control
            group holds without the page cache it could give back; None when not measured.
        memory_limit_bytes: None when there is no limit.
        ports: As "address:port".
        exit_code: Of its last end; None when it never ended.
    """

    name: str
    role: Role
    state: State
    health: Health
    reason: str = ""
    image: str = ""
    started_at: datetime | None = None
    restarts: int = 0
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    ports: tuple[str, ...] = ()
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a service's log.

    Attributes:
        at: When it was written, UTC; None where the log does not say.
        text: Without the line's end and without control sequences.
    """

    service: str
    at: datetime | None
    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A verb that a driver lacks, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver cannot do, by operation id; what is not named, it can."""

    missing: Mapping[str, Missing] = field(default_factory=dict)


class Driver(Protocol):
    """What every driver does. Finite work yields its progress and honours `cancel`."""

    capabilities: Capabilities

    @property
    def url(self) -> str:
        """Where people reach the tracking server; never with a password in it."""

    @property
    def own_url(self) -> str:
        """Where the console itself reaches it, through the same lock, on this machine."""

    @property
    def inner_url(self) -> str:
        """Where a program that `run_in` starts reaches it, through the same lock."""

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names that it is meant to answer to, beside this machine's own."""

    @property
    def host_names_setting(self) -> str:
        """Where these names stand, for a remedy: "host_names under [server] in console.toml"."""

    @property
    def ports(self) -> set[int]:
        """The ports of this machine that it speaks for, whether it runs or not."""

    @property
    def complete(self) -> bool:
        """Whether nothing of what `init` makes is missing."""

    def init(self, cancel: threading.Event) -> Iterator[Progress]:
        """Make what a new deployment needs; goes on where an interrupted call stopped."""

    def up(self, services: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """Start what is not running and wait until it listens."""

    def down(self, services: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """Stop what is running; no data is removed."""

    def services(self) -> list[Service]:
        """The services as they are now, without asking the API."""

    def not_ours(self) -> Finding | None:
        """Why no password may be sent to `url` now; None when our own server listens there."""

    def check_start(self) -> None:
        """What would keep `up` from starting, asked while the old server still runs.

        Raises:
            ConsoleError: `up` would fail.
        """

    def users_changed(self) -> None:
        """The user files were changed: what was verified before counts no more."""

    def findings(self, services: Sequence[Service]) -> list[Finding]:
        """What is wrong with a running deployment beside what the API call shows.

        Args:
            services: As `services` has just given them.
        """

    def backend_store(self) -> BackendStore:
        """Where the backend store answers this machine.

        Raises:
            UnreachableError: It does not run.
            ConsoleError: It cannot be reached from here, and why.
        """

    def artifact_store(self) -> ArtifactStore:
        """Where the artifact store is; raises as `backend_store`."""

    def logs(self, services: Sequence[str], tail: int, follow: bool) -> Stream[LogLine]:
        """The last `tail` lines, in the order of time, then new ones as they come."""

    def run_in(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], cancel: threading.Event
    ) -> Iterator[str]:
        """Run a program where a service runs and yield its lines; secrets go in `env`.

        Raises:
            ConsoleError: It exits with another code than 0; the message holds its last line.
        """

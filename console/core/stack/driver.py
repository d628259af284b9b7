"""The contract of a driver: what runs a deployment's services."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from console.core.format import size
from console.core.progress import Progress
from console.core.stack.driver_backup import BackupDriver
from console.core.stack.places import ArtifactStore, BackendStore
from console.core.streams import Stream

if TYPE_CHECKING:
    from console.core.stack.access_sources import Source
    from console.core.stack.anatomy import Anatomy
    from console.core.stack.log_stream import LogStream


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


class Verb(StrEnum):
    """What can be done to services."""

    UP = "up"
    DOWN = "down"
    STOP = "stop"
    START = "start"
    RESTART = "restart"
    RECREATE = "recreate"
    PULL = "pull"
    BUILD = "build"
    DESTROY = "destroy"


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
        oom_killed_at: When the kernel last killed something of it because memory ran out, as far
            back as the driver remembers (minutes); None when it did not.
        since: When it came into this state.
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
    oom_killed_at: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What a running service uses at a moment; None stands for what is not known here.

    Attributes:
        cpu_percent: Since the sample before; 100 is one core.
        memory_bytes: As `Service.memory_bytes`.
        received: Over the network, bytes a second; `sent` as well.
        read: From disks, bytes a second; `written` as well.
        log_bytes: How much room its log takes on the disk.
    """

    service: str
    at: datetime
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    received: float | None = None
    sent: float | None = None
    read: float | None = None
    written: float | None = None
    processes: int | None = None
    log_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One health check that was made of a service.

    Attributes:
        exit_code: 0 is healthy.
        seconds: How long it took; None when it is not known.
        output: What it said, without control sequences.
    """

    at: datetime
    exit_code: int
    seconds: float | None
    output: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is known of a service, for who looks closer; no secret stands in it.

    Attributes:
        checks: The last health checks, oldest first.
        environment: Names and values; of what looks like a secret the value is "••••••".
        mounts: Where it keeps data: the path inside, and what lies there.
        raw: Everything as the driver has it, as indented JSON; secrets are masked.
    """

    checks: tuple[Check, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Direct:
    """A call of the API straight to the tracking server, past the proxy.

    Attributes:
        http_status: None when nothing answered.
        said: The beginning of its answer, or why there was none.
    """

    http_status: int | None
    said: str

    @property
    def ok(self) -> bool:
        """The API worked."""
        return self.http_status == 200


@dataclass(frozen=True, slots=True)
class Room:
    """The file system that a service keeps its data on.

    Attributes:
        where: The volume or the folder.
    """

    service: str
    where: str
    total_bytes: int
    free_bytes: int

    @property
    def used(self) -> float:
        """The used part, 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that `destroy` removes.

    Attributes:
        bytes: What it holds; None when it is not known.
    """

    name: str
    service: str
    bytes: int | None

    @property
    def words(self) -> str:
        """What it is called, what it holds, and who keeps it there."""
        return f"{self.name}  {size(self.bytes)}  {self.service or 'used by nobody now'}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program to be run on this terminal.

    Attributes:
        argv: No secret stands in it.
        env: Variables beside our own.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Guard:
    """How what asks for passwords gets at the user files, which are named as in their folder.

    Attributes:
        alone: Those that are mounted one by one and not with their folder. What has one of them
            holds on to it, so that it must be rewritten in place.
        void: Those of which a change would count for nothing, each with a sentence that says why.
        remedy: What would make it count.
        later: When a change by the console counts, a sentence; "" is at once.
        doubts: What may take a change away again, one sentence each.
        notes: What else has to be known, one sentence each.
    """

    alone: frozenset[str] = frozenset()
    void: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""
    later: str = ""
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Driver(BackupDriver, Protocol):
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

    def url_of(self, host_name: str) -> str:
        """Where clients reach it by one of `host_names`."""

    def certificate_of(self, host_name: str) -> Path | None:
        """The file of the certificate that one of `host_names` is served with."""

    @property
    def own_user_files(self) -> bool:
        """Whether a host name can have a user file of its own, beside the shared one."""

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

    def act(
        self, verb: Verb, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Start, stop or make services anew, and wait until what was started listens.

        Args:
            verb: What to do; one that `capabilities` lacks is never asked for.
            services: Which ones; all of them when empty. A job that is done is then left alone
                by all but `up`.
            cancel: Leaves off; what was done stays.
        """

    def services(self, measure: bool = True) -> list[Service]:
        """The services as they are now, without asking the API.

        Args:
            measure: Also what they use, which takes a second.
        """

    def changes(self) -> Stream[datetime]:
        """The moments at which a service started, ended, or changed its health.

        It ends with an UnreachableError when what tells of it goes away.
        """

    def statistics(self) -> Stream[list[Sample]]:
        """What the running services use, every two seconds."""

    def inspect(self, service: str) -> Inspection:
        """Look closer at one service."""

    def direct(self) -> Direct | None:
        """Call the API past the proxy; None where there is no proxy to go past."""

    def rooms(self) -> list[Room]:
        """The file systems that the data is on, as far as this account may know.

        Of the services as `services` has last given them.
        """

    def clients(self, seconds: float) -> int | None:
        """How many people and programs called the API lately; None when nobody counts."""

    def volumes(self) -> list[Volume]:
        """What `Verb.DESTROY` would remove."""

    def anatomy(self) -> Anatomy:
        """How it is put together, for the doctor; raises ConsoleError when nothing can be said."""

    def program(self, service: str, client: bool) -> Program:
        """A shell in a service, or with `client` the database's own client."""

    def not_ours(self, services: Sequence[Service] | None = None) -> Finding | None:
        """Why no password may be sent to `url` now; None when our own server listens there.

        Args:
            services: As `services` has just given them, where somebody has them.
        """

    def check_start(self) -> None:
        """What would keep `up` from starting, asked while the old server still runs.

        Raises:
            ConsoleError: `up` would fail.
        """

    def guard(self) -> Guard:
        """What asks for passwords, and how it gets at the user files."""

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

    def logs(
        self, services: Sequence[str], tail: int | None, follow: bool,
        since: datetime | None = None,
    ) -> LogStream:  # fmt: skip
        """The last lines, in the order of time, then with `follow` new ones as they come.

        Args:
            services: Which ones; all of them when empty.
            tail: How many lines, of all of them together; None for all that are kept.
            follow: Go on until the stream is closed.
            since: None of those that are older.
        """

    def access_log(self) -> Source:
        """Its access log, to be read from where it was left; asked for, nothing is read yet."""

    def run_in(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], cancel: threading.Event
    ) -> Iterator[str]:
        """Run a program where a service runs and yield its lines; secrets go in `env`.

        Raises:
            ConsoleError: It exits with another code than 0; the message holds its last line.
        """

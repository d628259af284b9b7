"""A small deployment made up in memory: the same every time, for frozen pictures and hard cases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgspec

from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.doctor.service import Examination
from console.core.errors import ConsoleError, UsageError
from console.core.experiments.service import Experiment, Page, Run, Totals
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.settings import PersonSettings, UsersSettings
from console.core.stack.driver import (
    Finding,
    Health,
    Inspection,
    LogLine,
    Role,
    Sample,
    Service,
    Severity,
    State,
    Volume,
)
from console.core.stack.health import Api
from console.core.stack.log_lines import Raw
from console.core.stack.log_stream import Emit, LogStream
from console.core.stack.status import Status
from console.core.storage.service import Amount, ExperimentUsage, RunUsage, Usage
from console.core.streams import Stream
from console.core.users.activity_answers import (
    Address,
    Coverage,
    Deleted,
    Person,
    Slow,
    Sum,
    Tried,
)
from console.core.users.names import check_name
from console.core.users.report import EVERYBODY, Asked, Report
from console.core.users.undo import Last, What
from console.core.users.user import User
from console.core.users.verify import Verdict
from console.tui.app import ConsoleApp, OpenedApp
from console.tui.messages import Session
from tests.tui.fake_backup import FakeBackup

if TYPE_CHECKING:
    from console.core.register import Known

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
NASTY = "[/foo] \x1b[31m 😀 a\nb\u202e"


def service(**changes: object) -> Service:
    base = Service(
        "tracking", Role.TRACKING, State.RUNNING, Health.HEALTHY,
        image="mlflow 3.17.2", started_at=NOW - timedelta(days=12), cpu_percent=12.3,
        memory_bytes=352_000_000, ports=("127.0.0.1:5000",),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def status(*services: Service, findings: Sequence[Finding] = (), ok: bool = True) -> Status:
    running = services or (service(),)
    api = Api(
        ok, "mlflow-console", 200 if ok else 403, "3.17.2", "" if ok else "MLflow answers 403"
    )
    errors = any(each.severity is Severity.ERROR for each in findings)
    return Status(
        "lab", "embedded", "http://127.0.0.1:5000", ok and not errors,
        tuple(running), api, tuple(findings), NOW,
    )  # fmt: skip


def stack_services(**changes: Service) -> tuple[Service, ...]:
    """The six services of the shipped stack, in the order of its file; some may be replaced."""
    images = "mlflow-console/mlflow:3.17.2", "mysql:9.7", "pgsty/silo:RELEASE.2026-09-16", "nginx"
    done = service(
        role=Role.JOB, state=State.EXITED, reason="done", image=images[0], cpu_percent=None,
        memory_bytes=None, ports=(), exit_code=0, started_at=NOW - timedelta(days=12, minutes=1),
    )  # fmt: skip
    found = {
        "bucket": replace(done, name="bucket"),
        "database": service(name="database", role=Role.DATABASE, image=images[1], cpu_percent=3.2,
                            memory_bytes=243_000_000, ports=()),
        "proxy": service(name="proxy", role=Role.PROXY, image=images[3], cpu_percent=0.1,
                         memory_bytes=4_100_000, memory_limit_bytes=64_000_000,
                         ports=("127.0.0.1:5000", "127.0.0.1:5443")),
        "secrets": replace(done, name="secrets"),
        "store": service(name="store", role=Role.STORE, image=images[2], cpu_percent=1.4,
                         memory_bytes=98_000_000, ports=()),
        "tracking": service(image=images[0], ports=()),
    }  # fmt: skip
    return tuple((found | changes).values())


def stack_status(*findings: Finding, **changes: Service) -> Status:
    """The shipped stack on Compose; healthy unless a finding says otherwise."""
    now = status(*stack_services(**changes), findings=findings)
    return replace(now, driver="compose", url="http://localhost:5000")


def broken_stack() -> Status:
    """A stack in which several things are wrong at once, with names and words that are hostile."""
    said = f"its health check says: {NASTY} mysqladmin: connect to server at '127.0.0.1' failed"
    database = service(
        name="database", role=Role.DATABASE, health=Health.UNHEALTHY, reason=said,
        image="mysql:9.7", memory_bytes=243_000_000, memory_limit_bytes=512_000_000, restarts=17,
        ports=(),
    )  # fmt: skip
    reports = service(
        name=f"reports-of-the-vision-group {NASTY}", role=Role.OTHER, state=State.EXITED,
        health=Health.UNHEALTHY, reason="it was killed because memory ran out", exit_code=137,
        image="registry.example.org:5000/vision/reports@sha256:0123456789abcdef", ports=(),
        cpu_percent=None, memory_bytes=None,
    )  # fmt: skip
    titles = (f"database: {said}", "reports: it was killed because memory ran out",
              "MLflow answers 500: something behind it fails, often the database")  # fmt: skip
    findings = [Finding("broken", Severity.ERROR, "", title, "seen", "fix") for title in titles]
    return stack_status(*findings, database=database, reports=reports)


def stopped() -> Status:
    dead = service(
        state=State.STOPPED, health=Health.UNKNOWN, started_at=None,
        cpu_percent=None, memory_bytes=None,
    )  # fmt: skip
    api = Api(False, "mlflow-console", None, None, "It is stopped")
    finding = Finding("stopped", Severity.ERROR, "", "It is stopped", fix="mlflow-console up")
    return Status("lab", "embedded", "http://127.0.0.1:5000", False, (dead,), api, (finding,), NOW)


def user(name: str, **changes: object) -> User:
    base = User(name, "default", "bcrypt", 12, True, False, False)
    return msgspec.structs.replace(base, **changes)


def person(name: str, hours: float = 1, **changes: object) -> Person:
    """Somebody who was here some hours ago, from one address."""
    last, client = NOW - timedelta(hours=hours), "mlflow-python-client/3.17.2"
    base = Person(
        name, "default", NOW - timedelta(days=200), last, Sum(1204, 3, 0, 602_000, 301_000),
        Sum(31_002, 40, 0, 15_501_000, 1_400_000_000),
        (Address("10.0.0.7", NOW - timedelta(days=60), last, 31_002, client),), False, client,
        (0,) * 15 + (12, 40, 80, 96, 110, 31, 8, 60, 72),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def people() -> tuple[Person, ...]:
    """Those of `FakeUsers`: one works, one is shared, one left, one never came."""
    machines = tuple(
        Address(f"10.0.3.{number}", NOW - timedelta(days=number), NOW - timedelta(hours=number),
                160_000 // (number + 1), "mlflow-python-client/3.16.0")
        for number in range(9)
    )  # fmt: skip
    idle = (0,) * 24
    return (
        person("alice"),
        person("bob", 2, today=Sum(310), month=Sum(9_004, 0, 2), series=(*idle[1:], 310)),
        person("ci", 0.1, today=Sum(48_211), month=Sum(1_400_318, 0, 214), addresses=machines,
               client="mlflow-python-client/3.16.0", series=(2010,) * 24),
        Person("old-lab", "default"),
        person("carol", 24 * 91, today=Sum(), month=Sum(), addresses=(), series=idle),
    )  # fmt: skip


def logged(days: float = 61, **changes: object) -> Report:
    """What logs that cover the last days say, with a gap of nothing before."""
    coverage = Coverage(NOW - timedelta(days=90), NOW, ((NOW - timedelta(days=days), NOW),))
    api, client = "/api/2.0/mlflow", "mlflow-python-client/3.17.2"
    hour = timedelta(hours=1)
    base = Report(
        coverage.last(30).sentence, coverage, 90, people(),
        (
            Tried("mlflow.lab", "root", "203.0.113.9", NOW - hour, NOW, 214, True),
            Tried("mlflow.lab", NASTY, "203.0.113.9", NOW - hour, NOW, 88, None),
        ),
        (
            Slow("ci", f"{api}/runs/log-metric", 1_310_440, 0.012, 0.048, 0.011, 0.044),
            Slow("alice", f"{api}/runs/log-batch", 30_111, 0.140, 1.9, 0.131, 1.8),
            Slow("alice", "/ajax-api/2.0/mlflow/runs/search", 402, 0.82, 3.1, 0.71, 3.0),
            Slow("alice", f"{api}-artifacts/artifacts/*", 80, 12.4, 75.0, None, None),
        ),
        (
            Deleted(NOW - 3 * hour, "mlflow.lab", "alice", "10.0.0.7", "POST",
                    f"{api}/runs/delete", "", "", 200, client),
            Deleted(NOW - 30 * hour, "mlflow.lab", "ci", "10.0.3.4", "DELETE",
                    f"{api}-artifacts/artifacts/3/{'0123456789abcdef' * 2}/artifacts/model",
                    "0123456789abcdef" * 2, "3", 403, client),
        ),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def experiment(number: int, name: str, runs: int | None = 3) -> Experiment:
    return Experiment(
        str(number), name, "active", NOW - timedelta(days=30), NOW - timedelta(hours=3 * number),
        runs, f"mlflow-artifacts:/{number}", {"team": "vision"},
    )  # fmt: skip


def run(number: int, **changes: object) -> Run:
    states = ("FINISHED", "RUNNING", "FAILED", "FINISHED", "KILLED")
    start = NOW - timedelta(hours=number, minutes=7)
    running = states[number % 5] == "RUNNING"
    base = Run(
        f"{number:032x}", "1", f"calm-deer-{number}", states[number % 5], "active", start,
        None if running else start + timedelta(minutes=3 + number), "alice",
        {"loss": 0.25 / (number + 1), "accuracy": 0.9 + number / 1000, "diverged": float("nan")},
        {"lr": "0.001", "epochs": str(number), "optimizer": "adamw"},
        {"dataset": "cifar10", "note": NASTY},
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def usage(complete: bool = True) -> Usage:
    runs = tuple(
        RunUsage(f"{n:032x}", 61_000_000_000 // (n + 1), 4_000 // (n + 1), f"calm-deer-{n}",
                 "deleted" if n == 3 else "active")
        for n in range(12)
    )  # fmt: skip
    experiments = (
        ExperimentUsage("1", "resnet-cifar10", "active", 240_000_000_000, 61_004, runs,
                        Amount(31_000_000_000, 204), Amount(420_000_000, 9_000)),
        ExperimentUsage("2", "tabular-baselines", "active", 61_000_000_000, 22_113, runs[:4]),
        ExperimentUsage("3", NASTY, "deleted", 41_000_000_000, 8_112, ()),
        ExperimentUsage("4", "empty", "active", 0, 0, ()),
    )  # fmt: skip
    return Usage(
        NOW, complete, 3.7, 351_000_000_000, 98_112, experiments, Amount(41_000_000_000, 8_112),
        Amount(9_000_000_000, 4_411), Amount(1_200, 2), Amount(), 1_400_000_000_000,
    )  # fmt: skip


def raw_line(line: LogLine) -> Raw:
    """A line as an engine sends it; no end of a line is within."""
    stamp = "" if line.at is None else f"{line.at.isoformat().replace('+00:00', 'Z')} "
    return (stamp + line.text.replace("\n", "\r")).encode(), line.service


@dataclass
class FakeStack:
    """The stack; what is done to it is written into `done`."""

    now: Status = field(default_factory=status)
    lines: list[LogLine] = field(default_factory=list)
    working: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    inspection: Inspection = field(default_factory=Inspection)
    done: list[str] = field(default_factory=list)
    block: threading.Event | None = None
    fails: ConsoleError | None = None
    opened: list[tuple[tuple[str, ...], Stream[LogLine]]] = field(default_factory=list)

    def status(self) -> Status:
        if self.block is not None:
            self.block.wait()
        return self.now

    def watch(self) -> Stream[Status]:
        def produce(cancel: threading.Event, emit: Callable[[Status], None]) -> None:
            emit(self.now)
            cancel.wait()

        return Stream(produce)

    def logs(
        self, services: Sequence[str] = (), tail: int | None = 200, follow: bool = False,
        since: datetime | None = None,
    ) -> LogStream:  # fmt: skip
        def produce(cancel: threading.Event, emit: Emit) -> None:
            wanted = [line for line in self.lines if not services or line.service in services]
            emit([raw_line(each) for each in (wanted if tail is None else wanted[-tail:])])
            cancel.wait()

        stream = LogStream(produce)
        self.opened.append((tuple(services), stream))
        return stream

    def up(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        yield Progress("starting tracking")
        if self.fails is not None:
            raise self.fails
        self.now = status()
        self.done.append("up")

    def down(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        yield Progress("stopping tracking")
        self.now = stopped()
        self.done.append("down")

    def restart(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        yield from self.down(cancel=cancel)
        yield from self.up(cancel=cancel)

    def at_work(self) -> list[str]:
        return self.working

    def perform(
        self, operation_id: str, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        yield from getattr(self, operation_id.partition(".")[2])(services, cancel=cancel)

    def current(self) -> Action | None:
        return None

    def statistics(self) -> Stream[list[Sample]]:
        def produce(cancel: threading.Event, emit: Callable[[list[Sample]], None]) -> None:
            emit(self.samples)
            cancel.wait()

        return Stream(produce)

    def inspect(self, service: str) -> Inspection:
        return self.inspection

    def volumes(self) -> list[Volume]:
        return [Volume("lab_database", "database", 243_000_000)]


@dataclass
class FakeUsers:
    """The users."""

    users: list[User] = field(
        default_factory=lambda: [
            user("alice"), user("bob", cost=10), user("ci"),
            user("old-lab", scheme="SHA-1", cost=None, weak=True), user("carol", enabled=False),
            user("mlflow-console", service_user=True),
        ]
    )  # fmt: skip
    passwords: dict[str, str] = field(default_factory=dict)
    removed: list[tuple[str, ...]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    fails: Exception | None = None
    report: Report = field(default_factory=logged)
    asked: list[Asked] = field(default_factory=list)
    listed: int = 0
    _before: list[User] = field(default_factory=list)

    def hosts(self) -> Sequence[str]:
        return list(dict.fromkeys(["default", *(each.host for each in self.users)]))

    def state(self) -> tuple[object, ...]:
        return tuple(self.users)

    def list(self) -> list[User]:
        self.listed += 1
        if self.fails is not None:
            raise self.fails
        return list(self.users)

    def notes(self) -> list[str]:  # type: ignore[valid-type]  # `list` is the verb above
        return self.odd

    def add(self, name: str, password: Secret, *, host: str = "default") -> None:
        if any(each.name == name for each in self.users):
            raise UsageError(f"{name} is taken", "Choose another name.")
        self.users.append(user(name))
        self.passwords[name] = password.reveal()

    def passwd(self, name: str, password: Secret, *, host: str = "default") -> None:
        self.passwords[name] = password.reveal()

    def renew(self) -> None:
        self.passwords["mlflow-console"] = "made anew"

    def rename(self, name: str, new: str, *, host: str = "default") -> None:
        check_name(new)
        if any(each.name == new for each in self.users):
            raise UsageError(f"{new} is taken", "Choose another name.")
        self._each({name}, host, lambda each: msgspec.structs.replace(each, name=new))

    def disable(self, names: Sequence[str], *, host: str = "default") -> None:
        self._each(set(names), host, lambda each: msgspec.structs.replace(each, enabled=False))

    def enable(self, names: Sequence[str], *, host: str = "default") -> None:
        self._each(set(names), host, lambda each: msgspec.structs.replace(each, enabled=True))

    def remove(self, names: Sequence[str], *, host: str = "default") -> None:
        self.removed.append(tuple(names))
        self._before = list(self.users)
        self.users = [each for each in self.users if each.name not in names or each.host != host]

    def _each(self, names: set[str], host: str, change: Callable[[User], User]) -> None:
        self._before = list(self.users)
        self.users = [
            change(each) if each.name in names and each.host == host else each
            for each in self.users
        ]

    def activity(self, asked: Asked = EVERYBODY, cancel: threading.Event | None = None) -> Report:
        self.asked.append(asked)
        if asked.name is None:
            return self.report
        return replace(
            self.report,
            people=tuple(each for each in self.report.people if each.name == asked.name),
            slow=tuple(each for each in self.report.slow if each.user == asked.name),
            deletions=tuple(each for each in self.report.deletions if each.user == asked.name),
        )

    def last(self) -> Last:
        return Last(
            host="default", what=What(("alice",), "disabled"), means=("alice can log in again",),
            by="r[oo]t", at=NOW, after="", before=b"",
        )  # fmt: skip

    def undo(self, last: Last) -> None:
        self.users, self._before = self._before, list(self.users)

    def check(self, name: str, password: Secret, *, host: str = "default") -> Verdict:
        right = self.passwords.get(name) == password.reveal()
        return Verdict.RIGHT if right else Verdict.WRONG


@dataclass
class FakeExperiments:
    """The experiments."""

    experiments: list[Experiment] = field(
        default_factory=lambda: [
            experiment(1, "resnet-cifar10", 4211), experiment(2, "tabular-baselines", 87),
            experiment(3, NASTY, None), experiment(4, "empty", 0),
        ]
    )  # fmt: skip
    fails: ConsoleError | None = None

    def list(self, deleted: bool = False) -> list[Experiment]:
        if self.fails is not None:
            raise self.fails
        return list(self.experiments)

    def totals(self) -> Totals:
        known = [each for each in self.list() if each.runs is not None]
        times = [each.updated_at for each in known if each.updated_at]
        return Totals(len(self.experiments), sum(each.runs or 0 for each in known), max(times))

    def show(self, experiment: str) -> Experiment:
        return next(each for each in self.experiments if each.experiment_id == experiment)


@dataclass
class FakeRuns:
    """The runs; the same for every experiment but the empty one."""

    count: int = 12
    asked: list[str | None] = field(default_factory=list)

    def page(
        self, experiment_id: str, token: str | None = None, deleted: bool = False, size: int = 100
    ) -> Page:
        self.asked.append(token)
        start, end = int(token or 0), 0 if experiment_id == "4" else self.count
        stop = min(end, start + size)
        return Page(
            tuple(run(number, experiment_id=experiment_id) for number in range(start, stop)),
            str(stop) if stop < end else None,
        )

    def show(self, run_id: str) -> Run:
        return run(int(run_id, 16))


@dataclass
class FakeStorage:
    """The artifact store."""

    seen: list[Usage] = field(default_factory=lambda: [usage(False), usage()])
    fails: ConsoleError | None = None
    walks: int = 0

    def usage(self, *, cancel: threading.Event) -> Iterator[Usage]:
        self.walks += 1
        if self.fails is not None:
            raise self.fails
        yield from self.seen


@dataclass
class FakeDoctor:
    """The doctor."""

    findings: tuple[Finding, ...] = ()
    looked_at: tuple[str, ...] = ()
    fails: ConsoleError | None = None
    looks: int = 0

    def examine(self) -> Examination:
        self.looks += 1
        if self.fails is not None:
            raise self.fails
        return Examination(self.findings, self.looked_at, NOW)


def _settings(driver: str) -> SimpleNamespace:
    return SimpleNamespace(driver=driver, users=UsersSettings())


@dataclass
class Fake:
    """A deployment in memory, and the console that shows it."""

    stack: FakeStack = field(default_factory=FakeStack)
    users: FakeUsers = field(default_factory=FakeUsers)
    experiments: FakeExperiments = field(default_factory=FakeExperiments)
    runs: FakeRuns = field(default_factory=FakeRuns)
    storage: FakeStorage = field(default_factory=FakeStorage)
    doctor: FakeDoctor = field(default_factory=FakeDoctor)
    backup: FakeBackup = field(default_factory=FakeBackup)
    read_only: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    name: str = "lab"
    settings: SimpleNamespace = field(default_factory=lambda: _settings("embedded"))
    driver: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(host_names=()))

    def __post_init__(self) -> None:
        self.settings.backup = self.backup.settings

    @classmethod
    def compose(cls, now: Status | None = None) -> Fake:
        """The shipped stack on Compose, whose store cannot tell what is free."""
        services = ("tracking", "proxy", "database", "tracking", "proxy")
        lines = [LogLine(services[n % 5], NOW, f"line {n} of {services[n % 5]}") for n in range(60)]
        seen = replace(usage(), free_bytes=None)
        return cls(
            stack=FakeStack(now=now or stack_status(), lines=lines), storage=FakeStorage([seen]),
            settings=_settings("compose"),
        )  # fmt: skip

    def session(self) -> Session:
        return Session(
            cast("Deployment", self), PersonSettings(keys=self.keys), self.missing,
            self.stack.watch(),
        )  # fmt: skip

    def app(self) -> ConsoleApp:
        def opener(wanted: str | None) -> Session | list[Known]:
            return self.session()

        # As it is opened where the deployment answers at once; test_console.py has the other way.
        app = OpenedApp(self.session(), opener)
        app.who = "alice@gpu1"
        return app


def ill_stack() -> Fake:
    """A stack that runs and is put together badly."""
    fake = Fake.compose()
    fake.doctor.looked_at = ("volumes", "images", "ports", "passwords", "logs", "host names",
                             "certificates", "proxy", "bucket")  # fmt: skip
    close = (
        "docker compose --project-directory /srv/mlflow exec store sh -c 'MC_HOST_here=\"http://"
        "$(cat /run/stack-secrets/store-access-key):$(cat /run/stack-secrets/store-secret-key)"
        "@127.0.0.1:9000\" mc anonymous set none here/mlflow'"
    )
    fake.doctor.findings = (
        Finding("bucket-public", Severity.ERROR, "store",
                "store: the bucket mlflow is public: whoever reaches the store may list and read "
                "artifacts", "without a key it answers: list and read", close),
        Finding("database-published", Severity.ERROR, "database",
                "database: the database can be reached from elsewhere: every address, port 3306"),
        Finding("version-unsupported", Severity.WARNING, "database",
                "database: MySQL 5.7 has had no fixes since 2023-10-31"),
        Finding("logs-unlimited", Severity.WARNING, "",
                "The logs of database and store grow without a limit"),
        Finding("nasty", Severity.WARNING, NASTY, f"{NASTY} {NASTY}"),
    )  # fmt: skip
    return fake

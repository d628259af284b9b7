"""The embedded driver: MLflow's own server as child processes on loopback, no container.

A small supervisor (the distribution in `stack/server/`) runs it, keeps its log and starts it
again when it dies. It outlives the console; it is found again by pid *and* start time.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import files, http, process
from console.core.errors import (
    CancelledError,
    ConsoleError,
    NotOursError,
    UnreachableError,
    UsageError,
)
from console.core.progress import Progress
from console.core.stack import embedded_backup, embedded_setup, logs
from console.core.stack.access_sources import FileSource
from console.core.stack.anatomy import Anatomy
from console.core.stack.driver import (
    Capabilities,
    Direct,
    Finding,
    Guard,
    Health,
    Inspection,
    Missing,
    Program,
    Role,
    Room,
    Sample,
    Service,
    Severity,
    State,
    Verb,
    Volume,
)
from console.core.stack.driver_backup import Scratch
from console.core.stack.embedded_setup import ADDRESS, MARKER
from console.core.stack.environment import Environment
from console.core.stack.log_stream import LogStream
from console.core.stack.places import Folder, SqliteFile
from console.core.stack.secrets_shown import mask
from console.core.stack.usage import EACH_SECONDS, Meter
from console.core.streams import Stream

if TYPE_CHECKING:
    import psutil

    from console.core.deployment import Deployment

SERVICE = "tracking"
START_SECONDS = 180.0
STOP_SECONDS = 15.0
RECORD_SECONDS = 20.0
LEAST_ROOM_BYTES = 1_000_000
LOOK_SECONDS = 1.0


class Recorded(msgspec.Struct, frozen=True):
    """What the supervisor wrote about itself and its child (run/tracking.json)."""

    pid: int
    start_time: float
    start_ticks: int | None = None
    child_pid: int | None = None
    child_started_at: datetime | None = None
    restarts: int = 0
    exit_code: int | None = None
    exited_at: datetime | None = None


class EmbeddedDriver:
    """Runs the tracking server of one deployment."""

    capabilities = Capabilities({
        "stack.recreate": Missing("an embedded server runs in no container"),
        "stack.pull": Missing("an embedded server has no image"),
        "stack.build": Missing("an embedded server has no image"),
        "stack.destroy": Missing(
            "an embedded deployment has no volumes; its data is a database and a folder in its own"
        ),
        "stack.shell": Missing("an embedded server runs in no container"),
    })  # fmt: skip

    def __init__(self, deployment: Deployment) -> None:
        assert deployment.settings.server is not None  # noqa: S101  # the settings hold to it
        self._server = deployment.settings.server
        self._paths = deployment.paths
        self._environment = Environment(deployment.paths.server)
        self._meter = Meter()

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self._server.port}"

    own_url = inner_url = url

    @property
    def host_names(self) -> tuple[str, ...]:
        return self._server.host_names

    def url_of(self, host_name: str) -> str:
        """By plain HTTP: whoever gives it a name has it behind something of their own."""
        return f"http://{host_name}:{self._server.port}"

    def certificate_of(self, host_name: str) -> None:
        """It speaks plain HTTP."""

    @property
    def own_user_files(self) -> bool:
        return False

    @property
    def host_names_setting(self) -> str:
        return "host_names under [server] in console.toml"

    @property
    def ports(self) -> set[int]:
        return {self._server.port}

    @property
    def complete(self) -> bool:
        return self._environment.complete

    def init(self, cancel: threading.Event) -> Iterator[Progress]:
        """Make the folders and the server's environment."""
        for folder in (self._paths.run, self._paths.logs, self._paths.artifacts):
            files.make_folder(folder)
        yield from self._environment.make(cancel)

    # Starting

    def act(
        self, verb: Verb, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Start or stop the one server."""
        self._check_names(services)
        if verb in (Verb.DOWN, Verb.STOP, Verb.RESTART):
            yield from self._stop()
        if verb in (Verb.UP, Verb.START, Verb.RESTART):
            yield from self._start(cancel)

    def _start(self, cancel: threading.Event) -> Iterator[Progress]:
        """Start the server unless it runs, and wait until it listens."""
        yield from self.init(cancel)
        with files.locked(self._paths.run / "driver.lock", "the server"):
            if self._supervisor() is None:
                self._end(self._stragglers())
                self._check_port()
                yield Progress("MLflow server: starting")
                pid = process.start_detached(
                    embedded_setup.command(self._server, self._paths, self._environment),
                    embedded_setup.variables(self._server, self._paths),
                    self._paths.root,
                    self._early_errors,
                )
                self._wait_for_record(pid)
        yield from self._wait_until_ready(cancel)

    def _check_port(self) -> None:
        port = self._server.port
        if process.port_is_free(port):
            return
        who = process.listener(port) or "a process of another account"
        raise NotOursError(
            f"Port {port} is taken by {who}",
            f"End that program, or set another port under [server] in {self._paths.settings} "
            f"({process.free_port(port + 1)} is free).",
        )

    @property
    def _early_errors(self) -> Path:
        return self._paths.logs / "supervisor.log"

    def _wait_for_record(self, pid: int) -> None:
        """Wait until a supervisor has written who it is.

        It need not be the one just started: of two, one of them by an interrupted call, the
        second ends at once because the first holds the lock.
        """
        deadline = time.monotonic() + RECORD_SECONDS
        while self._supervisor() is None:
            if time.monotonic() > deadline:
                files.need_room(self._paths.logs, LEAST_ROOM_BYTES, "The server's log")
                said = self._early_errors.read_text(errors="replace").strip().splitlines()
                raise ConsoleError(
                    "The server's supervisor did not start: "
                    + (said[-1] if said else f"process {pid} said nothing"),
                    f"See {self._early_errors}.",
                )
            if process.ended(pid):
                deadline = min(deadline, time.monotonic() + 1)
            time.sleep(0.05)

    def _wait_until_ready(self, cancel: threading.Event) -> Iterator[Progress]:
        deadline = time.monotonic() + START_SECONDS
        yield Progress(f"MLflow server: waiting for {self.url}")
        while time.monotonic() < deadline:
            if self._answers():
                return
            if self._supervisor() is None:
                raise self._start_failure("The MLflow server ended while it started")
            if cancel.wait(0.2):
                raise CancelledError(
                    "Cancelled; the server goes on starting by itself",
                    "`mlflow-console status` shows it, `mlflow-console down` stops it.",
                )
        raise self._start_failure(f"The MLflow server did not answer for {START_SECONDS:.0f} s")

    def _answers(self) -> bool:
        try:
            return http.get(f"{self.url}/health", timeout=2).status == 200
        except UnreachableError:
            return False

    def _start_failure(self, sentence: str) -> ConsoleError:
        last = [line.text for line in logs.tail(self._log, SERVICE, 60) if line.text.strip()]
        reason = next((t for t in reversed(last) if "Error" in t or "error" in t), "")
        return ConsoleError(
            f"{sentence}: {reason.strip()}" if reason else sentence,
            "`mlflow-console logs` shows what it said.",
        )

    # Stopping

    def _stop(self) -> Iterator[Progress]:
        """Stop the server and everything it started; a second call finds nothing to do."""
        yield Progress("MLflow server: stopping")
        with files.locked(self._paths.run / "driver.lock", "the server"):
            supervisor = self._supervisor()
            if supervisor is not None:
                self._end([supervisor])
            self._end(self._stragglers())
            with files.explained(self._record):
                # It was stopped on purpose: how it ended, perhaps killed, is no news any more.
                self._record.unlink(missing_ok=True)

    @staticmethod
    def _end(processes: Sequence[psutil.Process]) -> None:
        if processes:
            process.terminate(processes, STOP_SECONDS)

    def _check_names(self, services: Sequence[str]) -> None:
        for name in services:
            if name != SERVICE:
                raise UsageError(f"There is no service called {name}", f"There is: {SERVICE}.")

    # Looking

    @property
    def _record(self) -> Path:
        return self._paths.run / "tracking.json"

    def _recorded(self) -> Recorded | None:
        with files.explained(self._record):
            try:
                return msgspec.json.decode(self._record.read_bytes(), type=Recorded)
            except (FileNotFoundError, msgspec.DecodeError):
                return None

    def _supervisor(self) -> psutil.Process | None:
        return self._find(self._recorded())

    def _find(self, recorded: Recorded | None) -> psutil.Process | None:
        """The supervisor that is recorded, if it still lives.

        When the clock was set since (a machine that starts often does), every start time in
        epoch seconds has moved; then it is the one that started at the same tick since boot and
        runs for this directory.
        """
        if recorded is None:
            return None
        found = process.find(recorded.pid, recorded.start_time)
        if found is None and recorded.start_ticks is not None:
            words = ("mlflow_console_server", str(self._paths.root))
            found = process.find_by_ticks(recorded.pid, recorded.start_ticks, words)
        return found

    def _stragglers(self) -> list[psutil.Process]:
        """Processes of this deployment whose supervisor was killed."""
        return process.marked(MARKER, str(self._paths.root))

    def services(self, measure: bool = True) -> list[Service]:
        """The one service: the tracking server."""
        recorded = self._recorded()
        supervisor = self._find(recorded)
        if supervisor is not None and recorded is not None:
            return [self._running(recorded, supervisor, measure)]
        left = self._stragglers() if recorded is None or recorded.exited_at is None else []
        if left:
            return [self._service(
                State.RUNNING, Health.UNHEALTHY, left,
                reason="nobody watches over it: its supervisor was killed, or what it wrote "
                "about itself is lost; `mlflow-console up` puts it in order",
                started_at=datetime.fromtimestamp(left[0].create_time(), UTC),
            )]  # fmt: skip
        self._meter.forget()
        reason = _end_reason(recorded)
        return [self._service(
            State.EXITED if reason else State.STOPPED, Health.UNHEALTHY, [],
            reason=reason or "stopped", exit_code=recorded.exit_code if recorded else None,
        )]  # fmt: skip

    def _running(self, recorded: Recorded, supervisor: psutil.Process, measure: bool) -> Service:
        alive = recorded.exited_at is None and recorded.child_pid is not None
        family = [supervisor, *process.children(supervisor)]
        return self._service(
            State.RUNNING if alive else State.RESTARTING,
            Health.UNKNOWN if alive else Health.UNHEALTHY,
            family,
            reason="" if alive else f"it ended with {_code(recorded.exit_code)} and starts again",
            started_at=recorded.child_started_at,
            restarts=recorded.restarts,
            exit_code=recorded.exit_code,
            measure=measure,
        )

    def _service(
        self, state: State, health: Health, family: Sequence[psutil.Process], *,
        reason: str, started_at: datetime | None = None, restarts: int = 0,
        exit_code: int | None = None, measure: bool = True,
    ) -> Service:  # fmt: skip
        used = self._meter.read(family) if family and measure else None
        return Service(
            name=SERVICE, role=Role.TRACKING, state=state, health=health, reason=reason,
            image=f"mlflow {self._server.mlflow}", started_at=started_at,
            restarts=restarts, exit_code=exit_code,
            cpu_percent=used.cpu_percent if used else None,
            memory_bytes=used.memory_bytes if used else None,
            ports=(f"{ADDRESS}:{self._server.port}",),
            since=started_at,
        )  # fmt: skip

    def changes(self) -> Stream[datetime]:
        """From what the supervisor writes, and whether it lives."""

        def produce(cancel: threading.Event, emit: Callable[[datetime], None]) -> None:
            before = None
            while not cancel.wait(LOOK_SECONDS):
                recorded = self._recorded()
                now = recorded, self._find(recorded) is not None
                if before is not None and now != before:
                    emit(datetime.now(UTC))
                before = now

        return Stream(produce)

    def statistics(self) -> Stream[list[Sample]]:
        """From the processes."""

        def produce(cancel: threading.Event, emit: Callable[[list[Sample]], None]) -> None:
            meter = Meter()
            while not cancel.is_set():
                family = self._family()
                emit([meter.sample(SERVICE, family, self._log)] if family else [])
                cancel.wait(EACH_SECONDS)

        return Stream(produce)

    def inspect(self, service: str) -> Inspection:
        """How its process was started; nothing checks it but the console itself."""
        self._check_names([service])
        variables = embedded_setup.variables(self._server, self._paths)
        shown = tuple((name, mask(name, value)) for name, value in sorted(variables.items()))
        recorded = self._recorded()
        raw = msgspec.json.format(msgspec.json.encode(recorded), indent=2).decode()
        mounts = (
            ("database", str(self._paths.database)),
            ("artifacts", str(self._paths.artifacts)),
        )
        return Inspection(environment=shown, mounts=mounts, raw=raw)

    def direct(self) -> Direct | None:
        """There is no proxy to go past: the lock is in the server itself."""
        return None

    def rooms(self) -> list[Room]:
        """Of the deployment's folder."""
        root = self._paths.root
        with files.explained(root):
            usage = shutil.disk_usage(root)
        return [Room(SERVICE, str(root), usage.total, usage.free)]

    def clients(self, seconds: float) -> int | None:
        """Nobody counts: the server's own log does not name them."""
        return None

    def volumes(self) -> list[Volume]:
        return []

    def anatomy(self) -> Anatomy:
        """Nothing to judge but its disk: it listens on loopback, and keeps folders of its own."""
        return Anatomy()

    def program(self, service: str, client: bool) -> Program:
        raise ConsoleError(self.capabilities.missing["stack.shell"].reason)

    def _family(self) -> list[psutil.Process]:
        supervisor = self._supervisor()
        return [supervisor, *process.children(supervisor)] if supervisor else self._stragglers()

    def not_ours(self, services: Sequence[Service] | None = None) -> Finding | None:
        """Whether our own server listens: any account can take a port that it has left."""
        port, family = self._server.port, self._family()
        ports = process.listening(family)
        if port in ports:
            return None
        if not family:
            return Finding("stopped", Severity.ERROR, "", "It is stopped", fix="mlflow-console up")
        if ports:
            return Finding(
                "port-changed", Severity.ERROR, SERVICE,
                f"The server still listens on port {min(ports)}, console.toml says {port}",
                fix="mlflow-console restart",
            )  # fmt: skip
        who = process.listener(port)
        if who:
            return Finding("port-taken", Severity.ERROR, SERVICE, f"Port {port} is taken by {who}",
                           fix="end that program, then mlflow-console restart")  # fmt: skip
        return Finding("starting", Severity.ERROR, SERVICE, "It is still starting",
                       fix="wait a little; mlflow-console logs shows how far it is")  # fmt: skip

    def check_start(self) -> None:
        """The port is free, or our own server has it."""
        if self._server.port not in process.listening(self._family()):
            self._check_port()

    def guard(self) -> Guard:
        """The lock in the server, which looks at the file with every request."""
        return Guard()

    def users_changed(self) -> None:
        """Nothing to do: the lock looks at the file's identity with every request."""

    def findings(self, services: Sequence[Service]) -> list[Finding]:
        """A server goes on with a database that was deleted under it, until it is stopped."""
        if self._paths.database.exists():
            return []
        return [Finding(
            "database-missing", Severity.ERROR, SERVICE,
            f"The database {self._paths.database} is gone; what is logged now will be lost",
            fix="put the file back while the server is stopped",
        )]  # fmt: skip

    def backend_store(self) -> SqliteFile:
        """A file of the deployment, whether the server runs or not."""
        return SqliteFile(self._paths.database)

    def data_folders(self) -> tuple[Path, ...]:
        """Database and artifacts, and the environment, which `up` makes."""
        return self._paths.database.parent, self._paths.server

    def artifact_store(self) -> Folder:
        """A folder of the deployment, whether the server runs or not."""
        return Folder(self._paths.artifacts)

    # Logs and programs

    @property
    def _log(self) -> Path:
        return self._paths.logs / "tracking.log"

    def logs(
        self, services: Sequence[str], tail: int | None, follow: bool,
        since: datetime | None = None,
    ) -> LogStream:  # fmt: skip
        """The server's log."""
        self._check_names(services)
        return logs.stream(self._log, SERVICE, tail, follow, since)

    def access_log(self) -> FileSource:
        """What the lock in the server writes."""
        return FileSource(self._paths.access_log)

    def run_in(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], cancel: threading.Event
    ) -> Iterator[str]:
        """Run a program of the server's environment."""
        if role is not Role.TRACKING:
            raise ConsoleError(f"An embedded deployment has no service in the role {role}")
        program = [str(self._environment.bin / argv[0]), *argv[1:]]
        for line in process.lines(program, process.environment(env), cancel, self._paths.root):
            if isinstance(line, str):
                yield line
            elif line.code != 0:
                last = line.errors.strip().splitlines()
                raise ConsoleError(last[-1] if last else f"{argv[0]} ended with {line.code}")

    # For backups

    def pipe(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str],
        feed: Iterable[bytes] | None, cancel: threading.Event,
    ) -> Iterator[bytes]:  # fmt: skip
        yield from embedded_backup.pipe(
            self._paths, self._environment, role, argv, env=env, feed=feed, cancel=cancel
        )

    def migrate(self, cancel: threading.Event) -> Iterator[Progress]:
        yield from embedded_backup.migrate(self._paths, self._environment, cancel)

    def maintenance(self, on: bool) -> None:
        """Nothing to do: there is no proxy, and the server is stopped while it is restored."""

    def versions(self) -> dict[str, str]:
        return {SERVICE: self._server.mlflow}

    def images(self) -> dict[str, str]:
        return {}

    def scratch(self, folder: Path, cancel: threading.Event) -> AbstractContextManager[Scratch]:
        """A server of the same environment, as a child process behind a lock of its own."""
        from console.core.stack import embedded_scratch  # noqa: PLC0415  # first use

        return embedded_scratch.scratch(self._paths, self._environment, folder, cancel)


def _end_reason(recorded: Recorded | None) -> str:
    """Why nothing runs, "" when it was stopped on purpose or never started."""
    if recorded is None:
        return ""
    if recorded.exited_at is None:
        return "it was killed, or the machine was restarted"
    on_purpose = recorded.exit_code in (None, 0, -signal.SIGTERM, 128 + signal.SIGTERM)
    return "" if on_purpose else f"it ended with {_code(recorded.exit_code)}"


def _code(code: int | None) -> str:
    if code is None:
        return "an unknown code"
    return f"signal {-code}" if code < 0 else f"code {code}"

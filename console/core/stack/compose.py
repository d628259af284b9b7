"""The Compose driver: the shipped stack in containers.

What runs, and how it is, comes from the engine's API; what changes it goes through
`docker compose`, so that a person finds the same project and can do the same by hand.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from console.core import engine, files, process
from console.core.engine import Engine
from console.core.errors import (
    CancelledError,
    ConsoleError,
    NotOursError,
    SettingsError,
    UnreachableError,
    UsageError,
)
from console.core.process import Finished
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.settings import HOST_NAME
from console.core.stack import (
    compose_setup,
    container_logs,
    containers,
    failures,
    generation,
    project,
)
from console.core.stack.driver import (
    Capabilities,
    Finding,
    Health,
    LogLine,
    Role,
    Service,
    Severity,
    State,
)
from console.core.stack.places import Bucket, MysqlServer
from console.core.stack.planning import SIZES
from console.core.stack.project import Project
from console.core.streams import Stream
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

    from console.core.deployment import Deployment

START_SECONDS = 900
RECOVERY_SECONDS = 60  # a server that waited for its database is checked every ten
STARTED_TOGETHER = 8
PROXY_HTTP, PROXY_HTTPS = 80, 443
INNER_URL = "http://proxy.internal"
DATABASE_PORT, STORE_PORT = 3306, 9000
OTHER_NAME = "set another COMPOSE_PROJECT_NAME in its .env"


class ComposeDriver:
    """Runs the stack of one deployment."""

    capabilities = Capabilities()

    def __init__(self, deployment: Deployment) -> None:
        self._paths = deployment.paths
        self._engine = Engine()
        self._meter = containers.Meter()
        self._resolved: tuple[tuple[int, ...], Project] | None = None

    # What the project says

    @property
    def _project(self) -> Project:
        """The project, asked anew only when one of its files has changed."""
        if not (self._paths.root / ".env").exists():
            raise SettingsError(
                f"{self._paths.root / '.env'} is missing: it holds the passwords of this stack",
                "Bring it back from a copy; a new one would lock the database's old data in.",
            )
        names = ("compose.yaml", "compose.override.yaml", ".env")
        paths = [self._paths.root / name for name in names]
        now = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
        if self._resolved is None or self._resolved[0] != now:
            self._resolved = (now, project.resolve(self._paths.root))
        return self._resolved[1]

    def _name_of(self, role: Role) -> str:
        return self._project.name_of(role)

    def _published(self, target: int) -> int | None:
        return self._project.published(Role.PROXY, target)

    @property
    def host_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._project.host_names() if name != compose_setup.OWN_NAME)

    @property
    def host_names_setting(self) -> str:
        return f"VIRTUAL_HOST in {self._paths.root / '.env'}"

    @property
    def url(self) -> str:
        """The first name with a certificate, by https; else this machine's own."""
        for name in self.host_names:
            if (self._paths.root / "certs" / f"{name}.crt").exists():
                return _address("https", name, self._published(PROXY_HTTPS), 443)
        bound = self._project.services[self._name_of(Role.PROXY)].ports
        everywhere = any(port.host_ip == compose_setup.EVERYWHERE for port in bound)
        name = self.host_names[0] if everywhere and self.host_names else compose_setup.OWN_NAME
        return _address("http", name, self._published(PROXY_HTTP), 80)

    @property
    def own_url(self) -> str:
        return _address("http", compose_setup.OWN_NAME, self._published(PROXY_HTTP), 80)

    @property
    def inner_url(self) -> str:
        return INNER_URL

    @property
    def ports(self) -> set[int]:
        if not self.complete:
            return set()  # an interrupted set-up has nothing yet that Compose could read
        return self._project.ports()

    # Setting up

    @property
    def complete(self) -> bool:
        return compose_setup.is_written(self._paths.root)

    def init(self, cancel: threading.Event) -> Iterator[Progress]:
        """Write the project's files; images come with `up`."""
        if not self.complete:
            compose_setup.write_files(self._paths.root)
            yield Progress(f"{self._paths.root}: the stack's files written")

    # Starting and stopping

    def up(self, services: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """`docker compose up -d --wait`; what an interrupted call has made is gone on with."""
        self._check_names(services)
        yield from self.init(cancel)
        with files.locked(self._paths.run / "driver.lock", "the stack"):
            self.check_start()
            yield Progress(f"docker compose up ({self._project.name})")
            argv = ["up", "--detach", "--wait", "--wait-timeout", str(START_SECONDS), *services]
            try:
                yield from self._run(argv, cancel)
            except failures.UnhealthyError:
                if not self._recovers(cancel):
                    raise

    def _recovers(self, cancel: threading.Event) -> bool:
        """Whether every service becomes healthy all the same.

        Compose gives up at the first one that is unhealthy, and judges by a check from before:
        that of a server whose database has just come back.
        """
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline and not cancel.wait(2):
            now = [containers.service(name, each, None) for name, each in self._find().items()]
            if any(
                service.state is not State.RUNNING
                for service in now
                if service.role is not Role.JOB
            ):
                return False
            if all(service.health is Health.HEALTHY for service in now):
                return len(now) == len(self._project.services)
        return False

    def down(self, services: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """`docker compose down`: containers and networks go, volumes stay."""
        self._check_names(services)
        with files.locked(self._paths.run / "driver.lock", "the stack"):
            self._find()
            yield Progress(f"docker compose down ({self._project.name})")
            yield from self._run(["down", *services], cancel)

    def _run(self, argv: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        try:
            for line in engine.compose(argv, self._paths.root, cancel):
                if not isinstance(line, Finished):
                    if line.strip():
                        yield Progress(clean(line.strip(), 200))
                elif line.code != 0:
                    raise failures.explain(line.errors, self._look_closer())
        except CancelledError as error:
            raise CancelledError(
                "Cancelled; the containers that were made stay as they are",
                "The same command goes on, `mlflow-console down` stops them.",
            ) from error

    def _look_closer(self) -> list[failures.Ended]:
        """What the containers themselves say when Compose has failed."""
        try:
            found = self._find()
        except ConsoleError:
            return []
        return [
            failures.Ended(
                service, [line.text for line in container_logs.tail({service.name: each}, 80)]
            )
            for name, each in found.items()
            for service in (containers.service(name, each, None),)
            if failures.is_broken(service)
        ]

    def check_start(self) -> None:
        """What .env says can be meant, and nobody else has the project's name or its ports."""
        engine.check()
        self._check_values()
        running = {
            port for each in self._find().values() if each.status == "running"
            for port in _bound(each)
        }  # fmt: skip
        for port in sorted(self.ports - running):
            if not process.port_is_free(port):
                who = process.listener(port) or "a process of another account"
                raise NotOursError(
                    f"Port {port} is taken by {who}",
                    f"End that program, or set another port in {self._paths.root / '.env'} "
                    f"({process.free_port(port + 1, self.ports)} is free).",
                )

    def _check_values(self) -> None:
        """What the services themselves would only say in their logs, over and over."""
        wrong = [name for name in self._project.host_names() if not re.fullmatch(HOST_NAME, name)]
        size = self._project.value(self._name_of(Role.TRACKING), "STACK_SIZE")
        if wrong:
            raise SettingsError(
                f"{clean(wrong[0])!r} in {self.host_names_setting} is not a host name",
                "Give names like mlflow.lab, separated by commas.",
            )
        if size not in SIZES:
            raise SettingsError(
                f"STACK_SIZE in {self._paths.root / '.env'} is {clean(size)!r}",
                f"It can be {' or '.join(SIZES)}.",
            )

    def _check_names(self, services: Sequence[str]) -> None:
        if not services:
            return
        known = self._project.services
        for name in services:
            if name not in known:
                raise UsageError(
                    f"There is no service called {clean(name)}", f"There are: {', '.join(known)}."
                )

    # Looking

    def _find(self) -> dict[str, Container]:
        """The containers of the project, by service.

        Raises:
            NotOursError: The project belongs to another folder.
        """
        name = self._project.name
        with self._engine.calls() as client:
            every = client.containers.list(
                all=True, filters={"label": f"{engine.PROJECT}={name}"}, ignore_removed=True
            )
        found: dict[str, Container] = {}
        for each in every:
            folder = each.labels.get(engine.DIRECTORY, "")
            if folder and folder != str(self._paths.root):
                raise NotOursError(
                    f"The Compose project {name} belongs to {clean(folder)}",
                    f"Is this folder a copy? Then {OTHER_NAME}; nothing was changed.",
                )
            if each.labels.get("com.docker.compose.oneoff") != "True":
                found[each.labels.get(engine.SERVICE) or str(each.name)] = each
        return found

    def services(self) -> list[Service]:
        """Every service of the project, in its order, whether it has a container or not."""
        found = self._find()
        with ThreadPoolExecutor(STARTED_TOGETHER) as pool:
            running = [each for each in found.values() if each.status == "running"]
            used = dict(zip((each.id for each in running),
                            pool.map(self._meter.read, running), strict=True))  # fmt: skip
        return [
            containers.service(name, found[name], used.get(found[name].id))
            if name in found
            else containers.missing(name, containers.role_of(part.labels), part.image)
            for name, part in self._project.services.items()
        ]

    def not_ours(self) -> Finding | None:
        """Whether our own proxy has the port: any account can take one that it has left."""
        name = self._name_of(Role.PROXY)
        proxy = self._find().get(name)
        if proxy is not None and proxy.status == "running":
            if self._published(PROXY_HTTP) in _bound(proxy):
                return None
            return Finding(
                "port-changed", Severity.ERROR, name,
                f"The proxy still listens on another port than {self._paths.root / '.env'} says",
                fix="mlflow-console up",
            )  # fmt: skip
        if proxy is None:
            return Finding("stopped", Severity.ERROR, name, "The proxy does not run",
                           fix="mlflow-console up")  # fmt: skip
        reason = containers.service(name, proxy, None).reason
        return Finding("service-ended", Severity.ERROR, name,
                       f"The proxy does not run: {reason}", fix="mlflow-console up")  # fmt: skip

    def users_changed(self) -> None:
        """Void the verdicts that the proxy remembers."""
        generation.advance(self._paths.users.parent)

    def findings(self, services: Sequence[Service]) -> list[Finding]:
        """What no service and no API call shows: services that ended, a bucket that is gone."""
        found = []
        if compose_setup.OWN_NAME not in self._project.host_names():
            found.append(Finding(
                "own-name-missing", Severity.ERROR, self._name_of(Role.PROXY),
                f"VIRTUAL_HOST lacks {compose_setup.OWN_NAME}, the name that the console and SSH "
                "forwards call it by",
                fix=f"add it to {self.host_names_setting}, then mlflow-console up",
            ))  # fmt: skip
        found += failures.findings(services)
        if not any(each.service == self._name_of(Role.STORE) for each in found):
            found += self._store_findings()
        return found

    def _store_findings(self) -> list[Finding]:
        from console.core.storage.s3 import S3Store  # noqa: PLC0415  # first use

        try:
            S3Store(self.artifact_store()).check()
        except ConsoleError as error:
            return [Finding("store-refuses", Severity.ERROR, self._name_of(Role.STORE),
                            error.message, fix=error.hint)]  # fmt: skip
        return []

    # Where the data is

    def backend_store(self) -> MysqlServer:
        """The database in its container, as MLflow's own account."""
        password = self._project.value("secrets", "DATABASE_PASSWORD")
        host, port = self._endpoint(Role.DATABASE, DATABASE_PORT)
        return MysqlServer(host, port, "mlflow", "mlflow", Secret(password))

    def artifact_store(self) -> Bucket:
        """The bucket in the store's container, with the server's own keys."""
        keys = [
            self._project.value("secrets", name)
            for name in ("STORE_ACCESS_KEY", "STORE_SECRET_KEY")
        ]
        host, port = self._endpoint(Role.STORE, STORE_PORT)
        bucket = self._project.value(self._name_of(Role.TRACKING), "STORE_BUCKET")
        return Bucket(f"http://{host}:{port}", bucket, "", keys[0], Secret(keys[1]))

    def _endpoint(self, role: Role, target: int) -> tuple[str, int]:
        """Where a service answers this machine: a published port, else its container's address.

        Raises:
            UnreachableError: It does not run.
            ConsoleError: The engine's network is not this machine's.
        """
        name = self._name_of(role)
        for port in self._project.services[name].ports:
            if port.target == target and port.published:
                return port.host_ip or "127.0.0.1", int(port.published)
        container = self._find().get(name)
        if container is None or container.status != "running":
            raise UnreachableError(f"The {name} does not run", "`mlflow-console up` starts it.")
        if not self._engine.shares_network:
            raise ConsoleError(
                f"The {name} has no address on this machine: its engine has a network of its own",
                "Publish its port on 127.0.0.1 in compose.override.yaml.",
            )
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        addresses = [each["IPAddress"] for each in networks if each.get("IPAddress")]
        if not addresses:
            raise UnreachableError(f"The {name} has no address yet", "Try again in a moment.")
        return addresses[0], target

    # Logs and programs

    def logs(self, services: Sequence[str], tail: int, follow: bool) -> Stream[LogLine]:
        """The logs of the services' containers, merged in the order of time."""
        self._check_names(services)

        names = services or list(self._project.services)

        def chosen() -> dict[str, Container]:
            return {name: each for name, each in self._find().items() if name in names}

        return container_logs.stream(chosen, names, tail, follow)

    def run_in(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], cancel: threading.Event
    ) -> Iterator[str]:
        """`docker compose exec`; of the variables only the names stand in its arguments."""
        names = [word for name in env for word in ("--env", name)]
        command = ["exec", "--no-TTY", *names, self._name_of(role), *argv]
        for line in engine.compose(command, self._paths.root, cancel, env):
            if isinstance(line, str):
                yield line
            elif line.code != 0:
                last = line.errors.strip().splitlines()
                raise ConsoleError(last[-1] if last else f"{argv[0]} ended with {line.code}")


def _address(scheme: str, name: str, port: int | None, usual: int) -> str:
    return f"{scheme}://{name}" + ("" if port in (None, usual) else f":{port}")


def _bound(container: Container) -> set[int]:
    """The ports of this machine that a container holds."""
    bindings = (container.attrs["NetworkSettings"].get("Ports") or {}).values()
    return {int(each["HostPort"]) for hosts in bindings for each in hosts or ()}

"""The Compose driver: the shipped stack in containers.

What runs, and how it is, comes from the engine's API; what changes it goes through
`docker compose`, so that a person finds the same project and can do the same by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from console.core import engine
from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.core.stack import (
    compose_anatomy,
    compose_backup,
    compose_setup,
    compose_users,
    container_details,
    container_events,
    container_logs,
    container_rooms,
    container_stats,
    containers,
    generation,
    proxy_log,
)
from console.core.stack.anatomy import Anatomy
from console.core.stack.compose_actions import ComposeActions
from console.core.stack.compose_project import ComposeProject
from console.core.stack.container_access import ContainerSource
from console.core.stack.container_stats import Measured
from console.core.stack.driver import (
    Capabilities,
    Direct,
    Finding,
    Guard,
    Inspection,
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
from console.core.stack.log_stream import LogStream
from console.core.stack.places import Bucket, MysqlServer
from console.core.streams import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from docker.models.containers import Container

    from console.core.deployment import Deployment

PROXY_HTTP, PROXY_HTTPS = 80, 443
INNER_URL = "http://proxy.internal"
DATA = {Role.DATABASE: "/var/lib/mysql", Role.STORE: "/data"}
DIRECT_CALL = ("timeout", "3", "python", "/opt/stack/healthcheck.py")
REQUESTS_LOOKED_AT = 5000


class ComposeDriver:
    """Runs the stack of one deployment."""

    capabilities = Capabilities()

    def __init__(self, deployment: Deployment) -> None:
        self._paths = deployment.paths
        self._project = ComposeProject(deployment.paths)
        self._actions = ComposeActions(self._project)
        self._service_user = deployment.settings.users.service_user

    # What the project says

    def _published(self, target: int) -> int | None:
        return self._project.resolved.published(Role.PROXY, target)

    @property
    def host_names(self) -> tuple[str, ...]:
        if not self.complete:
            return ()  # an interrupted set-up has nothing yet that Compose could read
        return tuple(
            name for name in self._project.resolved.host_names() if name != compose_setup.OWN_NAME
        )

    @property
    def own_user_files(self) -> bool:
        return True

    @property
    def host_names_setting(self) -> str:
        return self._project.host_names_setting

    @property
    def url(self) -> str:
        """The first name with a certificate, by https; else this machine's own."""
        for name in self.host_names:
            if self.certificate_of(name):
                return self.url_of(name)
        bound = self._project.resolved.services[self._project.name_of(Role.PROXY)].ports
        everywhere = any(port.host_ip == compose_setup.EVERYWHERE for port in bound)
        name = self.host_names[0] if everywhere and self.host_names else compose_setup.OWN_NAME
        return _address("http", name, self._published(PROXY_HTTP), 80)

    def url_of(self, host_name: str) -> str:
        """By https where it has a certificate."""
        if self.certificate_of(host_name):
            return _address("https", host_name, self._published(PROXY_HTTPS), 443)
        return _address("http", host_name, self._published(PROXY_HTTP), 80)

    def certificate_of(self, host_name: str) -> Path | None:
        """In the folder `certs`."""
        path = self._paths.root / "certs" / f"{host_name}.crt"
        return path if path.exists() else None

    @property
    def own_url(self) -> str:
        return _address("http", compose_setup.OWN_NAME, self._published(PROXY_HTTP), 80)

    @property
    def inner_url(self) -> str:
        return INNER_URL

    @property
    def ports(self) -> set[int]:
        return self._project.ports

    # Setting up

    @property
    def complete(self) -> bool:
        return compose_setup.is_written(self._paths.root)

    def init(self, cancel: threading.Event) -> Iterator[Progress]:
        """Write the project's files; images come with `up`."""
        yield from self._actions.init()

    # Starting and stopping

    def act(
        self, verb: Verb, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Do it with `docker compose`; what an interrupted call has made is gone on with."""
        self._project.check_names(services)
        yield from self._actions.act(verb, services, cancel)

    def check_start(self) -> None:
        self._actions.check_start()

    # Looking

    def services(self, measure: bool = True) -> list[Service]:
        """Every service of the project, in its order, whether it has a container or not."""
        found = self._project.containers()
        killed = container_events.memory_ran_out(self._project.engine, self._project.resolved.name)
        engine = self._project.engine
        used = container_stats.measure(engine, _running(found)) if measure else {}
        return [
            containers.service(name, found[name], used.get(name), killed.get(found[name].id or ""))
            if name in found
            else containers.missing(name, containers.role_of(part.labels), part.image)
            for name, part in self._project.resolved.services.items()
        ]

    def changes(self) -> Stream[datetime]:
        """From the engine's events."""
        return container_events.changes(self._project.engine, self._project.resolved.name)

    def statistics(self) -> Stream[list[Sample]]:
        """From the engine's streams."""
        return container_stats.stream(
            self._project.engine, lambda: _running(self._project.containers())
        )

    def inspect(self, service: str) -> Inspection:
        """What the engine knows of the service's container."""
        self._project.check_names([service])
        container = self._project.containers().get(service)
        return container_details.inspection(container.attrs) if container else Inspection()

    def direct(self) -> Direct | None:
        """The health check of the image, made now: a call of the API over the server's socket."""
        container = self._project.running(self._project.name_of(Role.TRACKING))
        if container is None:
            return Direct(None, "the tracking server does not run")
        _, said = self._project.engine.run_in(str(container.id), DIRECT_CALL)
        status, _, rest = said.partition(" ")
        return Direct(int(status), rest) if status.isdigit() else Direct(None, said)

    def rooms(self) -> list[Room]:
        """Of the database and the store, while they run."""
        found = self._project.seen
        rooms = []
        for role, path in DATA.items():
            name = self._project.name_of(role)
            if name in found and found[name].status == "running":
                room = container_rooms.room(self._project.engine, name, found[name], path)
                rooms += [room] if room else []
        return rooms

    def clients(self, seconds: float) -> int | None:
        """From the log of the proxy."""
        proxy = self._project.running(self._project.name_of(Role.PROXY))
        if proxy is None:
            return 0
        with self._project.engine.calls():
            since = time.time() - seconds
            said: bytes = proxy.logs(stderr=False, since=since, tail=REQUESTS_LOOKED_AT)
        return proxy_log.clients(said.splitlines(), self._service_user)

    def volumes(self) -> list[Volume]:
        """The project's own volumes."""
        return self._project.volumes()

    def anatomy(self) -> Anatomy:
        """Its containers as they are, its files for the next time."""
        return compose_anatomy.anatomy(self._project)

    def program(self, service: str, client: bool) -> Program:
        """A shell, or MySQL's client as the account of MLflow."""
        self._project.check_names([service])
        return self._actions.program(service, client)

    def not_ours(self, services: Sequence[Service] | None = None) -> Finding | None:
        """Whether our own proxy has the port: any account can take one that it has left."""
        known = self.services(measure=False) if services is None else services
        name = self._project.name_of(Role.PROXY)
        proxy = next((each for each in known if each.name == name), None)
        if proxy is None or proxy.state is not State.RUNNING:
            reason = f": {proxy.reason}" if proxy and proxy.reason != "stopped" else ""
            kind = "service-ended" if reason else "stopped"
            return Finding(kind, Severity.ERROR, name, f"The proxy does not run{reason}",
                           fix="mlflow-console up")  # fmt: skip
        published = self._published(PROXY_HTTP)
        if any(port.endswith(f":{published}") for port in proxy.ports):
            return None
        return Finding(
            "port-changed", Severity.ERROR, name,
            f"The proxy still listens on another port than {self._paths.root / '.env'} says",
            fix="mlflow-console up",
        )  # fmt: skip

    def guard(self) -> Guard:
        """The proxy, as its files have it and as it runs."""
        return compose_users.guard(self._project) if self.complete else Guard()

    def users_changed(self) -> None:
        """Void the verdicts that the proxy remembers."""
        generation.advance(self._paths.users.parent)

    def findings(self, services: Sequence[Service]) -> list[Finding]:
        """What no service and no API call shows: services that ended, a bucket that is gone."""
        found = []
        if compose_setup.OWN_NAME not in self._project.resolved.host_names():
            found.append(Finding(
                "own-name-missing", Severity.ERROR, self._project.name_of(Role.PROXY),
                f"VIRTUAL_HOST lacks {compose_setup.OWN_NAME}, the name that the console and SSH "
                "forwards call it by",
                fix=f"add it to {self.host_names_setting}, then mlflow-console up",
            ))  # fmt: skip
        found += self._actions.findings(services)
        if not any(each.service == self._project.name_of(Role.STORE) for each in found):
            found += self._store_findings()
        return found

    def _store_findings(self) -> list[Finding]:
        from console.core.storage.s3 import S3Store  # noqa: PLC0415  # first use

        try:
            S3Store(self._project.artifact_store(again=False)).check()
        except ConsoleError as error:
            return [Finding("store-refuses", Severity.ERROR, self._project.name_of(Role.STORE),
                            error.message, fix=error.hint)]  # fmt: skip
        return []

    # Where the data is

    def backend_store(self) -> MysqlServer:
        return self._project.backend_store()

    def data_folders(self) -> tuple[Path, ...]:
        """Folders that database and store keep their data in, in the place of volumes."""
        return self._project.data_folders(DATA)

    def artifact_store(self) -> Bucket:
        return self._project.artifact_store()

    # Logs and programs

    def logs(
        self, services: Sequence[str], tail: int | None, follow: bool,
        since: datetime | None = None,
    ) -> LogStream:  # fmt: skip
        """The logs of the services' containers, merged in the order of time."""
        self._project.check_names(services)

        names = services or list(self._project.resolved.services)

        def chosen() -> dict[str, Container]:
            return {
                name: each for name, each in self._project.containers().items() if name in names
            }

        engine = self._project.engine
        return container_logs.stream(engine, chosen, names, tail, follow, since=since)

    def access_log(self) -> ContainerSource:
        """What the proxy's container wrote to its log."""
        name = self._project.name_of(Role.PROXY)
        return ContainerSource(
            self._project.engine, name, lambda: self._project.containers().get(name)
        )

    def run_in(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], cancel: threading.Event
    ) -> Iterator[str]:
        """`docker compose exec`; of the variables only the names stand in its arguments."""
        names = [word for name in env for word in ("--env", name)]
        command = ["exec", "--no-TTY", *names, self._project.name_of(role), *argv]
        for line in engine.compose(command, self._paths.root, cancel, env):
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
        yield from compose_backup.pipe(self._project, role, argv, env, feed=feed, cancel=cancel)

    def migrate(self, cancel: threading.Event) -> Iterator[Progress]:
        yield from compose_backup.migrate(self._project, cancel)

    def maintenance(self, on: bool) -> None:
        compose_backup.maintenance(self._paths.users.parent, on)

    def versions(self) -> dict[str, str]:
        return compose_backup.versions(self._project)

    def images(self) -> dict[str, str]:
        return compose_backup.images(self._project)

    def scratch(self, folder: Path, cancel: threading.Event) -> AbstractContextManager[Scratch]:
        """Containers of the same images, which share a network with nobody else."""
        from console.core.stack import compose_scratch  # noqa: PLC0415  # first use

        return compose_scratch.scratch(self._project, folder, cancel)


def _address(scheme: str, name: str, port: int | None, usual: int) -> str:
    return f"{scheme}://{name}" + ("" if port in (None, usual) else f":{port}")


def _running(found: Mapping[str, Container]) -> dict[str, Measured]:
    return {
        str(each.id): Measured(
            str(each.id), name, each.attrs["HostConfig"].get("Memory") or None,
            partial(container_details.log_bytes, each.attrs.get("LogPath") or ""),
        )
        for name, each in found.items()
        if each.status == "running"
    }  # fmt: skip

"""The Compose project of one deployment: what its files say, and which containers it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import engine
from console.core.engine import Engine
from console.core.errors import (
    ConsoleError,
    NotOursError,
    SettingsError,
    UnreachableError,
    UsageError,
)
from console.core.secrets import Secret
from console.core.stack import compose_setup, project
from console.core.stack.driver import Role, Volume
from console.core.stack.places import Bucket, MysqlServer
from console.core.stack.project import Project
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

    from console.core.deployment import Paths

DATABASE_PORT, STORE_PORT = 3306, 9000
OTHER_NAME = "set another COMPOSE_PROJECT_NAME in its .env"


class ComposeProject:
    """A project in a folder, and what the engine has of it.

    Args:
        paths: The files of the deployment.

    Attributes:
        seen: The containers as they were looked at last.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.engine = Engine()
        self._resolved: tuple[tuple[int, ...], Project] | None = None
        self.seen: dict[str, Container] = {}

    @property
    def resolved(self) -> Project:
        """What its files say, asked anew only when one of them has changed."""
        if not (self.paths.root / ".env").exists():
            raise SettingsError(
                f"{self.paths.root / '.env'} is missing: it holds the passwords of this stack",
                "Bring it back from a copy; a new one would lock the database's old data in.",
            )
        names = ("compose.yaml", "compose.override.yaml", ".env")
        paths = [self.paths.root / name for name in names]
        now = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
        if self._resolved is None or self._resolved[0] != now:
            self._resolved = (now, project.resolve(self.paths.root))
        return self._resolved[1]

    def name_of(self, role: Role) -> str:
        """The service in a role; raises ConsoleError where there is none."""
        return self.resolved.name_of(role)

    @property
    def host_names_setting(self) -> str:
        """Where the host names stand, for a remedy."""
        return f"VIRTUAL_HOST in {self.paths.root / '.env'}"

    @property
    def ports(self) -> set[int]:
        """Every published port."""
        if not compose_setup.is_written(self.paths.root):
            return set()  # an interrupted set-up has nothing yet that Compose could read
        return self.resolved.ports()

    def check_names(self, services: Sequence[str]) -> None:
        """See that there are services of these names.

        Raises:
            UsageError: There is none of one of them.
        """
        if not services:
            return
        known = self.resolved.services
        for name in services:
            if name not in known:
                raise UsageError(
                    f"There is no service called {clean(name)}", f"There are: {', '.join(known)}."
                )

    def containers(self) -> dict[str, Container]:
        """The containers of the project, by service.

        Raises:
            NotOursError: The project belongs to another folder.
        """
        name = self.resolved.name
        with self.engine.calls() as client:
            every = client.containers.list(
                all=True, filters={"label": f"{engine.PROJECT}={name}"}, ignore_removed=True
            )
        found: dict[str, Container] = {}
        for each in every:
            folder = each.labels.get(engine.DIRECTORY, "")
            if folder and folder != str(self.paths.root):
                raise NotOursError(
                    f"The Compose project {name} belongs to {clean(folder)}",
                    f"Is this folder a copy? Then {OTHER_NAME}; nothing was changed.",
                )
            if each.labels.get("com.docker.compose.oneoff") != "True":
                found[each.labels.get(engine.SERVICE) or str(each.name)] = each
        self.seen = found
        return found

    def running(self, service: str) -> Container | None:
        """The container of a service, if it runs now."""
        container = self.containers().get(service)
        return container if container and container.status == "running" else None

    def backend_store(self) -> MysqlServer:
        """The database in its container, as MLflow's own account."""
        password = self.resolved.value("secrets", "DATABASE_PASSWORD")
        host, port = self._endpoint(Role.DATABASE, DATABASE_PORT)
        return MysqlServer(host, port, "mlflow", "mlflow", Secret(password))

    def artifact_store(self, again: bool = True) -> Bucket:
        """The bucket in the store's container, with the server's own keys.

        Args:
            again: Ask the engine where it is; else it is where it was seen last.
        """
        keys = [
            self.resolved.value("secrets", name)
            for name in ("STORE_ACCESS_KEY", "STORE_SECRET_KEY")
        ]
        host, port = self._endpoint(Role.STORE, STORE_PORT, again)
        bucket = self.resolved.value(self.name_of(Role.TRACKING), "STORE_BUCKET")
        return Bucket(f"http://{host}:{port}", bucket, "", keys[0], Secret(keys[1]))

    def _endpoint(self, role: Role, target: int, again: bool = True) -> tuple[str, int]:
        """Where a service answers this machine: a published port, else its container's address.

        Raises:
            UnreachableError: It does not run.
            ConsoleError: The engine's network is not this machine's.
        """
        name = self.name_of(role)
        for port in self.resolved.services[name].ports:
            if port.target == target and port.published:
                return port.host_ip or "127.0.0.1", int(port.published)
        container = (self.containers() if again else self.seen).get(name)
        if container is None or container.status != "running":
            raise UnreachableError(f"The {name} does not run", "`mlflow-console up` starts it.")
        if not self.engine.shares_network:
            raise ConsoleError(
                f"The {name} has no address on this machine: its engine has a network of its own",
                "Publish its port on 127.0.0.1 in compose.override.yaml.",
            )
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        addresses = [each["IPAddress"] for each in networks if each.get("IPAddress")]
        if not addresses:
            raise UnreachableError(f"The {name} has no address yet", "Try again in a moment.")
        return addresses[0], target

    def data_folders(self, data: Mapping[Role, str]) -> tuple[Path, ...]:
        """The folders of this machine that are mounted where these roles keep their data."""
        return tuple(
            Path(volume.source)
            for role, target in data.items()
            for volume in self.resolved.services[self.name_of(role)].volumes
            if volume.type == "bind" and volume.target == target
        )

    def volumes(self) -> list[Volume]:
        """The volumes that belong to the project, each with who keeps its data there."""
        name = self.resolved.name
        users: dict[str, set[str]] = {}
        for service, container in self.containers().items():
            for mount in container.attrs.get("Mounts") or ():
                users.setdefault(mount.get("Name") or "", set()).add(service)
        with self.engine.calls() as client:
            every = client.volumes.list(filters={"label": f"{engine.PROJECT}={name}"})
            sizes = {
                each["Name"]: (each.get("UsageData") or {}).get("Size")
                for each in client.df().get("Volumes") or ()
            }
        return [
            Volume(str(each.name), ", ".join(sorted(users.get(str(each.name), ()))), size)
            for each in every
            for size in (sizes.get(each.name),)
        ]

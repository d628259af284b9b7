"""What a Compose project is, as Compose itself resolves it."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from console.core import engine
from console.core.errors import ConsoleError
from console.core.process import Finished
from console.core.stack.containers import role_of
from console.core.stack.driver import Role
from console.core.text import clean


class Port(msgspec.Struct, frozen=True):
    """A published port, as Compose resolves it."""

    target: int
    published: str = ""
    host_ip: str = ""


class Volume(msgspec.Struct, frozen=True):
    """Something that is mounted, as Compose resolves it."""

    type: str
    target: str = ""
    source: str = ""


class Logging(msgspec.Struct, frozen=True):
    """Where a log goes, as Compose resolves it."""

    driver: str = ""
    options: dict[str, str] | None = None


class Part(msgspec.Struct, frozen=True):
    """A service of the project, as Compose resolves it."""

    image: str = ""
    labels: dict[str, str] = {}
    environment: dict[str, str | None] = {}
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[str, ...] | str = ()
    logging: Logging = Logging()
    network_mode: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None


class Project(msgspec.Struct, frozen=True):
    """The project, as Compose resolves it: every file of it, .env and all its quoting."""

    name: str
    services: dict[str, Part]

    def value(self, service: str, variable: str) -> str:
        """A variable of a service's environment; "" where it has none."""
        part = self.services.get(service)
        # Compose doubles each $, so that what it prints can be read as a project again.
        return ((part.environment.get(variable) if part else None) or "").replace("$$", "$")

    def name_of(self, role: Role) -> str:
        """The service in a role.

        Raises:
            ConsoleError: There is none.
        """
        for name, part in self.services.items():
            if role_of(part.labels) is role:
                return name
        raise ConsoleError(f"This project has no service in the role {role}")

    def published(self, role: Role, target: int) -> int | None:
        """The port of this machine that leads to a port of the service in a role."""
        for port in self.services[self.name_of(role)].ports:
            if port.target == target and port.published:
                return int(port.published)
        return None

    def ports(self) -> set[int]:
        """Every published port."""
        every = (port for part in self.services.values() for port in part.ports)
        return {int(port.published) for port in every if port.published}

    def host_names(self) -> list[str]:
        """The names of VIRTUAL_HOST."""
        listed = self.value(self.name_of(Role.PROXY), "VIRTUAL_HOST")
        return [name.strip().lower() for name in listed.split(",") if name.strip()]


def resolve(directory: Path) -> Project:
    """Ask Compose what the project in a folder is; no engine is needed for that.

    Raises:
        UnreachableError: There is no docker command.
        ConsoleError: Compose cannot read it; says why.
    """
    said = []
    for line in engine.compose(["config", "--format", "json"], directory, threading.Event()):
        if isinstance(line, Finished):
            if line.code != 0:
                raise _unusable(directory, line.errors)
        else:
            said.append(line)
    text = "\n".join(said)
    try:
        # Warnings of Compose stand before the document.
        return msgspec.json.decode(text[text.index("\n{") + 1 if "\n{" in text else 0 :].encode(),
                                   type=Project)  # fmt: skip
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _unusable(directory, str(error)) from error


def _unusable(directory: Path, said: str) -> ConsoleError:
    # Of .env Compose repeats the line that it stumbles over, and a secret may stand in it.
    last = said.strip().splitlines()[-1] if said.strip() else "no reason given"
    if ".env" in last or "variable" in last:
        return ConsoleError(
            f"Compose cannot read {directory / '.env'}",
            "A value with spaces, # or $ stands in single quotes; `docker compose config -q` in "
            "that folder names the line.",
        )
    return ConsoleError(
        f"Compose cannot use {directory / 'compose.yaml'}: {clean(last, 300)}",
        "Mend it by hand; `docker compose config -q` in that folder says more.",
    )

"""How a Compose project is put together: its containers as they are, its files for the next time.

What runs counts; where nothing was made yet, the files do, as Compose resolves them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core import files
from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.stack import compose_proxy, container_details
from console.core.stack.anatomy import (
    Anatomy,
    Certificate,
    Kind,
    Log,
    Mount,
    Part,
    Password,
    Published,
    Unseen,
)
from console.core.stack.compose_project import ComposeProject
from console.core.stack.containers import role_of
from console.core.stack.driver import Role
from console.core.stack.project import Part as Planned
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

OVERRIDE = "compose.override.yaml"
DATA = {Role.DATABASE: "/var/lib/mysql", Role.STORE: "/data"}
IMAGES = {
    Role.TRACKING: "MLFLOW_IMAGE", Role.DATABASE: "DATABASE_IMAGE", Role.STORE: "STORE_IMAGE",
    Role.PROXY: "PROXY_IMAGE",
}  # fmt: skip
# The settings of .env, and the job that makes up those of them that are empty.
OWN_PASSWORDS = ("DATABASE_PASSWORD", "DATABASE_ROOT_PASSWORD", "STORE_SECRET_KEY")
LOOKED_AT = ("volumes", "images", "ports", "passwords", "logs", "host names", "certificates")
# Drivers that keep a limit of their own accord, or keep nothing on this disk.
FILES = ("json-file",)
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_PASSWORD = re.compile(r"(?:PASSWORD|PASSWD|SECRET_KEY|SECRET_ACCESS_KEY)$")
_NO_PASSWORD = re.compile(r"_ALLOW_EMPTY_(?:ROOT_)?PASSWORD$")
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]*)@")
_IS_MINIO = re.compile(r"minio|silo")
_STORE_KEYS = ("MINIO_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD_FILE", "MINIO_SECRET_KEY",
               "MINIO_SECRET_KEY_FILE")  # fmt: skip


def anatomy(project: ComposeProject) -> Anatomy:
    """Look at all of it; what cannot be seen is said in it.

    Raises:
        ConsoleError: Not even the project's files can be read.
    """
    root = project.paths.root
    unseen: list[Unseen] = []
    found: Mapping[str, Container] = {}
    try:
        found = project.containers()
    except ConsoleError as error:
        unseen.append(Unseen("the containers (only at the files)", error.message, error.hint))
    proxy = compose_proxy.config(project, found, unseen)
    looked = [*LOOKED_AT, *(["proxy"] if proxy.files or proxy.error else [])]
    return Anatomy(
        command=compose_proxy.command(root),
        settings=str(root / ".env"),
        compose_file=_compose_file(root),
        address_setting=f"BIND_ADDRESS in {root / '.env'}",
        parts=tuple(
            _part(root, name, planned, found.get(name))
            for name, planned in project.resolved.services.items()
        ),
        passwords=tuple(_passwords(project)),
        proxy=proxy,
        host_names=tuple(project.resolved.host_names()),
        certificate_folder=str(root / "certs"),
        certificates=tuple(_certificates(project, unseen)),
        looked_at=tuple(looked),
        unseen=tuple(unseen),
    )


def _compose_file(root: Path) -> str:
    """Where a person changes services, so that compose.yaml stays as it was shipped."""
    try:
        settings = (root / ".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        settings = ""
    named = re.search(r"^\s*COMPOSE_FILE\s*=", settings, re.M)
    return str(root / OVERRIDE) + (" (and name it in COMPOSE_FILE of .env)" if named else "")


def _part(root: Path, name: str, planned: Planned, container: Container | None) -> Part:
    role = role_of(planned.labels)
    data = _data_folder(role, planned)
    setting = IMAGES.get(role)
    where = f"{setting} in {root / '.env'}" if setting else f"image of {name} in {root / OVERRIDE}"
    if container is None:
        return Part(
            name, role, planned.image, image_setting=where, data=data,
            next=_next(planned, data) if data else None, published=tuple(_planned_ports(planned)),
            log=_log(planned.logging.driver, planned.logging.options or {}, ""),
        )  # fmt: skip
    attributes: dict[str, Any] = container.attrs
    host = attributes["HostConfig"]
    log = host.get("LogConfig") or {}
    return Part(
        name, role, attributes["Config"]["Image"], running=container.status == "running",
        image_setting=where, data=data, now=_now(attributes, data) if data else None,
        next=_next(planned, data) if data else None, published=tuple(_ports(attributes)),
        log=_log(log.get("Type", ""), log.get("Config"), attributes.get("LogPath") or ""),
    )  # fmt: skip


# Data


def _data_folder(role: Role, planned: Planned) -> str:
    """Where a service keeps its data: what its command or its settings say, else the usual."""
    if role is Role.STORE:
        words = [word for word in planned.command or () if word.startswith("/")]
        return words[0].partition("{")[0].rstrip("/") or DATA[role] if words else DATA[role]
    if role is Role.DATABASE:
        return (planned.environment.get("PGDATA") or DATA[role]).rstrip("/")
    return ""


def _now(attributes: Mapping[str, Any], data: str) -> Mount:
    """What lies under a folder of a container."""
    memory = attributes["HostConfig"].get("Tmpfs") or {}
    return under(data, [*mounts(attributes), *(Mount(path, Kind.MEMORY) for path in memory)])


def mounts(attributes: Mapping[str, Any]) -> list[Mount]:
    """What is mounted into a container, as the engine describes or lists it."""
    return [_mount(each) for each in attributes.get("Mounts") or ()]


def _mount(mount: Mapping[str, Any]) -> Mount:
    path, name = mount.get("Destination", ""), mount.get("Name") or ""
    match mount.get("Type"):
        case "volume":
            kind = Kind.ANONYMOUS if _ANONYMOUS.fullmatch(name) else Kind.VOLUME
            return Mount(path, kind, name)
        case "tmpfs":
            return Mount(path, Kind.MEMORY)
    return Mount(path, Kind.FOLDER, mount.get("Source") or "")


def _next(planned: Planned, data: str) -> Mount:
    """What will lie under a folder of the next container."""
    return under(data, planned_mounts(planned))


def planned_mounts(planned: Planned) -> list[Mount]:
    """What will be mounted into the next container."""
    kinds = {"volume": Kind.VOLUME, "tmpfs": Kind.MEMORY}
    named = [
        Mount(each.target, Kind.ANONYMOUS if each.type == "volume" and not each.source
              else kinds.get(each.type, Kind.FOLDER), each.source)
        for each in planned.volumes
    ]  # fmt: skip
    memory = (planned.tmpfs,) if isinstance(planned.tmpfs, str) else planned.tmpfs
    return [*named, *(Mount(each.partition(":")[0], Kind.MEMORY) for each in memory)]


def under(data: str, mounts: list[Mount]) -> Mount:
    """The mount that is nearest above a folder."""
    above = [
        each for each in mounts
        if data == each.path.rstrip("/") or data.startswith(each.path.rstrip("/") + "/")
    ]  # fmt: skip
    return max(above, key=lambda each: len(each.path), default=Mount(data, Kind.LAYER))


# Ports and logs


def _ports(attributes: Mapping[str, Any]) -> Iterator[Published]:
    host = attributes["HostConfig"]
    if host.get("NetworkMode") == "host":
        yield Published("", 0, 0)
        return
    now = attributes["NetworkSettings"].get("Ports") or {}
    seen = set()
    for target, bindings in {**(host.get("PortBindings") or {}), **now}.items():
        number, _, protocol = target.partition("/")
        for each in bindings or ():
            port, address = each.get("HostPort") or "", each.get("HostIp") or ""
            key = (number, port, "" if address in ("0.0.0.0", "::") else address)  # noqa: S104  # what the engine says
            if protocol == "tcp" and port.isdigit() and key not in seen:
                seen.add(key)
                yield Published(key[2], int(port), int(number))


def _planned_ports(planned: Planned) -> Iterator[Published]:
    if planned.network_mode == "host":
        yield Published("", 0, 0)
    for each in planned.ports:
        address = "" if each.host_ip in ("0.0.0.0", "::") else each.host_ip  # noqa: S104  # as above
        if each.published.isdigit():
            yield Published(address, int(each.published), each.target)


def _log(driver: str, options: Mapping[str, str] | None, path: str) -> Log:
    """A log of the files' own has a limit where one is set; the engine may set one for all.

    An engine that says nothing of the options (Podman) is not said to set none.
    """
    name = driver or FILES[0]
    limited = name not in FILES or options is None or options.get("max-size", "-1") != "-1"
    return Log(name, limited, container_details.log_bytes(path) if path else None)


# Passwords and certificates


def _passwords(project: ComposeProject) -> Iterator[Password]:
    """Those that stand in the environment of a service; of a file only its name does."""
    override = str(project.paths.root / OVERRIDE)
    for name, planned in project.resolved.services.items():
        role = role_of(planned.labels)
        for variable in planned.environment:
            value = project.resolved.value(name, variable)
            if role is Role.JOB and variable in OWN_PASSWORDS:
                yield from _own(project, variable, value)
            elif _NO_PASSWORD.search(variable) and value.lower() in ("1", "yes", "true"):
                yield Password(name, role, variable, override, None)
            elif _PASSWORD.search(variable) and not _NO_PASSWORD.search(variable):
                yield Password(name, role, variable, override, Secret(value))
            else:
                for each in _IN_ADDRESS.findall(value):
                    yield Password(name, role, variable, override, Secret(each))
        told = any(each in planned.environment for each in _STORE_KEYS)
        if role is Role.STORE and not told and _IS_MINIO.search(planned.image):
            # MinIO's own, which it takes where it is told none.
            yield Password(name, role, "MINIO_ROOT_PASSWORD", override, Secret("minioadmin"))


def _own(project: ComposeProject, variable: str, value: str) -> Iterator[Password]:
    """A password of .env; the job makes one up where it is empty."""
    if value:
        role = Role(variable.partition("_")[0].lower())
        settings = str(project.paths.root / ".env")
        yield Password(project.name_of(role), role, variable, settings, Secret(value))


def _certificates(project: ComposeProject, unseen: list[Unseen]) -> Iterator[Certificate]:
    folder = project.paths.root / "certs"
    for name in project.resolved.host_names():
        path = folder / f"{name}.crt"
        try:
            with files.explained(path):
                if path.is_file():
                    yield Certificate(name, str(path), path.read_bytes())
        except ConsoleError as error:
            unseen.append(Unseen(f"the certificate of {clean(name)}", error.message, error.hint))

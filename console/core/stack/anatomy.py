"""How a deployment is put together, as its driver sees it: what the doctor judges."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from console.core.secrets import Secret
from console.core.stack.driver import Role


class Kind(StrEnum):
    """What lies under a folder of a container; the last three are lost with the container."""

    VOLUME = "volume"
    FOLDER = "folder"
    ANONYMOUS = "a volume without a name"
    MEMORY = "memory"
    LAYER = "the container itself"


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that lies under a folder.

    Attributes:
        path: The folder, inside.
        what: The volume's name or the folder outside; may be "".
    """

    path: str
    kind: Kind
    what: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A port that others than the stack's own services reach.

    Attributes:
        address: Where it listens; "" is everywhere.
        port: There; 0 where all ports are open because the network is the machine's own.
        target: The service's own port.
    """

    address: str
    port: int
    target: int

    @property
    def loopback(self) -> bool:
        """Only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.address.strip("[]")).is_loopback
        except ValueError:
            return self.address == "localhost"

    def __str__(self) -> str:
        where = self.address or "every address"
        return f"{where}, all ports" if not self.port else f"{where}, port {self.port}"


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log of a service goes.

    Attributes:
        limited: It cannot grow for ever.
        bytes: What it takes now; None when it cannot be seen.
    """

    driver: str
    limited: bool
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One service.

    Attributes:
        image: As it is named, with its tag.
        image_setting: Where that stands, for a remedy.
        data: The folder inside that its data is in; "" where it has none.
        now: What lies under that folder now; None where nothing was made yet.
        next: What will, when it is made anew from the files as they are.
        version: As the server itself says; "" where only the image tells.
    """

    name: str
    role: Role
    image: str
    running: bool = False
    image_setting: str = ""
    data: str = ""
    now: Mount | None = None
    next: Mount | None = None
    published: tuple[Published, ...] = ()
    log: Log | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Password:
    """A password that stands in the settings of a service.

    Attributes:
        setting: The name of the variable.
        where: The file it is set in, for a remedy.
        value: None says that none is needed at all.
    """

    service: str
    role: Role
    setting: str
    where: str
    value: Secret | None


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The configuration of nginx.

    Attributes:
        main: The path of the first file.
        files: Every file that is included, by its path inside.
        outside: The same files as people edit them, by the path inside.
        reload: The command that takes a change into use.
        error: What nginx says when it cannot use it; "" when it can.
    """

    service: str
    main: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    reload: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that the proxy serves.

    Attributes:
        path: Of its file.
        pem: What that holds; the first certificate in it is the server's own.
    """

    host: str
    path: str
    pem: bytes


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that could not be looked at, and why."""

    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All of it.

    Attributes:
        command: What stands before Compose's own words, for a remedy; "" without Compose.
        settings: The file with the settings, for a remedy.
        compose_file: Where services are changed by hand, for a remedy; "" without Compose.
        address_setting: Where it stands on which address the proxy listens.
        host_names: The names that people call it by.
        certificate_folder: Where certificates belong.
        looked_at: What was looked at, in words.
        unseen: What should have been, and was not.
    """

    command: str = ""
    settings: str = ""
    compose_file: str = ""
    address_setting: str = ""
    parts: tuple[Part, ...] = ()
    passwords: tuple[Password, ...] = ()
    proxy: ProxyConfig | None = None
    host_names: tuple[str, ...] = ()
    certificate_folder: str = ""
    certificates: tuple[Certificate, ...] = ()
    looked_at: tuple[str, ...] = ()
    unseen: tuple[Unseen, ...] = ()

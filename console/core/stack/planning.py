"""What a driver contributes to setting up a new deployment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from console.core.settings import Settings

SIZES = ("small", "standard")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked for.

    Attributes:
        directory: Where the deployment goes, absolute.
        name: What it will be called.
        port: Where it listens; None for a free port.
        tls_port: The same for https, where the driver serves that.
        host_names: The names it may be called by, beside this machine's own.
        size: For how much memory it is laid out, where the driver has a choice.
        public: It listens on every address and not on loopback alone.
        certificates: A folder with NAME.crt and NAME.key of the host names, or None.
    """

    directory: Path
    name: str
    port: int | None = None
    tls_port: int | None = None
    host_names: tuple[str, ...] = ()
    size: str = SIZES[0]
    public: bool = False
    certificates: Path | None = None


def _nothing() -> None:
    """A driver that has no files of its own to write before console.toml."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A driver's part of the plan; making it changed nothing.

    Attributes:
        settings: What console.toml will say.
        steps: What will be done, one sentence each.
        port: Where it will listen; 0 when an interrupted set-up has not got that far.
        readable: Passwords will travel readable from other machines: why, in one sentence, or "".
        begin: Writes what must be there before console.toml is, so that an interrupted set-up goes
            on as it was meant.
    """

    settings: Settings
    steps: tuple[str, ...]
    port: int
    readable: str = ""
    begin: Callable[[], None] = field(default=_nothing)


Planner = Callable[[Wishes, Collection[int]], Planned]
"""Given the ports that other deployments speak for, says what a driver would do."""

Settler = Callable[[Path, Path, Collection[int]], list[str]]
"""Given a directory with a deployment's files, where its settings lie, and the ports that others
speak for: gives it names and ports that are free here, and says what was changed."""

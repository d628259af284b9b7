"""Choosing the port that a new server will listen on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from console.core import process
from console.core.errors import AccessError, NotOursError, UsageError

USUAL = 5000


def choose(
    port: int | None, spoken_for: Collection[int], usual: int = USUAL, option: str = "--port"
) -> int:
    """The wanted port when it can be had; a free one when none was asked for.

    Args:
        port: The wanted one, or None.
        spoken_for: Ports of other deployments, also of stopped ones: they will want them back.
        usual: Where looking for a free one begins.
        option: What the wanted one was given as.

    Raises:
        UsageError: It is no port.
        AccessError: It is kept for root.
        NotOursError: It is taken; says by whom.
    """
    if port is None:
        return process.free_port(usual, spoken_for)
    if not 1 <= port <= 65535:
        raise UsageError(f"{port} is not a port", "Give a number from 1 to 65535.")
    if port < _first_for_all() and os.geteuid() != 0:
        raise AccessError(
            f"Port {port} is kept for root", f"Choose one from {_first_for_all()} on."
        )
    if not process.port_is_free(port):
        raise NotOursError(
            f"Port {port} is taken by {process.listener(port) or 'a process of another account'}",
            f"Leave {option} out to get a free one ({process.free_port(port + 1)} is).",
        )
    return port


def _first_for_all() -> int:
    """The first port that any account may listen on (ip(7))."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024

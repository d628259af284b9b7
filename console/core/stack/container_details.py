"""A container looked at closer: health checks, environment, mounts; no secret comes out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from console.core.stack.containers import moment
from console.core.stack.driver import Check, Inspection
from console.core.stack.secrets_shown import mask, masked_text
from console.core.text import clean


def inspection(attributes: Mapping[str, Any]) -> Inspection:
    """What is known of a container, from what the engine says of it."""
    config = attributes.get("Config") or {}
    pairs = [each.partition("=") for each in config.get("Env") or ()]
    masked = [f"{name}={mask(name, value)}" for name, _, value in pairs]
    shown = dict(attributes) | {"Config": dict(config) | {"Env": masked}}
    return Inspection(
        checks=tuple(checks(attributes["State"])),
        environment=tuple((clean(name), clean(mask(name, value), 500)) for name, _, value in pairs),
        mounts=tuple(_mount(each) for each in attributes.get("Mounts") or ()),
        raw=masked_text(json.dumps(shown, indent=2, ensure_ascii=False)),
    )


def checks(state: Mapping[str, Any]) -> list[Check]:
    """The last health checks, oldest first."""
    found = []
    for each in (state.get("Health") or {}).get("Log") or ():
        begun, ended = moment(each.get("Start")), moment(each.get("End"))
        if begun is not None:
            seconds = (ended - begun).total_seconds() if ended else None
            said = clean((each.get("Output") or "").strip(), 2000)
            found.append(Check(begun, int(each.get("ExitCode", 0)), seconds, said))
    return found


def _mount(mount: Mapping[str, Any]) -> tuple[str, str]:
    kind = mount.get("Type", "")
    what = mount.get("Name") if kind == "volume" else mount.get("Source")
    read_only = "" if mount.get("RW", True) else ", read-only"
    return clean(mount.get("Destination", "")), clean(f"{kind} {what or ''}{read_only}", 500)


def log_bytes(path: str) -> int | None:
    """How much room a container's log takes, its older files too; None when it cannot be seen.

    Args:
        path: Of the current file, as the engine names it; older ones carry .1, .2 and so on.
    """
    total, number = 0, 0
    try:
        total = os.stat(path).st_size
        while True:
            number += 1
            total += os.stat(f"{path}.{number}").st_size
    except OSError:
        return total if number else None

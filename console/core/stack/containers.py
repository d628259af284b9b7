"""Containers as services: their state in words, their health, what they use."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.core.register import ROLE_LABEL
from console.core.stack.driver import Health, Role, Sample, Service, State
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

# Shells' and Docker's own codes (docker-run(1), "Exit status").
CODES = {
    125: "the engine could not start it",
    126: "its program cannot be run",
    127: "its program is not there",
}
STATES = {
    "running": State.RUNNING,
    "paused": State.STOPPED,
    "restarting": State.RESTARTING,
    "created": State.STOPPED,
    "removing": State.STOPPED,
}
WORDS = {"paused": "paused", "created": "made, but never started"}
HEALTH = {
    "healthy": Health.HEALTHY,
    "unhealthy": Health.UNHEALTHY,
    "starting": Health.STARTING,
}


def role_of(labels: Mapping[str, str]) -> Role:
    """The role that a service's label names."""
    try:
        return Role(labels.get(ROLE_LABEL, ""))
    except ValueError:
        return Role.OTHER


def missing(name: str, role: Role, image: str) -> Service:
    """A service of the project without a container."""
    return Service(name, role, State.STOPPED, Health.UNHEALTHY, "stopped", image)


def service(
    name: str, container: Container, sample: Sample | None = None, oom: datetime | None = None
) -> Service:
    """A service as its container is now.

    Args:
        name: Of the service.
        container: As the engine has just described it.
        sample: What it uses.
        oom: When something of it was last killed because memory ran out.
    """
    attributes: dict[str, Any] = container.attrs
    now = attributes["State"]
    role = role_of(container.labels)
    state = _state(now, role)
    started, finished = moment(now.get("StartedAt")), moment(now.get("FinishedAt"))
    ended = state is not State.RUNNING and finished is not None
    health = _health(now, role, state)
    return Service(
        name=name,
        role=role,
        state=state,
        health=health,
        reason=_reason(now, role, state) or _memory_ran_out(state, health, oom, started),
        image=attributes["Config"]["Image"],
        started_at=started,
        restarts=attributes.get("RestartCount", 0),
        cpu_percent=sample.cpu_percent if sample else None,
        memory_bytes=sample.memory_bytes if sample else None,
        memory_limit_bytes=attributes["HostConfig"].get("Memory") or None,
        ports=_ports(attributes["NetworkSettings"].get("Ports") or {}),
        exit_code=now.get("ExitCode") if ended else None,
        oom_killed_at=oom,
        since=finished if ended else started,
    )


def _memory_ran_out(
    state: State, health: Health, oom: datetime | None, started: datetime | None
) -> str:
    """Why one that runs is not well as yet, when it was killed for memory just before."""
    if oom is None or state is not State.RUNNING or health is Health.HEALTHY:
        return ""
    again = started is not None and started > oom
    return "memory ran out and it was killed" + (", it has been started again" if again else "")


def _state(now: Mapping[str, Any], role: Role) -> State:
    if now["Status"] in STATES:
        return STATES[now["Status"]]
    if role is Role.JOB:
        return State.EXITED
    on_purpose = now.get("ExitCode") in (0, 128 + signal.SIGTERM, 128 + signal.SIGQUIT)
    return State.STOPPED if on_purpose and not now.get("OOMKilled") else State.EXITED


def _health(now: Mapping[str, Any], role: Role, state: State) -> Health:
    if role is Role.JOB:
        if state is State.RUNNING:
            return Health.STARTING
        done = now.get("ExitCode") == 0 and now["Status"] == "exited"
        return Health.HEALTHY if done else Health.UNHEALTHY
    if state is not State.RUNNING:
        return Health.UNHEALTHY
    return HEALTH.get((now.get("Health") or {}).get("Status", ""), Health.UNKNOWN)


def _reason(now: Mapping[str, Any], role: Role, state: State) -> str:
    """Why it is as it is, in words; "" where there is nothing to say."""
    if state is State.RUNNING:
        return _last_check(now) if _health(now, role, state) is Health.UNHEALTHY else ""
    if now.get("OOMKilled"):
        return "it was killed because memory ran out"
    if now.get("Error"):
        return clean(now["Error"], 300)
    return WORDS.get(now["Status"]) or _end(now.get("ExitCode", 0), role, state)


def _end(code: int, role: Role, state: State) -> str:
    """How it ended."""
    if role is Role.JOB and code == 0:
        return "done"
    if state is State.STOPPED:
        return "stopped"
    again = " and starts again" if state is State.RESTARTING else ""
    return f"it ended with {exit_words(code)}{again}"


def _last_check(now: Mapping[str, Any]) -> str:
    """What the last health check said that failed; what one says that passed is no reason."""
    log = (now.get("Health") or {}).get("Log") or []
    if not log:
        return ""
    if not log[-1].get("ExitCode"):
        return "its last health check passed; it takes more than one to be called healthy again"
    said = clean((log[-1].get("Output") or "").strip(), 200)
    return f"its health check says: {said}" if said else "its health check fails"


def exit_words(code: int) -> str:
    """An exit code as a person reads it, for instance "code 137 (killed)"."""
    if code in CODES:
        return f"code {code} ({CODES[code]})"
    try:
        name = signal.Signals(code - 128).name.removeprefix("SIG") if code > 128 else ""
    except ValueError:
        name = ""
    words = {"KILL": "killed", "TERM": "asked to end", "SEGV": "it crashed"}.get(name, name)
    return f"code {code} ({words})" if words else f"code {code}"


def _ports(bindings: Mapping[str, Any]) -> tuple[str, ...]:
    found = {
        f"{each['HostIp'] or '0.0.0.0'}:{each['HostPort']}"  # noqa: S104  # what Docker means
        for hosts in bindings.values()
        for each in hosts or ()
    }
    return tuple(sorted(found))


def bound(container: Container) -> set[int]:
    """The ports of this machine that a container holds."""
    bindings = (container.attrs["NetworkSettings"].get("Ports") or {}).values()
    return {int(each["HostPort"]) for hosts in bindings for each in hosts or ()}


def moment(text: str | None) -> datetime | None:
    """A time of Docker's: RFC 3339 with nanoseconds; None for its year 1."""
    if not text or text.startswith("0001"):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None

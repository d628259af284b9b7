"""Containers as services: their state in words, their health, what they use."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.core.register import ROLE_LABEL
from console.core.stack.driver import Health, Role, Service, State
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

FIRST_LOOK_SECONDS = 0.1
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


@dataclass(frozen=True, slots=True)
class Used:
    """What a container uses.

    Attributes:
        cpu_percent: 100 is one core.
        memory_limit_bytes: None where it is the machine's own.
    """

    cpu_percent: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None


def role_of(labels: Mapping[str, str]) -> Role:
    """The role that a service's label names."""
    try:
        return Role(labels.get(ROLE_LABEL, ""))
    except ValueError:
        return Role.OTHER


def missing(name: str, role: Role, image: str) -> Service:
    """A service of the project without a container."""
    return Service(name, role, State.STOPPED, Health.UNHEALTHY, "stopped", image)


def service(name: str, container: Container, used: Used | None) -> Service:
    """A service as its container is now."""
    attributes: dict[str, Any] = container.attrs
    now = attributes["State"]
    role = role_of(container.labels)
    state = _state(now, role)
    ended = state is not State.RUNNING and moment(now.get("FinishedAt")) is not None
    return Service(
        name=name,
        role=role,
        state=state,
        health=_health(now, role, state),
        reason=_reason(now, role, state),
        image=attributes["Config"]["Image"],
        started_at=moment(now.get("StartedAt")),
        restarts=attributes.get("RestartCount", 0),
        cpu_percent=used.cpu_percent if used else None,
        memory_bytes=used.memory_bytes if used else None,
        memory_limit_bytes=used.memory_limit_bytes if used else None,
        ports=_ports(attributes["NetworkSettings"].get("Ports") or {}),
        exit_code=now.get("ExitCode") if ended else None,
    )


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
    """What the last health check said."""
    log = (now.get("Health") or {}).get("Log") or []
    if not log:
        return ""
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


def moment(text: str | None) -> datetime | None:
    """A time of Docker's: RFC 3339 with nanoseconds; None for its year 1."""
    if not text or text.startswith("0001"):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


class Meter:
    """Measures containers again and again."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, float]] = {}

    def read(self, container: Container) -> Used | None:
        """Measure one container; the first look takes a tenth of a second, later ones compare.

        None where it ended meanwhile.
        """
        import requests  # noqa: PLC0415  # imported with docker
        from docker.errors import DockerException  # noqa: PLC0415  # as above

        try:
            if container.id not in self._before:
                self._look(container)
                time.sleep(FIRST_LOOK_SECONDS)
            return self._look(container)
        except (DockerException, requests.RequestException, KeyError):
            return None

    def _look(self, container: Container) -> Used:
        key, client = str(container.id), container.client
        assert client is not None  # noqa: S101  # it came from one
        stats: dict[str, Any] = client.api.stats(key, stream=False, one_shot=True)
        at, total = time.monotonic(), stats["cpu_stats"]["cpu_usage"]["total_usage"]
        before, then = self._before.get(key, (total, at))
        self._before[key] = (total, at)
        # A container that was started anew counts from zero.
        spent = total - before if total >= before else total
        percent = spent / 1e9 / (at - then) * 100 if at > then else None
        memory = stats["memory_stats"]
        limit = container.attrs["HostConfig"].get("Memory") or None
        return Used(percent, _memory(memory), limit)


def _memory(stats: Mapping[str, Any]) -> int | None:
    """As `docker stats` shows it: without the inactive page cache (cgroup v1 and v2 name it)."""
    if "usage" not in stats:
        return None
    detail = stats.get("stats") or {}
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return int(stats["usage"] - cache) if cache < stats["usage"] else int(stats["usage"])

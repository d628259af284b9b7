"""The sign and the word for a state, and the order of services: colour is never alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.core import format as fmt
from console.core.stack.driver import Health, Role, Service, Severity, State
from console.core.stack.status import Status
from console.core.text import clean

RUN_SIGNS = {
    "FINISHED": ("✓", "ok"),
    "RUNNING": ("●", "accent"),
    "SCHEDULED": ("○", "dim"),
    "FAILED": ("✗", "bad"),
    "KILLED": ("✗", "warn"),
}
HEALTH = {
    Health.HEALTHY: ("●", "ok", "healthy"),
    Health.UNHEALTHY: ("✗", "bad", "unhealthy"),
    Health.STARTING: ("○", "warn", "starting"),
    Health.UNKNOWN: ("●", "dim", "running"),
}


# What people ask about first stands first; jobs, which are done most of the time, stand last.
ROLES = (Role.TRACKING, Role.PROXY, Role.DATABASE, Role.STORE, Role.OTHER, Role.JOB)


def ordered(services: Iterable[Service]) -> list[Service]:
    """The services by what they are for; what keeps others from working comes before all that."""
    every = list(services)
    running = any(each.state is State.RUNNING for each in every)

    def rank(service: Service) -> int:
        if of_service(service)[1] == "bad" or service.state is State.RESTARTING:
            return 0
        missing = running and service.state is State.STOPPED and service.role is not Role.JOB
        return 1 if missing else 2

    return sorted(every, key=lambda each: (rank(each), ROLES.index(each.role), each.name))


def is_done(service: Service) -> bool:
    """Whether it is a job that has done its work."""
    return service.role is Role.JOB and of_service(service)[2] == "done"


def why(service: Service) -> str:
    """Why it is in its state, cleaned; "" where the word of the state says as much."""
    reason = clean(service.reason, 500)
    return "" if reason == of_service(service)[2] else reason


def addresses(ports: Sequence[str]) -> str:
    """The ports of one address behind each other: "127.0.0.1:5000, :5443"."""
    said: list[str] = []
    before = ""
    for port in ports:
        host, _, number = port.rpartition(":")
        said.append(f":{number}" if host and host == before else port)
        before = host
    return clean(", ".join(said))


def of_service(service: Service) -> tuple[str, str, str]:
    """Sign, tone and word of a service."""
    if service.state in (State.STOPPED, State.EXITED):
        return _ended(service)
    if service.state is State.RESTARTING:
        return "!", "warn", "restarting"
    if service.state is State.STARTING:
        return HEALTH[Health.STARTING]
    if service.role is Role.JOB:
        return "○", "warn", "at work"
    return HEALTH[service.health]


def _ended(service: Service) -> tuple[str, str, str]:
    if service.role is Role.JOB and service.state is State.EXITED and service.exit_code == 0:
        return "✓", "ok", "done"
    if service.state is State.EXITED and service.exit_code:
        return "✗", "bad", "exited"
    return "○", "dim", "stopped"


def of_status(status: Status) -> tuple[str, str, str]:
    """Sign, tone and first words of a deployment; the cause when something is wrong."""
    action = status.action
    if action is not None and not status.healthy:  # what is seen meanwhile is no fault
        begun = f"begun by {clean(action.by, 40)} {fmt.clock(action.started_at)}"
        return "○", "warn", f"{clean(action.words, 80)}, {begun}"
    if status.at_rest and not any(
        each.state is State.EXITED and each.exit_code for each in status.services
    ):
        return "○", "dim", "Stopped"
    if status.healthy:
        return "●", "ok", "healthy"
    errors = [each for each in status.findings if each.severity is Severity.ERROR]
    if errors:
        return "✗", "bad", clean(errors[0].title, 200)
    return _unwell(status) or ("✗", "bad", clean(status.api.error, 200) or "unhealthy")


def _unwell(status: Status) -> tuple[str, str, str] | None:
    """The service that keeps a deployment from being healthy where its API answers."""
    for service in ordered(status.services) if status.api.ok else ():
        sign, tone, word = of_service(service)
        if service.health is not Health.HEALTHY:
            return sign, tone, f"{clean(service.name, 60)} is {word}"
    return None


def of_run(status: str) -> tuple[str, str]:
    """Sign and tone of a run."""
    return RUN_SIGNS.get(status, ("?", "dim"))

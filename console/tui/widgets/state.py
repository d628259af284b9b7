"""The sign and the word for a state: colour is never alone."""

from __future__ import annotations

from console.core.stack.driver import Health, Role, Service, Severity, State
from console.core.stack.service import Status
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


def of_service(service: Service) -> tuple[str, str, str]:
    """Sign, tone and word of a service."""
    if service.state in (State.STOPPED, State.EXITED):
        return _ended(service)
    if service.state is State.RESTARTING:
        return "!", "warn", "restarting"
    if service.state is State.STARTING:
        return HEALTH[Health.STARTING]
    return HEALTH[service.health]


def _ended(service: Service) -> tuple[str, str, str]:
    if service.role is Role.JOB and service.exit_code == 0:
        return "✓", "ok", "done"
    if service.state is State.EXITED and service.exit_code:
        return "✗", "bad", "exited"
    return "○", "dim", "stopped"


def of_status(status: Status) -> tuple[str, str, str]:
    """Sign, tone and first words of a deployment; the cause when something is wrong."""
    if status.stopped and not any(
        each.state is State.EXITED and each.exit_code for each in status.services
    ):
        return "○", "dim", "Stopped"
    if status.healthy:
        return "●", "ok", "healthy"
    errors = [each for each in status.findings if each.severity is Severity.ERROR]
    if errors:
        return "✗", "bad", clean(errors[0].title, 200)
    return "✗", "bad", clean(status.api.error, 200) or "unhealthy"


def of_run(status: str) -> tuple[str, str]:
    """Sign and tone of a run."""
    return RUN_SIGNS.get(status, ("?", "dim"))

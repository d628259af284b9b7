"""How a deployment is now: its services, a real call of its API, and what is wrong, with why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from console.core import actions
from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.errors import AccessError, ConsoleError, UnreachableError
from console.core.stack import health
from console.core.stack.driver import Finding, Health, Role, Room, Service, Severity, State
from console.core.stack.health import Api
from console.core.text import clean

# MinIO takes nothing more from here on (its `diskFillFraction`), and MySQL soon fails as well.
FULL, NEARLY_FULL = 0.99, 0.85
# A disk that has to wake up first takes this long; one that does not answer by then is told of.
BACKUPS_SECONDS = 11.0
CALL_FAILS = ("api-unreachable", "api-error", "api-unavailable", "api-behind-proxy")
RESTORES = ("restoring", "restore-interrupted")
ON_PURPOSE = ("stopped", "service-ended", "maintenance")
UNREACHED = ("api-unreachable", "port-changed", "port-taken", "starting", "engine-unreachable")


@dataclass(frozen=True, slots=True)
class Status:
    """The deployment as it is now; the JSON shape of `status`.

    Attributes:
        url: "" where nobody can tell.
        action: What is being done to it at this moment.
    """

    deployment: str
    driver: str
    url: str
    healthy: bool
    services: tuple[Service, ...]
    api: Api
    findings: tuple[Finding, ...]
    checked_at: datetime
    action: Action | None = None

    @property
    def stopped(self) -> bool:
        """No service runs."""
        return bool(self.services) and all(
            service.state in (State.STOPPED, State.EXITED) for service in self.services
        )

    @property
    def at_rest(self) -> bool:
        """No service runs, and `up` starts them: no restore has stopped them."""
        return self.stopped and not any(each.id in RESTORES for each in self.findings)

    @property
    def exit_code(self) -> int:
        """0 healthy, 3 something is unhealthy, 4 it is stopped or nothing answers."""
        if self.healthy:
            return 0
        unreached = any(finding.id in UNREACHED for finding in self.findings)
        return 4 if self.stopped or unreached else 3


def look(deployment: Deployment, measure: bool = True) -> Status:
    """Look at everything once.

    Args:
        deployment: Which one.
        measure: Also what the services use, which takes a second.

    Raises:
        SettingsError: Its settings cannot be meant.
        NotOursError: Its name belongs to somebody else.
    """
    try:
        services = deployment.driver.services(measure)
        found = check(deployment, services)
    except (UnreachableError, AccessError) as error:
        return unseen(deployment, error, BACKUPS_SECONDS)
    return judge(deployment, services, *found, BACKUPS_SECONDS)


def unseen(deployment: Deployment, error: ConsoleError, patience: float = 0.0) -> Status:
    """What can be said while nobody tells which services run; `patience` as in `judge`."""
    gone = isinstance(error, UnreachableError | AccessError)
    found = Finding(
        "engine-unreachable" if gone else "unseen", Severity.ERROR, "", error.message,
        "Its services cannot be seen; what runs may go on running." if gone else "", error.hint,
    )  # fmt: skip
    settings = deployment.settings
    api = Api(False, settings.users.service_user, None, None, error.message)
    now = datetime.now(UTC)
    every = (found, *deployment.backup.lookout.findings(patience))
    return Status(settings.name, settings.driver, "", False, (), api, every, now)


def check(
    deployment: Deployment, services: Sequence[Service], known: Api | None = None
) -> tuple[Api, list[Finding]]:
    """Call the API and look for what is wrong; a cause stands before its consequences.

    Args:
        deployment: Which one.
        services: As its driver has just given them.
        known: What an earlier call learnt, where nothing was restarted since: the version and the
            host names are not asked for again.
    """
    if not any(service.state is State.RUNNING for service in services):
        return health.stopped(deployment), [stopped_finding(services)]
    found = deployment.driver.findings(services)
    deployment.backup.lookout.rooms = deployment.driver.rooms()
    found += rooms(deployment.backup.lookout.rooms)
    broken = any(finding.severity is Severity.ERROR for finding in found)
    api, more = health.check(deployment, services, known, broken)
    every = [*found, *more, *memory(services)]
    # While everybody is turned away, services are stopped on purpose: that stands first.
    return api, sorted(every, key=lambda finding: finding.id != "maintenance")


def judge(
    deployment: Deployment, services: Sequence[Service], api: Api, findings: Sequence[Finding],
    patience: float = 0.0,
) -> Status:  # fmt: skip
    """What the services, the call and the findings say together, and what is wrong with backups.

    Args:
        deployment: Which one.
        services: As its driver has just given them.
        api: What the call came to.
        findings: What is wrong with the services.
        patience: For so many seconds a look at the backups is waited for; who looks again and
            again has what the last one saw.
    """
    findings = _restore_first([*findings, *deployment.backup.lookout.findings(patience)])
    starting = any(finding.id == "starting" for finding in findings)
    unwell = Health.STARTING if starting else Health.UNHEALTHY
    failing = {each.service for each in findings if each.id in CALL_FAILS}
    judged = tuple(_judge(service, api, unwell, service.name in failing) for service in services)
    settings = deployment.settings
    return Status(
        deployment=settings.name,
        driver=settings.driver,
        url=deployment.driver.url,
        healthy=api.ok
        and all(service.health is Health.HEALTHY for service in judged)
        and not any(finding.severity is Severity.ERROR for finding in findings),
        services=judged,
        api=api,
        findings=tuple(findings),
        checked_at=datetime.now(UTC),
        action=actions.stopping(deployment),
    )


def _restore_first(findings: Sequence[Finding]) -> list[Finding]:
    """While a restore goes on, or broke off, what comes of that is mended by its end alone."""
    if not any(finding.id in RESTORES for finding in findings):
        return list(findings)
    every = [replace(each, fix="") if each.id in ON_PURPOSE else each for each in findings]
    return sorted(every, key=lambda finding: finding.id not in RESTORES)


def _judge(service: Service, api: Api, unwell: Health, failing: bool) -> Service:
    """Give the tracking server the health that its API shows.

    The engine's own health check takes up to a minute to notice what the call notices at once.
    """
    late = failing and service.health is Health.HEALTHY
    if service.role is not Role.TRACKING or not (late or service.health is Health.UNKNOWN):
        return service
    if api.ok:
        return replace(service, health=Health.HEALTHY)
    return replace(service, health=unwell, reason=api.error)


def stopped_finding(services: Sequence[Service]) -> Finding:
    """Why nothing runs."""
    for service in services:
        done = service.role is Role.JOB and service.health is Health.HEALTHY
        if service.state in (State.EXITED, State.RESTARTING) and not done:
            return Finding(
                "service-ended", Severity.ERROR, service.name,
                f"{service.name}: {service.reason}", fix="mlflow-console up",
            )  # fmt: skip
    return Finding("stopped", Severity.ERROR, "", "It is stopped", fix="mlflow-console up")


def rooms(every: Sequence[Room]) -> list[Finding]:
    """Whose disk is full, or nearly."""
    found = []
    for room in every:
        if room.used < NEARLY_FULL:
            continue
        seen = f"{clean(room.where)}: {room.free_bytes} of {room.total_bytes} bytes are free"
        if room.used >= FULL:
            found.append(Finding(
                "disk-full", Severity.ERROR, room.service,
                f"{room.service}: its disk is full, nothing can be written", seen,
                "make room there, or give it a larger disk; then it goes on by itself",
            ))  # fmt: skip
        else:
            found.append(Finding(
                "disk-nearly-full", Severity.WARNING, room.service,
                f"{room.service}: {room.used:.0%} of its disk are used", seen,
                "mlflow-console storage usage shows what takes the room",
            ))  # fmt: skip
    return found


def memory(services: Sequence[Service]) -> list[Finding]:
    """Who runs again after memory had run out; it will come back."""
    return [
        Finding(
            "memory-ran-out", Severity.WARNING, service.name,
            f"{service.name}: memory ran out at {service.oom_killed_at:%H:%M:%S} UTC and a process "
            "of it was killed",
            fix="give it a higher limit, or the machine more memory",
        )
        for service in services
        if service.oom_killed_at and service.health is Health.HEALTHY
    ]  # fmt: skip

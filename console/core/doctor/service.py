"""The doctor area: what is wrong with the deployment itself, or will be, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from console.core.deployment import Deployment
from console.core.doctor import bucket, checks
from console.core.errors import ConsoleError
from console.core.operations import operation
from console.core.stack.anatomy import Anatomy, Part, Unseen
from console.core.stack.driver import Finding, Role, Severity
from console.core.stack.places import Bucket, MysqlServer
from console.core.stack.status import Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Examination:
    """What the doctor alone finds.

    Attributes:
        findings: Errors first.
        looked_at: What was looked at, in words: "ports", "certificates".
    """

    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that needs a person; the JSON shape of `doctor`, but for the exit code.

    Attributes:
        findings: Errors first, of each kind the status's own; a cause before its consequences.
        looked_at: What was looked at, in words.
        exit_code: 0 without an error, warnings or not; 3 with one; 4 it is stopped or cannot be
            reached.
    """

    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    checked_at: datetime
    exit_code: int


def diagnosis(status: Status, examination: Examination) -> Diagnosis:
    """The status and the doctor's own findings as one."""
    every = (*status.findings, *examination.findings)
    errors = [each for each in every if each.severity is Severity.ERROR]
    warnings = [each for each in every if each.severity is not Severity.ERROR]
    reached = ("services", "disks") if status.exit_code != 4 else ("services",)
    return Diagnosis(
        (*errors, *warnings), (*reached, *examination.looked_at),
        examination.checked_at, status.exit_code or (3 if errors else 0),
    )  # fmt: skip


class DoctorService:
    """Looks at what no call of the API shows, and never changes anything."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("doctor.doctor")
    def doctor(self, now: datetime | None = None) -> Diagnosis:
        """The status and everything that `examine` finds.

        Args:
            now: The time, with its zone; this moment when left out.

        Raises:
            ConsoleError: As `status`.
        """
        return diagnosis(self.deployment.stack.status(), self.examine(now))

    def examine(self, now: datetime | None = None) -> Examination:
        """Look at how the deployment is put together; what cannot be seen is a finding as well.

        Args:
            now: The time, with its zone; this moment when left out.
        """
        moment = now or datetime.now(UTC)
        unseen: list[Unseen] = []
        anatomy = _seen("how it is put together", self.deployment.driver.anatomy, unseen)
        if anatomy is None:
            return Examination(tuple(checks.unseen(unseen)), (), moment)
        anatomy = self._with_version(anatomy, unseen)
        of_bucket = self._of_bucket(anatomy, unseen)
        anatomy = replace(anatomy, unseen=(*anatomy.unseen, *unseen))
        found = [*(of_bucket or ()), *checks.findings(anatomy, moment)]
        found.sort(key=lambda each: each.severity is not Severity.ERROR)
        looked = (*anatomy.looked_at, *(() if of_bucket is None else ("bucket",)))
        return Examination(tuple(found), looked, moment)

    def _with_version(self, anatomy: Anatomy, unseen: list[Unseen]) -> Anatomy:
        """What the database itself says of its version, where it runs and is MySQL's kind."""
        part = _part(anatomy, Role.DATABASE)
        if part is None or not part.running:
            return anatomy  # the image tells as well
        version = _seen("the version of the database", self._database_version, unseen)
        parts = (
            replace(each, version=version) if version and each is part else each
            for each in anatomy.parts
        )
        return replace(anatomy, parts=tuple(parts))

    def _database_version(self) -> str:
        place = self.deployment.driver.backend_store()
        if not isinstance(place, MysqlServer):
            return ""
        from console.core.database.mysql import MysqlDatabase  # noqa: PLC0415  # first use

        return MysqlDatabase(place).version()

    def _of_bucket(self, anatomy: Anatomy, unseen: list[Unseen]) -> list[Finding] | None:
        """What is wrong with the bucket; None where there is none, or it cannot be asked."""
        part = _part(anatomy, Role.STORE)
        if part is None:
            return None

        def ask() -> list[Finding]:
            place = self.deployment.driver.artifact_store()
            if not isinstance(place, Bucket):
                return []
            return bucket.findings(place, part.name, _closed(anatomy, part.name, place.name))

        return _seen("the bucket", ask, unseen)


def _seen(what: str, ask: Callable[[], T], unseen: list[Unseen]) -> T | None:
    """What a question brings; None where it cannot be answered, which is written down."""
    try:
        return ask()
    except ConsoleError as error:
        unseen.append(Unseen(what, error.message, error.hint))
        return None


def _part(anatomy: Anatomy, role: Role) -> Part | None:
    return next((part for part in anatomy.parts if part.role is role), None)


def _closed(anatomy: Anatomy, service: str, bucket_name: str) -> str:
    """How a bucket of the shipped store is made private, without a secret on the screen."""
    keys = "$(cat /run/stack-secrets/store-access-key):$(cat /run/stack-secrets/store-secret-key)"
    return (
        f"{anatomy.command} exec {service} sh -c "
        f"'MC_HOST_here=\"http://{keys}@127.0.0.1:9000\" mc anonymous set none here/{bucket_name}'"
    )

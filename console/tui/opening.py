"""Opening and setting up, on a thread: everything here may touch the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.core import deployment as core
from console.core import engine, register, setup
from console.core.deployment import Deployment
from console.core.errors import NoDeploymentError, UsageError
from console.core.progress import Progress
from console.core.register import Known
from console.core.secrets import Secret
from console.core.setup import Plan
from console.tui.messages import Session


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for at the first start.

    Attributes:
        driver: What will run it.
        port: None for a free one.
        generated: The password was made up here and has to be shown once.
    """

    directory: Path
    driver: str
    port: int | None
    user: str
    password: Secret
    generated: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A deployment that was just set up, whether it has come up as well or not.

    Attributes:
        url: Where the server answers.
        password: Only when it was generated.
    """

    session: Session
    url: str
    user: str
    password: Secret | None


def open_session(wanted: str | None, read_only: bool) -> Session | list[Known]:
    """Open the deployment that is meant.

    Returns:
        The session; or, when nobody named one, the known ones to choose from: none at the very
        first start.

    Raises:
        ConsoleError: It cannot be opened.
    """
    try:
        return session(Deployment.open(wanted, read_only))
    except NoDeploymentError:
        if wanted or read_only or os.environ.get("MLFLOW_CONSOLE_DEPLOYMENT"):
            raise
        known = register.known()
        if len(known) == 1:
            raise  # it is known, and not there: the sentence says so
        return known


def session(deployment: Deployment) -> Session:
    """What the console wants to know of an opened deployment."""
    missing = deployment.driver.capabilities.missing
    return Session(
        deployment=deployment,
        person=core.person(),
        missing={each: reason.reason for each, reason in missing.items()},
        watch=deployment.stack.watch(),
    )


def engine_found() -> str:
    """What there is of Docker here, in words: "Docker 28.2, Compose 5.6".

    Raises:
        ConsoleError: The stack cannot run here, and why.
    """
    docker, compose = engine.versions()
    return f"Docker {docker}, Compose {compose}"


def plan(wishes: Wishes) -> Plan:
    """See whether it can be set up; nothing is written.

    Raises:
        ConsoleError: It cannot, and why.
    """
    chosen = setup.plan(wishes.directory, wishes.driver, wishes.port)
    begun = chosen.planned.settings.driver
    if begun != wishes.driver:
        raise UsageError(
            f"{chosen.directory} holds a set-up of the other kind that was interrupted ({begun})",
            "Choose that kind to go on with it, or another place.",
        )
    return chosen


def set_up(
    chosen: Plan, wishes: Wishes, made: list[Created], cancel: threading.Event
) -> Iterator[Progress]:
    """Set up a deployment, put it into `made` and bring it up."""
    yield from setup.create(chosen, (wishes.user, wishes.password), cancel)
    deployment = Deployment.open(str(chosen.directory))
    made.append(
        Created(
            session=session(deployment),
            url=deployment.driver.url,
            user=wishes.user,
            password=wishes.password if wishes.generated else None,
        )
    )
    yield from deployment.stack.up(cancel=cancel)

"""Opening and setting up, on a thread: everything here may touch the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.core import deployment as core
from console.core import register, setup
from console.core.deployment import Deployment
from console.core.errors import NoDeploymentError
from console.core.progress import Progress
from console.core.register import Known
from console.core.secrets import Secret
from console.tui.messages import Session

# Calm enough for a slow line; the API is asked less often than that by the core itself.
WATCH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for at the first start.

    Attributes:
        port: None for a free one.
        generated: The password was made up here and has to be shown once.
    """

    directory: Path
    port: int | None
    user: str
    password: Secret
    generated: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A deployment that was just set up.

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
        watch=deployment.stack.watch(WATCH_SECONDS),
    )


def set_up(wishes: Wishes, made: list[Created], cancel: threading.Event) -> Iterator[Progress]:
    """Set up a deployment, bring it up and put it into `made`."""
    plan = setup.plan(wishes.directory, port=wishes.port)
    yield from setup.create(plan, (wishes.user, wishes.password), cancel)
    deployment = Deployment.open(str(plan.directory))
    yield from deployment.stack.up(cancel=cancel)
    made.append(
        Created(
            session=session(deployment),
            url=deployment.driver.url,
            user=wishes.user,
            password=wishes.password if wishes.generated else None,
        )
    )

"""The registry of drivers: one line in each of two tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.errors import UsageError
from console.core.stack.driver import Driver
from console.core.stack.planning import Planner, Settler

if TYPE_CHECKING:
    from console.core.deployment import Deployment

DRIVERS = ("embedded", "compose")


def open_driver(deployment: Deployment) -> Driver:
    """The driver that the deployment's settings name."""
    match deployment.settings.driver:
        case "embedded":
            from console.core.stack.embedded import EmbeddedDriver  # noqa: PLC0415  # first use

            return EmbeddedDriver(deployment)
        case "compose":
            from console.core.stack.compose import ComposeDriver  # noqa: PLC0415  # first use

            return ComposeDriver(deployment)


def planner(driver: str) -> Planner:
    """What plans a new deployment of a driver.

    Raises:
        UsageError: There is no such driver.
    """
    match driver:
        case "embedded":
            from console.core.stack import embedded_setup  # noqa: PLC0415  # first use

            return embedded_setup.plan
        case "compose":
            from console.core.stack import compose_setup  # noqa: PLC0415  # first use

            return compose_setup.plan
    raise UsageError(f"There is no driver {driver!r}", f"There is: {', '.join(DRIVERS)}.")


def settler(driver: str) -> Settler:
    """What makes the files of a deployment fit where they were brought back to.

    Raises:
        UsageError: There is no such driver.
    """
    match driver:
        case "embedded":
            from console.core.stack import embedded_setup  # noqa: PLC0415  # first use

            return embedded_setup.settle
        case "compose":
            from console.core.stack import compose_setup  # noqa: PLC0415  # first use

            return compose_setup.settle
    raise UsageError(f"There is no driver {driver!r}", f"There is: {', '.join(DRIVERS)}.")

"""The registry of drivers: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.stack.driver import Driver

if TYPE_CHECKING:
    from console.core.deployment import Deployment


def open_driver(deployment: Deployment) -> Driver:
    """The driver that the deployment's settings name."""
    match deployment.settings.driver:
        case "embedded":
            from console.core.stack.embedded import EmbeddedDriver  # noqa: PLC0415  # first use

            return EmbeddedDriver(deployment)

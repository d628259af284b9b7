"""Planning an embedded deployment."""

from __future__ import annotations

from collections.abc import Collection

from console.core import files, settings
from console.core.errors import UsageError
from console.core.ports import choose
from console.core.settings import ServerSettings, Settings
from console.core.stack import environment
from console.core.stack.planning import Planned, Wishes

MLFLOW = "3.17.2"


def plan(wishes: Wishes, taken: Collection[int]) -> Planned:
    """Check what can be checked; see `Planner`.

    Raises:
        UsageError: It was asked for what only a driver with a proxy does.
        NotOursError: The port is taken.
        DiskFullError: The environment would not fit.
    """
    if wishes.public or wishes.tls_port or wishes.certificates:
        raise UsageError(
            "An embedded server listens on loopback alone and without TLS",
            "Take --driver compose, or put a proxy of yours in front of it.",
        )
    port = choose(wishes.port, taken)
    files.need_room(wishes.directory, environment.NEEDED_BYTES, "The MLflow server's environment")
    chosen = Settings(
        format=settings.FORMAT, name=wishes.name, driver="embedded",
        server=ServerSettings(port=port, mlflow=MLFLOW, host_names=wishes.host_names),
    )  # fmt: skip
    steps = (
        f"write console.toml: {wishes.name}, embedded, port {port} of loopback",
        f"make a Python environment for MLflow {MLFLOW} in {wishes.directory}/server "
        "(fetched from the package index)",
    )
    return Planned(chosen, steps, port)

"""Planning an embedded deployment, and what its server is started with."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from console.core import files, process, settings
from console.core.errors import UsageError
from console.core.ports import choose
from console.core.settings import ServerSettings, Settings
from console.core.stack import environment
from console.core.stack.planning import SIZES, Planned, Wishes

if TYPE_CHECKING:
    from pathlib import Path

    from console.core.deployment import Paths

MLFLOW = "3.17.2"
ADDRESS = "127.0.0.1"
MARKER = "MLFLOW_CONSOLE_MARKER"


def plan(wishes: Wishes, taken: Collection[int]) -> Planned:
    """Check what can be checked; see `Planner`.

    Raises:
        UsageError: It was asked for what only a driver with a proxy does.
        NotOursError: The port is taken.
        DiskFullError: The environment would not fit.
    """
    if wishes.public or wishes.tls_port or wishes.certificates or wishes.size != SIZES[0]:
        raise UsageError(
            "An embedded server listens on loopback alone, without TLS, and has one size",
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


def settle(directory: Path, held: Path, taken: Collection[int]) -> list[str]:
    """Give it another port when its own is taken; see `Settler`."""
    loaded = settings.load(held, Settings)
    assert loaded.server is not None  # noqa: S101  # the settings hold to it
    port = loaded.server.port
    if port not in taken and process.port_is_free(port):
        return []
    other = process.free_port(port + 1, taken)
    settings.edit(held, "server", {"port": other})
    return [f"port {port} is taken here, it listens on {other}"]


def command(server: ServerSettings, paths: Paths, made: environment.Environment) -> list[str]:
    """The supervisor's arguments, with those of the server that it runs."""
    return [
        str(made.bin / "python"), "-m", "mlflow_console_server",
        "--directory", str(paths.root), "--",
        str(made.bin / "python"), "-m", "mlflow_console_server.serve",
        "--app-name", "mlflow-console", "--workers", "1",
        "--host", ADDRESS, "--port", str(server.port),
        "--backend-store-uri", f"sqlite:///{paths.database}",
        "--artifacts-destination", str(paths.artifacts),
    ]  # fmt: skip


def variables(server: ServerSettings, paths: Paths) -> dict[str, str]:
    """The environment of both."""
    names = ("localhost", ADDRESS, "[::1]", *server.host_names)
    hosts = [f"{name}{port}" for name in names for port in ("", ":*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return process.environment(
        {
            MARKER: str(paths.root),
            "MLFLOW_CONSOLE_HTPASSWD": str(paths.users),
            "MLFLOW_CONSOLE_ACCESS_LOG": str(paths.access_log),
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Empty: the list of model prices is not fetched from elsewhere.
            "MLFLOW_MODEL_CATALOG_URI": "",
            "DO_NOT_TRACK": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }
    )

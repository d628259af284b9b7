"""The sample: real experiments, logged through HTTP with a user's password."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec

from console.core import secrets
from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.operations import OPERATIONS, implements
from console.core.progress import Progress
from console.core.stack.driver import Role

USER = "demo"


@implements("deployment.demo")
def demo(deployment: Deployment, cancel: threading.Event) -> Iterator[Progress]:
    """Log two sample experiments as the user `demo`, in the server's own environment.

    The user is made when missing; its password stays in `secrets/demo` (0600). What is already
    logged is not logged again.

    Raises:
        ConsoleError: The server is not healthy, or logging failed.
    """
    with deployment.change(OPERATIONS["deployment.demo"], USER):
        status = deployment.stack.status()
        if not status.api.ok:
            raise ConsoleError(status.api.error, "`mlflow-console up` first.")
        env = {
            "MLFLOW_TRACKING_URI": deployment.driver.inner_url,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": _password(deployment).reveal(),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        argv = ["python", "-m", "mlflow_console_server.demo"]
        for line in deployment.driver.run_in(Role.TRACKING, argv, env, cancel):
            try:
                yield msgspec.json.decode(line, type=Progress)
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue  # a library's own chatter between the reports


def _password(deployment: Deployment) -> secrets.Secret:
    """The sample user's password; the user is made anew when either half of it is missing."""
    path = deployment.paths.service_secret.with_name(USER)
    exists = any(user.name == USER for user in deployment.users.list())
    if path.exists() and exists:
        return secrets.read_secret(path)
    password = secrets.generate()
    secrets.write_secret(path, password)
    (deployment.users.passwd if exists else deployment.users.add)(USER, password)
    return password

"""``python -m mlflow_console_server.serve OPTION...``: ``mlflow server OPTION...`` in one process.

``mlflow server`` imports MLflow, looks at its options and at the database, starts uvicorn, which
imports MLflow once more, and waits for it. Here the process becomes uvicorn instead: it starts in
half the time and holds 0.13 GB less.
"""

from __future__ import annotations

import os


def main(options: list[str] | None = None) -> None:
    """Become the server.

    Args:
        options: Of ``mlflow server``; by default this process's.

    Raises:
        SystemExit: It ended, or the options or the database are not right.
    """
    # Seconds. Several workers, which are processes of their own, import this module again.
    from mlflow import cli, server  # noqa: PLC0415
    from mlflow.environment_variables import (  # noqa: PLC0415  # as above
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION,
    )

    # What runs jobs is started beside uvicorn and watches it.
    if not MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get():
        server._exec_cmd = _become
    cli.server.main(options, prog_name="mlflow server")


def _become(command: list[str], *, extra_env: dict[str, str], **_: object) -> None:
    """Take the place of MLflow's function that starts ``python -m uvicorn ...`` as a child."""
    from uvicorn import main as uvicorn  # noqa: PLC0415  # as above

    os.environ.update(extra_env)
    uvicorn.main(command[command.index("uvicorn") + 1 :], prog_name="uvicorn")


if __name__ == "__main__":
    main()

"""The application: the global options and the areas' commands."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

import console
from console.cli import (
    backup,
    deployments,
    doctor,
    experiments,
    notify,
    runs,
    stack,
    storage,
    users,
)
from console.cli.context import Session
from console.cli.output import Output
from console.core.errors import NoDeploymentError

SUMMARY = """Run your own MLflow: its services, users, experiments, storage and backups.

Without a command, on a terminal, it opens the console; elsewhere it prints the status.

Exit codes: 0 done, and healthy for status; 1 failed; 2 the command line is wrong; 3 it answered
but is unhealthy, or doctor found an error (warnings alone are 0); 4 it is stopped or cannot be
reached; 130 cancelled by you.
"""

app = typer.Typer(
    name="mlflow-console", help=SUMMARY, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

for area in (deployments, stack, doctor):
    area.register(app)
for name, part in (
    ("users", users.app), ("experiments", experiments.app), ("runs", runs.app),
    ("storage", storage.app), ("backup", backup.app), ("notify", notify.app),
):  # fmt: skip
    app.add_typer(part, name=name)


@app.callback(invoke_without_command=True)
def _global(
    context: typer.Context,
    *,
    deployment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="Which deployment is meant; else MLFLOW_CONSOLE_DEPLOYMENT, the current "
            "directory, or the only one.",
        ),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only",
            help="Refuse every command that changes something; so does MLFLOW_CONSOLE_READ_ONLY=1.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Answer questions with yes.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No narration on stderr, only errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    output = context.obj
    assert isinstance(output, Output)  # noqa: S101  # main() made it
    output.quiet = quiet
    context.obj = Session(deployment, read_only, yes, output)
    if version:
        output.line(f"mlflow-console {console.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(_without_command(context.obj))


def _without_command(session: Session) -> int:
    """Print the status: there is no terminal, else `main` had opened the console."""
    try:
        code = stack.show_status(session, json=False)
    except NoDeploymentError as error:
        session.output.problem(error.message, error.hint)
        return error.exit_code
    program = sys.argv[0] if shutil.which("mlflow-console") is None else "mlflow-console"
    which = f" --deployment {session.wanted}" if session.wanted else ""
    session.output.note(f"In a terminal, `{program}{which}` opens the console; --help says more.")
    return code

"""The command line: global options, the one border where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

import console
from console.cli import deployments, experiments, runs, stack, storage, users
from console.cli.context import Session
from console.cli.output import Output
from console.core.errors import ConsoleError, NoDeploymentError

SUMMARY = """Run your own MLflow: its services, users, experiments and storage.

Without a command, on a terminal, it opens the console; elsewhere it prints the status.

Exit codes: 0 done, and healthy for status; 1 failed; 2 the command line is wrong; 3 it answered
but is unhealthy; 4 it is stopped or cannot be reached; 130 cancelled by you.
"""

FLAGS = ("--read-only", "--yes", "--quiet")
VALUED = "--deployment"
PASSWORD_COMMANDS = ("add", "passwd", "init")

app = typer.Typer(
    name="mlflow-console", help=SUMMARY, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

for area in (deployments, stack):
    area.register(app)
for name, part in (
    ("users", users.app), ("experiments", experiments.app), ("runs", runs.app),
    ("storage", storage.app),
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
    """Open the console; where there is no terminal for it, print the status."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from console.tui.app import run as open_console  # noqa: PLC0415  # first use

        return open_console(session.wanted, session.read_only)
    try:
        code = stack.show_status(session, json=False)
    except NoDeploymentError as error:
        session.output.problem(error.message, error.hint)
        return error.exit_code
    session.output.note("`mlflow-console` in a terminal opens the console, --help lists commands.")
    return code


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options first, wherever a person put them."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == VALUED:
            front += [argument, *(value for value in [next(waiting, None)] if value is not None)]
        elif argument in FLAGS or argument.startswith(f"{VALUED}="):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code; every failure has become a sentence on stderr by then.
    """
    output = Output()
    argv = hoisted(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not `app()`: it would answer broken pipes, ctrl-c and errors in its own way.
        command = typer.main.get_command(app)
        with command.make_context("mlflow-console", argv, obj=output) as context:
            command.invoke(context)
        output.flush()
    except typer.Exit as leaving:
        return _left(output, leaving.exit_code)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the border: nobody is above
        return _answered(output, error)
    return 0


def _left(output: Output, code: int) -> int:
    """Leave with a code, once everything is written."""
    try:
        output.flush()
    except OSError as error:
        return _answered(output, error)
    return code


def _answered(output: Output, error: BaseException) -> int:
    """Say on stderr what happened, and give it its exit code."""
    match error:
        case BrokenPipeError():
            _let_go_of_stdout()  # whoever reads has read enough, as `head` does
            return 0
        case KeyboardInterrupt():
            return _failed(
                output, "Stopped", "Nothing is left half done; do it again any time.", 130
            )
        case ConsoleError():
            return _failed(output, error.message, error.hint, error.exit_code)
        case TyperException():
            return _failed(output, *_usage(error), error.exit_code)
        case OSError(errno=errno.ENOSPC):
            _let_go_of_stdout()
            return _failed(output, "What this prints could not be written: the disk is full", "", 1)
    return _unexpected(output, error)


def _failed(output: Output, message: str, hint: str, code: int) -> int:
    output.problem(message, hint)
    return code


def _usage(error: TyperException) -> tuple[str, str]:
    """What is wrong with the command line, and where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mlflow-console"
    message = error.format_message()
    if "unexpected extra argument" in message and path.split()[-1] in PASSWORD_COMMANDS:
        # Nobody but its owner should read on the screen what was typed there.
        message = "There are more arguments than this command takes; passwords are never arguments"
    return message, f"`{path} --help` shows how."


def _unexpected(output: Output, error: BaseException) -> int:
    """A failure that nobody foresaw: one sentence, the traceback only for who asks for it."""
    if os.environ.get("MLFLOW_CONSOLE_DEBUG") == "1":
        output.say("".join(traceback.format_exception(error)))
    return _failed(
        output, f"This should not have happened: {type(error).__name__}: {error}",
        "Please report it with what MLFLOW_CONSOLE_DEBUG=1 prints.", 1,
    )  # fmt: skip


def _let_go_of_stdout() -> None:
    """Have nothing more written to a stdout that takes nothing, not even at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def run() -> None:
    """The entry point of `mlflow-console`."""
    for stream in ("stdin", "stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed before we were started
            setattr(sys, stream, open(os.devnull, "r" if stream == "stdin" else "w"))  # noqa: SIM115  # for as long as we live
    for text in (sys.stdout, sys.stderr):
        reconfigure = getattr(text, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    sys.exit(main())

"""The one border of the command line, where errors become sentences and exit codes.

What takes time to import is imported inside, so that ctrl-c has its sentence from the start.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException

    from console.cli.output import Output

FLAGS = ("--read-only", "--yes", "--quiet")
VALUED = "--deployment"
PASSWORD_COMMANDS = ("add", "passwd", "init", "on", "test")


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
    argv = hoisted(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(argv)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the border: nobody is above
        return _answered(error)


def bare(argv: Sequence[str]) -> tuple[str | None, bool] | None:
    """What --deployment and --read-only say when the line asks for nothing but the console.

    Whoever opens the console need not wait for the parser of every command.

    Returns:
        None when there is a command, or anything that the parser has to judge.
    """
    wanted, read_only = None, False
    waiting = iter(argv)
    for argument in waiting:
        if argument == VALUED:
            wanted = next(waiting, None)
            if wanted is None:
                return None
        elif argument.startswith(f"{VALUED}="):
            wanted = argument.removeprefix(f"{VALUED}=")
        elif argument in FLAGS:
            read_only = read_only or argument == "--read-only"
        else:
            return None
    return wanted, read_only


def _run(argv: list[str]) -> int:
    asked = bare(argv)
    if asked is not None and sys.stdin.isatty() and sys.stdout.isatty():
        from console.tui.app import run as open_console  # noqa: PLC0415  # first use

        return open_console(*asked)
    return _command(argv)


def _command(argv: list[str]) -> int:
    import typer  # noqa: PLC0415  # ctrl-c has its sentence from the start

    from console.cli.app import app  # noqa: PLC0415  # as above
    from console.cli.output import Output  # noqa: PLC0415  # as above

    output = Output()
    code = 0
    # Not `app()`: it would answer broken pipes, ctrl-c and errors in its own way.
    command = typer.main.get_command(app)
    try:
        with command.make_context("mlflow-console", argv, obj=output) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        code = leaving.exit_code
    output.flush()
    return code


def _answered(error: BaseException) -> int:
    """Say on stderr what happened, and give it its exit code."""
    from typer.exceptions import TyperException  # noqa: PLC0415  # as above

    from console.cli.output import Output  # noqa: PLC0415  # as above
    from console.core.errors import CancelledError, ConsoleError  # noqa: PLC0415  # as above

    output = Output()
    code = 0
    match error:
        case BrokenPipeError():
            _let_go_of_stdout()  # whoever reads has read enough, as `head` does
        case KeyboardInterrupt():
            code = 130
            output.always("Stopped. Nothing is left half done; do it again any time.")
        case CancelledError():
            code = error.exit_code
            output.always(f"{error.message}. {error.hint}".rstrip())
        case ConsoleError():
            code = _failed(output, error.message, error.hint, error.exit_code)
        case TyperException():
            code = _failed(output, *_usage(error), error.exit_code)
        case OSError(errno=errno.ENOSPC):
            _let_go_of_stdout()
            code = _failed(output, "What this prints cannot be written: the disk is full", "", 1)
        case _:
            code = _unexpected(output, error)
    return code


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
        import traceback  # noqa: PLC0415  # hardly ever

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

"""What every command shares: the opened deployment, confirmation, ctrl-c."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeVar

import typer

from console.cli.output import Output, urgent
from console.cli.tables import Cell, Column
from console.core import deployment as core
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.operations import OPERATIONS, Operation, Risk
from console.core.progress import Progress

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])

EVERYWHERE = "--deployment, --read-only, --yes and --quiet are understood here too."

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")]


@dataclass
class Session:
    """One call of the command line.

    Attributes:
        wanted: What --deployment says.
        read_only: --read-only was given; the variable and the settings count as well.
        yes: Questions are answered with yes.
    """

    wanted: str | None
    read_only: bool
    yes: bool
    output: Output

    @functools.cached_property
    def deployment(self) -> Deployment:
        """The deployment that is meant, opened at the first use."""
        opened = Deployment.open(self.wanted, self.read_only)
        opened.warn = self.output.warn
        return opened

    def to_change(self, operation_id: str) -> Deployment:
        """The deployment, when this verb may change it.

        Raises:
            ReadOnlyError: It is open read-only; nobody was asked anything yet.
            ConsoleError: Its driver cannot do that, with the reason.
        """
        self.deployment.refuse_when_read_only(OPERATIONS[operation_id])
        lacking = self.deployment.driver.capabilities.missing.get(operation_id)
        if lacking is not None:
            raise ConsoleError(f"{OPERATIONS[operation_id].summary}: {lacking.reason}")
        return self.deployment

    def refuse_when_read_only(self, operation_id: str) -> None:
        """The same for the verbs that need no opened deployment.

        Raises:
            ReadOnlyError: The flag, the variable or the person's settings say read-only.
        """
        core.refuse_when_read_only(OPERATIONS[operation_id], core.read_only_reason(self.read_only))

    def confirm(self, operation: Operation, going: Sequence[str], question: str) -> None:
        """Let a person look at what will happen before it does, as the verb's risk asks for.

        Args:
            operation: The verb.
            going: What exactly is interrupted or destroyed, one line each.
            question: What is asked, without its "[y/N]".

        Raises:
            UsageError: Nobody can be asked and --yes was not given.
            CancelledError: The answer was not yes.
        """
        if operation.risk is Risk.INTERRUPT and not going:
            return
        show = self.output.note if self.yes else self.output.always
        for each in going:
            show(f"  {each}")
        if self.yes:
            return
        if not on_terminal():
            raise UsageError(
                f"{question} There is no terminal to ask on", "Give --yes to go ahead."
            )
        if self.output.ask(f"{question} [y/N]").lower() not in ("y", "yes"):
            raise CancelledError("Nothing was changed")

    def confirm_name(self, name: str, going: Sequence[str], given: str) -> None:
        """Let a person look at what will be lost, and type the name of what it belongs to.

        Args:
            name: Of the deployment.
            going: What exactly is destroyed, one line each.
            given: What was given for the name on the command line.

        Raises:
            UsageError: Nobody can be asked, or another name was given.
            CancelledError: It was not typed.
        """
        for each in going:
            self.output.always(f"  {each}")
        if not given and not on_terminal():
            raise UsageError(
                "This destroys data, and there is no terminal to ask on",
                f"Give --confirm {name} to go ahead.",
            )
        if not given:
            given = self.output.ask(f"All of this is lost for good. Type {name} to go ahead:")
            if given != name:
                raise CancelledError("Nothing was changed")
        if given != name:
            raise UsageError(f"This deployment is called {name}", "Nothing was changed.")

    def work(
        self, start: Callable[[threading.Event], Iterator[Progress]], resume: str,
        goes_on: bool = False,
    ) -> None:  # fmt: skip
        """Run something long and show how far it is; ctrl-c stops it cleanly.

        Args:
            start: Given the event that stops it.
            resume: What is complete after ctrl-c and how to go on, one sentence.
            goes_on: It is done by a process of its own, which a lost terminal leaves alone.

        Raises:
            CancelledError: It was stopped.
        """
        with cancelling(hang_up=not goes_on) as cancel, self.output.progress() as show:
            try:
                for report in start(cancel):
                    show(report)
            except (CancelledError, KeyboardInterrupt) as error:
                raise CancelledError("Stopped", getattr(error, "hint", "") or resume) from error
        if cancel.is_set():
            raise CancelledError("Stopped, but it was already complete")

    def listing(
        self, values: Iterable[T], columns: Sequence[Column], row: Callable[[T], Sequence[Cell]],
        *, empty: str, json: bool, jsonl: bool = False,
    ) -> None:  # fmt: skip
        """Write a list in the form that was asked for, as its elements come.

        Raises:
            UsageError: Two forms were asked for.
        """
        one_form(json, jsonl)
        if json:
            self.output.json_array(values)
        elif jsonl:
            self.output.json_lines(values)
        else:
            self.output.table(columns, values, row, empty)


def session(context: typer.Context) -> Session:
    """The session of a command's context."""
    found = context.obj
    assert isinstance(found, Session)  # noqa: S101  # the application's callback made it
    return found


def verb(app: typer.Typer, operation_id: str, **settings: bool) -> Callable[[F], F]:
    """Make a function the command of a verb: name and help come from the table.

    Args:
        app: The application, or the area's part of it.
        operation_id: The verb's id.
        settings: For click's parser.
    """
    spec = OPERATIONS[operation_id]

    def decorate(function: F) -> F:
        function.operation = spec  # type: ignore[attr-defined]  # read by the parity test
        app.command(
            spec.verb, help=f"{spec.summary}.", epilog=EVERYWHERE, context_settings=dict(settings)
        )(function)
        return function

    return decorate


def one_form(json: bool, jsonl: bool) -> None:
    """Refuse two forms of output at once."""
    if json and jsonl:
        raise UsageError("--json and --jsonl cannot be had together", "Leave one of them out.")


def on_terminal() -> bool:
    """Whether a person can be asked something."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextlib.contextmanager
def cancelling(hang_up: bool = True) -> Iterator[threading.Event]:
    """An event that ctrl-c sets, and a lost terminal too; a second ctrl-c interrupts at once.

    Args:
        hang_up: A lost terminal counts.
    """
    event = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        urgent("Stopping; ctrl-c again leaves at once.")

    # What is ignored stays ignored: somebody started this under nohup.
    lost = (signal.SIGHUP,) if hang_up else ()
    numbers = [
        number for number in (signal.SIGINT, signal.SIGTERM, *lost)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]  # fmt: skip
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def absolute(path: str) -> Path:
    """A directory as it was typed, from the root."""
    return Path(path).expanduser().absolute()

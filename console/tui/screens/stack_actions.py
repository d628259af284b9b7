"""What can be done to the services: the verbs, the question before each, and its progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from console.core.operations import OPERATIONS, Risk
from console.core.stack.driver import Service, State
from console.core.text import clean
from console.tui.messages import Live
from console.tui.widgets import state

if TYPE_CHECKING:
    from console.core.stack.driver import Program, Volume
    from console.core.stack.status import Status
    from console.tui.area import AreaScreen

RUNNING = (State.RUNNING, State.STARTING, State.RESTARTING)


@dataclass(frozen=True, slots=True)
class Words:
    """How a verb is spoken of: the question, what is going on, and what came of it."""

    does: str
    doing: str
    done: str


WORDS = {
    "stack.down": Words("Stop", "Stopping", "is stopped"),
    "stack.stop": Words("Stop", "Stopping", "is stopped"),
    "stack.start": Words("Start", "Starting", "runs"),
    "stack.restart": Words("Restart", "Restarting", "is up again"),
    "stack.recreate": Words("Make anew", "Making anew", "was made anew"),
    "stack.pull": Words("Fetch images", "Fetching the images of", "has its images"),
    "stack.build": Words("Build images", "Building the images of", "has its images"),
    "stack.destroy": Words("Remove all data", "Removing", "is gone, with all its data"),
}


class StackActions:
    """Asks, and does it in a dialog that shows the command and its progress.

    Args:
        screen: Over which the dialogs stand.
    """

    def __init__(self, screen: AreaScreen) -> None:
        self._screen = screen

    def do(self, operation_id: str, services: Sequence[str] = ()) -> None:
        """Do a verb to some services, or to all; what interrupts is asked about first."""
        words, who = WORDS[operation_id], self._who(services)
        if OPERATIONS[operation_id].risk is not Risk.INTERRUPT:
            self._perform(operation_id, services, True)
            return
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        modal = ConfirmModal(
            f"{words.does} {who}?", words.does, _stops(self._screen.console.status, services),
            learn=self._screen.deployment.stack.at_work,
        )  # fmt: skip
        self._screen.app.push_screen(modal, partial(self._perform, operation_id, services))

    def _who(self, services: Sequence[str]) -> str:
        return ", ".join(map(clean, services)) or self._screen.deployment.name

    def _perform(self, operation_id: str, services: Sequence[str], yes: bool | None) -> None:
        if not yes:
            return
        words, who = WORDS[operation_id], self._who(services)
        self._screen.console.act(
            f"{words.doing} {who}", operation_id, services, f"{who} {words.done}"
        )

    # What cannot be taken back

    def destroy(self) -> None:
        """List what will be lost, and ask for the deployment's name."""
        stack = self._screen.deployment.stack
        self._screen.ask(lambda: (stack.volumes(), stack.at_work()), self._ask_name, group="lost")

    def _ask_name(self, found: tuple[list[Volume], list[str]]) -> None:
        from console.tui.modals.name import NameModal  # noqa: PLC0415  # first use

        volumes, working = found
        modal = NameModal(
            "Remove everything, with all its data?", self._screen.deployment.name,
            [*(each.words for each in volumes), *working],
        )  # fmt: skip
        self._screen.app.push_screen(modal, partial(self._perform, "stack.destroy", ()))

    # A program on this terminal

    def shell(self, service: str, client: bool) -> None:
        """Give the terminal to a shell or a database client until it ends."""
        stack = self._screen.deployment.stack
        self._screen.ask(lambda: stack.shell(service, client), self._run, group="shell")

    def _run(self, program: Program) -> None:
        from console.core import process  # noqa: PLC0415  # first use

        with self._screen.app.suspend():
            print("The console waits; leave with exit.\n", flush=True)  # noqa: T201  # its terminal
            code = process.on_this_terminal(program.argv, program.env)
        if code:
            self._screen.notify(f"It ended with code {code}", markup=False)
        self._screen.console.look()


def _stops(live: Live[Status], services: Sequence[str]) -> list[str]:
    """What will stop, in words; a job that is done does not run."""
    if live.value is None or live.error is not None or not live.value.services:
        return ["Everything that runs of it will stop; what that is cannot be seen now."]
    names = [clean(each.name, 60) for each in _affected(live.value, services)]
    if not names:
        return ["Nothing of it runs now."]
    first, last = names[:-1], names[-1]
    who = f"{', '.join(first)} and {last}" if first else last
    return [f"{who} will stop. No data is removed."]


def _affected(status: Status, services: Sequence[str]) -> list[Service]:
    return [
        each
        for each in state.ordered(status.services)
        if each.state in RUNNING and (not services or each.name in services)
    ]

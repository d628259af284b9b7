"""The palette: every verb of the table, and every area."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from console.core.operations import OPERATIONS, Operation
from console.tui.areas import AREAS

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


def offered() -> list[Operation]:
    """The verbs that have a place in the opened console, in the order of the table."""
    return [each for each in OPERATIONS.values() if not each.cli_only and each.area != "deployment"]


def commands(app: ConsoleApp) -> Iterable[SystemCommand]:
    """What the palette offers now; what is refused here says why."""
    if app.session is not None:
        for operation in offered():
            refused = app.refused(operation)
            yield SystemCommand(
                f"{operation.area} {operation.verb}",
                refused or operation.summary,
                partial(app.run_verb, operation),
            )
        for area in AREAS:
            yield SystemCommand(
                f"go to {area.title}", f"Key {area.key}", partial(app.action_area, area.name)
            )
    yield SystemCommand("help", "The keys of this screen", app.action_help)
    yield SystemCommand("theme", "Other colours for this session", app.action_change_theme)
    yield SystemCommand("quit", "Leave; the server goes on running", app.action_quit)

"""A deployment that cannot be opened: why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer

from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.widgets.facts import Facts

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


class FailureScreen(Screen[None]):
    """One sentence and a hint, on a whole page.

    Args:
        error: Why the deployment could not be opened; its exit code becomes the console's.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "retry", "Try again", id="app.retry", tooltip="Open it once more"),
        Binding("q", "give_up", "Quit", id="app.give-up", tooltip="Leave with its exit code"),
    ]

    def __init__(self, error: ConsoleError) -> None:
        super().__init__()
        self.error = error

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="page", can_focus=False):
            yield Facts(("✗ ", "bad"), (clean(self.error.message, 500), "bold"), id="sentence")
            yield Facts(
                "\n".join(clean(line, 300) for line in self.error.hint.splitlines()), id="hint"
            )
        yield Footer(show_command_palette=False, compact=True)

    def action_retry(self) -> None:
        app = cast("ConsoleApp", self.app)
        app.open_deployment(app.wanted)

    def action_give_up(self) -> None:
        cast("ConsoleApp", self.app).leave(self.error.exit_code)

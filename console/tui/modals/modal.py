"""The base of every dialog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from console.tui.caller import Caller
from console.tui.widgets.facts import Facts

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

R = TypeVar("R")


class Modal(ModalScreen[R], Caller):
    """A dialog: a title, what it says, and `escape` to leave it.

    Args:
        title: One line on top.
    """

    # What is said on the way out when the console is left from here in the middle of something.
    LEAVING: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="modal.close", tooltip="Leave without doing it"),
        Binding("ctrl+q", "app.quit", "Quit", show=False, id="app.quit-always", priority=True,
                tooltip="Leave the console from anywhere"),
    ]  # fmt: skip

    def __init__(self, title: str) -> None:
        super().__init__()
        self.heading = title

    @property
    def console(self) -> ConsoleApp:
        """The app with its own attributes."""
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Facts((self.heading, "bold"), id="dialog-title")
            yield from self.compose_body()

    def compose_body(self) -> Iterable[Widget]:
        """What stands below the title."""
        return ()

    def action_close(self) -> None:
        """Leave with nothing."""
        self.dismiss(None)

    def send(self, what: str) -> None:
        """Send a text to the clipboard of the terminal, which may or may not take it."""
        self.app.copy_to_clipboard(what)
        self.notify("Sent to your terminal's clipboard", timeout=3, markup=False)

"""What every screen of an area shares: header, footer, the worker rule and read-only."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from console.core.operations import OPERATIONS
from console.tui.caller import Caller
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.header import Header

if TYPE_CHECKING:
    from console.core.deployment import Deployment
    from console.tui.app import ConsoleApp

WIDE = 120
# Stands before what else escape does; a screen with an escape of its own lists it again.
UNFILTER = Binding(
    "escape", "unfilter", "Show all", id="app.unfilter", tooltip="Take the filter away"
)


class AreaScreen(Screen[None], Caller):
    """A screen of an area.

    Attributes:
        AREA: The name of its mode.
        VERBS: Which action implements which verb of the table, by the action's name.
    """

    AREA: ClassVar[str] = ""
    AUTO_FOCUS = "Table"
    VERBS: ClassVar[dict[str, str]] = {}
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  # Textual declares it for instances
        (0, "-narrow"), (WIDE, "-wide"),
    ]  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        UNFILTER,
        Binding("escape", "back", "Back", show=False, id="app.back", tooltip="One step back"),
    ]

    @property
    def console(self) -> ConsoleApp:
        """The app with its own attributes."""
        return cast("ConsoleApp", self.app)

    @property
    def deployment(self) -> Deployment:
        """The opened deployment."""
        return self.console.deployment

    def compose(self) -> ComposeResult:
        deployment = self.deployment
        yield Header(
            deployment.name, deployment.settings.driver, self.console.who,
            bool(deployment.read_only), self.AREA,
        )  # fmt: skip
        yield from self.compose_area()
        yield Footer(show_command_palette=False, compact=True)

    def compose_area(self) -> Iterable[Widget]:
        """What stands between header and footer."""
        return ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what read-only forbids or the driver lacks."""
        if action == "unfilter":
            return any(line.value for line in self.query(FilterLine))
        return None if self.refused(action) else True

    def refused(self, action: str) -> str:
        """Why an action is not done here; "" when it is."""
        operation = OPERATIONS.get(self.VERBS.get(action, ""))
        return "" if operation is None else self.console.refused(operation)

    async def run_verb(self, operation_id: str) -> None:
        """Do a verb by its id, as the palette asks for it."""
        refused = self.console.refused(OPERATIONS[operation_id])
        if refused:
            self.notify(refused, severity="warning", markup=False)
            return
        for action, implemented in self.VERBS.items():
            if implemented == operation_id:
                await self.run_action(action)
                return

    def action_unfilter(self) -> None:
        """Show everything again."""
        for line in self.query(FilterLine):
            line.action_clear()

    def action_back(self) -> None:
        """One screen back; the first screen of an area stays."""
        if len(self.app.screen_stack) > 1:
            self.dismiss()

    def send(self, what: str) -> None:
        """Send a text to the clipboard of the terminal, which may or may not take it."""
        self.app.copy_to_clipboard(what)
        self.notify("Sent to your terminal's clipboard", timeout=3, markup=False)


class FilteredScreen(AreaScreen):
    """A screen of an area whose first table is filtered by a line of text.

    Attributes:
        wanted: The text, without regard to case; "" for every row.
    """

    wanted = ""

    @abstractmethod
    def show_wanted(self) -> None:
        """Show the rows that hold the text."""

    def action_filter(self) -> None:
        """Type what the rows shall hold."""
        self.query_one(FilterLine).open()

    @on(FilterLine.Wanted)
    def _wanted(self, message: FilterLine.Wanted) -> None:
        self.wanted = message.text.casefold()
        self.show_wanted()

    @on(FilterLine.Left)
    def _left(self) -> None:
        self.query("Table").first().focus()

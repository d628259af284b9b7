"""The logs of the stack on a screen of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core.errors import ConsoleError
from console.core.stack.driver import LogLine
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.log_source import LogSource
from console.tui.widgets.facts import Facts
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.log_view import LogView

TAIL = 2000
COPIED = 200


class LogsScreen(AreaScreen):
    """Every service's log, newest at the bottom; follows while it stands there."""

    AREA = "stack"
    CSS_PATH = "stack.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "stack.logs"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="app.back", tooltip="Back to the services"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only lines that hold a text"),
        Binding("y", "copy", "Copy", id="app.copy",
                tooltip="Send the last lines shown to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Read the logs again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.source = LogSource(self, self._lines, self._failed)

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Logs", "bold"), "  all services", id="about")
        yield FilterLine()
        yield LogView(id="logs")

    def on_mount(self) -> None:
        self.query_one(LogView).focus()
        self.action_refresh()

    def on_unmount(self) -> None:
        self.source.close()

    def _lines(self, lines: Sequence[LogLine]) -> None:
        self.query_one(LogView).add(lines)

    def _failed(self, error: ConsoleError) -> None:
        self.query_one(LogView).say(clean(error.message))

    def action_refresh(self) -> None:
        self.query_one(LogView).clear("No log lines yet.")
        self.source.follow(self.deployment.stack, (), TAIL)

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    @on(FilterLine.Wanted)
    def _wanted(self, message: FilterLine.Wanted) -> None:
        self.query_one(LogView).filter(message.text)

    @on(FilterLine.Left)
    def _left(self) -> None:
        self.query_one(LogView).focus()

    def action_copy(self) -> None:
        lines = self.query_one(LogView).lines[-COPIED:]
        if lines:
            self.send("\n".join(lines))

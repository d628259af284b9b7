"""The logs of the stack on a screen of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.stack.service import Status
from console.tui.area import AreaScreen
from console.tui.log_source import LogSource
from console.tui.messages import Live
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
                tooltip="Only lines that hold a text, for instance the name of a service"),
        Binding("y", "copy", "Copy", id="app.copy",
                tooltip="Send the last lines shown to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Read the logs again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.source = LogSource(self, lambda: self.query_one(LogView))
        self._begun: set[str] | None = None

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Logs", "bold"), id="about")
        yield FilterLine()
        yield LogView(id="logs")

    def on_mount(self) -> None:
        self.query_one(LogView).focus()
        self.action_refresh()
        self.console.status_changed.subscribe(self, self._show_status)
        self._show_status(self.console.status)

    def on_unmount(self) -> None:
        self.source.close()

    def _show_status(self, live: Live[Status]) -> None:
        """Say whose lines these are; a service that was not there before has a log of its own."""
        if live.value is None or live.error is not None:
            return
        services = live.value.services
        self.query_one(LogView).know({each.name: each.role for each in services})
        about = fmt.plural(len(services), "service")
        self.query_one("#about", Facts).show(("Logs", "bold"), f"  of {about}")
        begun = {each.name for each in services if each.started_at}
        known, self._begun = self._begun, begun
        if self.source.failed or (known is not None and begun - known):
            self.action_refresh()

    def action_refresh(self) -> None:
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

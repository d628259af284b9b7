"""The two lines on top: where this is, and the areas."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widget import Widget

from console.core.text import clean
from console.tui.areas import AREAS
from console.tui.widgets.facts import Part, text
from console.tui.widgets.table import fit

# Between the two ends of the first line; where there is less, whose terminal it is is left out.
MARGIN = 2


class Header(Widget):
    """Deployment, driver, read-only and who is looking; below, the areas."""

    def __init__(self, name: str, driver: str, who: str, read_only: bool, area: str) -> None:
        super().__init__()
        self._left = clean(name, 40)
        self._driver = driver
        self._who = clean(who, 40)
        self._read_only = read_only
        self._area = area

    def render(self) -> Content:
        width = self.size.width
        mode: list[Part] = ["  ", (self._driver, "dim")]
        if self._read_only:
            mode += ["  ", ("read-only", "warn")]
        room = width - text(*mode).cell_length
        name = fit(self._left, room)
        gap = room - cell_len(name) - cell_len(self._who)
        who = (" " * gap + self._who, "dim") if gap >= MARGIN else ("", "dim")
        return text((name, "bold"), *mode, who, "\n", *self._tabs())

    def _tabs(self) -> list[Part]:
        parts: list[Part] = []
        for area in AREAS:
            here = area.name == self._area
            parts += [
                (area.key, "accent" if here else "dim"), " ",
                (area.title, "tab" if here else ""), "   ",
            ]  # fmt: skip
        return parts

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y != 1:
            return
        start = 0
        for area in AREAS:
            end = start + len(area.key) + len(area.title) + 1
            if start <= offset.x < end:
                self.app.call_later(self.app.run_action, f"area('{area.name}')")
            start = end + 3

"""Log lines: virtual, bounded, filtered; the newest at the bottom."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.core import format as fmt
from console.core.stack.driver import LogLine
from console.core.text import clean

KEEP = 5000
LONGEST = 2000


class Line(NamedTuple):
    """A line as it is drawn."""

    service: str
    time: str
    text: str


class LogView(ScrollView, can_focus=True):
    """The last lines of a log; follows it while it stands at the bottom."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--name", "log--time"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", show=False, id="move.down",
                tooltip="One line down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="move.up", tooltip="One line up"),
        Binding("g,home", "scroll_home", "Top", show=False, id="move.top",
                tooltip="The oldest line"),
        Binding("G,end", "scroll_end", "Bottom", show=False, id="move.bottom",
                tooltip="The newest line, and follow"),
    ]  # fmt: skip

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._all: deque[Line] = deque(maxlen=KEEP)
        self._shown: list[Line] = []
        self._wanted = ""
        self.empty = ""

    @property
    def lines(self) -> list[str]:
        """What is shown, as text."""
        return [" ".join(part for part in line if part) for line in self._shown]

    def clear(self, empty: str = "") -> None:
        """Forget every line."""
        self._all.clear()
        self.empty = empty
        self._select()

    def say(self, empty: str) -> None:
        """What to say while there is no line."""
        self.empty = empty
        self.refresh()

    def add(self, lines: Iterable[LogLine]) -> None:
        """Add lines; stay at the bottom when that is where the view is."""
        new = [_line(each) for each in lines]
        if not new:
            return
        follow = self.scroll_offset.y >= self.max_scroll_y
        full = len(self._all) + len(new) > KEEP
        self._all.extend(new)
        if full:
            self._select(follow)
            return
        matching = [line for line in new if self._matches(line)]
        self._shown += matching
        self._resized(follow)

    def filter(self, wanted: str) -> None:
        """Show only lines that hold this text, whatever the case."""
        self._wanted = wanted.casefold()
        self._select()

    def _matches(self, line: Line) -> bool:
        return not self._wanted or self._wanted in " ".join(line).casefold()

    def _select(self, follow: bool = True) -> None:
        self._shown = [line for line in self._all if self._matches(line)]
        self._resized(follow)

    def _resized(self, follow: bool) -> None:
        width = max((cell_len(line.text) + 28 for line in self._shown[-500:]), default=0)
        self.virtual_size = Size(width, len(self._shown))
        if follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width, base = self.size.width, self.rich_style
        if top + y >= len(self._shown):
            say = f"  {self.empty}" if not self._shown and y == 0 else ""
            return Strip([Segment(say, base)]).crop_extend(0, width, base)
        line = self._shown[top + y]
        time = self.get_component_rich_style("log--time", partial=True)
        name = self.get_component_rich_style("log--name", partial=True)
        segments = [Segment("  ", base)]
        if line.time:
            segments.append(Segment(line.time + " ", base + time))
        if line.service:
            segments.append(Segment(f"{line.service:<10} ", base + name))
        segments.append(Segment(line.text, base))
        return Strip(segments).crop_extend(x, x + width, base)


def _line(line: LogLine) -> Line:
    return Line(clean(line.service, 20), _time(line.at), clean(line.text, LONGEST))


def _time(at: datetime | None) -> str:
    return "" if at is None else fmt.clock(at)

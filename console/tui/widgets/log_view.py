"""Log lines: virtual, bounded, filtered; the newest at the bottom."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.core import format as fmt
from console.core.stack.driver import LogLine, Role
from console.core.text import clean
from console.tui.widgets.table import ink, pad

KEEP = 5000
LONGEST = 2000
NAME = 16
TIME = 9


class Line(NamedTuple):
    """A line as it is drawn."""

    service: str
    time: str
    text: str


class LogView(ScrollView, can_focus=True):
    """The last lines of a log; follows it while it stands at the bottom.

    Args:
        named: Each line begins with the name of its service, in the colour of the service's role.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--time", *(f"log--{role}" for role in Role)}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", show=False, id="move.down",
                tooltip="One line down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="move.up", tooltip="One line up"),
        Binding("g,home", "scroll_home", "Top", show=False, id="move.top",
                tooltip="The oldest line"),
        Binding("G,end", "scroll_end", "Bottom", show=False, id="move.bottom",
                tooltip="The newest line, and follow"),
    ]  # fmt: skip

    def __init__(self, *, named: bool = True, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.named = named
        self._roles: Mapping[str, Role] = {}
        self._width = 0
        self._all: deque[Line] = deque(maxlen=KEEP)
        self._shown: list[Line] = []
        self._wanted = ""
        self.empty = ""

    @property
    def lines(self) -> list[str]:
        """What is shown, as text."""
        return [" ".join(part for part in line if part) for line in self._shown]

    def know(self, roles: Mapping[str, Role]) -> None:
        """Learn what the services are for."""
        known = {clean(name, NAME): role for name, role in roles.items()}
        if known != self._roles:
            self._roles = known
            self._widen(known)
            self.refresh()

    def _widen(self, names: Iterable[str]) -> None:
        self._width = min(NAME, max((self._width, *map(cell_len, names))))

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
        self._widen({line.service for line in new})
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
        before = 3 + TIME + self._width
        width = max((cell_len(line.text) + before for line in self._shown[-500:]), default=0)
        self.virtual_size = Size(width, len(self._shown))
        if follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
        self.refresh()

    def watch_show_vertical_scrollbar(self, shown: bool) -> None:
        """Textual tells a bar where the view stands only when that changes while it is there."""
        if shown:
            self.vertical_scrollbar.position = self.scroll_y

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width, base = self.size.width, self.rich_style
        if top + y >= len(self._shown):
            say = f"  {self.empty}" if not self._shown and y == 0 else ""
            return Strip([Segment(say, base)]).crop_extend(0, width, base)
        line = self._shown[top + y]
        time = ink(self, "log--time")
        segments = [Segment("  ", base)]
        if line.time:
            segments.append(Segment(line.time + " ", base + time))
        if self.named:
            role = self._roles.get(line.service, Role.OTHER)
            name = ink(self, f"log--{role}")
            segments.append(Segment(pad(line.service, self._width) + " ", base + name))
        segments.append(Segment(line.text, base))
        return Strip(segments).crop_extend(x, x + width, base)


def _line(line: LogLine) -> Line:
    return Line(clean(line.service, NAME), _time(line.at), clean(line.text, LONGEST))


def _time(at: datetime | None) -> str:
    return "" if at is None else fmt.clock(at)

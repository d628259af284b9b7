"""Log lines: virtual, bounded, filtered, wrapped; the newest at the bottom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.core import format as fmt
from console.core.regular import Regular
from console.core.stack.driver import Role
from console.core.stack.log_filter import Selection, Shown, Wanted
from console.core.stack.log_levels import CODES, Level
from console.core.stack.log_store import Stored
from console.core.text import clean
from console.tui.widgets import log_rows
from console.tui.widgets.table import POINTER, ink, pad

KEEP = 5_000
NAME = 16
DRAWN = 400
TONES = {code: tone for tone, level in (("warning", Level.WARNING), ("error", Level.ERROR))
         for code in CODES[level]}  # fmt: skip


class LogView(ScrollView, can_focus=True):
    """Lines of logs; follows them while it stands at the bottom.

    What is scrolled is counted in lines, however many rows one takes.

    Args:
        named: Each line begins with the name of its service, in the colour of the service's role.
        keep: About how many lines are kept.

    Attributes:
        following: New lines push the older ones up; else they come below what is seen.
        wrap: Long lines go on in the next row.
        times: Each line begins with the time.
        mark: The number of the line that was found last; -1 for none.
        found: What is searched, shown wherever it is.
    """

    DEFAULT_CSS = """
    LogView > .log--warning { color: $warning; }
    LogView > .log--error { color: $error; }
    LogView > .log--found { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--time", "log--warning", "log--error", "log--found",
        *(f"log--{role}" for role in Role),
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", show=False, id="move.down",
                tooltip="One line down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="move.up", tooltip="One line up"),
        Binding("pagedown,ctrl+d", "page_down", "Page down", show=False, id="move.page-down",
                tooltip="One screen down"),
        Binding("pageup,ctrl+u", "page_up", "Page up", show=False, id="move.page-up",
                tooltip="One screen up"),
        Binding("g,home", "scroll_home", "Top", show=False, id="move.top",
                tooltip="The oldest line"),
        Binding("G,end", "scroll_end", "Bottom", show=False, id="move.bottom",
                tooltip="The newest line, and follow"),
    ]  # fmt: skip

    class Held(Message):
        """It follows, or does not any more."""

    def __init__(
        self, *, named: bool = True, keep: int = KEEP, wanted: Wanted | None = None,
        id: str | None = None,  # noqa: A002  # Textual's name
    ) -> None:  # fmt: skip
        super().__init__(id=id)
        self.named = named
        self.keep = keep
        self.wrap = False
        self.times = True
        self.following = True
        self.mark = -1
        self.found: Regular | None = None
        self.empty = ""
        self._wanted = wanted or Wanted()
        self.shown = Shown(self._wanted, most_lines=keep)
        self._selection = self.shown.selection
        self._roles: Mapping[str, Role] = {}
        self._width = 0
        self._known = 0
        self._drawn_of: tuple[object, ...] = ()
        self._longest = 0
        self._gone = 0
        self._row = 0  # of the line on top, which row is the first that is seen
        self._moving = False
        self._drawn: dict[int, list[Strip]] = {}
        self._room = 0  # what the lines in `_drawn` were wrapped to; 0 when they were not
        self._page: tuple[object, list[Strip]] = (None, [])

    # What is in it

    @property
    def lines(self) -> list[str]:
        """What is shown, as text."""
        return self.texts(0, len(self._selection))

    def texts(self, start: int, stop: int) -> list[str]:
        """Some of the lines that are shown, as text."""
        found = (self.shown.store.line(self._selection.number(index))
                 for index in range(max(0, start), stop))  # fmt: skip
        parts = ((self._service(line), self._time(line), line.text)
                 for line in found if line is not None)  # fmt: skip
        return [" ".join(part for part in each if part) for each in parts]

    @property
    def selection(self) -> Selection:
        """The lines that are shown."""
        return self._selection

    def know(self, roles: Mapping[str, Role]) -> None:
        """Learn what the services are for."""
        known = {clean(name, NAME): role for name, role in roles.items()}
        if known != self._roles:
            self._roles = known
            self._width = min(NAME, max((self._width, *map(cell_len, known))))
            self.redraw()

    def clear(self, empty: str = "") -> Shown:
        """Forget every line; returns where the next ones belong."""
        self.shown = Shown(self._wanted, most_lines=self.keep)
        self._known = self._gone = self._longest = 0
        self.mark, self.following, self.empty = -1, True, empty
        self._select(self.shown.selection)
        return self.shown

    def say(self, empty: str) -> None:
        """What to say while there is no line."""
        self.empty = empty
        self.refresh()

    def show(self, wanted: Wanted, selection: Selection) -> None:
        """Show these lines from now on; what was on top stays there if it can."""
        if selection.store is self.shown.store:
            self._wanted = wanted
            self._select(selection)

    def _select(self, selection: Selection) -> None:
        top = self._selection.number(self.top)
        same = selection.store is self._selection.store
        self._selection = selection
        self._gone = selection.gone
        self._resize()
        if self.following:
            self._to_bottom()
        elif same:
            self._to(selection.index(top), 0)
        self.redraw()

    def changed(self) -> None:
        """More lines came, or the oldest ones went."""
        names = self.shown.store.names
        now = (self._selection, len(self._selection), self._selection.gone, len(names))
        if now == self._drawn_of:
            return  # of what came, nothing is wanted
        self._drawn_of = now
        if len(names) > self._known:
            self._known = len(names)
            self._width = min(NAME, max(self._width, *(cell_len(clean(n, NAME)) for n in names)))
            self._drawn.clear()
        gone = self._selection.gone
        lost, self._gone = gone - self._gone, gone
        self._resize()
        if self.following:
            self._to_bottom()
        elif lost:
            self._to(self.top - lost, self._row if self.top >= lost else 0)
        self._page = (None, [])
        self.refresh()

    def redraw(self) -> None:
        """Draw every line anew."""
        self._drawn.clear()
        self._page = (None, [])
        self.refresh()

    # Where it stands

    @property
    def top(self) -> int:
        """The index of the line on top."""
        return self.scroll_offset.y

    @property
    def last(self) -> int:
        """The index of the last line that is seen."""
        rows, index = -self._row, self.top
        while index < len(self._selection) - 1:
            rows += self._height(index)
            if rows >= self.size.height:
                break
            index += 1
        return index if self.wrap else min(len(self._selection), self.top + self.size.height) - 1

    def _bottom(self) -> tuple[int, int]:
        """The line on top, and its row, when the last row of the last line is at the bottom."""
        count, room = len(self._selection), max(1, self.size.height)
        if not self.wrap:
            return max(0, count - room), 0
        index = count
        while index > 0 and room > 0:
            index -= 1
            room -= self._height(index)
        return index, max(0, -room)

    def _resize(self) -> None:
        bottom, _ = self._bottom()
        width = 0 if self.wrap else self._longest
        height = bottom + max(1, self.size.height) if bottom else len(self._selection)
        with self._itself():
            self.virtual_size = Size(width, height)

    def _to_bottom(self) -> None:
        self._to(*self._bottom())

    def _to(self, index: int, row: int) -> None:
        bottom = self._bottom()
        index, row = min((max(0, index), max(0, row)), bottom)
        self._row = row
        with self._itself():
            self.scroll_to(y=index, animate=False, immediate=True, force=True)
        self._page = (None, [])
        self.refresh()

    @contextmanager
    def _itself(self) -> Iterator[None]:
        """Moves that are not a person's."""
        before, self._moving = self._moving, True
        try:
            yield
        finally:
            self._moving = before

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled by the wheel or the bar: whole lines, and following only at the bottom."""
        super().watch_scroll_y(old_value, new_value)
        if not self._moving and round(old_value) != round(new_value):
            self._row = self._bottom()[1] if round(new_value) >= self.max_scroll_y else 0
            self._hold(round(new_value) < self.max_scroll_y)

    def watch_show_vertical_scrollbar(self, shown: bool) -> None:
        """Textual tells a bar where the view stands only when that changes while it is there."""
        if shown:
            self.vertical_scrollbar.position = self.scroll_y

    def _hold(self, held: bool) -> None:
        if self.following == held:
            self.following = not held
            self.post_message(self.Held())

    def hold(self) -> None:
        """Follow no more, or follow again."""
        self._hold(self.following)
        if self.following:
            self._to_bottom()

    def _walk(self, rows: int) -> None:
        """Go some rows up or down."""
        index, row = self.top, self._row + rows
        while row < 0 and index > 0:
            index -= 1
            row += self._height(index)
        while index < len(self._selection) - 1 and row >= self._height(index):
            row -= self._height(index)
            index += 1
        self._to(index, row)
        self._hold((self.top, self._row) < self._bottom())

    def action_scroll_down(self) -> None:
        self._walk(1)

    def action_scroll_up(self) -> None:
        self._walk(-1)

    def action_page_down(self) -> None:
        self._walk(max(1, self.size.height - 1))

    def action_page_up(self) -> None:
        self._walk(-max(1, self.size.height - 1))

    def action_scroll_home(self) -> None:
        self._to(0, 0)
        self._hold(self._bottom() > (0, 0))

    def action_scroll_end(self) -> None:
        self._hold(False)
        self._to_bottom()

    def goto(self, number: int) -> None:
        """Mark a line and show it, with some of what came before it."""
        self.mark = number
        self._hold(True)
        self.redraw()
        index = self._selection.index(number)
        if not self.top <= index <= self.last:
            self._to(index, 0)
            self._walk(-(self.size.height // 3))
            self._hold(True)

    def toggle_wrap(self) -> None:
        """Let long lines go on in the next row, or run out of the view."""
        self.wrap = not self.wrap
        index = self.top
        with self._itself():
            self.scroll_to(x=0, animate=False, immediate=True, force=True)
        self._resize()
        if self.following:
            self._to_bottom()
        else:
            self._to(index, 0)
        self.redraw()

    def on_resize(self) -> None:
        self._resize()
        if self.following:
            self._to_bottom()
        self.redraw()

    # Drawing

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if not len(self._selection):
            say = f"  {self.empty}" if y == 0 else ""
            return Strip([Segment(say, base)]).crop_extend(0, width, base)
        rows = self._rows()
        if y >= len(rows):
            return Strip.blank(width, base)
        x = self.scroll_offset.x
        return rows[y].crop_extend(x, x + width, base)

    def _rows(self) -> list[Strip]:
        """What is seen, from the top."""
        key = (self.top, self._row, self.size, self._gone, len(self._selection))
        if self._page[0] != key:
            rows: list[Strip] = []
            index, count = self.top, len(self._selection)
            while index < count and len(rows) < self._row + self.size.height:
                rows += self._draw(index)
                index += 1
            self._page = (key, rows[self._row :])
            self._widen(rows)
        return self._page[1]

    def _widen(self, rows: list[Strip]) -> None:
        longest = max((row.cell_length for row in rows), default=0)
        if longest > self._longest and not self.wrap:
            self._longest = longest
            self.call_later(self._resize)

    def _height(self, index: int) -> int:
        return len(self._draw(index)) if self.wrap else 1

    def _draw(self, index: int) -> list[Strip]:
        # A scroll bar lies over the last column, and may have come or gone.
        room = self.scrollable_content_region.width if self.wrap else 0
        if room != self._room:
            self._room = room
            self._drawn.clear()
        number = self._selection.number(index)
        drawn = self._drawn.get(number)
        if drawn is None:
            line = self.shown.store.line(number)
            drawn = [Strip([])] if line is None else self._strips(number, line)
            if len(self._drawn) > DRAWN:
                self._drawn.clear()
            self._drawn[number] = drawn
        return drawn

    def _strips(self, number: int, line: Stored) -> list[Strip]:
        base = self.rich_style
        sign = f"{POINTER} " if number == self.mark else " " * log_rows.GUTTER
        before = [Segment(sign, base)]
        time = self._time(line)
        if time:
            before.append(Segment(time + " ", base + ink(self, "log--time")))
        if self.named:
            name = self._service(line)
            role = self._roles.get(name, Role.OTHER)
            before.append(Segment(pad(name, self._width) + " ", base + ink(self, f"log--{role}")))
        tone = TONES.get(line.code)
        style = base + ink(self, f"log--{tone}") if tone else base
        found = style + self.get_component_rich_style("log--found", partial=True)
        text = line.text
        spans = self.found.spans(text) if self.found is not None else []
        styles = style, found
        return [Strip(row) for row in log_rows.rows(before, text, self._room, spans, styles)]

    def _time(self, line: Stored) -> str:
        at = line.at if self.times else None
        return "" if at is None else fmt.clock(at)

    @staticmethod
    def _service(line: Stored) -> str:
        return clean(line.service, NAME)

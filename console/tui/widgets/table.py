"""A table that draws only what is on the screen, however many rows it holds.

Textual's DataTable copies and measures each row when it is added: ten thousand rows stall the
event loop for most of a second. This one keeps a list and renders the visible lines; where the
cells of many rows take long to make, a row that makes them when it is asked does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

GAP = 2
GUTTER = 2
NEAR = 40
POINTER = "\u203a"  # a small angle, not the sign "greater than"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        width: Cells it always gets.
        most: Cells it may grow to where there is room.
        right: Aligned to the right, for numbers.
        wide: The width of the table from which on it is shown.
    """

    title: str
    width: int
    most: int = 0
    right: bool = False
    wide: int = 0


class Cell(NamedTuple):
    """One value; the tone carries state and never stands alone."""

    text: str
    tone: str = ""


class AnyRow(Protocol):
    """One row; the key stays the same when the values change. Rows that say the same are equal."""

    @property
    def key(self) -> str: ...

    @property
    def cells(self) -> tuple[Cell, ...]: ...


class Row(NamedTuple):
    """A row whose cells are made already."""

    key: str
    cells: tuple[Cell, ...]


class Table(ScrollView, can_focus=True):
    """Rows with a cursor and marks.

    Args:
        columns: What is shown, from left to right.
        markable: `space` marks rows.
        opens: `enter` opens a row.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header", "table--cursor", "table--blurred", "table--mark",
        "table--ok", "table--warn", "table--bad", "table--dim", "table--accent",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False, id="move.down", tooltip="The next row"),
        Binding("up,k", "move(-1)", "Up", show=False, id="move.up", tooltip="The row above"),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, id="move.page-down",
                tooltip="One screen down"),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, id="move.page-up",
                tooltip="One screen up"),
        Binding("g,home", "edge(-1)", "Top", show=False, id="move.top", tooltip="The first row"),
        Binding("G,end", "edge(1)", "Bottom", show=False, id="move.bottom",
                tooltip="The last row"),
        Binding("enter", "open", "Open", id="move.open", tooltip="Open this row"),
    ]  # fmt: skip

    cursor: var[int] = var(0, init=False)

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, table: Table, key: str | None) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> Table:
            return self.table

    class Opened(Message):
        """A row was opened."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> Table:
            return self.table

    class NearEnd(Message):
        """The cursor comes near the last row: more may be fetched."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            return self.table

    def __init__(
        self, columns: Sequence[Column], *, id: str | None = None,  # noqa: A002  # Textual's name
        markable: bool = False, header: bool = True, opens: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.markable = markable
        self.opens = opens
        self.head = 1 if header else 0
        self.rows: list[AnyRow] = []
        self.marks: set[str] = set()
        self.empty = ""
        self._at: dict[str, int] = {}
        self._told: str | None = None

    # What is in it

    @property
    def key(self) -> str | None:
        """The key of the row under the cursor."""
        return self.rows[self.cursor].key if self.cursor < len(self.rows) else None

    def show(self, rows: Sequence[AnyRow], empty: str = "") -> None:
        """Replace the rows; the cursor stays on its key, and only changed lines are redrawn.

        Args:
            rows: All rows.
            empty: What to say, and what to do next, when there is none.
        """
        old, key = self.rows, self.key
        self.rows = list(rows)
        self._at = {row.key: index for index, row in enumerate(self.rows)}
        self.marks &= self._at.keys()
        changed_empty, self.empty = self.empty != empty, empty
        size = Size(0, len(self.rows) + self.head)
        if size != self.virtual_size or (not self.rows and changed_empty):
            self.virtual_size = size
            self.refresh()
        else:
            top = self.scroll_offset.y
            for index in range(top, min(top + self.size.height, len(self.rows))):
                if old[index] != self.rows[index]:
                    self.refresh_line(index + self.head)
        target = self._at.get(key, self.cursor) if key is not None else 0
        self.set_reactive(Table.cursor, max(0, min(target, len(self.rows) - 1)))
        if self.cursor != target or key != self.key:
            self.refresh()
        self._tell()

    def point(self, key: str) -> None:
        """Put the cursor on the row with this key, if it is there."""
        if key in self._at:
            self.cursor = self._at[key]

    def marked(self) -> list[str]:
        """The keys that are marked, in the order of the rows; the one under the cursor if none."""
        if self.marks:
            return [row.key for row in self.rows if row.key in self.marks]
        return [] if self.key is None else [self.key]

    def toggle_mark(self) -> None:
        """Mark the row under the cursor or take its mark away, and go one down."""
        if self.markable and self.key is not None:
            self.marks ^= {self.key}
            self.refresh_line(self.cursor + self.head)
            self.action_move(1)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns; rows must follow."""
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self.refresh()

    # Moving

    def watch_cursor(self, before: int, after: int) -> None:
        """Redraw the two rows it concerns."""
        self.refresh_line(before + self.head)
        self.refresh_line(after + self.head)
        self._reveal()
        self._tell()

    def _tell(self) -> None:
        if self.key != self._told:
            self._told = self.key
            self.post_message(self.Moved(self, self.key))
        if self.rows and self.cursor >= len(self.rows) - NEAR:
            self.post_message(self.NearEnd(self))

    def _reveal(self) -> None:
        height = max(1, self.size.height - self.head)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        self.cursor = max(0, min(len(self.rows) - 1, self.cursor + by))

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.size.height - self.head - 1))

    def action_edge(self, direction: int) -> None:
        self.action_move(direction * len(self.rows))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `enter` out of the footer where it does nothing."""
        return action != "open" or self.opens

    def action_open(self) -> None:
        if self.opens and self.key is not None:
            self.post_message(self.Opened(self, self.key))

    def on_click(self, event: events.Click) -> None:
        index = event.y - self.head + self.scroll_offset.y
        if event.y < self.head or not 0 <= index < len(self.rows):
            return
        if event.chain > 1:
            self.action_open()
        self.cursor = index

    def on_resize(self) -> None:
        self._reveal()
        self.refresh()

    def on_hide(self, event: events.Hide) -> None:
        # Laying out a screen for the first time can hide and show a table in turn; the default
        # would then give the focus to its neighbour. No table here is ever hidden for good.
        event.prevent_default()

    def on_focus(self) -> None:
        self.refresh_line(self.cursor + self.head)

    def on_blur(self) -> None:
        self.refresh_line(self.cursor + self.head)

    # Drawing

    def _visible(self) -> list[tuple[int, int]]:
        """Index and width of each column that is shown at this width; the last ones give way."""
        width = self.size.width
        shown = [index for index, each in enumerate(self.columns) if each.wide <= width]
        widths = {index: self.columns[index].width for index in shown}
        room = width - GUTTER - sum(widths.values()) - GAP * (len(shown) - 1) - 1
        while room < 0 and len(shown) > 1:
            room += widths.pop(shown.pop()) + GAP
        for index in shown:
            more = max(0, min(room, self.columns[index].most - widths[index]))
            widths[index] += more
            room -= more
        return list(widths.items())

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y < self.head:
            style = base + self._tone("header")
            titles = tuple(Cell(each.title) for each in self.columns)
            return self._strip("  ", titles, style, styled=False)
        index = y - self.head + self.scroll_offset.y
        if index >= len(self.rows):
            text = f"  {self.empty}" if not self.rows and y == self.head else ""
            style = base + self._tone("dim")
            return Strip([Segment(set_cell_size(fit(text, width), width), style)], width)
        row = self.rows[index]
        mark = "*" if row.key in self.marks else " "
        if index == self.cursor:
            style = base + self._tone("cursor" if self.has_focus else "blurred")
            return self._strip(f"{POINTER}{mark}", row.cells, style, styled=not self.has_focus)
        style = base + self._tone("mark") if mark == "*" else base
        return self._strip(f" {mark}", row.cells, style, styled=True)

    def _tone(self, name: str) -> Style:
        if name in ("cursor", "blurred", "mark"):
            return self.get_component_rich_style(f"table--{name}", partial=True)
        return ink(self, f"table--{name}")

    def _strip(self, gutter: str, cells: tuple[Cell, ...], style: Style, styled: bool) -> Strip:
        segments = [Segment(gutter, style)]
        for position, (index, width) in enumerate(self._visible()):
            if index >= len(cells):
                break
            cell = cells[index]
            text = fit(cell.text, width)
            blank = " " * (width - cell_len(text))
            text = blank + text if self.columns[index].right else text + blank
            tone = self._tone(cell.tone) if cell.tone and styled else None
            segments.append(Segment(" " * GAP if position else "", style))
            segments.append(Segment(text, style + tone if tone else style))
        return Strip(segments).adjust_cell_length(self.size.width, style)

    def refresh_line(self, y: int) -> None:
        """Redraw one line; `y` counts from the header, whatever is scrolled."""
        top = y - self.scroll_offset.y
        if 0 <= top < self.size.height:
            self.refresh(Region(0, top, self.size.width, 1))


def ink(widget: Widget, component: str) -> Style:
    """How a component writes, over whatever background; a partial style would lose the 60 %."""
    whole = widget.get_component_rich_style(component)
    return Style(color=whole.color, bold=whole.bold or None, dim=whole.dim or None)


def fit(text: str, width: int) -> str:
    """Text cut to a number of cells, with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Text made exactly so many cells wide."""
    short = fit(text, width)
    return short + " " * (width - cell_len(short))

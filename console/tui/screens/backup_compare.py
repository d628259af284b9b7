"""What changed from one snapshot to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.backup.snapshot import Snapshot
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.area import UNFILTER, FilteredScreen
from console.tui.screens.backup_words import named
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from console.core.backup.compare import Changes, Difference, Item

COLUMNS = (
    Column("", 1), Column("what", 10), Column("name", 28, 60), Column("now", 20, 40),
    Column("id", 8, 34, wide=100),
)  # fmt: skip
SIGNS = {"came": ("+", "ok"), "went": ("-", "bad"), "changed": ("~", "warn")}
KINDS = ("runs", "experiments", "artifacts", "users", "versions")
RUN_ID = 32
ONE = {"runs": "run", "experiments": "experiment", "artifacts": "artifact", "users": "user",
       "versions": "version"}  # fmt: skip


class CompareScreen(FilteredScreen):
    """Sums on top, and below them what came, went and changed.

    Args:
        older, newer: Which two.
    """

    AREA = "backup"
    CSS_PATH = "backup.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "backup.diff"}
    BINDINGS: ClassVar[list[BindingType]] = [
        UNFILTER,
        Binding("escape,left", "back", "Back", key_display="esc", id="app.back",
                tooltip="Back to the snapshots"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only rows that hold a text"),
        Binding("y", "copy", "Copy id", id="app.copy", tooltip="Send the id to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Compare them again"),
    ]  # fmt: skip

    def __init__(self, older: Snapshot, newer: Snapshot) -> None:
        super().__init__()
        self.older, self.newer = older, newer
        self._found: dict[str, tuple[str, Item]] = {}

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(*self._title(), ("\n  Comparing…", "dim"), id="about")
        yield FilterLine()
        yield Table(COLUMNS, id="changes")

    def on_mount(self) -> None:
        self.action_refresh()

    def _title(self) -> list[Part]:
        return [(f"{named(self.older)}", "bold"), ("  to  ", "dim"), (named(self.newer), "bold")]

    def action_refresh(self) -> None:
        """Compare them, on a thread: they may hold a million artifacts."""
        service, older, newer = self.deployment.backup, self.older.id, self.newer.id
        self.ask(lambda: service.diff(older, newer), self._compared, self._failed, group="diff")

    def _compared(self, found: Difference) -> None:
        self.query_one("#about", Facts).show(*self._title(), *_sums(found))
        self._found = {
            f"{kind} {item.what} {item.name} {item.id}": (kind, item)
            for kind, changes in _kinds(found)
            for item in changes.items
        }
        self.show_wanted()

    def _failed(self, error: ConsoleError) -> None:
        hint: Part = (f"\n  {clean(error.hint)}" if error.hint else "", "dim")
        self.query_one("#about", Facts).show(
            *self._title(), ("\n✗ ", "bad"), clean(error.message, 300), hint
        )

    def show_wanted(self) -> None:
        rows = [
            _row(key, kind, item)
            for key, (kind, item) in self._found.items()
            if self.wanted in f"{item.name}\n{item.id}\n{item.detail}\n{kind}".casefold()
        ]
        empty = "Nothing that changed holds that text." if self.wanted else "✓ Nothing changed."
        self.query_one("#changes", Table).show(rows, empty)

    @on(Table.Opened, "#changes")
    def action_open(self) -> None:
        """Show the row under the cursor whole."""
        kind, item = self._found.get(self.query_one("#changes", Table).key or "", ("", None))
        if item is None:
            return
        from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

        pairs = [(ONE[kind], item.what), ("name", item.name), ("id", item.id),
                 ("now", item.detail)]  # fmt: skip
        self.app.push_screen(DetailModal(item.name or item.id, pairs, copies=item.id))

    def action_copy(self) -> None:
        _, item = self._found.get(self.query_one("#changes", Table).key or "", ("", None))
        if item is not None:
            self.send(item.id)


def _kinds(found: Difference) -> Iterator[tuple[str, Changes]]:
    for kind in KINDS:
        changes = getattr(found, kind)
        if changes is not None:
            yield kind, changes


def _sums(found: Difference) -> Iterator[Part]:
    """One line a kind, and what could not be compared."""
    for kind, changes in _kinds(found):
        if not changes.total:
            continue
        yield f"\n  {kind:<12}"
        for what, (sign, tone) in SIGNS.items():
            number, amount = getattr(changes, what), getattr(changes, f"{what}_bytes")
            if number:
                bytes_ = f" ({fmt.size(amount)})" if amount else ""
                yield (f"{sign}{fmt.count(number)}{bytes_}   ", tone)
        if changes.unnamed:
            yield (f"{fmt.count(changes.unnamed)} of them not listed", "dim")
    if found.revision is not None:
        yield f"\n  {'schema':<12}{clean(found.revision[0], 60)} → {clean(found.revision[1], 60)}"
    for note in found.notes:
        yield ("\n! ", "warn")
        yield clean(note, 200)


def _short(key: str) -> str:
    """An artifact's key with only the beginning of its run's id: the name of a file is its end."""
    parts = key.split("/")
    if len(parts) > 3 and parts[2] == "artifacts" and len(parts[1]) == RUN_ID:
        return f"{parts[0]}/{parts[1][:8]}…/{'/'.join(parts[3:])}"
    return key


def _row(key: str, kind: str, item: Item) -> Row:
    sign, tone = SIGNS[item.what]
    name, number = (item.name, item.id) if kind in ("runs", "experiments") else (item.id, "")
    if kind == "artifacts":
        name = _short(name)
    detail = item.detail if kind in ("runs", "experiments") or not item.name else (
        f"{item.detail} in {item.name}".strip()
    )  # fmt: skip
    return Row(
        key,
        (
            Cell(sign, tone), Cell(ONE[kind], "dim"), Cell(clean(name, 200) or number[:8]),
            Cell(clean(detail, 200)), Cell(clean(number, 40), "dim"),
        ),
    )  # fmt: skip

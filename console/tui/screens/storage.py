"""Storage: what the artifact store holds and for whom, one level at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.storage.service import ExperimentUsage, Usage
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.messages import Live
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.table import Cell, Column, Row, Table

BAR = 16
COLUMNS = (
    Column("", BAR), Column("size", 8, right=True), Column("share", 5, right=True),
    Column("objects", 9, right=True), Column("name", 20, 60),
    Column("id", 12, 34, wide=110),
)  # fmt: skip
MODELS, TRACES, ORPHANS, UNKNOWN = "\0models", "\0traces", "\0orphans", "\0unknown"


class Entry(NamedTuple):
    """One line of a level."""

    key: str
    name: str
    bytes: int
    objects: int
    note: str = ""
    id: str = ""


SORTS: dict[str, Callable[[Entry], tuple[object, ...]]] = {
    "size": lambda entry: (-entry.bytes, entry.name),
    "objects": lambda entry: (-entry.objects, entry.name),
    "name": lambda entry: (entry.name.casefold(), entry.key),
}


class StorageScreen(AreaScreen):
    """The experiments by what they hold; `enter` goes down to the runs."""

    AREA = "storage"
    CSS_PATH = "storage.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "storage.usage"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "open", "Open", show=False, id="storage.right",
                tooltip="Down to the runs of this experiment"),
        Binding("escape,left", "back", "Up", key_display="←", id="storage.up",
                tooltip="Up to the experiments"),
        Binding("s", "sort", "Sort", id="storage.sort", tooltip="By size, objects or name"),
        Binding("y", "copy", "Copy id", id="app.copy", tooltip="Send the id to the clipboard"),
        Binding("r", "refresh", "Walk again", id="app.refresh", tooltip="Walk the store again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.inside: str | None = None
        self.sort = "size"

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Storage", "bold"), id="sum")
        yield Facts(id="path")
        yield Table(COLUMNS, id="usage")

    def on_mount(self) -> None:
        self.console.usage_changed.subscribe(self, self.show_usage)
        self.show_usage(self.console.usage)
        if self.console.usage.value is None:
            self.console.walk()

    def show_usage(self, live: Live[Usage]) -> None:
        """Show the figures so far; called about twice a second while the store is walked."""
        usage = live.value
        table = self.query_one("#usage", Table)
        self.query_one("#sum", Facts).show(*_sum(live))
        if usage is None:
            table.show([], "Walking the store…" if live.busy else "r walks the store.")
            return
        experiment = self._experiment(usage)
        name = "All experiments" if experiment is None else clean(experiment.name, 60)
        self.query_one("#path", Facts).show(
            (name, "bold"), (f"   by {self.sort}", "dim")
        )  # fmt: skip
        entries = _experiments(usage) if experiment is None else _runs(experiment)
        entries.sort(key=SORTS[self.sort])
        whole = sum(entry.bytes for entry in entries)
        table.show([_row(entry, whole) for entry in entries], "The store is empty.")

    def _experiment(self, usage: Usage) -> ExperimentUsage | None:
        return next((each for each in usage.experiments if each.experiment_id == self.inside), None)

    @on(Table.Opened, "#usage")
    def action_open(self) -> None:
        key = self.query_one("#usage", Table).key
        usage = self.console.usage.value
        if self.inside is None and key is not None and usage is not None:
            if all(each.experiment_id != key for each in usage.experiments):
                return
            self.inside = key
            self._to_top()

    def action_back(self) -> None:
        left, self.inside = self.inside, None
        if left is not None:
            self._to_top()
            self.query_one("#usage", Table).point(left)

    def action_sort(self) -> None:
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]
        self._to_top()

    def _to_top(self) -> None:
        self.query_one("#usage", Table).show([])
        self.show_usage(self.console.usage)

    def action_refresh(self) -> None:
        self.console.walk()

    def action_copy(self) -> None:
        key = self.query_one("#usage", Table).key
        if key is not None and not key.startswith("\0"):
            self.send(key)


def _sum(live: Live[Usage]) -> list[Part]:
    usage = live.value
    parts: list[Part] = []
    if live.error is not None:
        parts += [("✗ ", "bad"), (clean(live.error.message, 300), "bold"),
                  ("\n  " + clean(live.error.hint) + "\n", "dim")]  # fmt: skip
    if usage is None:
        return parts or [("Storage", "bold")]
    runs = sum(run.bytes for each in usage.experiments for run in each.runs)
    models = sum(each.models.bytes for each in usage.experiments)
    traces = sum(each.traces.bytes for each in usage.experiments)
    walked = f"walked {fmt.clock(usage.scanned_at)} in {usage.seconds:.1f} s"
    parts += [
        (fmt.size(usage.bytes), "bold"), f" in {fmt.plural(usage.objects, 'object')}   ",
        (walked if not live.busy else "walking…", "dim"),
    ]  # fmt: skip
    if usage.free_bytes is not None:
        parts.append((f"   {fmt.size(usage.free_bytes)} free", "dim"))
    amounts = [
        ("runs", runs), ("models", models), ("traces", traces), ("trash", usage.trash.bytes),
        ("orphans", usage.orphans.bytes), ("unknown", usage.unknown.bytes),
    ]  # fmt: skip
    parts.append("\n")
    for name, amount in amounts:
        if amount:
            parts += [(f"{name} ", "dim"), f"{fmt.size(amount)}   "]
    for problem in usage.problems[:2]:
        parts += ["\n", ("! ", "warn"), clean(problem, 160)]
    return parts


def _experiments(usage: Usage) -> list[Entry]:
    entries = [
        Entry(
            each.experiment_id, each.name, each.bytes, each.objects,
            "in the trash" if each.lifecycle_stage == "deleted" else "", each.experiment_id,
        )
        for each in usage.experiments
    ]  # fmt: skip
    rest = ((ORPHANS, "(orphans)", usage.orphans), (UNKNOWN, "(unknown)", usage.unknown))
    entries += [
        Entry(key, name, amount.bytes, amount.objects)
        for key, name, amount in rest
        if amount.objects
    ]
    return entries


def _runs(experiment: ExperimentUsage) -> list[Entry]:
    entries = [
        Entry(
            each.run_id, each.name or each.run_id, each.bytes, each.objects,
            "in the trash" if each.lifecycle_stage == "deleted" else "", each.run_id,
        )
        for each in experiment.runs
    ]  # fmt: skip
    rest = ((MODELS, "(models)", experiment.models), (TRACES, "(traces)", experiment.traces))
    entries += [
        Entry(key, name, amount.bytes, amount.objects)
        for key, name, amount in rest
        if amount.objects
    ]
    return entries


def _row(entry: Entry, whole: int) -> Row:
    name = clean(entry.name) + (f"  {entry.note}" if entry.note else "")
    return Row(
        entry.key,
        (
            Cell(fmt.bar(entry.bytes, whole, BAR), "accent"),
            Cell(fmt.size(entry.bytes)),
            Cell(fmt.share(entry.bytes, whole)),
            Cell(fmt.count(entry.objects)),
            Cell(name, "dim" if entry.note else ""),
            Cell(entry.id, "dim"),
        ),
    )

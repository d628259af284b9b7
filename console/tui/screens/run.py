"""A run: parameters, metrics and tags side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from console.core import format as fmt
from console.core.experiments.service import Run
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.widgets import state
from console.tui.widgets.facts import Facts
from console.tui.widgets.table import Cell, Column, Row, Table


class RunScreen(AreaScreen):
    """One run.

    Args:
        run: As the list knew it; asked for again when the screen opens.
    """

    AREA = "experiments"
    AUTO_FOCUS = "#params"
    CSS_PATH = "experiments.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "runs.show"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left", "back", "Back", key_display="esc", id="app.back",
                tooltip="Back to the runs"),
        Binding("tab", "app.focus_next", "Next column", id="run.next",
                tooltip="Parameters, metrics, tags"),
        Binding("y", "copy", "Copy id", id="app.copy",
                tooltip="Send the run's id to the clipboard"),
        Binding("r", "refresh", "Refresh", id="app.refresh", tooltip="Ask the server again"),
    ]  # fmt: skip

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run_shown = run

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(id="about")
        with Horizontal(id="three"):
            yield Table((Column("parameter", 8, 24), Column("value", 6, 40)), id="params")
            yield Table((Column("metric", 8, 24), Column("last", 8, 14, right=True)), id="metrics")
            yield Table((Column("tag", 8, 24), Column("value", 6, 40)), id="tags")

    def on_mount(self) -> None:
        self._show(self.run_shown)
        self.action_refresh()

    def action_refresh(self) -> None:
        work = partial(self.deployment.runs.show, self.run_shown.run_id)
        self.ask(work, self._show, group="run")

    def _show(self, run: Run) -> None:
        self.run_shown = run
        sign, tone = state.of_run(run.status)
        took = f" in {fmt.elapsed(run.started_at, run.ended_at)}" if run.ended_at else ""
        deleted = "   ! deleted" if run.lifecycle_stage == "deleted" else ""
        self.query_one("#about", Facts).show(
            (f"{sign} ", tone), (clean(run.name, 60), "bold"), f"  {run.status}{took}",
            (deleted, "warn"),
            (f"\n  {run.run_id}  {clean(run.user, 40)}  {fmt.exact(run.started_at)}", "dim"),
            (f"\n  {clean(run.description, 300)}" if run.description else "", "dim"),
        )  # fmt: skip
        metrics = {name: fmt.metric(value) for name, value in run.metrics.items()}
        for name, values in (("params", run.params), ("metrics", metrics), ("tags", run.tags)):
            self.query_one(f"#{name}", Table).show(_rows(values), "none")

    @on(Table.Opened)
    def action_whole(self) -> None:
        """Show the value under the cursor in full."""
        table = self.focused
        if not isinstance(table, Table) or table.key is None:
            return
        from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

        run, key = self.run_shown, table.key
        whole = {"params": run.params, "tags": run.tags}.get(table.id or "", {}).get(key)
        value = repr(run.metrics.get(key)) if whole is None else whole
        self.app.push_screen(DetailModal(key, [(table.columns[0].title, value)], copies=value))

    def action_copy(self) -> None:
        self.send(self.run_shown.run_id)


def _rows(values: Mapping[str, str]) -> list[Row]:
    return [
        Row(name, (Cell(clean(name, 100)), Cell(clean(values[name], 300))))
        for name in sorted(values, key=str.casefold)
    ]

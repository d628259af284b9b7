"""Experiments: on the left the experiments, on the right the runs of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.experiments.service import Experiment, Page, Run
from console.core.text import clean
from console.tui.area import FilteredScreen
from console.tui.widgets import state
from console.tui.widgets.facts import Facts
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Cell, Column, Row, Table

PAGE = 100
# Holding `j` must not ask the server for the runs of every experiment on the way.
SETTLE_SECONDS = 0.15
METRICS = 3
EXPERIMENTS = (
    Column("experiment", 12, 40), Column("runs", 6, right=True), Column("active", 9, wide=44),
)  # fmt: skip
RUNS = (
    Column("", 1),
    Column("run", 12, 32),
    Column("started", 9),
    Column("took", 6, right=True),
    Column("user", 8, 16, wide=46),
)


class ExperimentsScreen(FilteredScreen):
    """The experiments and their runs."""

    AREA = "experiments"
    AUTO_FOCUS = "#experiments"
    CSS_PATH = "experiments.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "experiments.list",
        "details": "experiments.show",
        "runs": "runs.list",
        "open": "runs.show",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "details", "Details", id="experiments.show",
                tooltip="Id, place and tags of the experiment"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only experiments whose name holds a text"),
        Binding("y", "copy", "Copy id", id="app.copy", tooltip="Send the id to the clipboard"),
        Binding("r", "refresh", "Refresh", id="app.refresh", tooltip="Ask the server again"),
        Binding("right", "runs", "Runs", show=False, id="experiments.runs",
                tooltip="To the runs of this experiment"),
        Binding("left", "back", "Back", show=False, id="experiments.left",
                tooltip="To the experiments"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, Run] = {}
        self.shown: str | None = None
        self.next: str | None = None
        self.loading = False
        self._settle: Timer | None = None

    def compose_area(self) -> Iterable[Widget]:
        yield FilterLine()
        with Horizontal(id="both"):
            with Vertical(id="left", classes="side"):
                yield Facts(("Experiments", "bold"), id="sum", classes="about")
                yield Table(EXPERIMENTS, id="experiments")
            with Vertical(classes="side"):
                yield Facts(("Runs", "bold"), id="about", classes="about")
                yield Table(RUNS, id="runs")

    def on_screen_resume(self) -> None:
        self.action_refresh()

    # Experiments

    def action_refresh(self) -> None:
        self.ask(self.deployment.experiments.list, self._listed, self._unlisted, group="list")
        if self.shown is not None:
            self._first_page(self.shown)

    def _listed(self, experiments: list[Experiment]) -> None:
        self.experiments = {each.experiment_id: each for each in experiments}
        self.show_wanted()

    def _unlisted(self, error: ConsoleError) -> None:
        self.experiments = {}
        self.query_one("#sum", Facts).show(("Experiments", "bold"))
        self.query_one("#experiments", Table).show([], f"✗ {clean(error.message)}")
        self._say_about(clean(error.message), clean(error.hint))

    def show_wanted(self) -> None:
        rows = [
            Row(
                each.experiment_id,
                (
                    Cell(clean(each.name)),
                    Cell(fmt.count(each.runs)),
                    Cell(fmt.when(each.updated_at), "dim"),
                ),
            )
            for each in self.experiments.values()
            if self.wanted in each.name.casefold()
        ]
        self.query_one("#sum", Facts).show((fmt.plural(len(rows), "experiment"), "bold"))
        self.query_one("#experiments", Table).show(rows, "No experiment yet.")

    # Runs

    @on(Table.Moved, "#experiments")
    def _other_experiment(self, message: Table.Moved) -> None:
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(SETTLE_SECONDS, partial(self._settled, message.key))

    def _settled(self, key: str | None) -> None:
        if key == self.shown:
            return
        self.shown = key
        self.runs, self.next = {}, None
        self.query_one("#runs", Table).show([])
        if key is None:
            self._say_about("Runs")
        else:
            self._first_page(key)

    def _first_page(self, experiment_id: str) -> None:
        self.loading = True
        self.ask(
            lambda: self.deployment.runs.page(experiment_id, size=PAGE),
            lambda page: self._paged(experiment_id, page, first=True),
            self._unpaged, group="runs",
        )  # fmt: skip

    @on(Table.NearEnd, "#runs")
    def _next_page(self) -> None:
        experiment_id, token = self.shown, self.next
        if experiment_id is None or token is None or self.loading:
            return
        self.loading = True
        self.ask(
            lambda: self.deployment.runs.page(experiment_id, token, size=PAGE),
            lambda page: self._paged(experiment_id, page, first=False),
            self._unpaged, group="runs",
        )  # fmt: skip

    def _paged(self, experiment_id: str, page: Page, first: bool) -> None:
        if experiment_id != self.shown:
            return
        self.loading = False
        self.next = page.next
        if first:
            self.runs = {}
        self.runs |= {run.run_id: run for run in page.runs}
        self._show_runs()

    def _unpaged(self, error: ConsoleError) -> None:
        self.loading = False
        self._say_about(f"✗ {clean(error.message)}", clean(error.hint))

    def _show_runs(self) -> None:
        experiment = self.experiments.get(self.shown or "")
        names = _metric_names(self.runs.values())
        table = self.query_one("#runs", Table)
        table.set_columns(
            (*RUNS, *(Column(clean(name, 12), 10, right=True, wide=90) for name in names))
        )
        table.show([_row(run, names) for run in self.runs.values()], "No run yet.")
        loaded = f"{fmt.count(len(self.runs))} loaded, more below" if self.next else ""
        if experiment is not None:
            total = experiment.runs if experiment.runs is not None else len(self.runs)
            self._say_about(f"{clean(experiment.name, 40)}  {fmt.plural(total, 'run')}", loaded)

    def _say_about(self, words: str, more: str = "") -> None:
        self.query_one("#about", Facts).show((words, "bold"), (f"  {more}" if more else "", "dim"))

    # Going about

    @on(Table.Opened)
    def enter(self) -> None:
        """Into the runs, or into the run under the cursor."""
        if self.query_one("#runs", Table).has_focus:
            self.action_open()
        else:
            self.action_runs()

    def action_runs(self) -> None:
        self.query_one("#runs", Table).focus()

    def action_open(self) -> None:
        run = self.runs.get(self.query_one("#runs", Table).key or "")
        if run is not None:
            from console.tui.screens.run import RunScreen  # noqa: PLC0415  # first use

            self.app.push_screen(RunScreen(run))

    def action_back(self) -> None:
        self.query_one("#experiments", Table).focus()

    def action_details(self) -> None:
        key = self.query_one("#experiments", Table).key
        if key is not None:
            self.ask(partial(self.deployment.experiments.show, key), self._details, group="show")

    def _details(self, experiment: Experiment) -> None:
        from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

        pairs = [
            ("id", experiment.experiment_id),
            ("state", experiment.lifecycle_stage),
            ("runs", fmt.count(experiment.runs)),
            ("created", fmt.exact(experiment.created_at)),
            ("last activity", fmt.exact(experiment.updated_at)),
            ("artifacts", experiment.artifact_location),
            *(list(experiment.tags.items())),
        ]
        self.app.push_screen(DetailModal(experiment.name, pairs, copies=experiment.experiment_id))

    def action_copy(self) -> None:
        runs = self.query_one("#runs", Table)
        key = runs.key if runs.has_focus else self.query_one("#experiments", Table).key
        if key is not None:
            self.send(key)


def _metric_names(runs: Iterable[Run]) -> tuple[str, ...]:
    """The metrics that most runs have; the same ones for every row."""
    seen: dict[str, int] = {}
    for run in runs:
        for name in run.metrics:
            seen[name] = seen.get(name, 0) + 1
    return tuple(sorted(seen, key=lambda name: (-seen[name], name))[:METRICS])


def _row(run: Run, names: Iterable[str]) -> Row:
    sign, tone = state.of_run(run.status)
    took = fmt.elapsed(run.started_at, run.ended_at) if run.ended_at else fmt.NEVER
    return Row(
        run.run_id,
        (
            Cell(sign, tone),
            Cell(clean(run.name) or run.run_id[:8]),
            Cell(fmt.when(run.started_at)),
            Cell(took),
            Cell(clean(run.user, 40), "dim"),
            *(
                Cell(fmt.metric(run.metrics[name]) if name in run.metrics else fmt.NEVER)
                for name in names
            ),
        ),
    )

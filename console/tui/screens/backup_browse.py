"""Inside a snapshot: its experiments, and the runs of one of them, which can come back alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.backup.snapshot import Experiment, Run, Snapshot
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.area import UNFILTER, FilteredScreen
from console.tui.screens.backup_words import named
from console.tui.widgets import state
from console.tui.widgets.facts import Facts
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from console.core.progress import Progress
    from console.tui.area import AreaScreen

EXPERIMENTS = (
    Column("experiment", 24, 60), Column("runs", 8, right=True), Column("", 12),
    Column("id", 8, 24, wide=70),
)  # fmt: skip
RUNS = (
    Column("", 1), Column("run", 18, 40), Column("started", 16), Column("took", 6, right=True),
    Column("user", 10, 20), Column("", 10), Column("id", 8, 32, wide=70),
)  # fmt: skip
# How many of the runs that come back a question names.
NAMED = 12


class RunRow(msgspec.Struct, frozen=True, gc=False):
    """A run in the table; what it says is made when it is drawn."""

    run: Run
    text: str

    @property
    def key(self) -> str:
        return self.run.run_id

    @property
    def cells(self) -> tuple[Cell, ...]:
        run = self.run
        sign, tone = state.of_run(run.status)
        started = moment(run.started)
        took = fmt.elapsed(started, moment(run.ended)) if run.ended else fmt.NEVER
        return (
            Cell(sign, tone),
            Cell(clean(run.name, 100) or run.run_id[:8]),
            Cell(f"{fmt.local(started):%Y-%m-%d %H:%M}" if started else fmt.NEVER),
            Cell(took),
            Cell(clean(run.user, 40), "dim"),
            Cell("deleted" if run.lifecycle_stage == "deleted" else "", "warn"),
            Cell(clean(run.run_id, 40), "dim"),
        )


def run_row(run: Run) -> RunRow:
    """A run with what a filter looks at."""
    return RunRow(run, "\n".join((run.name, run.user, run.run_id, run.status)).casefold())


def moment(milliseconds: int | None) -> datetime | None:
    """A time of MLflow's, which may be any number at all."""
    try:
        return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


class BrowseScreen(FilteredScreen):
    """One snapshot from within, one level at a time.

    Args:
        snapshot: Which one; its dump is not read, the catalog beside it is.
    """

    AREA = "backup"
    CSS_PATH = "backup.tcss"
    VERBS: ClassVar[dict[str, str]] = {"bring_back": "backup.restore"}
    BINDINGS: ClassVar[list[BindingType]] = [
        UNFILTER,
        Binding("escape,left", "back", "Back", key_display="esc", id="app.back",
                tooltip="Up to the experiments, or back to the snapshots"),
        Binding("right", "open", "Open", show=False, id="browse.right",
                tooltip="Down to the runs of this experiment"),
        Binding("o", "bring_back", "Bring back", id="backup.restore",
                tooltip="Bring the marked runs back as new runs, after a question"),
        Binding("space", "mark", "Mark", id="app.mark", tooltip="Mark this row, or unmark it"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only rows that hold a text"),
        Binding("y", "copy", "Copy id", id="app.copy", tooltip="Send the id to the clipboard"),
    ]  # fmt: skip

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot
        self.experiments: dict[str, Experiment] = {}
        self.counts: dict[str, int] = {}
        self.inside: str | None = None
        self.runs: dict[str, RunRow] = {}

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Reading…", "dim"), id="about")
        yield FilterLine()
        yield Table(EXPERIMENTS, id="browse", markable=True)

    def on_mount(self) -> None:
        service, snapshot = self.deployment.backup, self.snapshot

        def work() -> tuple[list[Experiment], dict[str, int]]:
            counts = Counter(run.experiment_id for run in service.runs(snapshot))
            return service.experiments(snapshot), dict(counts)

        self.ask(work, self._read, self._unread, group="browse")

    def _read(self, found: tuple[list[Experiment], dict[str, int]]) -> None:
        experiments, self.counts = found
        self.experiments = {each.experiment_id: each for each in experiments}
        self.show_wanted()

    def _unread(self, error: ConsoleError) -> None:
        self.query_one("#about", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), ("\n  " + clean(error.hint), "dim")
        )

    def show_wanted(self) -> None:
        table, about = self.query_one("#browse", Table), self.query_one("#about", Facts)
        of = (f"   in {named(self.snapshot)}", "dim")
        none = "Nothing here holds that text." if self.wanted else ""
        if self.inside is None:
            count = fmt.plural(len(self.experiments), "experiment")
            about.show((f"{count}, {fmt.plural(sum(self.counts.values()), 'run')}", "bold"), of)
            rows = [
                self._row(each)
                for each in self.experiments.values()
                if self.wanted in each.name.casefold()
            ]
            table.show(rows, none or "It holds no experiment.")
        else:
            name = clean(self.experiments[self.inside].name, 60)
            about.show((f"{name}  {fmt.plural(len(self.runs), 'run')}", "bold"), of)
            held = [each for each in self.runs.values() if self.wanted in each.text]
            table.show(held, none or "No run in it.")

    def _row(self, experiment: Experiment) -> Row:
        deleted = experiment.lifecycle_stage == "deleted"
        return Row(
            experiment.experiment_id,
            (
                Cell(clean(experiment.name, 200)),
                Cell(fmt.count(self.counts.get(experiment.experiment_id, 0))),
                Cell("deleted" if deleted else "", "warn"),
                Cell(clean(experiment.experiment_id, 40), "dim"),
            ),
        )

    # Down and up

    @on(Table.Opened, "#browse")
    def action_open(self) -> None:
        """Down to the runs of an experiment; of a run, all that the catalog says."""
        key = self.query_one("#browse", Table).key
        if key is None:
            return
        if self.inside is not None:
            self._show_run(self.runs[key].run)
            return
        service, snapshot = self.deployment.backup, self.snapshot

        def work() -> dict[str, RunRow]:
            newest = sorted(service.runs(snapshot, key), key=lambda run: -(run.started or 0))
            return {run.run_id: run_row(run) for run in newest}

        self.ask(work, partial(self._opened, key), group="runs")

    def _opened(self, experiment_id: str, runs: dict[str, RunRow]) -> None:
        self.inside, self.runs = experiment_id, runs
        self._turn(RUNS)

    def _turn(self, columns: Sequence[Column]) -> None:
        """Show the other level, from its top and without a filter."""
        table = self.query_one("#browse", Table)
        table.marks.clear()
        table.show([])
        table.set_columns(columns)
        if self.wanted:
            self.action_unfilter()
        self.show_wanted()

    def action_back(self) -> None:
        left, self.inside = self.inside, None
        if left is None:
            super().action_back()
            return
        self.runs = {}
        self._turn(EXPERIMENTS)
        self.query_one("#browse", Table).point(left)

    def _show_run(self, run: Run) -> None:
        from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

        self.app.push_screen(DetailModal(run.name or run.run_id, pairs(run), copies=run.run_id))

    # Bringing runs back

    def action_mark(self) -> None:
        if self.inside is not None:
            self.query_one("#browse", Table).toggle_mark()

    def action_copy(self) -> None:
        key = self.query_one("#browse", Table).key
        if key is not None:
            self.send(key)

    def action_bring_back(self) -> None:
        """Ask before the marked runs come back; an experiment is opened first."""
        if self.inside is None:
            self.notify("enter goes to the runs; space marks some", markup=False)
            return
        chosen = [self.runs[key].run for key in self.query_one("#browse", Table).marked()]
        if chosen:
            bring_back(self, self.snapshot.id, named(self.snapshot), chosen)


def pairs(run: Run) -> list[tuple[str, str]]:
    """What is known of a run, for the dialog."""
    return [
        ("id", run.run_id),
        ("status", run.status),
        ("state", run.lifecycle_stage),
        ("user", run.user),
        ("started", fmt.exact(moment(run.started))),
        ("ended", fmt.exact(moment(run.ended))),
        ("experiment", run.experiment_id),
    ]


def bring_back(screen: AreaScreen, wanted: str, words: str, runs: Sequence[Run]) -> None:
    """Ask, and bring runs back as new ones.

    Args:
        screen: Over which the dialogs stand.
        wanted: The id of the snapshot that holds them.
        words: What it is called in a sentence.
        runs: Which ones.
    """
    from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

    count = fmt.plural(len(runs), "run")
    lines = [
        f"{clean(run.name, 60) or 'without a name'}  {clean(run.user, 40)}  {run.run_id}"
        for run in runs[:NAMED]
    ]
    if len(runs) > NAMED:
        lines.append(f"and {len(runs) - NAMED} more")
    they = "It comes back as a new run with a new id, tagged with where it comes"
    if len(runs) > 1:
        they = "They come back as new runs with new ids, tagged with where they come"
    lines += ["", f"{they} from; nothing that is there is changed."]

    def answered(yes: bool | None) -> None:
        if yes:
            ids = [run.run_id for run in runs]

            def work(cancel: threading.Event) -> Iterator[Progress]:
                return screen.deployment.backup.restore_runs(wanted, ids, cancel)

            title = f"Bringing {count} back from {words}"
            are = "is" if len(runs) == 1 else "are"
            screen.console.perform(title, work, f"{count} {are} back, as new ones")

    screen.app.push_screen(ConfirmModal(f"Bring {count} back?", "Bring back", lines), answered)

"""Which snapshots hold a run; from here it can come back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.caller import Listener
from console.tui.screens.backup_browse import bring_back, pairs
from console.tui.screens.backup_browse import moment as run_moment
from console.tui.screens.backup_words import moment
from console.tui.widgets import state
from console.tui.widgets.facts import Facts
from console.tui.widgets.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from console.core.backup.compare import Holding

COLUMNS = (
    Column("in", 15), Column("", 1), Column("run", 14, 30), Column("started", 9),
    Column("user", 8, 16), Column("experiment", 15, 40), Column("label", 10, 30, wide=100),
    Column("id", 8, 32, wide=90),
)  # fmt: skip


class FoundScreen(AreaScreen):
    """A row for each snapshot and run that is meant, newest snapshot first.

    Args:
        wanted: The run's name, its id, or the beginning of one.
    """

    AREA = "backup"
    CSS_PATH = "backup.tcss"
    VERBS: ClassVar[dict[str, str]] = {"bring_back": "backup.restore", "refresh": "backup.find"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left", "back", "Back", key_display="esc", id="app.back",
                tooltip="Back to the snapshots"),
        Binding("o", "bring_back", "Bring back", id="backup.restore",
                tooltip="Bring this run back as a new one, after a question"),
        Binding("y", "copy", "Copy id", id="app.copy", tooltip="Send the id to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh", tooltip="Look again now"),
    ]  # fmt: skip

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.searched = wanted
        self._found: dict[str, Holding] = {}

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Looking through the snapshots…", "dim"), id="about")
        yield Table(COLUMNS, id="found")

    def on_mount(self) -> None:
        self.action_refresh()

    def action_refresh(self) -> None:
        """Look through every snapshot; what is found shows as it comes."""
        self._found = {}
        service, wanted = self.deployment.backup, self.searched
        self.follow(
            lambda left: itertools.takewhile(lambda _: not left.is_set(), service.find(wanted)),
            Listener(self._seen, self._done, self._failed), group="find", keep=100_000,
        )  # fmt: skip

    def _seen(self, found: list[Holding]) -> None:
        self._found |= {f"{each.snapshot} {_id(each)}": each for each in found}
        self._show("   looking on…")

    def _done(self) -> None:
        self._show("")

    def _failed(self, error: ConsoleError) -> None:
        self.query_one("#about", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), ("\n  " + clean(error.hint), "dim")
        )

    def _show(self, more: str) -> None:
        holding = {each.snapshot for each in self._found.values() if each.run is not None}
        count = fmt.plural(len(holding), "snapshot")
        hold = "holds" if len(holding) == 1 else "hold"
        words = f"{count} {hold} “{clean(self.searched, 60)}”"
        self.query_one("#about", Facts).show((words, "bold"), (more, "dim"))
        empty = "" if more else "No snapshot holds it."
        rows = [_row(key, each) for key, each in self._found.items()]
        self.query_one("#found", Table).show(rows, empty)

    def _current(self) -> Holding | None:
        return self._found.get(self.query_one("#found", Table).key or "")

    @on(Table.Opened, "#found")
    def action_open(self) -> None:
        """Show all that the catalog of that snapshot says of the run."""
        holding = self._current()
        if holding is None:
            return
        from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

        if holding.run is None:
            modal = DetailModal(holding.snapshot, [("problem", holding.problem)])
        else:
            run = holding.run
            modal = DetailModal(run.name or run.run_id, pairs(run), copies=run.run_id)
        self.app.push_screen(modal)

    def action_bring_back(self) -> None:
        """Ask before the run under the cursor comes back from that snapshot."""
        holding = self._current()
        if holding is not None and holding.run is not None:
            words = f"{clean(holding.snapshot)} ({_made(holding)})"
            bring_back(self, holding.snapshot, words, [holding.run])

    def action_copy(self) -> None:
        holding = self._current()
        if holding is not None:
            self.send(_id(holding) or holding.snapshot)


def _id(holding: Holding) -> str:
    return holding.run.run_id if holding.run is not None else ""


def _made(holding: Holding) -> str:
    return moment(holding.created_at) if holding.created_at else clean(holding.snapshot, 30)


def _row(key: str, holding: Holding) -> Row:
    run = holding.run
    if run is None:
        return Row(
            key, (Cell(_made(holding)), Cell("✗", "bad"), Cell(clean(holding.problem), "dim"))
        )
    sign, tone = state.of_run(run.status)
    return Row(
        key,
        (
            Cell(_made(holding)),
            Cell(sign, tone),
            Cell(clean(run.name, 100) or run.run_id[:8]),
            Cell(fmt.when(run_moment(run.started))),
            Cell(clean(run.user, 40), "dim"),
            Cell(clean(holding.experiment, 100)),
            Cell(clean(holding.label, 40)),
            Cell(run.run_id, "dim"),
        ),
    )

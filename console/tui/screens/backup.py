"""Backup: is the last one good, when is the next, was it ever proven, and what would come back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widget import Widget

from console.core.backup.snapshot import Snapshot
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.area import WIDE
from console.tui.backups import Doing
from console.tui.screens.backup_details import brief, details, pane
from console.tui.screens.backup_rows import COLUMNS, Look, going_on, look, row, top
from console.tui.screens.backup_verbs import BackupVerbs
from console.tui.screens.backup_words import named
from console.tui.widgets.facts import Facts
from console.tui.widgets.table import Table

if TYPE_CHECKING:
    from console.core.actions import Action

# How often it is looked whether somebody else has begun or ended something, while this is seen.
LOOK_SECONDS = 3.0


class BackupScreen(BackupVerbs):
    """The snapshots of this deployment, newest first."""

    AREA = "backup"
    CSS_PATH = "backup.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "backup.list",
        "details": "backup.show",
        "create": "backup.create",
        "create_named": "backup.create",
        "verify": "backup.verify",
        "drill": "backup.drill",
        "restore": "backup.restore",
        "compare": "backup.diff",
        "find": "backup.find",
        "prune": "backup.prune",
        "schedule": "backup.schedule",
        "unlock": "backup.unlock",
        # No verbs of their own; who may only look does neither.
        "place": "backup.create",
        "stop": "backup.create",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "create", "Back up", id="backup.create",
                tooltip="Make a snapshot of everything; it goes on when the console is left"),
        Binding("v", "verify", "Verify", id="backup.verify",
                tooltip="Read every byte of the marked snapshots again"),
        Binding("t", "drill", "Try restoring", id="backup.drill",
                tooltip="Restore it into scratch parts, compare, and throw them away"),
        Binding("o", "restore", "Restore", id="backup.restore",
                tooltip="Bring it back, after a look at what would change"),
        Binding("p", "prune", "Prune", id="backup.prune",
                tooltip="Remove what nothing asks to keep, after a question that lists it"),
        Binding("slash", "find", "Find", key_display="/", id="backup.find",
                tooltip="Which snapshots hold a run"),
        Binding("c", "compare", "Compare", show=False, id="backup.diff",
                tooltip="What changed between two marked snapshots, or since the one before"),
        Binding("n", "create_named", "Label", show=False, id="backup.create-named",
                tooltip="Make a snapshot with a label, or of a part"),
        Binding("x", "stop", "Stop", show=False, id="backup.stop",
                tooltip="Stop what goes on, after a question"),
        Binding("s", "schedule", "Schedule", show=False, id="backup.schedule",
                tooltip="Make snapshots by a timer, or by none"),
        Binding("e", "place", "Place", show=False, id="backup.place",
                tooltip="Choose another folder for the snapshots"),
        Binding("u", "unlock", "Unlock", show=False, id="backup.unlock",
                tooltip="Take a lock away whose holder is dead"),
        Binding("i", "details", "Details", show=False, id="backup.show",
                tooltip="All that is known of the snapshot under the cursor"),
        Binding("space", "mark", "Mark", show=False, id="app.mark",
                tooltip="Mark this row, or unmark it"),
        Binding("y", "copy", "Copy", show=False, id="app.copy",
                tooltip="Send the folder of the snapshot to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Look again now"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.seen: Look | None = None
        self._snapshots: dict[str, Snapshot] = {}
        self._timer: Timer | None = None
        self._looks = False

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="top")
        with Horizontal(id="both"):
            yield Table(COLUMNS, id="snapshots", markable=True)
            with VerticalScroll(id="pane", can_focus=False):
                yield Facts(id="more")
        yield Facts(id="detail")
        yield Facts(id="doing")

    def on_mount(self) -> None:
        self.console.backups.changed.subscribe(self, self._show_doing)
        self._show_doing(self.console.backups.doing)

    def on_screen_resume(self) -> None:
        self.action_refresh()
        self.console.backups.look()
        self._timer = self.set_interval(LOOK_SECONDS, self._look_on)

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.stop()

    def on_resize(self) -> None:
        self._show_top()
        self._show_snapshot()
        self._show_doing(self.console.backups.doing, again=False)

    # Looking

    def action_refresh(self) -> None:
        """Look at everything again."""
        self.ask(partial(look, self.deployment.backup), self._seen, self._unseen, group="look")

    def _seen(self, seen: Look) -> None:
        self.seen = seen
        self._snapshots = {each.id: each for each in seen.snapshots}
        self._show_top()
        rows = [row(each) for each in seen.snapshots]
        self.query_one("#snapshots", Table).show(rows, self._empty(seen))
        self._show_snapshot()

    def _empty(self, seen: Look) -> str:
        if seen.place is None:
            return "b asks where the snapshots go, and makes the first."
        return "No snapshot yet: b makes the first."

    def _unseen(self, error: ConsoleError) -> None:
        self.query_one("#top", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), ("\n  " + clean(error.hint), "dim")
        )

    def _look_on(self) -> None:
        """See whether somebody else has begun or ended something: one small file."""
        if not self._looks and self.console.backups.doing is None:
            self._looks = True
            self.ask(self.deployment.backup.newest, self._looked, self._not_looked, group="newest")

    def _looked(self, newest: Action | None) -> None:
        self._looks = False
        if self.seen is not None and newest != self.seen.newest:
            self.action_refresh()
            self.console.backups.look()

    def _not_looked(self, _: ConsoleError) -> None:
        self._looks = False

    # Showing

    def _show_top(self) -> None:
        if self.seen is not None:
            self.query_one("#top", Facts).show(*top(self.seen, self.size.width - 4))

    def _show_doing(self, doing: Doing | None, again: bool = True) -> None:
        line = self.query_one("#doing", Facts)
        line.set_class(doing is not None, "-open")
        line.show(*going_on(doing, self.size.width >= WIDE))
        if doing is None and again and self.seen is not None and self.is_current:
            self.action_refresh()

    @on(Table.Moved, "#snapshots")
    def _show_snapshot(self) -> None:
        """Show what is known of the snapshot under the cursor: below the rows, or beside them."""
        snapshot = self.current()
        wide = self.size.width >= WIDE
        self.query_one("#more", Facts).show(*(pane(snapshot) if wide else ()))
        self.query_one("#detail", Facts).show(*(() if wide else brief(snapshot)))

    def marked(self) -> list[Snapshot]:
        return [self._snapshots[key] for key in self.query_one("#snapshots", Table).marked()]

    def current(self) -> Snapshot | None:
        return self._snapshots.get(self.query_one("#snapshots", Table).key or "")

    def older(self, snapshot: Snapshot) -> Snapshot | None:
        ids = list(self._snapshots)
        at = ids.index(snapshot.id) + 1
        return self._snapshots[ids[at]] if at < len(ids) else None

    # Looking closer

    @on(Table.Opened, "#snapshots")
    def action_browse(self) -> None:
        """Go into the snapshot under the cursor: its experiments, and their runs."""
        snapshot = self.current()
        if snapshot is None:
            return
        if snapshot.manifest is None or snapshot.manifest.database is None:
            self.action_details()
            return
        from console.tui.screens.backup_browse import BrowseScreen  # noqa: PLC0415  # first use

        self.app.push_screen(BrowseScreen(snapshot))

    def action_details(self) -> None:
        """Show all that is known of the snapshot under the cursor."""
        snapshot = self.current()
        if snapshot is not None:
            from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

            modal = DetailModal(named(snapshot), details(snapshot), copies=str(snapshot.path))
            self.app.push_screen(modal)

    def action_mark(self) -> None:
        self.query_one("#snapshots", Table).toggle_mark()

    def action_copy(self) -> None:
        if marked := self.marked():
            self.send("\n".join(str(each.path) for each in marked))

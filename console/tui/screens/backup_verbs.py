"""What can be done to snapshots: the question before each verb, and what is said after it."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from console.core import format as fmt
from console.core.backup.snapshot import PARTS, Part, Snapshot
from console.core.errors import UsageError
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.modals.line import LineModal
from console.tui.screens.backup_details import kept, pruned
from console.tui.screens.backup_words import moment, named

if TYPE_CHECKING:
    from console.core.backup.create import Needs
    from console.core.backup.lock import Holder
    from console.core.backup.restoring.restore_plan import RestorePlan
    from console.core.backup.retention import PrunePlan
    from console.core.backup.schedule import ScheduleState
    from console.tui.modals.snapshot_form import Wishes

USUAL_TIME = "03:00"
# What is said before something that goes on is asked to leave off.
STOPS = {
    "backup.create": "What was copied stays, and the next one goes on from there.",
    "backup.verify": "What was found broken by now stays marked.",
    "backup.drill": "The scratch parts are removed; nothing live was touched.",
    "backup.restore": "What was there before is brought back from the safety snapshot.",
    "backup.prune": "What is removed by now stays removed; the others stay.",
}


class BackupVerbs(AreaScreen):
    """The half of the screen that changes something, and asks before."""

    @abstractmethod
    def marked(self) -> list[Snapshot]:
        """The snapshots that are marked, or the one under the cursor."""

    @abstractmethod
    def current(self) -> Snapshot | None:
        """The snapshot under the cursor."""

    @abstractmethod
    def older(self, snapshot: Snapshot) -> Snapshot | None:
        """The one before it."""

    @abstractmethod
    def action_refresh(self) -> None:
        """Look at everything again."""

    # Making one

    def action_create(self) -> None:
        """Make a snapshot of everything at once; the first time, ask where it goes."""
        if self.deployment.backup.chosen:
            self.console.backups.do("backup.create", [{}])
        else:
            self._ask_place(self._first)

    def action_create_named(self) -> None:
        """Make one with a label, or of a part."""
        if self.deployment.backup.chosen:
            self._ask_wishes()
        else:
            self._ask_place(self._ask_wishes)

    def action_place(self) -> None:
        """Choose another folder for the snapshots."""
        self._ask_place(self.action_refresh)

    def _ask_place(self, then: Callable[[], None]) -> None:
        service = self.deployment.backup
        there = self.deployment.settings.backup.place or str(_usual(self.deployment.name))
        modal = LineModal(
            "Where do the snapshots go?", there,
            "A folder for this deployment alone, best on another disk than the store's; it is "
            "made where there is none.", lambda typed: service.choose(_folder(typed)),
        )  # fmt: skip

        def chosen(typed: str | None) -> None:
            if typed is not None:
                self.action_refresh()
                then()

        self.app.push_screen(modal, chosen)

    def _first(self) -> None:
        from console.tui.modals.snapshot_form import FirstSnapshotModal  # noqa: PLC0415

        def answered(yes: bool | None) -> None:
            if yes:
                self.console.backups.do("backup.create", [{}])

        service = self.deployment.backup
        place = clean(self.deployment.settings.backup.place, 300)
        self.app.push_screen(FirstSnapshotModal(place, service.needs), answered)

    def _ask_wishes(self) -> None:
        from console.tui.modals.snapshot_form import SnapshotFormModal  # noqa: PLC0415  # first use

        service = self.deployment.backup

        def needs(parts: Sequence[str]) -> Needs:
            return service.needs(cast("Sequence[Part]", parts or PARTS))

        def filled(wishes: Wishes | None) -> None:
            if wishes is not None:
                self.console.backups.do("backup.create", [wishes.options], clean(wishes.label, 40))

        self.app.push_screen(SnapshotFormModal(needs), filled)

    # Proving

    def action_verify(self) -> None:
        """Read every byte of the marked snapshots again."""
        marked = self.marked()
        if marked:
            about = marked[0].id if len(marked) == 1 else fmt.plural(len(marked), "snapshot")
            self.console.backups.do(
                "backup.verify", [{"wanted": each.id} for each in marked], about
            )

    def action_drill(self) -> None:
        """Try to restore the snapshot under the cursor, in scratch parts."""
        snapshot = self.current()
        if snapshot is not None:
            self.console.backups.do("backup.drill", [{"wanted": snapshot.id}], snapshot.id)

    # Bringing back

    def action_restore(self) -> None:
        """Show what would change, and ask."""
        snapshot = self.current()
        if snapshot is None:
            return
        from console.tui.modals.restore import RestoreModal  # noqa: PLC0415  # first use

        service, stack = self.deployment.backup, self.deployment.stack

        def plan(parts: Sequence[str]) -> RestorePlan:
            return service.restore_plan(snapshot.id, cast("Sequence[Part]", parts))

        held = snapshot.manifest.parts if snapshot.manifest else ()
        modal = RestoreModal(named(snapshot), held, plan, stack.at_work)

        def answered(yes: bool | None) -> None:
            if yes:
                options = {"wanted": snapshot.id, "parts": list(modal.parts)}
                self.console.backups.do("backup.restore", [options], snapshot.id)

        self.app.push_screen(modal, answered)

    # Looking closer

    def action_compare(self) -> None:
        """What changed between two marked snapshots, or since the one before."""
        marked = self.marked()
        if len(marked) == 1:
            before = self.older(marked[0])
            marked = [marked[0], before] if before is not None else []
        if len(marked) != 2:
            self.notify("Mark two snapshots with space, or one that has an older one", markup=False)
            return
        from console.tui.screens.backup_compare import CompareScreen  # noqa: PLC0415  # first use

        newer, older = marked  # the rows are newest first
        self.app.push_screen(CompareScreen(older, newer))

    def action_find(self) -> None:
        """Which snapshots hold a run."""
        modal = LineModal(
            "Which run?", "", "Its name, its id, or the beginning of its id.", _not_empty
        )

        def typed(wanted: str | None) -> None:
            if wanted is not None:
                from console.tui.screens.backup_found import FoundScreen  # noqa: PLC0415

                self.app.push_screen(FoundScreen(wanted.strip()))

        self.app.push_screen(modal, typed)

    # Keeping and clearing away

    def action_prune(self) -> None:
        """List what nothing asks to keep, and ask before it goes."""
        self.ask(self.deployment.backup.prune_plan, self._ask_prune, group="prune")

    def _ask_prune(self, plan: PrunePlan) -> None:
        going = [each.id for each in plan.going]
        if not going:
            from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

            title = "Nothing to remove: each snapshot has a reason to stay"
            self.app.push_screen(DetailModal(title, kept(plan)))
            return
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        def answered(yes: bool | None) -> None:
            if yes:
                about = fmt.plural(len(going), "snapshot")
                self.console.backups.do("backup.prune", [{"ids": going}], about)

        title, lines = pruned(plan)
        self.app.push_screen(ConfirmModal(title, "Remove", lines), answered)

    def action_schedule(self) -> None:
        """Ask when snapshots are made by a timer."""
        self.ask(self.deployment.backup.scheduled, self._ask_time, group="schedule")

    def _ask_time(self, now: ScheduleState) -> None:
        modal = LineModal(
            "When does a timer make a snapshot?", now.at or USUAL_TIME,
            'Every day at "03:00", or as systemd writes it: "Mon..Fri 06,18:00". Empty: no timer. '
            f"{clean(now.note)}", _check_time,
        )  # fmt: skip

        def typed(at: str | None) -> None:
            if at is not None:
                work = partial(self.deployment.backup.schedule, at.strip())
                self.ask(work, self._scheduled, group="schedule")

        self.app.push_screen(modal, typed)

    def _scheduled(self, now: ScheduleState) -> None:
        following = f"; the next one {moment(now.next_run)}" if now.next_run else ""
        said = f"A timer makes snapshots{following}" if now.installed else "No timer makes them"
        self.notify("\n".join(each for each in (said, clean(now.note)) if each), markup=False)
        self.action_refresh()

    def action_unlock(self) -> None:
        """Take the lock away whose holder is dead; the core refuses any other."""
        self.ask(self.deployment.backup.unlock, self._unlocked, group="unlock")

    def _unlocked(self, holder: Holder | None) -> None:
        said = "Nobody held the lock"
        if holder is not None:
            said = f"The lock of {clean(holder.by, 40)} on {clean(holder.host, 60)} is gone"
        self.notify(said, markup=False)
        self.action_refresh()

    # What goes on

    def action_stop(self) -> None:
        """Ask before what goes on is asked to leave off."""
        doing = self.console.backups.doing
        if doing is None:
            self.notify("Nothing goes on", markup=False)
            return
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        def answered(yes: bool | None) -> None:
            now = self.console.backups.doing
            if yes and now is not None and now.operation == doing.operation:
                self.console.backups.stop()

        whose = f", begun by {doing.by}" if doing.by else ""
        title = f"Stop {doing.words.doing}{whose}?"
        modal = ConfirmModal(title, "Stop it", [STOPS.get(doing.operation, "")])
        self.app.push_screen(modal, answered)


def _check_time(typed: str) -> None:
    """Refuse in the dialog what no timer could mean; on a thread, systemd may be asked."""
    from console.core.backup import schedule  # noqa: PLC0415  # first use

    if typed.strip():
        schedule.read(typed)


def _usual(name: str) -> Path:
    """Where backups are looked for, where nobody says anything else."""
    common = Path("/var/backups")
    if os.geteuid() == 0 and common.is_dir():
        return common / f"mlflow-{name}"
    return Path.home() / f"mlflow-{name}-backups"


def _folder(typed: str) -> Path:
    if not typed.strip():
        raise UsageError("Say which folder")
    return Path(typed.strip()).expanduser().absolute()


def _not_empty(typed: str) -> None:
    if not typed.strip():
        raise UsageError("Type a name or an id")

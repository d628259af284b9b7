"""The backup area: snapshots, and the proof that they restore."""

from __future__ import annotations

import builtins
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from console.core import actions
from console.core.actions import Action
from console.core.backup.place import Place, find, is_path
from console.core.backup.snapshot import PARTS, Experiment, Part, Run, Snapshot
from console.core.deployment import Deployment
from console.core.operations import OPERATIONS, operation
from console.core.progress import Progress

if TYPE_CHECKING:
    from console.core.backup.compare import Difference, Holding
    from console.core.backup.create import Needs
    from console.core.backup.lock import Holder
    from console.core.backup.lookout import Lookout
    from console.core.backup.restoring.restore_plan import RestorePlan
    from console.core.backup.retention import PrunePlan
    from console.core.backup.schedule import ScheduleState
    from console.core.stack.driver import Finding

# The modules behind the verbs are imported by them: `list`, which Home asks, needs few of them.


def _of_restore(*, wanted: str = "", parts: Sequence[Part] | None = None, **_: object) -> str:
    return f"{wanted}: {', '.join(parts)}" if parts else wanted


class BackupService:
    """Snapshots of a deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    # The place

    @property
    def place(self) -> Place:
        """Where the snapshots are.

        Raises:
            ConsoleError: None was chosen yet; says how.
        """
        return Place.of(self.deployment)

    @property
    def chosen(self) -> bool:
        """Whether a place was chosen, by whomever."""
        self.deployment.look_again()
        return bool(self.deployment.settings.backup.place)

    def choose(self, folder: Path) -> None:
        """Make a folder the place of the snapshots, in console.toml.

        Raises:
            ConsoleError: It cannot be used, and why; nothing was changed.
        """
        from console.core.backup import place  # noqa: PLC0415  # as above

        place.choose(self.deployment, folder)

    # Looking

    @operation("backup.list")
    def list(self) -> builtins.list[Snapshot]:
        """The snapshots of this deployment, newest first, broken ones too; [] without a place."""
        return self.place.snapshots() if self.chosen else []

    @operation("backup.show")
    def show(self, wanted: str) -> Snapshot:
        """One snapshot, by its id, the beginning of one, its label, "latest" or its folder.

        Raises:
            ConsoleError: There is none, or several are meant.
        """
        return find(self.deployment, wanted)

    def experiments(self, snapshot: Snapshot) -> builtins.list[Experiment]:
        """The experiments in a snapshot's dump, deleted ones too."""
        from console.core.backup import catalog  # noqa: PLC0415  # as above

        return catalog.experiments(snapshot.path)

    def runs(self, snapshot: Snapshot, experiment_id: str | None = None) -> Iterator[Run]:
        """The runs in a snapshot's dump, deleted ones too, of one experiment or of all."""
        from console.core.backup import catalog  # noqa: PLC0415  # as above

        return catalog.runs(snapshot.path, experiment_id)

    @operation("backup.diff")
    def diff(self, older: str, newer: str) -> Difference:
        """What came, went and changed between two snapshots; wanted as in `show`."""
        from console.core.backup import compare  # noqa: PLC0415  # as above

        return compare.difference(self.show(older), self.show(newer))

    @operation("backup.find")
    def find(self, run: str) -> Iterator[Holding]:
        """Which snapshots hold a run, by its id, the beginning of one, or its name."""
        from console.core.backup import compare  # noqa: PLC0415  # as above

        return compare.holding(self.list(), run)

    def findings(self) -> builtins.list[Finding]:
        """What is wrong with the backups: late, failed, shrunk, broken, not drilled; cheap."""
        from console.core.backup import findings  # noqa: PLC0415  # as above

        return findings.findings(self.deployment)

    @functools.cached_property
    def lookout(self) -> Lookout:
        """The same, for who looks every few seconds and may not be held up by a dead disk."""
        from console.core.backup.lookout import Lookout  # noqa: PLC0415  # as above

        return Lookout(self.deployment)

    def needs(self, parts: Sequence[Part] = PARTS) -> Needs:
        """What a snapshot would need and what is free, before the first byte."""
        from console.core.backup import create  # noqa: PLC0415  # as above

        return create.needs(self.deployment, parts)

    def holder(self) -> Holder | None:
        """Who holds the place's lock, and whether it lives; None when nobody does."""
        return self.place.lock.holder()

    # What takes long, in a process of its own

    def perform(
        self, operation_id: str, options: dict[str, object], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Do one of the verbs below in a process of its own, which outlives this one.

        Args:
            operation_id: "backup.create" and so on.
            options: The keyword arguments of the method, as JSON has them.
            cancel: Asks that process to leave off.

        Raises:
            BusyError: Something else is being done.
            ConsoleError: As the verb.
        """
        self.deployment.refuse_when_read_only(OPERATIONS[operation_id])
        wanted = options.get("wanted")
        if isinstance(wanted, str) and is_path(wanted):  # that process has another folder
            options = {**options, "wanted": os.path.abspath(wanted)}
        action = actions.begin(self.deployment, operation_id, options=options)
        yield from actions.follow(self.deployment, action, cancel)

    def current(self) -> Action | None:
        """What is being done to the snapshots now, by whomever."""
        return actions.current(self.deployment, "backup")

    def newest(self) -> Action | None:
        """What was done last, whether it goes on or not, and how it ended."""
        return actions.newest(self.deployment.paths, "backup")

    def follow(self, action: Action, cancel: threading.Event) -> Iterator[Progress]:
        """What an action that somebody has begun reports, from its beginning."""
        yield from actions.follow(self.deployment, action, cancel)

    @operation("backup.create", target=lambda **options: str(options.get("label") or ""))
    def create(
        self, *, cancel: threading.Event, parts: Sequence[Part] = PARTS, label: str = "",
        reason: Literal["asked", "scheduled"] = "asked",
    ) -> Iterator[Progress]:  # fmt: skip
        """Make a snapshot; the last report's label names it.

        A scheduled one also removes what nothing asks to keep, and is drilled when that is due.

        Args:
            cancel: Leaves off; the next call goes on where this one stopped.
            parts: What goes into it.
            label: Names and pins it.
            reason: Why it is made.

        Raises:
            DiskFullError: The place has too little room; who asks for one looks at `needs` first.
            BusyError: Another one works in the place.
        """
        from console.core.backup import create  # noqa: PLC0415  # as above

        yield from create.run(self.deployment, parts, label, reason, cancel)

    @operation("backup.verify", target=lambda **options: str(options.get("wanted") or ""))
    def verify(self, *, wanted: str = "latest", cancel: threading.Event) -> Iterator[Progress]:
        """Read every byte again, and mark what is broken in every snapshot that shares it.

        Args:
            wanted: As in `show`; "all" for every one.
            cancel: Leaves off; what was found broken stays marked.

        Raises:
            ConsoleError: Something is broken; says what.
        """
        from console.core.backup import verify  # noqa: PLC0415  # as above

        yield from verify.run(self.deployment, wanted, cancel)

    @operation("backup.drill", target=lambda **options: str(options.get("wanted") or ""))
    def drill(self, *, wanted: str = "latest", cancel: threading.Event) -> Iterator[Progress]:
        """Restore a snapshot into scratch parts, compare, and throw them away.

        Raises:
            ConsoleError: It does not restore, and why; or this machine is too small for it.
        """
        from console.core.backup.drilling import drill  # noqa: PLC0415  # as above

        yield from drill.run(self.deployment, wanted, cancel)

    def restore_plan(self, wanted: str, parts: Sequence[Part] | None = None) -> RestorePlan:
        """What restoring into this deployment would change; changes nothing.

        Args:
            wanted: As in `show`.
            parts: Which of its parts; None for database, artifacts and users, as far as it holds
                them.
        """
        from console.core.backup.restoring import restore_plan  # noqa: PLC0415  # as above

        return restore_plan.plan(self.deployment, wanted, parts)

    @operation("backup.restore", target=_of_restore)
    def restore(
        self, *, wanted: str, parts: Sequence[Part] | None = None, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Bring a snapshot back into this deployment; one that was interrupted is gone on with.

        Raises:
            ConsoleError: A step failed; everything is as it was before, or says what is not.
        """
        from console.core.backup.restoring import restore  # noqa: PLC0415  # as above

        yield from restore.run(self.deployment, wanted, parts, cancel)

    def restore_runs(
        self, wanted: str, run_ids: Sequence[str], cancel: threading.Event, again: bool = False
    ) -> Iterator[Progress]:
        """Bring single runs back as new ones, tagged with where they come from.

        One that was brought back already is named and left alone, unless `again` is given.
        """
        from console.core.backup.restoring import restore_runs  # noqa: PLC0415  # as above

        with self.deployment.change(OPERATIONS["backup.restore"], f"{wanted}: {' '.join(run_ids)}"):
            yield from restore_runs.run(self.deployment, wanted, run_ids, cancel, again)

    # Keeping and clearing away

    def prune_plan(self) -> PrunePlan:
        """Which snapshots would go, which stay and why; changes nothing."""
        from console.core.backup import retention  # noqa: PLC0415  # as above

        there, needed = self.list(), retention.needed(self.deployment)
        return retention.plan(self.deployment.settings.backup, there, needed)

    @operation("backup.prune", target=lambda **options: " ".join(map(str, options.get("ids", ()))))
    def prune(self, *, ids: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """Remove exactly these snapshots, as far as the plan still lets them go.

        Raises:
            ConsoleError: One of them must stay by now; nothing was removed.
        """
        from console.core.backup import pruning  # noqa: PLC0415  # as above

        yield from pruning.prune(self.deployment, ids, cancel)

    @operation("backup.schedule", target=lambda at="": at or "off")
    def schedule(self, at: str = "") -> ScheduleState:
        """Make snapshots by a timer, or by none.

        Args:
            at: As systemd's OnCalendar has it, or "HH:MM" for every day; "" removes the timer.

        Raises:
            ConsoleError: systemd is not there or refuses; with the line for cron.
        """
        from console.core.backup import schedule  # noqa: PLC0415  # as above

        return schedule.change(self.deployment, at)

    def scheduled(self) -> ScheduleState:
        """The timer as it is."""
        from console.core.backup import schedule  # noqa: PLC0415  # as above

        return schedule.look(self.deployment)

    @operation("backup.unlock")
    def unlock(self) -> Holder | None:
        """Take the place's lock away when its holder is provably dead.

        Returns:
            Who held it; None when nobody did.

        Raises:
            BusyError: The holder lives, or nobody here can tell.
        """
        return self.place.lock.clear()

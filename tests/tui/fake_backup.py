"""Backups made up in memory: a month of snapshots, good ones and others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from console.core.actions import Action
from console.core.backup.compare import Changes, Difference, Holding, Item
from console.core.backup.lock import Holder
from console.core.backup.retention import Fate, PrunePlan
from console.core.backup.schedule import ScheduleState
from console.core.backup.snapshot import (
    PARTS,
    Artifacts,
    Dump,
    Experiment,
    Manifest,
    Run,
    Snapshot,
    State,
)
from console.core.errors import BusyError, CancelledError, ConsoleError, UsageError
from console.core.progress import Progress
from console.core.stack.driver import Finding, Severity

if TYPE_CHECKING:
    from console.core.backup.create import Needs
    from console.core.backup.restoring.restore_plan import RestorePlan

NASTY = "[/foo] \x1b[31m 😀 a\nb\u202e"
PLACE = Path("/mnt/backups/lab")
# The same moment as `fake.NOW`, which imports this module.
NOW = datetime.fromisoformat("2026-11-23T14:02:11+00:00")
MORNING = NOW.replace(hour=8, minute=0, second=0)


def snapshot(days: float = 0, **changes: Any) -> Snapshot:
    """A whole one, verified on its day; `state` and `problem` are not the manifest's."""
    at = MORNING - timedelta(days=days)
    name, number = f"{at:%Y%m%d-%H%M%S}", 400 - int(days)
    state = changes.pop("state", State(verified_at=at + timedelta(minutes=9)))
    problem = changes.pop("problem", "")
    dump = Dump(
        kind="mysql", file="database/mlflow.sql.gz", bytes=214_000_000, revision="1bd49d398cd23",
        rows={"experiments": 12, "runs": 4_211 - 21 * int(days), "metrics": 3_100_444},
        began_at=at,
    )  # fmt: skip
    artifacts = Artifacts(
        objects=98_112 - 457 * int(days), bytes=11_800_000_000, new_bytes=126_000_000, changed=3,
        gone=1,
    )  # fmt: skip
    base = Manifest(
        id=name, sequence=number, reason="scheduled", deployment="lab", driver="compose",
        directory="/srv/mlflow", created_at=at, completed_at=at + timedelta(seconds=134),
        console="0.1.0", versions={"mlflow": "3.17.2", "database": "9.7.1", "store": "2026-09-16"},
        images={"tracking": "mlflow-console/mlflow@sha256:0123456789abcdef"}, parts=PARTS,
        database=dump, artifacts=artifacts, bytes=12_000_000_000, new_bytes=340_000_000,
    )  # fmt: skip
    return Snapshot(PLACE / name, msgspec.structs.replace(base, **changes), state, problem)


def snapshots() -> list[Snapshot]:
    """Newest first: usual ones, a labelled one, a part, a broken one and one nobody can read."""
    drilled = State(
        verified_at=MORNING - timedelta(days=10), drilled_at=MORNING - timedelta(days=10)
    )
    broken = State(
        verified_at=NOW - timedelta(days=40),
        broken=("artifacts/3/0123456789abcdef/artifacts/model.pkl", f"artifacts/3/{NASTY}"),
        broken_count=2,
    )  # fmt: skip
    return [
        snapshot(),
        snapshot(1, new_bytes=1_100_000_000),
        snapshot(2, label="before-the-upgrade", reason="asked"),
        snapshot(3.5, parts=("database", "users"), artifacts=None, bytes=214_000_000,
                 new_bytes=214_000_000, reason="asked", state=State()),
        snapshot(10, state=drilled),
        snapshot(31, state=broken),
        Snapshot(PLACE / "20261020-080000", None, State(), "its manifest.json was cut off"),
    ]  # fmt: skip


def experiments() -> list[Experiment]:
    names = ("resnet-cifar10", "tabular-baselines", NASTY, "empty")
    return [
        Experiment(str(number), name, "deleted" if name == NASTY else "active",
                   f"mlflow-artifacts:/{number}")
        for number, name in enumerate(names, 1)
    ]  # fmt: skip


def runs(experiment_id: str, count: int = 12) -> list[Run]:
    states = ("FINISHED", "RUNNING", "FAILED", "FINISHED", "KILLED")
    start = int(NOW.timestamp() * 1000)
    return [
        Run(f"{number:032x}", experiment_id, NASTY if number == 3 else f"calm-deer-{number}",
            states[number % 5], "deleted" if number == 2 else "active", "alice",
            start - 3_600_000 * number,
            None if number % 5 == 1 else start - 3_600_000 * number + 60_000 * number)
        for number in range(count)
    ]  # fmt: skip


def plan(wanted: Snapshot, parts: Sequence[str]) -> RestorePlan:
    """What coming back to a snapshot of this morning means."""
    from console.core.backup.restoring.restore_plan import RestorePlan

    lines = {
        "database": (
            "3 runs that are not there now come back, 12 that came since go, 4,196 as they were "
            "then",
            "0 experiments that are not there now come back, 1 that came since goes, 11 as they "
            "were then",
            "the database holds exactly what the dump holds then: what was logged since is gone",
        ),
        "artifacts": (
            "17 artifacts (214 MB) are written to the store, 98,095 are there as they were",
        ),
        "users": ("users: carol comes back; dora is lost; the passwords are those of then",),
    }
    return RestorePlan(
        wanted, tuple(each for each in PARTS if each in parts),
        (*(line for part in parts for line in lines[part]),
         "a safety snapshot of everything as it is now comes first; should a step fail, that is "
         "brought back"),
        (), 460_000_000, 1_400_000_000_000,
    )  # fmt: skip


def action(operation: str = "backup.create", **changes: Any) -> Action:
    base = Action("a1", operation, (), "bob", 4711, 0.0, NOW - timedelta(minutes=2))
    return msgspec.structs.replace(base, **changes)


def timer(at: str, **changes: Any) -> ScheduleState:
    """One that waits for tomorrow; none without a time."""
    following = MORNING + timedelta(days=1) if at else None
    base = ScheduleState("mlflow-console-lab:backup.timer", bool(at), bool(at), bool(at), at,
                         next_run=following)  # fmt: skip
    return replace(base, **changes)


@dataclass
class FakeBackup:
    """The backups; what is done to them is written into `done`."""

    settings: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(place=str(PLACE)))
    held: list[Snapshot] = field(default_factory=snapshots)
    problems: list[Finding] = field(default_factory=list)
    going_on: Action | None = None
    last: Action | None = None
    lock: Holder | None = None
    notes: tuple[str, ...] = ()
    fails: ConsoleError | None = None
    reports: Sequence[Progress] = (Progress("20261123-140211: 4,211 runs; 12 GB, 340 MB new"),)
    block: threading.Event | None = None
    done: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    stopped: int = 0
    surplus: tuple[str, ...] = ()
    timer: ScheduleState = field(default_factory=lambda: timer("08:00"))
    place: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(path=PLACE, free_bytes=1_400_000_000_000)
    )

    @property
    def chosen(self) -> bool:
        return bool(self.settings.place)

    def choose(self, folder: Path) -> None:
        if folder.name == "full":
            raise UsageError(f"{folder} is not empty", "Choose an empty folder.")
        self.settings.place = str(folder)

    def list(self) -> list[Snapshot]:
        if self.fails is not None:
            raise self.fails
        return list(self.held) if self.chosen else []

    def findings(self) -> list[Finding]:  # type: ignore[valid-type]  # `list` is the verb above
        return self.problems

    def needs(self, parts: Sequence[str] = PARTS) -> Needs:
        from console.core.backup.create import Needs

        return Needs(12_400_000_000, 1_400_000_000_000, 98_112, 11_800_000_000, 126_000_000,
                     self.notes)  # fmt: skip

    def holder(self) -> Holder | None:
        return self.lock

    def current(self) -> Action | None:
        return self.going_on

    def newest(self) -> Action | None:
        return self.going_on or self.last

    def follow(self, action: Action, cancel: threading.Event) -> Iterator[Progress]:
        yield from self._work(cancel)
        self.going_on = None

    def perform(
        self, operation_id: str, options: dict[str, object], cancel: threading.Event
    ) -> Iterator[Progress]:
        if self.going_on is not None:
            raise BusyError("bob has begun `backup create`, and it goes on", "Wait for it.")
        self.done.append((operation_id, options))
        yield from self._work(cancel)

    def _work(self, cancel: threading.Event) -> Iterator[Progress]:
        yield from self.reports
        if self.block is not None:
            while not self.block.wait(0.02):
                if cancel.is_set():
                    self.stopped += 1
                    raise CancelledError("Stopped; what was copied is kept", "b goes on.")
        if self.fails is not None:
            raise self.fails

    def experiments(self, wanted: Snapshot) -> list[Experiment]:  # type: ignore[valid-type]  # above
        return experiments()

    def runs(self, wanted: Snapshot, experiment_id: str | None = None) -> Iterator[Run]:
        for each in experiments()[:3]:
            if experiment_id in (None, each.experiment_id):
                yield from runs(each.experiment_id)

    def restore_plan(self, wanted: str, parts: Sequence[str] | None = None) -> RestorePlan:
        found = next(each for each in self.held if each.id == wanted)
        if found.manifest is None:
            raise ConsoleError(found.problem, "Choose another snapshot.")
        return plan(found, parts or ("database", "artifacts", "users"))

    def restore_runs(
        self, wanted: str, run_ids: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        self.done.append(("restore_runs", {"wanted": wanted, "runs": list(run_ids)}))
        yield Progress("runs", len(run_ids), len(run_ids), "runs")

    def diff(self, older: str, newer: str) -> Difference:
        runs_ = Changes(21, 1, 1, items=(
            Item("came", f"{1:032x}", "calm-deer-1"), Item("went", f"{2:032x}", NASTY),
            Item("changed", f"{3:032x}", "calm-deer-3", "RUNNING → FINISHED"),
        ))  # fmt: skip
        key = f"1/{1:032x}/artifacts/model/model.pkl"
        came = Item("came", key, detail="126 MB")
        return Difference(
            older=older, newer=newer, experiments=Changes(), runs=runs_,
            artifacts=Changes(457, 0, 3, 126_000_000, 0, 900, (came,)),
            users=Changes(0, 0, 1, items=(Item("changed", "carol", "", "switched off"),)),
            versions=Changes(0, 0, 1, items=(Item("changed", "mlflow", "", "3.17.1 → 3.17.2"),)),
        )  # fmt: skip

    def find(self, run: str) -> Iterator[Holding]:
        for each in self.held[:3]:
            if each.manifest is not None and run.startswith("calm"):
                found = next(one for one in runs("1") if one.name == "calm-deer-7")
                yield Holding(
                    snapshot=each.id, label=each.manifest.label, run=found,
                    created_at=each.manifest.created_at, experiment="resnet-cifar10",
                )  # fmt: skip

    def prune_plan(self) -> PrunePlan:
        going = [each for each in self.held if each.id in self.surplus]
        return PrunePlan(
            tuple(Fate(each, ("no rule keeps it",)) for each in going),
            tuple(Fate(each, ("one of the last 3", "of the day 2026-11-23"))
                  for each in self.held if each not in going),
            4_200_000_000,
        )  # fmt: skip

    def scheduled(self) -> ScheduleState:
        return self.timer

    def schedule(self, at: str = "") -> ScheduleState:
        if at == "04:04":
            raise ConsoleError("systemd does not run this machine", "cron does the same: 4 4 * * *")
        self.done.append(("backup.schedule", {"at": at}))
        self.timer = timer(at)
        return self.timer

    def unlock(self) -> Holder | None:
        before, self.lock = self.lock, None
        return before


def unplaced() -> FakeBackup:
    """Nobody has chosen a place yet."""
    fake = FakeBackup(held=[], timer=timer(""))
    fake.settings.place = ""
    fake.notes = (
        "It is the same disk as the database and the artifacts: what takes that disk takes the "
        "snapshots with it",
    )  # fmt: skip
    return fake


def surplus() -> FakeBackup:
    """Two that nothing asks to keep."""
    fake = FakeBackup()
    fake.surplus = (fake.held[1].id, fake.held[3].id)
    return fake


def ill_backup() -> FakeBackup:
    """Late, shrunk, failed to restore, and locked by somebody who is dead."""
    since = NOW - timedelta(hours=5)
    words = f"it came up, but 12 of 4,190 runs are missing {NASTY}"
    failed = State(drill_error=words, drill_failed_at=NOW - timedelta(hours=2))
    fake = FakeBackup(held=[snapshot(1, state=failed), *snapshots()[3:]], timer=timer(""))
    fake.problems = [
        Finding("backup-late", Severity.WARNING, "", "The last snapshot is 30 hours old"),
        Finding("backup-drill-failed", Severity.ERROR, "", f"The last drill failed: {words}"),
    ]
    fake.lock = Holder("root", "gpu2", 812, since, "backup of lab", since, False)
    return fake

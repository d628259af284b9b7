"""Which snapshots stay, whatever there is; and removing the others, whatever happens meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.backup import retention
from console.core.backup.lock import Lock
from console.core.backup.restoring.restore_journal import Journal, write
from console.core.backup.retention import PrunePlan, decide
from console.core.backup.snapshot import PARTS, Part, Snapshot, State
from console.core.deployment import Deployment
from console.core.errors import BusyError, CancelledError, ConsoleError
from console.core.settings import BackupSettings
from tests.support import places
from tests.support.places import BEGAN, manifest, snapshot

NEVER = threading.Event()
USUAL = BackupSettings()
ONE = BackupSettings(keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)


def ids(fates: Sequence[retention.Fate]) -> list[str]:
    return [each.id for each in fates]


def reasons(plan: PrunePlan) -> dict[str, str]:
    return {each.id: each.why for each in (*plan.staying, *plan.going)}


def several(hours: Sequence[float], **others: object) -> list[Snapshot]:
    """Snapshots that were made at these hours, in this order; newest first."""
    made = [manifest(at + 1, BEGAN + timedelta(hours=hour), **others)  # type: ignore[arg-type]
            for at, hour in enumerate(hours)]  # fmt: skip
    return [Snapshot(Path("/nowhere") / each.id, each, State()) for each in reversed(made)]


def changed(one: Snapshot, **others: object) -> Snapshot:
    assert one.manifest is not None
    return msgspec.structs.replace(one, manifest=msgspec.structs.replace(one.manifest, **others))


# What the settings keep


def test_a_year_and_more_of_one_every_six_hours() -> None:
    every = several(range(0, 24 * 430, 6))
    plan = decide(USUAL, every)
    kept = [each.snapshot.manifest.created_at for each in plan.staying if each.snapshot.manifest]
    assert kept[:3] == [BEGAN + timedelta(hours=24 * 430 - 6 * back) for back in (1, 2, 3)]
    days = {each.date() for each in kept}
    assert {(kept[0] - timedelta(days=back)).date() for back in range(7)} <= days
    assert len({each.isocalendar()[:2] for each in kept}) >= 5
    assert len({(each.year, each.month) for each in kept}) == 12
    assert len(kept) <= 3 + 7 + 5 + 12
    again = decide(USUAL, [each.snapshot for each in plan.staying])
    assert ids(again.staying) == ids(plan.staying)


def test_the_newest_of_a_day_is_the_one_that_was_made_last() -> None:
    settings = BackupSettings(keep_last=1, keep_daily=2, keep_weekly=0, keep_monthly=0)
    every = several([0, 1, 2, 24, 25, 26])
    assert ids(decide(settings, every).staying) == [every[0].id, every[3].id]


def test_a_clock_that_was_set_back_moves_no_snapshot() -> None:
    # The second one was made "in 2027"; then the clock was put right.
    every = several([0, 24 * 365, 1, 2])
    plan = decide(BackupSettings(keep_last=2, keep_daily=1, keep_weekly=0, keep_monthly=0), every)
    assert ids(plan.staying) == [every[0].id, every[1].id]


def test_the_reasons_are_said() -> None:
    every = several([0, 1, 48])
    every[2] = changed(every[2], label="v1")
    every[1] = msgspec.structs.replace(every[1], state=State(verified_at=BEGAN))
    said = reasons(decide(ONE, every))
    assert said == {
        every[0].id: "the last one",
        every[1].id: "the last one that was verified",
        every[2].id: "pinned as v1",
    }
    said = reasons(decide(BackupSettings(keep_last=1, keep_daily=1), every))
    assert said[every[0].id].startswith("the last one; of the day 2026-03-03; of the week")


# What is doubtful


@pytest.mark.parametrize("what", ["runs", "objects", "bytes"])
def test_a_shrunk_one_displaces_nothing(what: str) -> None:
    every = several([0, 1, 2, 3])
    small = {"runs": {"runs": 4}, "objects": {"objects": 49}, "bytes": {"bytes": 49_999}}[what]
    newest = several([0, 1, 2, 3, 4], **small)[0]
    plan = decide(ONE, [newest, *every])
    assert ids(plan.staying) == [newest.id, every[0].id]
    half = {"runs": {"runs": 5}, "objects": {"objects": 50}, "bytes": {"bytes": 50_000}}[what]
    newest = several([0, 1, 2, 3, 4], **half)[0]
    assert ids(decide(ONE, [newest, *every]).staying) == [newest.id]


def test_it_is_compared_with_the_best_of_the_last_ones() -> None:
    big, small = several([0], runs=100), several(range(1, 5), runs=10)
    assert "shrank to 10 runs from 100 runs" in retention.doubt(small[0], [*small[1:], *big])
    many = several(range(1, 2 + retention.LOOKED_BACK), runs=10)
    assert retention.doubt(many[0], [*many[1:], *big]) == ""  # it has been so for long


def test_what_undoes_a_restore_stays_for_a_week() -> None:
    every = several([0, 1, 2, 3, 4])
    safety = every[3] = changed(every[3], reason="safety")
    made = safety.manifest.created_at if safety.manifest else BEGAN
    week = timedelta(days=retention.SAFETY_DAYS)
    plan = decide(ONE, every, now=made + week - timedelta(minutes=1))
    assert ids(plan.staying) == [every[0].id, safety.id]
    assert reasons(plan)[safety.id] == "it undoes a restore: kept for 7 days"
    plan = decide(ONE, every, now=made + week)
    assert ids(plan.staying) == [every[0].id]


def test_an_incomplete_one_displaces_nothing() -> None:
    whole, users = several([0]), several([0, 1], parts=["users"])[0]
    assert ids(decide(ONE, [users, *whole]).staying) == [users.id, whole[0].id]
    assert ids(decide(ONE, [*several([0, 1, 2])[:1], users, *whole]).going) == [
        users.id, whole[0].id,
    ]  # fmt: skip


def test_a_broken_one_displaces_nothing() -> None:
    good, other = reversed(several([0, 1]))
    broken = msgspec.structs.replace(other, state=State(broken=("a",), broken_count=1))
    assert ids(decide(ONE, [broken, good]).staying) == [broken.id, good.id]
    unreadable = Snapshot(other.path, None, State(), "it makes no sense")
    plan = decide(ONE, [unreadable, good])
    assert ids(plan.staying) == [unreadable.id, good.id]
    assert "by hand" in plan.staying[0].why


def test_one_that_was_made_before_a_restore_displaces_nothing() -> None:
    every = several([0, 1])
    every[0] = changed(every[0], reason="safety")
    assert ids(decide(ONE, every).staying) == [each.id for each in every]


def test_what_a_restore_needs_stays() -> None:
    every = several([0, 1, 2])
    assert ids(decide(ONE, every, {every[2].id}).going) == [every[1].id]


# Whatever there is

MOMENTS = st.none() | st.integers(0, 10_000).map(lambda hours: BEGAN + timedelta(hours=hours))


@st.composite
def stocks(draw: st.DrawFn) -> list[Snapshot]:
    """Any snapshots, newest first."""
    found = []
    hour = 0
    for sequence in range(draw(st.integers(0, 14))):
        hour += draw(st.integers(-30, 200))
        parts: list[Part] = draw(
            st.just(list(PARTS)) | st.lists(st.sampled_from(PARTS), min_size=1, unique=True)
        )
        made = manifest(
            sequence + 1, BEGAN + timedelta(hours=hour), parts=parts,
            runs=draw(st.sampled_from([0, 3, 10, 40])), objects=draw(st.sampled_from([0, 50, 200])),
            label=draw(st.sampled_from(["", "", "", f"label{sequence}"])),
            reason=draw(st.sampled_from(["asked", "scheduled", "safety"])),
        )  # fmt: skip
        broken = draw(st.sampled_from([0, 0, 0, 2]))
        state = State(verified_at=draw(MOMENTS), drilled_at=draw(MOMENTS), broken_count=broken)
        path = Path("/nowhere") / f"{made.id}-{sequence}"
        if draw(st.sampled_from([False] * 5 + [True])):
            found.append(Snapshot(path, None, state, "it makes no sense"))
        else:
            found.append(Snapshot(path, made, state))
    return found[::-1]


SETTINGS = st.builds(
    BackupSettings, keep_last=st.integers(1, 4), keep_daily=st.integers(0, 4),
    keep_weekly=st.integers(0, 4), keep_monthly=st.integers(0, 4),
)  # fmt: skip


@given(SETTINGS, stocks())
def test_what_never_goes(settings: BackupSettings, every: list[Snapshot]) -> None:
    plan = decide(settings, every)
    staying, going = ids(plan.staying), ids(plan.going)
    assert sorted([*staying, *going]) == sorted(each.id for each in every)
    assert staying == [each.id for each in every if each.id in staying]
    assert all(each.why for each in (*plan.staying, *plan.going))
    usable = [each for each in every if each.manifest]
    unharmed = [each for each in usable if not each.state.broken_count]
    for each in every:
        pinned = each.manifest and each.manifest.label
        if pinned or not each.manifest:
            assert each.id in staying
    for proof in ("verified_at", "drilled_at"):
        proven = [each for each in usable if getattr(each.state, proof)]
        if proven:
            assert max(proven, key=lambda each: getattr(each.state, proof)).id in staying
        assert {each.id for each in proven if each in unharmed} == set() or any(
            each.id in staying for each in proven if each in unharmed
        )
    for part in PARTS:
        holding = [each for each in usable if each.manifest and part in each.manifest.parts]
        whole = [each for each in holding if each in unharmed]
        assert not holding or any(each.id in staying for each in holding)
        assert not whole or whole[0].id in staying
    if usable:
        assert usable[0].id in staying


@given(SETTINGS, stocks(), st.sampled_from(["broken", "incomplete", "safety", "shrunk"]))
def test_nothing_doubtful_displaces_what_is_sound(
    settings: BackupSettings, every: list[Snapshot], how: str
) -> None:
    usable = [each for each in every if each.manifest]
    sound = {each.id for at, each in enumerate(usable)
             if not retention.doubt(each, usable[at + 1 :])}  # fmt: skip
    before = set(ids(decide(settings, every).staying)) & sound
    made = manifest(99, BEGAN + timedelta(days=900), runs=900, objects=900)
    newest = Snapshot(Path("/nowhere/newest"), made, State(verified_at=BEGAN, drilled_at=BEGAN))
    if how == "broken":
        newest = msgspec.structs.replace(newest, state=State(broken_count=1))
    elif how == "incomplete":
        newest = changed(newest, parts=("users", "database"))
    elif how == "safety":
        newest = changed(newest, reason="safety")
    else:
        newest = changed(newest, bytes=0, database=None)
    plan = decide(settings, [newest, *every])
    if retention.doubt(newest, usable):
        assert before <= set(ids(plan.staying))
    assert newest.id in ids(plan.staying)


# What is freed


def filled(place: Path, sequence: int, links_of: Path | None = None, count: int = 3) -> Snapshot:
    """A snapshot with files of 8 KiB: two that it shares with another one, and one of its own."""
    made = snapshot(place, manifest(sequence))
    (made.path / "artifacts" / "1").mkdir(parents=True)
    for number in range(count):
        name = f"artifacts/1/file{number}"
        if links_of is not None and number > 0:
            os.link(links_of / name, made.path / name)
        else:
            (made.path / name).write_bytes(os.urandom(8192))
    return made


def test_what_others_share_is_not_freed(tmp_path: Path) -> None:
    first = filled(tmp_path, 1)
    second = filled(tmp_path, 2, first.path)
    third = filled(tmp_path, 3, second.path)
    beside = sum(path.stat().st_blocks * 512 for path in first.path.glob("*.json"))
    plan = retention.plan(ONE, [third, second, first])
    assert ids(plan.going) == [second.id, first.id]
    assert (plan.freed_bytes, plan.exact) == (2 * 8192 + 2 * beside, True)


def test_where_there_is_no_time_it_is_that_much_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = filled(tmp_path, 1)
    second = filled(tmp_path, 2)
    monkeypatch.setattr(retention, "MEASURE_SECONDS", -1.0)
    plan = retention.plan(ONE, [second, first])
    assert (plan.freed_bytes, plan.exact) == (0, False)


# Removing


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = places.placed(tmp_path)
    for name in ("keep_daily", "keep_weekly", "keep_monthly"):
        text = deployment.paths.settings.read_text()
        start = text.index(name)
        end = text.index("\n", start)
        deployment.paths.settings.write_text(f"{text[:start]}{name} = 0{text[end:]}")
    return Deployment.open(str(deployment.directory))


def stocked(deployment: Deployment, most: int = 6) -> list[Snapshot]:
    place, made = deployment.backup.place.path, list[Snapshot]()
    for sequence in range(1, most + 1):
        made.insert(0, filled(place, sequence, made[0].path if made else None))
    return made


def test_exactly_these_go(deployment: Deployment, tmp_path: Path) -> None:
    every = stocked(deployment)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (every[5].path / "artifacts" / "link").symlink_to(tmp_path / "precious")
    (every[5].path / "link").symlink_to(tmp_path / "precious")
    assert ids(deployment.backup.prune_plan().going) == [each.id for each in every[3:]]
    said = list(deployment.backup.prune(ids=[every[5].id, every[4].id], cancel=NEVER))
    assert said[-1].label.startswith("2 snapshots removed; ")
    assert [each.id for each in deployment.backup.list()] == [each.id for each in every[:4]]
    assert (tmp_path / "precious" / "file").exists()
    assert len(list((every[3].path / "artifacts" / "1").iterdir())) == 3
    assert not list(deployment.backup.place.path.glob(".pruning-*"))


def test_one_that_must_stay_by_now_is_refused(deployment: Deployment) -> None:
    every = stocked(deployment)
    wanted = [each.id for each in deployment.backup.prune_plan().going]
    assert every[4].manifest is not None
    (every[4].path / "manifest.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(every[4].manifest, label="v1"))
    )
    for strange, why in ((every[4].id, "pinned as v1; nothing was removed"),
                         (every[0].id, "one of the last 3"), ("20200101-000000", "no snapshot"),
                         ("../lab", "no snapshot")):  # fmt: skip
        with pytest.raises(ConsoleError, match=why):
            list(deployment.backup.prune(ids=[wanted[0], strange], cancel=NEVER))
    assert len(deployment.backup.list()) == 6


def test_what_a_restore_that_broke_off_needs_stays(deployment: Deployment) -> None:
    every = stocked(deployment)
    write(deployment.paths, Journal(
        snapshot=str(every[5].path), safety=str(every[4].path), parts=PARTS, by="ada",
        started_at=BEGAN,
    ))  # fmt: skip
    assert ids(deployment.backup.prune_plan().going) == [every[3].id]
    with pytest.raises(ConsoleError, match="a restore needs it"):
        list(deployment.backup.prune(ids=[every[5].id], cancel=NEVER))


def test_somebody_works_in_the_place(deployment: Deployment) -> None:
    stocked(deployment)
    held = threading.Event()
    over = threading.Event()

    def other() -> None:
        with Lock(deployment.backup.place.path).holding("backup of lab"):
            held.set()
            over.wait()

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    try:
        with pytest.raises(BusyError, match="in use by"):
            list(deployment.backup.prune(ids=[], cancel=NEVER))
    finally:
        over.set()
        thread.join()


def test_what_was_begun_is_gone_on_with(deployment: Deployment) -> None:
    every = stocked(deployment)
    place, cancel = deployment.backup.place.path, threading.Event()
    reports = deployment.backup.prune(ids=[every[5].id, every[4].id], cancel=cancel)
    next(reports)
    next(reports)
    cancel.set()
    with pytest.raises(CancelledError, match="Stopped; 1 removed"):
        list(reports)
    begun = place / f".pruning-{every[4].id}"
    every[4].path.rename(begun)  # as a kill leaves it
    (place / ".pruning-link").symlink_to(every[0].path)
    cancel.clear()
    list(deployment.backup.prune(ids=[every[4].id], cancel=cancel))
    assert not begun.exists()
    assert [each.id for each in deployment.backup.list()] == [each.id for each in every[:4]]
    assert (every[0].path / "manifest.json").exists()


PRUNE = """
import sys, threading
from console.core.deployment import Deployment
backup = Deployment.open(sys.argv[1]).backup
going = [each.id for each in backup.prune_plan().going]
print(flush=True)
for _ in backup.prune(ids=going, cancel=threading.Event()):
    pass
"""


def test_kill_at_any_moment_leaves_whole_snapshots_alone(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    first = filled(place, 1, count=40)
    for sequence in range(2, 30):
        filled(place, sequence, first.path, count=40)
    stay = {each.id for each in deployment.backup.list()[:3]}
    dice = random.Random()  # noqa: S311  # pytest-randomly says which seed
    killed = 0
    while deployment.backup.prune_plan().going:
        child = subprocess.Popen(
            [sys.executable, "-c", PRUNE, str(deployment.directory)], stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(dice.random() * 0.02)
        child.kill()
        killed += child.wait() == -9
        child.stdout.close()
        for each in deployment.backup.list():
            assert each.problem == ""
            assert len(list((each.path / "artifacts" / "1").iterdir())) == 40
    list(deployment.backup.prune(ids=[], cancel=NEVER))
    assert {each.id for each in deployment.backup.list()} == stay
    assert not list(place.glob(".pruning-*"))
    assert deployment.backup.holder() is None
    assert killed > 0

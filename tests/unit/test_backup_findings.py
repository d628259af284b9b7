"""What is wrong with the backups, and that nobody waits for a place which does not answer."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from console.core import actions, files, machine, systemd
from console.core.actions import Action
from console.core.backup import findings, lookout, schedule
from console.core.backup.lock import Lock
from console.core.backup.place import MARKER, Marker
from console.core.backup.records import save_state
from console.core.backup.restoring.restore_journal import Journal, write
from console.core.backup.snapshot import PARTS, State
from console.core.deployment import Deployment
from console.core.stack import status
from console.core.stack.driver import Finding, Room, Severity
from tests.support import places
from tests.support.places import manifest, snapshot
from tests.unit.test_backup_lock import dead, leave

NOW = datetime.now(UTC)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(systemd.Timer, "folder", tmp_path / "units")
    return places.placed(tmp_path)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def found(deployment: Deployment) -> dict[str, Finding]:
    every = deployment.backup.findings()
    assert len({each.id for each in every}) == len(every)
    return {each.id: each for each in every}


def chosen(deployment: Deployment, at: datetime) -> None:
    path = deployment.backup.place.path / MARKER
    marker = msgspec.json.decode(path.read_bytes(), type=Marker)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(marker, chosen_at=at)))


def timer(deployment: Deployment, at: str = "03:00") -> None:
    folder = systemd.Timer.folder
    assert isinstance(folder, Path)
    folder.mkdir()
    for unit in schedule.units(folder, "lab", deployment.directory, schedule.read(at)):
        unit.path.write_text(unit.text)


def ended(deployment: Deployment, outcome: str, at: datetime, error: str = "") -> None:
    action = Action("1", "backup.create", (), "ada", 1, 1.0, at, at, outcome, error)  # type: ignore[arg-type]
    files.make_folder(deployment.paths.run)
    files.write_atomic(actions.record(deployment.paths, "backup"), msgspec.json.encode(action))


def good(deployment: Deployment, **ages: float) -> None:
    """A snapshot with which nothing is wrong, of this age."""
    at = ago(**(ages or {"minutes": 5}))
    snapshot(deployment.backup.place.path, manifest(1, at), State(drilled_at=at))


def test_nobody_wants_snapshots_here(tmp_path: Path) -> None:
    assert places.bare(tmp_path / "lab").backup.findings() == []


def test_silence_on_success(deployment: Deployment) -> None:
    assert found(deployment) == {}
    good(deployment)
    assert found(deployment) == {}


# Late and failed


@pytest.mark.parametrize(
    ("ages", "late"), [({"hours": 29}, False), ({"hours": 31}, True), ({"days": 400}, True)]
)
def test_late_by_the_timer(deployment: Deployment, ages: dict[str, float], late: bool) -> None:
    timer(deployment)
    good(deployment, **ages)
    assert ("backup-late" in found(deployment)) is late
    if late:
        title = found(deployment)["backup-late"].title
        assert title.endswith("old; its timer makes one every 1 day")


def test_late_without_a_timer(deployment: Deployment) -> None:
    good(deployment, days=6)
    assert found(deployment) == {}
    snapshot(deployment.backup.place.path, manifest(2, ago(days=6, hours=1), parts=["users"]))
    assert found(deployment) == {}


def test_late_after_a_week_without_a_timer(deployment: Deployment) -> None:
    good(deployment, days=8)
    snapshot(deployment.backup.place.path, manifest(2, ago(minutes=1), parts=["users"]))
    said = found(deployment)["backup-late"]
    assert (said.severity, said.fix) == (Severity.WARNING, "mlflow-console backup create")
    assert said.title.startswith("The newest complete snapshot is 8 days old; no timer makes any")


def test_what_cron_makes_is_known_by_its_rhythm(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    for sequence, hours in ((1, 100), (2, 12), (3, 8), (4, 4)):
        made = manifest(sequence, ago(hours=hours), reason="scheduled")
        snapshot(place, made, State(drilled_at=NOW))
    assert found(deployment) == {}
    for each in place.glob("2*"):
        path = each / "manifest.json"
        moved = msgspec.json.decode(path.read_bytes())
        for name in ("created_at", "completed_at"):
            moved[name] = (datetime.fromisoformat(moved[name]) - timedelta(hours=5)).isoformat()
        path.write_bytes(msgspec.json.encode(moved))
    assert "until now one came every 4 hours" in found(deployment)["backup-late"].title


def test_none_was_ever_made(deployment: Deployment) -> None:
    chosen(deployment, ago(days=8))
    assert found(deployment)["backup-late"].title.startswith("No complete snapshot was ever made")


def test_not_while_one_is_made(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(deployment, ago(days=8))
    action = Action("1", "backup.create", (), "ada", 1, 1.0, NOW)
    monkeypatch.setattr(actions, "current", lambda *_: action)
    assert found(deployment) == {}


def test_a_clock_that_was_set_back_is_told_as_that(deployment: Deployment) -> None:
    timer(deployment)
    at = NOW + timedelta(days=400)
    snapshot(deployment.backup.place.path, manifest(1, at), State(drilled_at=NOW))
    said = found(deployment)
    assert list(said) == ["backup-late"]
    assert "the clock was set back, or was wrong then" in said["backup-late"].title
    snapshot(deployment.backup.place.path, manifest(2, ago(minutes=1)))
    assert found(deployment) == {}


def test_the_last_attempt_failed(deployment: Deployment) -> None:
    good(deployment, hours=2)
    ended(deployment, "failed", ago(hours=1), "The disk is full")
    said = found(deployment)["backup-failed"]
    assert said.title.endswith("failed: The disk is full")
    snapshot(deployment.backup.place.path, manifest(2, ago(minutes=50)))
    ended(deployment, "done", ago(minutes=50))
    assert found(deployment) == {}


def test_the_last_attempt_was_killed(deployment: Deployment) -> None:
    ended(deployment, "running", ago(hours=1))
    assert found(deployment)["backup-failed"].title.endswith("failed: its process was killed")


@pytest.mark.parametrize("outcome", ["cancelled", "done"])
def test_one_that_a_person_stopped(deployment: Deployment, outcome: str) -> None:
    ended(deployment, outcome, ago(hours=1), "Stopped")
    assert found(deployment) == {}


def test_what_comes_with_a_scheduled_one_failed(deployment: Deployment) -> None:
    good(deployment, hours=1)
    ended(deployment, "failed", ago(hours=2), "The snapshots are in use")
    said = found(deployment)["backup-failed"].title
    assert said == "After the last snapshot was made: The snapshots are in use"


# Small, broken, not proven


def test_the_newest_shrank(deployment: Deployment) -> None:
    good(deployment, hours=2)
    snapshot(deployment.backup.place.path, manifest(2, ago(hours=1), runs=4))
    said = found(deployment)["backup-shrank"]
    assert said.title.endswith("is suspiciously small: it shrank to 4 runs from 10 runs")
    assert said.severity is Severity.WARNING


def test_what_was_there_before_a_restore_may_be_less(deployment: Deployment) -> None:
    good(deployment, hours=2)
    less = manifest(2, ago(hours=1), runs=4, reason="safety")
    snapshot(deployment.backup.place.path, less)
    assert "backup-shrank" not in found(deployment)


def test_an_older_one_is_broken(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    snapshot(place, manifest(1, ago(hours=3)), State(broken=("a",), broken_count=1))
    snapshot(place, manifest(2, ago(hours=2)), State(drilled_at=NOW))
    said = found(deployment)["backup-broken"]
    assert (said.severity, said.detail) == (Severity.WARNING, "1 broken file")
    assert said.fix == "mlflow-console backup create, then mlflow-console backup verify"


@pytest.mark.parametrize("unreadable", [False, True])
def test_it_is_history_when_a_newer_one_was_verified(
    deployment: Deployment, unreadable: bool
) -> None:
    place = deployment.backup.place.path
    bad = State(broken=("a",), broken_count=1)
    made = snapshot(place, manifest(1, ago(hours=5), label="v1"), bad)
    if unreadable:
        (made.path / "manifest.json").write_bytes(b"{")
    good = State(verified_at=NOW, drilled_at=NOW)
    snapshot(place, manifest(2, ago(hours=4), parts=["users"]), good)
    snapshot(place, manifest(3, ago(hours=3)), State(drilled_at=NOW))
    assert list(found(deployment)) == ["backup-broken"]  # not all of it, or not verified
    whole = snapshot(place, manifest(4, ago(hours=2)), good)
    assert found(deployment) == {}
    newer = snapshot(place, manifest(5, ago(hours=1)), bad)
    assert found(deployment)["backup-broken"].title.endswith(newer.id)
    shutil.rmtree(newer.path)
    save_state(whole.path, State(verified_at=NOW, drilled_at=NOW, broken=("a",), broken_count=1))
    assert list(found(deployment)) == ["backup-broken"]


@pytest.mark.parametrize("how", ["files", "manifest"])
def test_the_newest_is_broken(deployment: Deployment, how: str) -> None:
    good(deployment, hours=3)
    place = deployment.backup.place.path
    made = snapshot(place, manifest(2, ago(hours=2)), State(broken=("a",), broken_count=1))
    if how == "manifest":
        (made.path / "manifest.json").write_bytes(b"{")
    said = found(deployment)["backup-broken"]
    assert said.severity is Severity.ERROR
    assert said.title == f"The newest snapshot cannot be relied on: {made.id}"


def test_drills(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    old = snapshot(place, manifest(1, ago(days=31)))
    snapshot(place, manifest(2, ago(hours=1)))
    said = found(deployment)["drill-late"]
    assert said.title.startswith("No snapshot was ever drilled, and the oldest is 31 days old")
    (old.path / "state.json").write_bytes(msgspec.json.encode(State(drilled_at=ago(days=29))))
    assert found(deployment) == {}
    (old.path / "state.json").write_bytes(msgspec.json.encode(State(drilled_at=ago(days=32))))
    assert found(deployment)["drill-late"].title.startswith("The last drill was 32 days ago")


def test_a_drill_that_failed(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    failed = State(drill_error="the dump is cut short", drill_failed_at=ago(hours=2))
    made = snapshot(place, manifest(1, ago(hours=3)), failed)
    said = found(deployment)["drill-failed"]
    assert said.title == f"{made.id} did not restore in a drill: the dump is cut short"
    snapshot(place, manifest(2, ago(hours=1)), State(drilled_at=ago(minutes=30)))
    assert found(deployment) == {}  # a newer one restores


# The place


def test_a_disk_that_is_not_mounted(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    (place / MARKER).unlink()
    said = found(deployment)["place-missing"]
    assert "Mount its disk" in said.fix
    place.rename(place.with_name("elsewhere"))
    assert found(deployment)["place-missing"].title.endswith("is not there")


def test_somebody_elses_place(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "machine_id", lambda: "another")
    path = deployment.backup.place.path / MARKER
    marker = msgspec.json.decode(path.read_bytes(), type=Marker)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(marker, machine="one")))
    assert list(found(deployment)) == ["place-taken"]


def test_another_console_chose_it(deployment: Deployment, tmp_path: Path) -> None:
    text = deployment.paths.settings.read_text()
    deployment.paths.settings.write_text(text.replace("lab-snapshots", "gone"))
    assert f"{tmp_path}/gone" in found(deployment)["place-missing"].title


def test_the_same_disk(deployment: Deployment) -> None:
    (deployment.directory / "data" / "artifacts").mkdir(parents=True)
    assert list(found(deployment)) == ["backup-same-disk"]


def test_the_same_disk_as_a_volume(deployment: Deployment) -> None:
    sizes = os.statvfs(deployment.backup.place.path)
    total, free = sizes.f_frsize * sizes.f_blocks, sizes.f_frsize * sizes.f_bavail
    rooms = [Room("store", "lab_store", total, free), Room("database", "lab_db", total * 2, free)]
    (said,) = findings.findings(deployment, rooms)
    assert said.title.endswith("on the same disk as the data of store")


def test_a_dead_lock(deployment: Deployment) -> None:
    place = deployment.backup.place.path
    leave(place, dead())
    said = found(deployment)["backup-lock-dead"]
    assert said.fix == "mlflow-console backup unlock"
    deployment.backup.unlock()
    with Lock(place).holding("backup of lab"):
        assert found(deployment) == {}


def test_a_restore_that_changed_nothing(tmp_path: Path) -> None:
    deployment = places.bare(tmp_path / "lab")
    begun = Journal(snapshot="/usb/20260301-080000", parts=PARTS, by="ada", started_at=NOW,
                    done="closed")  # fmt: skip
    write(deployment.paths, begun)
    said = found(deployment)["restore-interrupted"]
    assert said.title.endswith("broke off before anything was changed")
    assert said.fix.endswith("goes on with it; mlflow-console up gives it up")


def test_a_restore_that_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = places.bare(tmp_path / "lab")  # no place was ever chosen
    write(deployment.paths, Journal(
        snapshot="/usb/20260301-080000", safety="", parts=PARTS, by="ada", started_at=NOW,
        done="database",
    ))  # fmt: skip
    said = found(deployment)["restore-interrupted"]
    assert said.severity is Severity.ERROR
    assert said.title == (
        f"Restoring 20260301-080000 was begun by ada at {NOW:%Y-%m-%d %H:%M} UTC and broke off in "
        "the middle"
    )
    assert said.fix == "mlflow-console backup restore 20260301-080000 goes on with it"
    action = Action("1", "backup.restore", (), "ada", 1, 1.0, NOW)
    monkeypatch.setattr(actions, "current", lambda *_: action)
    [going_on] = found(deployment).values()
    assert (going_on.id, going_on.fix) == ("restoring", "wait for it")
    monkeypatch.undo()
    (deployment.paths.run / "restore.json").write_bytes(b"{")
    assert found(deployment)["restore-interrupted"].severity is Severity.ERROR


# Looking without being held up


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A place that does not answer until the event is set."""
    answers = threading.Event()

    def hang(*_: object) -> list[Finding]:
        answers.wait()
        return []

    monkeypatch.setattr(findings, "findings", hang)
    yield answers
    answers.set()


def test_the_status_tells_it(deployment: Deployment) -> None:
    (deployment.backup.place.path / MARKER).unlink()
    seen = status.look(deployment, measure=False)
    assert [each.id for each in seen.findings] == ["stopped", "place-missing"]


def test_a_dead_place_holds_nobody_up(
    deployment: Deployment, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "HANGS_SECONDS", 0.05)
    watched = lookout.Lookout(deployment)
    before = set(threading.enumerate())
    assert watched.findings() == ()
    time.sleep(0.1)
    for _ in range(5):
        (said,) = watched.findings()
        assert said.id == "place-missing"
        assert said.title.endswith("does not answer")
    assert len(set(threading.enumerate()) - before) == 1  # one look at most
    hanging.set()
    while set(threading.enumerate()) - before:
        time.sleep(0.01)
    assert watched.findings() == ()


def test_one_look_a_minute(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def look(*_: object) -> list[Finding]:
        looked.append(1)
        return [Finding("x", Severity.WARNING, "", "")]

    monkeypatch.setattr(findings, "findings", look)
    watched = lookout.Lookout(deployment)
    for _ in range(3):
        assert len(watched.findings(5)) == 1
    assert len(looked) == 1
    ended(deployment, "done", NOW)  # something was done to the snapshots
    watched.findings(5)
    assert len(looked) == 2
    monkeypatch.setattr(lookout, "EVERY_SECONDS", 0.0)
    watched.findings(5)
    assert len(looked) == 3


def test_a_defect_is_told(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[Finding]:
        raise ValueError("x")

    monkeypatch.setattr(findings, "findings", fail)
    (said,) = lookout.Lookout(deployment).findings(5)
    assert said.title == "The backups cannot be judged: ValueError: x"

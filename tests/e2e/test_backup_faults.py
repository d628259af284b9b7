"""What goes wrong with backups: kills, full disks, flipped bits, two at once, a clock set back."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from console.core import settings
from console.core.backup.restoring import restore_journal
from console.core.backup.restoring.restore import STEPS
from console.core.backup.restoring.restore_journal import Journal
from console.core.backup.snapshot import MAKING, Snapshot
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, DiskFullError
from console.core.secrets import Secret
from console.core.stack.driver import Verb
from tests.support import deployments, engine, machine, snapshots

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("backup"), pytest.mark.timeout(900)]

ALICE = ("alice", "correct horse battery")
RUN = "from console.cli.main import run; run()"
ARTIFACTS = 300
KILLS = int(os.environ.get("BACKUP_KILLS", "5"))
CHANCE = random.SystemRandom()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server with some runs and artifacts, and a place for snapshots."""
    directory = tmp_path_factory.mktemp("faults") / "lab"
    with deployments.ended(directory):
        made = deployments.create(directory, (ALICE[0], Secret(ALICE[1])))
        deployments.up(made)
        with snapshots.client(made, ALICE) as client:
            experiment = client.create_experiment("faults")
            for number in range(5):
                run = client.create_run(experiment, run_name=f"run {number}")
                client.log_metric(run.info.run_id, "loss", float(number))
                client.set_terminated(run.info.run_id)
        folder = made.paths.artifacts / experiment / run.info.run_id / "artifacts"
        folder.mkdir(parents=True)
        for number in range(ARTIFACTS):
            (folder / f"{number}.bin").write_bytes(os.urandom(CHANCE.randrange(20_000)))
        yield made
        deployments.down(made)


@pytest.fixture
def place(running: Deployment, tmp_path: Path) -> Path:
    """A new place for each test."""
    folder = tmp_path / "snapshots"
    running.backup.choose(folder)
    return folder


def worker(deployment: Deployment, operation: str, **options: object) -> subprocess.Popen[bytes]:
    """A verb in a process of its own, as both front ends start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "console.core.worker", str(deployment.directory), operation,
         json.dumps(options)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed(deployment: Deployment, operation: str, after: float, **options: object) -> bool:
    """Kill a verb after so many seconds; False when it was done before."""
    child = worker(deployment, operation, **options)
    try:
        child.wait(after)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == -signal.SIGKILL


def live(deployment: Deployment) -> tuple[set[str], dict[str, bytes]]:
    """What the deployment holds: its runs, and every artifact."""
    root = deployment.paths.artifacts
    held = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    return {row.run_id for row in deployment.database.runs()}, held


def no_lie(deployment: Deployment) -> list[Snapshot]:
    """Every snapshot that is listed is whole, by every byte of it."""
    found = deployment.backup.list()
    for each in found:
        assert each.problem == ""
        for _ in deployment.backup.verify(wanted=each.id, cancel=threading.Event()):
            pass
    return found


def measured(deployment: Deployment, operation: str, **options: object) -> float:
    """How long a verb takes here now."""
    began = time.monotonic()
    child = worker(deployment, operation, **options)
    _, said = child.communicate()
    assert child.returncode == 0, said
    return time.monotonic() - began


def test_create_killed_anywhere(running: Deployment, place: Path) -> None:
    """Whole or not at all; what is live is as it was; the next one goes on and ends."""
    before = live(running)
    seconds = measured(running, "backup.create")
    shutil.rmtree(place)
    running.backup.choose(place)
    ends = [killed(running, "backup.create", CHANCE.uniform(0.1, seconds)) for _ in range(KILLS)]
    assert any(ends)
    no_lie(running)
    left = running.backup.list()
    measured(running, "backup.create")
    assert len(no_lie(running)) == len(left) + 1
    assert not (place / MAKING).exists()
    promised = snapshots.promised(running.backup.list()[0])
    assert len(promised) >= ARTIFACTS
    assert live(running) == before
    snapshots.tell(
        f"create killed at {sum(ends)} random moments",
        f"{len(left)} whole snapshots, none half; the next create went on and ended; live data "
        "as it was", "",
    )  # fmt: skip


def test_prune_killed_anywhere(running: Deployment, place: Path) -> None:
    """A snapshot is there whole or it is gone; those that stay are untouched."""
    settings.edit(running.paths.settings, "backup", {"keep_last": 1})
    deployment = Deployment.open(str(running.directory))
    made = [snapshots.make(deployment).id for _ in range(3)]
    for _ in deployment.backup.verify(cancel=threading.Event()):
        pass
    going = [each.id for each in deployment.backup.prune_plan().going]
    assert sorted(going) == made[:2]
    whole = place.with_name("whole")
    shutil.copytree(place, whole, symlinks=True)
    seconds = measured(deployment, "backup.prune", ids=going)
    assert [each.id for each in no_lie(deployment)] == made[2:]
    ends = 0
    for _ in range(KILLS):
        shutil.rmtree(place)
        shutil.copytree(whole, place, symlinks=True)
        ends += killed(deployment, "backup.prune", CHANCE.uniform(0.1, seconds), ids=going)
        assert {each.id for each in no_lie(deployment)} >= set(made[2:])
    measured(deployment, "backup.create")  # and whatever was left is no hindrance
    no_lie(deployment)
    snapshots.tell(f"prune killed at {ends} random moments",
                   "each snapshot whole or gone; those that stay untouched", "")  # fmt: skip


def test_restore_killed_anywhere(running: Deployment, place: Path) -> None:
    """Killed again and again, it goes on and ends; what was there before is in the safety one."""
    then = snapshots.make(running)
    runs, held = live(running)
    with snapshots.client(running, ALICE) as client:
        experiment = client.get_experiment_by_name("faults").experiment_id
        late = client.create_run(experiment, run_name="late").info.run_id
    victim = next(running.paths.artifacts.rglob("7.bin"))
    victim.write_bytes(b"changed since")
    kills = 0
    for _ in range(KILLS):
        if not killed(running, "backup.restore", CHANCE.uniform(0.3, 6), wanted=then.id):
            break
        kills += 1
        no_lie(running)
    if restore_journal.read(running.paths) is not None or not kills:
        measured(running, "backup.restore", wanted=then.id)
    now, files = live(running)
    assert now == runs
    assert files == held
    safety = [each for each in no_lie(running)
              if each.manifest and each.manifest.reason == "safety"]  # fmt: skip
    assert safety
    assert any(late in {run.run_id for run in running.backup.runs(each)} for each in safety)
    assert running.stack.status().healthy
    snapshots.tell(
        f"restore killed at {kills} random moments, one after the other",
        "the same command went on and ended; runs and artifacts those of the snapshot, what was "
        "there before in the safety snapshot", "",
    )  # fmt: skip


def broken_off(deployment: Deployment, wanted: str, step: str) -> Journal:
    """Kill a restore after one of its steps."""
    child = worker(deployment, "backup.restore", wanted=wanted)
    engine.wait_until(lambda: (begun := restore_journal.read(deployment.paths)) and (
        STEPS.index(begun.done or STEPS[0]) >= STEPS.index(step)), 120, step)  # fmt: skip
    child.send_signal(signal.SIGKILL)
    child.communicate()
    # Where it got further than that, the server that it was starting.
    for _ in deployment.driver.act(Verb.DOWN, (), threading.Event()):
        pass
    begun = restore_journal.read(deployment.paths)
    assert begun is not None
    return begun


def must_take_runs(deployment: Deployment, name: str) -> str:
    """Log a run, by MLflow's client and for good: the file that is read is the one written to."""
    with snapshots.client(deployment, ALICE) as client:
        experiment = client.get_experiment_by_name("faults").experiment_id
        run_id = str(client.create_run(experiment, run_name=name).info.run_id)
    assert run_id in {row.run_id for row in deployment.database.runs()}
    return run_id


def test_a_restore_that_broke_off_lets_nobody_in_until_its_end(
    running: Deployment, place: Path
) -> None:
    """Neither `up` nor a snapshot takes what is half of both for whole; going on shuts it again."""
    then = snapshots.make(running)
    late = must_take_runs(running, "late")
    begun = broken_off(running, then.id, "database")
    status = running.stack.status()
    assert [each.id for each in status.findings][:2] == ["restore-interrupted", "stopped"]
    assert (status.at_rest, status.findings[1].fix) == (False, "")
    for verb in ("stack.up", "stack.start", "stack.restart"):
        with pytest.raises(ConsoleError, match="broke off in the middle") as error:
            for _ in running.stack.perform(verb, (), threading.Event()):
                pass
    with pytest.raises(ConsoleError, match="broke off in the middle"):
        snapshots.make(running)
    assert len(running.backup.list()) == 2
    # Past the console somebody starts it all the same.
    for _ in running.driver.act(Verb.UP, (), threading.Event()):
        pass
    plan = running.backup.restore_plan(then.id)
    assert plan.warnings[0].endswith("broke off in the middle: it goes on")
    snapshots.perform(running, "backup.restore", wanted=then.id)
    assert late not in {row.run_id for row in running.database.runs()}
    must_take_runs(running, "after it")
    snapshots.tell("server started after a restore was killed", "refused until it is at its end",
                   error.value)  # fmt: skip
    assert begun.safety


def test_a_restore_killed_before_it_changed_anything_is_given_up(
    running: Deployment, place: Path
) -> None:
    """Nothing of it is in the way: neither of a snapshot, nor of `up`."""
    then = snapshots.make(running)
    for _ in running.driver.act(Verb.DOWN, (), threading.Event()):
        pass
    begun = Journal(snapshot=str(then.path), parts=("database",), by="ada",
                    started_at=datetime.now(UTC), done="closed")  # fmt: skip
    restore_journal.write(running.paths, begun)
    [first, *_] = running.stack.status().findings
    assert (first.id, first.title.endswith("before anything was changed")) == (
        "restore-interrupted", True,
    )  # fmt: skip
    assert first.fix.endswith("; mlflow-console up gives it up")
    snapshots.make(running)
    for _ in running.stack.perform("stack.up", (), threading.Event()):
        pass
    assert restore_journal.read(running.paths) is None
    must_take_runs(running, "after it")


def test_a_restore_that_broke_off_is_given_up_for_another_snapshot(
    running: Deployment, place: Path
) -> None:
    """What was there before comes back from the safety snapshot, and that is the end of it."""
    then = snapshots.make(running)
    late = must_take_runs(running, "late")
    begun = broken_off(running, then.id, "database")
    safety = Path(begun.safety).name
    plan = running.backup.restore_plan(safety)
    assert plan.warnings[0].endswith("broke off in the middle: this one comes back instead")
    said = snapshots.perform(running, "backup.restore", wanted=safety)
    assert said[-1] == f"{safety} is back"
    assert restore_journal.read(running.paths) is None
    assert late in {row.run_id for row in running.database.runs()}
    assert [each.id for each in running.backup.list()] == [safety, then.id]
    must_take_runs(running, "after it")


def flip(path: Path) -> None:
    """Turn over one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)  # the same inode: whoever shares it has it too


@pytest.mark.parametrize("what", ["dump", "artifact", "manifest"])
def test_a_flipped_bit(running: Deployment, place: Path, what: str) -> None:
    """It is found, named, never brought back, and never handed on to the next snapshot."""
    first, second = snapshots.make(running), snapshots.make(running)
    assert second.manifest is not None
    assert second.manifest.database is not None
    name = {
        "dump": second.manifest.database.file,
        "artifact": next(str(path.relative_to(second.path)) for path in second.path.rglob("9.bin")),
        "manifest": "manifest.json",
    }[what]
    flip(second.path / name)
    with pytest.raises(ConsoleError, match=Path(name).name) as error:
        for _ in running.backup.verify(wanted=str(second.path), cancel=threading.Event()):
            pass
    snapshots.tell(f"a bit flipped in the {what}", "found by verify, marked, never handed on",
                   error.value)  # fmt: skip
    listed = {each.id: each for each in running.backup.list()}
    if what == "manifest":
        assert listed[second.id].problem
    else:
        assert listed[second.id].state.broken == (name,)
    if what == "artifact":
        assert listed[first.id].state.broken == (name,)  # it shares the file
    else:
        assert listed[first.id].state.broken == ()
        with pytest.raises(ConsoleError):
            running.backup.restore_plan(second.id)
    third = snapshots.make(running)
    for _ in running.backup.verify(wanted=third.id, cancel=threading.Event()):
        pass
    assert restore_journal.read(running.paths) is None


def test_a_place_that_is_too_small(running: Deployment, tmp_path: Path) -> None:
    """Refused before the first byte."""
    with machine.small_disk(tmp_path / "disk", "8m") as disk:
        running.backup.choose(disk / "snapshots")
        with pytest.raises(DiskFullError, match="nothing was begun"):
            list(running.backup.create(reason="scheduled", cancel=threading.Event()))
        assert list(running.backup.place.path.glob(".making")) == []
        with pytest.raises(DiskFullError, match="are free") as error:
            snapshots.make(running)
        snapshots.tell("too little room", "refused before the first byte", error.value)
        assert running.backup.list() == []


def test_two_at_once(running: Deployment, place: Path) -> None:
    """The second is told who is at it."""
    with (
        running.backup.place.lock.holding("another one"),
        subprocess.Popen(
            [sys.executable, "-c", RUN, "--deployment", str(running.directory),
             "backup", "create"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as child,
    ):  # fmt: skip
        _, said = child.communicate(timeout=60)
        assert child.returncode == 1
        assert str(os.getpid()) in said
        snapshots.tell("two at once", "the second is refused", said.strip())
    snapshots.make(running)
    assert len(no_lie(running)) == 1


def test_the_clock_set_back(running: Deployment, place: Path) -> None:
    """The order stays, no snapshot takes the name of another, and it is said."""
    first = snapshots.make(running)
    with time_machine.travel(datetime.now(UTC) - timedelta(days=400), tick=True):
        titles = [each.title for each in running.backup.findings()]
        assert any("clock" in title for title in titles)
        snapshots.tell("the clock set back by 400 days", "order and names of snapshots stay right",
                       next(title for title in titles if "clock" in title))  # fmt: skip
        second = snapshots.make(running)
        found = running.backup.list()
        assert [each.id for each in found] == [second.id, first.id]
    assert second.id < first.id
    no_lie(running)

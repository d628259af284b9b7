"""The drill on the real stack: what it finds, who can reach it, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.core.backup.records import load_state
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError
from console.core.stack import compose_scratch
from console.core.stack.scratch import TooSmallError
from tests.support import deployments, drills, engine, stacks

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-drill"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running stack with runs and one snapshot."""
    directory = tmp_path_factory.mktemp("drilled") / "lab-drill"
    with stacks.stack(directory) as made:
        deployments.up(made)
        drills.fill(made)
        drills.snapshot(made, directory.parent / "place")
        yield Deployment.open(str(directory))


@pytest.fixture
def place(stack: Deployment) -> Path:
    return stack.directory.parent / "place"


@pytest.fixture
def good(stack: Deployment) -> Path:
    return stack.backup.list()[-1].path


@pytest.fixture
def broken(good: Path, tmp_path: Path) -> Path:
    """A copy of the snapshot, for a test to break."""
    return drills.copy(good, tmp_path)


def scratch_containers(stack: Deployment) -> dict[str, dict[str, Any]]:
    """What the engine says of the scratch containers, by part."""
    label = f"label={compose_scratch.LABEL}={stack.directory}"
    found = engine.docker("ps", "--quiet", "--no-trunc", "--filter", label).split()
    every = json.loads(engine.docker("inspect", *found)) if found else []
    return {each["Config"]["Labels"][f"{compose_scratch.LABEL}.part"]: each for each in every}


def live_containers(stack: Deployment) -> list[tuple[str, str | None, int]]:
    return [(each.name, str(each.started_at), each.restarts) for each in stack.driver.services()]


def check_that_nobody_reaches_them(stack: Deployment) -> None:
    made = scratch_containers(stack)
    database, tracking = made["database"], made["tracking"]
    assert database["HostConfig"]["NetworkMode"] == "none"
    assert tracking["HostConfig"]["NetworkMode"] == f"container:{database['Id']}"
    running = {each.name: each for each in stack.driver.services()}
    for each in made.values():
        assert not each["NetworkSettings"].get("Ports")
        assert not any(net.get("IPAddress") for net in each["NetworkSettings"]["Networks"].values())
        assert 0 < each["HostConfig"]["Memory"] <= 1_000_000_000
        assert each["HostConfig"]["OomScoreAdj"] == 500
        assert each["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
        # A volume of its own at the most, and never a folder or volume of the live stack.
        named = [mount for mount in each["Mounts"] if len(mount.get("Name", "")) != 64]
        assert named == []
        assert each["Config"]["Image"] in {
            json.loads(engine.docker("inspect", "--type", "image", service.image))[0]["Id"]
            for service in running.values()
        }


def test_after_a_killed_one_a_good_snapshot_restores_and_nothing_is_left(
    stack: Deployment, good: Path, place: Path
) -> None:
    live = live_containers(stack)
    script = (
        "import sys, threading\nfrom console.core.deployment import Deployment\n"
        "backup = Deployment.open(sys.argv[1]).backup\n"
        "for step in backup.drill(wanted=sys.argv[2], cancel=threading.Event()):\n"
        "    print(step.label, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(stack.directory), good.name],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert any(line.startswith("loading the dump") for line in child.stdout)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(drills.left(stack, place)) == 3
    killed = {each["Id"] for each in scratch_containers(stack).values()}

    steps = stack.backup.drill(wanted="latest", cancel=threading.Event())
    assert any(step.label.startswith("looking through MLflow's client") for step in steps)
    now = {each["Id"] for each in scratch_containers(stack).values()}
    assert (len(now), now & killed) == (2, set())
    check_that_nobody_reaches_them(stack)
    *_, last = (step.label for step in steps)
    assert last == f"{good.name} restores: 3 experiments, 6 runs, 18 artifacts looked at"
    state = load_state(good)
    assert state.drilled_at is not None
    assert (state.drill_error, state.drill_failed_at) == ("", None)
    assert drills.left(stack, place) == []
    assert live_containers(stack) == live
    assert stack.stack.status().healthy


def cut_file(folder: Path) -> None:
    path = drills.dump_file(folder)
    path.write_bytes(path.read_bytes()[:-100])


def without_its_end(folder: Path) -> None:
    drills.change_dump(folder, lambda content: content[: content.rindex(b"-- Dump completed")])


def half_of_it(folder: Path) -> None:
    drills.change_dump(folder, lambda content: content[: len(content) // 2])


def lose_an_artifact(folder: Path) -> None:
    next((folder / "artifacts").rglob("some.bin")).unlink()


def newer_schema(folder: Path) -> None:
    old = str(drills.manifest(folder)["database"]["revision"]).encode()
    drills.set_database(folder, revision="f" * len(old))
    drills.change_dump(folder, lambda content: content.replace(old, b"f" * len(old)))


@pytest.mark.parametrize(
    ("breaking", "sentence"),
    [
        (cut_file, "is cut short"),
        (without_its_end, "ends before the dump was whole"),
        (half_of_it, "ends before the dump was whole"),
        (lose_an_artifact, r"the artifact \d/[0-9a-f]{32}/artifacts/deep/.* is missing$"),
        (newer_schema, r"its schema \(f+, of MLflow 3.17.2\) is newer than what this server's "
         "MLflow 3.17.2 knows"),
    ],
)  # fmt: skip
def test_what_does_not_restore_is_found(
    stack: Deployment, broken: Path, breaking: Callable[[Path], None], sentence: str
) -> None:
    breaking(broken)
    with pytest.raises(ConsoleError, match=sentence) as caught:
        drills.drill(stack, str(broken))
    assert caught.value.message.startswith(f"{broken.name} does not restore: ")
    state = load_state(broken)
    assert state.drill_error
    assert state.drill_failed_at is not None
    assert state.drilled_at is None
    assert drills.left(stack, broken.parent) == []


def test_rows_that_are_not_there_and_a_cancel(stack: Deployment, broken: Path) -> None:
    """Both need a loaded database; the first one ends before MLflow is started."""
    rows = drills.manifest(broken)["database"]["rows"]
    assert isinstance(rows, dict)
    drills.set_database(broken, rows=rows | {"metrics": 25})
    with pytest.raises(
        ConsoleError, match="the table metrics holds 24 rows after loading, 25 were"
    ):
        drills.drill(stack, str(broken))
    assert drills.left(stack, broken.parent) == []
    before = load_state(broken)
    cancel = threading.Event()
    steps = stack.backup.drill(wanted=str(broken), cancel=cancel)
    assert any(step.label.startswith("starting a scratch database") for step in steps)
    cancel.set()
    with pytest.raises(CancelledError):
        list(steps)
    assert load_state(broken) == before
    assert drills.left(stack, broken.parent) == []


def test_a_machine_that_is_too_small_is_told_before_anything_is_started(
    stack: Deployment, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_scratch, "TRACKING_BYTES", 10**15)
    with pytest.raises(TooSmallError, match=r"needs up to 1.0 PB of memory, and the engine's"):
        drills.drill(stack, str(broken))
    assert load_state(broken).drill_error == ""  # no word about the snapshot
    assert drills.left(stack, broken.parent) == []

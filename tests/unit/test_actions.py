"""What is done in a process of its own: records of two areas, and who excludes whom."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from console.core import actions, files, machine
from console.core.actions import MODULE, Action
from console.core.deployment import Deployment
from console.core.errors import BusyError, ConsoleError
from tests.support import places

NEVER = threading.Event()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return places.placed(tmp_path)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a worker."""
    script = "import sys, time; print(flush=True); time.sleep(300)"
    child = subprocess.Popen([sys.executable, "-c", script, MODULE], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()  # by now it is what it will be
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def going_on(deployment: Deployment, operation: str, pid: int) -> Action:
    began = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    action = Action("1", operation, (), "ada", pid, 1.0, began, ticks=machine.ticks(pid))
    path = actions.record(deployment.paths, actions.area_of(operation))
    files.write_atomic(path, msgspec.json.encode(action))
    return action


def test_a_verb_of_the_backup_area_runs_in_a_worker(deployment: Deployment) -> None:
    said = [each.label for each in deployment.backup.perform("backup.prune", {"ids": []}, NEVER)]
    assert said[-1].startswith("0 snapshots removed")
    newest = deployment.backup.newest()
    assert newest is not None
    assert (newest.operation, newest.outcome, newest.options) == (
        "backup.prune",
        "done",
        {"ids": []},
    )
    assert newest.words == "backup prune"
    assert (deployment.backup.current(), deployment.stack.current()) == (None, None)
    assert not (deployment.paths.run / "action.json").exists()


def test_its_error_is_that_of_the_verb(deployment: Deployment) -> None:
    with pytest.raises(ConsoleError, match="There is no snapshot yet") as caught:
        list(deployment.backup.perform("backup.verify", {"wanted": "latest"}, NEVER))
    assert "backup create" in caught.value.hint


def test_a_path_is_meant_as_it_is_typed_here(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConsoleError, match=f"{tmp_path}/here/there has no manifest.json"):
        list(deployment.backup.perform("backup.verify", {"wanted": "here/there"}, NEVER))


@pytest.mark.parametrize(
    ("first", "second"),
    [("backup.restore", "stack.down"), ("stack.restart", "backup.restore"),
     ("backup.restore", "backup.create"), ("backup.create", "backup.verify"),
     ("stack.up", "stack.down")],
)  # fmt: skip
def test_who_is_in_the_way_is_named(
    deployment: Deployment, sleeper: subprocess.Popen[bytes], first: str, second: str
) -> None:
    action = going_on(deployment, first, sleeper.pid)
    with pytest.raises(BusyError, match=f"ada has begun `{action.words}` at 2026-03-01 08:30:00"):
        actions.begin(deployment, second)


@pytest.mark.parametrize(
    ("first", "second"), [("backup.create", "stack.restart"), ("stack.pull", "backup.create")]
)
def test_others_go_on_beside_each_other(
    deployment: Deployment, sleeper: subprocess.Popen[bytes], first: str, second: str
) -> None:
    going_on(deployment, first, sleeper.pid)
    assert actions.in_the_way(deployment, second) is None


def test_the_status_tells_of_what_stops_services(
    deployment: Deployment, sleeper: subprocess.Popen[bytes]
) -> None:
    going_on(deployment, "backup.create", sleeper.pid)
    assert actions.stopping(deployment) is None
    restoring = going_on(deployment, "backup.restore", sleeper.pid)
    assert actions.stopping(deployment) == restoring


def test_the_same_with_other_options_is_something_else(
    deployment: Deployment, sleeper: subprocess.Popen[bytes]
) -> None:
    action = msgspec.structs.replace(
        going_on(deployment, "backup.create", sleeper.pid), options={"parts": ["users"]}
    )
    files.write_atomic(actions.record(deployment.paths, "backup"), msgspec.json.encode(action))
    assert actions.begin(deployment, "backup.create", options={"parts": ("users",)}) == action
    with pytest.raises(BusyError):
        actions.begin(deployment, "backup.create", options={"parts": ("database",)})


def test_a_worker_that_is_gone_is_in_nobodys_way(
    deployment: Deployment, sleeper: subprocess.Popen[bytes]
) -> None:
    action = going_on(deployment, "backup.restore", sleeper.pid)
    files.write_atomic(actions.reports(deployment.paths, "backup"), b"")
    assert deployment.backup.current() == action
    sleeper.kill()
    sleeper.wait()
    assert deployment.backup.current() is None
    assert actions.in_the_way(deployment, "stack.down") is None
    with pytest.raises(ConsoleError, match="backup restore broke off: its process was killed"):
        list(deployment.backup.follow(action, NEVER))


def test_a_record_from_before_is_read(deployment: Deployment) -> None:
    old = (
        b'{"id":"1","operation":"stack.up","services":[],"by":"ada","pid":1,"start_time":1.5,'
        b'"started_at":"2026-03-01T08:30:00Z","format":1}'
    )
    files.make_folder(deployment.paths.run)
    actions.record(deployment.paths).write_bytes(old)
    found = actions.newest(deployment.paths)
    assert found is not None
    assert (found.words, found.options, found.ticks) == ("up", {}, 0)
    assert deployment.stack.current() is None

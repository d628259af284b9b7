"""The drill on the real server without containers: what it finds, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from console.core import http, process
from console.core.backup.records import load_state
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.stack import embedded_scratch
from console.core.stack.scratch import TooSmallError
from tests.support import deployments, drills

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("drill"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with runs and one snapshot; it is stopped, a drill needs no live server."""
    directory = tmp_path_factory.mktemp("drilled") / "lab"
    with deployments.ended(directory):
        made = deployments.create(directory)
        deployments.up(made)
        drills.fill(made)
        drills.snapshot(made, directory.parent / "place")
        deployments.down(made)
        yield Deployment.open(str(directory))


@pytest.fixture
def place(deployment: Deployment) -> Path:
    return deployment.directory.parent / "place"


@pytest.fixture
def good(deployment: Deployment) -> Path:
    return deployment.backup.list()[-1].path


@pytest.fixture
def broken(good: Path, tmp_path: Path) -> Path:
    """A copy of the snapshot, for a test to break."""
    return drills.copy(good, tmp_path)


def test_a_good_snapshot_restores_and_nothing_is_left(
    deployment: Deployment, good: Path, place: Path
) -> None:
    live = [
        (path, path.stat().st_mtime_ns, path.read_bytes())
        for path in [deployment.paths.database, *deployment.paths.artifacts.rglob("some.bin")]
    ]
    inside = [path for path in good.rglob("*") if path.name != "state.json"]
    before = [(path, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in inside]
    said = drills.drill(deployment, "latest")
    assert said[-1] == f"{good.name} restores: 3 experiments, 6 runs, 18 artifacts looked at"
    state = load_state(good)
    assert state.drilled_at is not None
    assert (state.drill_error, state.drill_failed_at) == ("", None)
    assert drills.left(deployment, place) == []
    assert [(path, path.stat().st_mtime_ns, path.read_bytes()) for path, _, _ in live] == live
    assert [(path, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in inside] == before


def test_nobody_else_reaches_the_scratch_server(
    deployment: Deployment, good: Path, place: Path
) -> None:
    steps = deployment.backup.drill(wanted=good.name, cancel=threading.Event())
    assert any(step.label.startswith("looking through MLflow's client") for step in steps)
    [folder] = place.glob(".drill-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    running = process.marked(embedded_scratch.MARK, str(deployment.directory))
    [port] = process.listening(running)
    for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1", "/version"):
        assert http.get(f"http://127.0.0.1:{port}{path}").status == 401
    assert all(
        connection.laddr[0] == "127.0.0.1"
        for each in running
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    )
    limits = {each.rlimit(psutil.RLIMIT_DATA)[0] for each in running}
    assert limits == {embedded_scratch.LIMIT_BYTES}
    assert {Path(f"/proc/{each.pid}/oom_score_adj").read_text().strip() for each in running} == {
        "500"
    }
    holder = deployment.backup.holder()
    assert holder is not None
    assert (holder.what, holder.alive) == ("drill of lab", True)
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert drills.left(deployment, place) == []


def cut_file(folder: Path) -> None:
    path = drills.dump_file(folder)
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    path = drills.dump_file(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut_content(folder: Path) -> None:
    drills.change_dump(folder, lambda content: content[: len(content) // 2 & ~4095])


def lose_the_dump(folder: Path) -> None:
    drills.dump_file(folder).unlink()


def artifacts(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "artifacts").rglob("some.bin"))


def lose_an_artifact(folder: Path) -> None:
    artifacts(folder)[0].unlink()


def lose_all(folder: Path) -> None:
    for path in artifacts(folder):
        path.unlink()


def shorten_an_artifact(folder: Path) -> None:
    os.truncate(artifacts(folder)[0], 10)


def change_an_artifact(folder: Path) -> None:
    path = artifacts(folder)[0]
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))


def change_an_odd_one(folder: Path) -> None:
    path = next((folder / "artifacts").rglob("gr*"))
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))


def newer_schema(folder: Path) -> None:
    drills.set_database(folder, revision="ffffffffffff")
    drills.change_dump(
        folder, drills.in_sqlite("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    )


def other_schema_than_said(folder: Path) -> None:
    drills.change_dump(
        folder, drills.in_sqlite("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    )


def lose_rows(folder: Path) -> None:
    drills.change_dump(folder, drills.in_sqlite("DELETE FROM metrics WHERE step = 3"))


@pytest.mark.parametrize(
    ("breaking", "sentence"),
    [
        (lose_the_dump, r"mlflow\.db\.gz is missing"),
        (cut_file, "is cut short"),
        (flip_a_bit, "damaged|cut short"),
        (cut_content, "is damaged: "),
        (lose_an_artifact, r"the artifact \d/[0-9a-f]{32}/artifacts/deep/.* is missing$"),
        (lose_all, "is missing, and 5 others as well"),
        (shorten_an_artifact, "has another size"),
        (change_an_artifact, r"deep/a b\+c/some.bin has another content"),
        (change_an_odd_one, "gr.* has another content"),
        (newer_schema, r"its schema \(ffffffffffff, of MLflow 3.17.2\) is newer than what this "
         "server's MLflow 3.17.2 knows"),
        (other_schema_than_said, "the dump's schema is ffffffffffff, its manifest says"),
        (lose_rows, "has other rows than were counted"),
    ],
)  # fmt: skip
def test_what_does_not_restore_is_found(
    deployment: Deployment, broken: Path, breaking: Callable[[Path], None], sentence: str
) -> None:
    breaking(broken)
    with pytest.raises(ConsoleError, match=sentence) as caught:
        drills.drill(deployment, str(broken))
    assert caught.value.message.startswith(f"{broken.name} does not restore: ")
    state = load_state(broken)
    assert state.drill_error
    assert state.drill_error in caught.value.message
    assert state.drill_failed_at is not None
    assert state.drilled_at is None
    assert drills.left(deployment, broken.parent) == []


OLDER = """\
import sys, sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
engine = sqlalchemy.create_engine("sqlite:///" + sys.argv[1])
Base.metadata.create_all(engine)
config = utils._get_alembic_config("sqlite:///" + sys.argv[1])
scripts = ScriptDirectory.from_config(config)
older = [each.revision for each in scripts.walk_revisions()][5]
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, older)
    connection.execute(sqlalchemy.text(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
        "VALUES (7, 'old', 'mlflow-artifacts:/7', 'active')"))
    for number in range(4):
        connection.execute(sqlalchemy.text(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, "
            "user_id, source_version, experiment_id, status, lifecycle_stage, start_time, "
            "end_time, artifact_uri) VALUES (:id, 'old', 'LOCAL', '', '', 'ann', '', 7, "
            "'FINISHED', 'active', 1, 2, 'mlflow-artifacts:/7/x')"),
            {"id": f"{number:032x}"})
"""


def test_a_dump_of_an_older_schema_is_brought_up_to_date(
    deployment: Deployment, broken: Path, tmp_path: Path
) -> None:
    database = tmp_path / "old.db"
    python = deployment.paths.server / "env" / "bin" / "python"
    subprocess.run([python, "-c", OLDER, database], check=True, capture_output=True)
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )]  # fmt: skip
        rows = {
            each: connection.execute(f"SELECT COUNT(*) FROM {each}").fetchone()[0]  # noqa: S608
            for each in tables
        }
        [[revision]] = connection.execute("SELECT version_num FROM alembic_version")
    assert rows["runs"] == 4
    drills.change_dump(broken, lambda _: database.read_bytes())
    drills.set_database(broken, revision=revision, rows=rows)
    said = drills.drill(deployment, str(broken))
    assert "bringing the schema up to date" in said
    assert "1 experiment, 4 runs" in said[-1]


def test_without_a_database_there_is_nothing_to_try(deployment: Deployment, broken: Path) -> None:
    said = drills.manifest(broken)
    del said["database"]
    (broken / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match="holds no database"):
        drills.drill(deployment, str(broken))


def test_a_machine_that_is_too_small_is_told_before_anything_is_started(
    deployment: Deployment, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_scratch, "NEEDED_BYTES", 10**15)
    with pytest.raises(TooSmallError, match=r"needs up to 1.0 PB of memory, and this machine has"):
        drills.drill(deployment, str(broken))
    assert load_state(broken).drill_error == ""  # no word about the snapshot
    assert drills.left(deployment, broken.parent) == []


@pytest.mark.parametrize("when", ["unpacking", "counting", "starting", "looking through"])
def test_a_cancelled_drill_leaves_nothing_and_says_nothing(
    deployment: Deployment, broken: Path, when: str
) -> None:
    cancel = threading.Event()
    steps = deployment.backup.drill(wanted=str(broken), cancel=cancel)
    assert any(step.label.startswith(when) for step in steps)
    cancel.set()
    with pytest.raises(CancelledError):
        list(steps)
    assert load_state(broken).drill_error == ""
    assert drills.left(deployment, broken.parent) == []


def test_a_killed_drill_ends_its_server_and_the_next_one_removes_the_rest(
    deployment: Deployment, good: Path, place: Path
) -> None:
    script = (
        "import sys, threading\nfrom console.core.deployment import Deployment\n"
        "backup = Deployment.open(sys.argv[1]).backup\n"
        "for step in backup.drill(wanted=sys.argv[2], cancel=threading.Event()):\n"
        "    print(step.label, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(deployment.directory), good.name],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert any(line.startswith("looking through") for line in child.stdout)
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 30
    while process.marked(embedded_scratch.MARK, str(deployment.directory)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(list(place.glob(".drill-*"))) == 1
    assert "restores" in drills.drill(deployment, good.name)[-1]
    assert drills.left(deployment, place) == []

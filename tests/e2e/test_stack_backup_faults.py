"""What a snapshot is worth when the store, the database or the engine goes away in the middle."""

from __future__ import annotations

import io
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.core.backup.restoring import restore_journal
from console.core.backup.snapshot import MAKING
from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.stack.places import Bucket
from tests.support import deployments, engine, snapshots, stacks

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("stack-backup-faults"),
    pytest.mark.timeout(600),
]

ALICE = ("alice", "correct horse battery")
OBJECTS = 4000
ROWS = 400_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack with enough in it that something can happen while it is copied."""
    directory = tmp_path_factory.mktemp("faults") / "lab-backup-faults"
    with stacks.stack(directory, (ALICE[0], Secret(ALICE[1]))) as deployment:
        deployments.up(deployment)
        run_id = _run(deployment)
        _fill_store(deployment, run_id)
        _fill_database(deployment, run_id)
        yield deployment


@pytest.fixture
def running(made: Deployment, tmp_path: Path) -> Deployment:
    deployments.up(made)
    made.backup.choose(tmp_path / "snapshots")
    return made


def _run(deployment: Deployment) -> str:
    with snapshots.client(deployment, ALICE) as client:
        run = client.create_run(client.create_experiment("faults"), run_name="large")
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def _fill_store(deployment: Deployment, run_id: str) -> None:
    from minio import Minio

    bucket = deployment.driver.artifact_store()
    assert isinstance(bucket, Bucket)
    store = Minio(
        bucket.endpoint.removeprefix("http://"), bucket.access_key, bucket.secret_key.reveal(),
        secure=False,
    )  # fmt: skip

    def put(number: int) -> None:
        content = os.urandom(2000)
        key = f"1/{run_id}/artifacts/{number % 40}/{number}.bin"
        store.put_object(bucket.name, key, io.BytesIO(content), len(content))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(OBJECTS)))


def _fill_database(deployment: Deployment, run_id: str) -> None:
    """Metrics, by SQL: logging so many takes minutes."""
    digits = " UNION ALL ".join(f"SELECT {number} AS n" for number in range(10))
    powers = "abcdef"
    number = " + ".join(f"{each}.n * {10**power}" for power, each in enumerate(powers))
    tables = ", ".join(f"({digits}) {each}" for each in powers)
    query = " ".join([
        "INSERT INTO metrics (`key`, value, timestamp, run_uuid, step, is_nan) SELECT 'm',",
        f"{number}, {number}, '{run_id}', {number}, 0 FROM {tables} WHERE {number} < {ROWS}",
    ])  # fmt: skip
    words = (
        'mysql --user=root --password="$(cat /run/stack-secrets/database-root-password)" mlflow '
        f'--execute="{query}"'.replace("`", "\\`")
    )
    stacks.compose(deployment.directory, "exec", "-T", "database", "sh", "-c", words)


def while_it_works(
    deployment: Deployment, operation: str, until: Callable[[], bool], then: Callable[[], None],
    **options: object,
) -> ConsoleError | None:  # fmt: skip
    """Do something to a verb's surroundings while it works; returns how it failed."""
    failed: list[ConsoleError] = []

    def work() -> None:
        try:
            snapshots.perform(deployment, operation, **options)
        except ConsoleError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    engine.wait_until(lambda: until() or not thread.is_alive(), 120, "it got so far")
    assert thread.is_alive(), failed
    then()
    thread.join(300)
    assert not thread.is_alive()
    return failed[0] if failed else None


def copied(place: Path) -> int:
    """How many artifacts lie in the snapshot that is being made."""
    return sum(len(files) for _, _, files in os.walk(place / MAKING / "artifacts"))


def check_whole(deployment: Deployment) -> None:
    """Every snapshot that is there is right to the last byte, and nothing live is lost."""
    for each in deployment.backup.list():
        for _ in deployment.backup.verify(wanted=each.id, cancel=threading.Event()):
            pass


def stop(deployment: Deployment, service: str) -> Callable[[], None]:
    def stopped() -> None:
        stacks.compose(deployment.directory, "kill", service)

    return stopped


def test_the_store_stops_while_it_is_copied(running: Deployment, tmp_path: Path) -> None:
    place = tmp_path / "snapshots"
    error = while_it_works(
        running, "backup.create", lambda: copied(place) > 50, stop(running, "store")
    )
    assert error is not None
    assert "store" in error.message
    snapshots.tell(
        "the store killed while it is copied",
        "no snapshot; what was copied is kept, the next create goes on",
        error,
    )
    assert running.backup.list() == []
    before = copied(place)
    assert before > 50
    deployments.up(running)
    snapshots.perform(running, "backup.create")
    snapshot = running.backup.list()[0]
    promised = snapshots.promised(snapshot)
    assert len(promised) >= OBJECTS
    check_whole(running)
    assert snapshots.in_store(running, tmp_path) == promised


def test_the_database_stops_while_it_is_dumped(running: Deployment, tmp_path: Path) -> None:
    dump = tmp_path / "snapshots" / MAKING / "database" / "mlflow.sql.gz"
    error = while_it_works(
        running, "backup.create", lambda: dump.exists() and dump.stat().st_size > 100_000,
        stop(running, "database"),
    )  # fmt: skip
    assert error is not None
    assert "database" in error.message.lower()
    snapshots.tell(
        "the database killed while it is dumped",
        "no snapshot; the next create makes a whole one",
        error,
    )
    assert running.backup.list() == []
    deployments.up(running)
    snapshots.perform(running, "backup.create")
    manifest = running.backup.list()[0].manifest
    assert manifest is not None
    assert manifest.database is not None
    assert manifest.database.rows["metrics"] == ROWS
    check_whole(running)


def test_the_database_stops_while_it_is_restored(running: Deployment, tmp_path: Path) -> None:
    """What was there before comes back, at the latest when the database does."""
    snapshots.perform(running, "backup.create")
    then = running.backup.list()[0]
    with snapshots.client(running, ALICE) as client:
        late = client.create_run("0", run_name="late").info.run_id

    def loading() -> bool:
        begun = restore_journal.read(running.paths)
        return begun is not None and begun.done == "safety"

    def killed() -> None:
        time.sleep(1)
        stop(running, "database")()

    error = while_it_works(running, "backup.restore", loading, killed, wanted=then.id)
    assert error is not None
    assert "as it was before" in error.message or "Nothing is lost" in error.hint
    snapshots.tell(
        "the database killed while it is restored",
        "what was there before comes back, at the latest with the same command",
        error,
    )
    if restore_journal.read(running.paths) is not None:
        assert any(each.id == "restore-interrupted" for each in running.stack.status().findings)
        with pytest.raises(ConsoleError, match="as it was before"):
            snapshots.perform(running, "backup.restore", wanted=then.id)
    assert late in {row.run_id for row in running.database.runs()}
    assert running.stack.status().healthy
    check_whole(running)


def test_the_engine_stops_while_it_is_copied(
    tmp_path: Path, second_engine: engine.OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine of the tests' own; the other one has work."""
    monkeypatch.setenv("DOCKER_HOST", second_engine.address)
    with stacks.stack(tmp_path / "lab-backup", (ALICE[0], Secret(ALICE[1]))) as deployment:
        deployments.up(deployment)
        _fill_store(deployment, _run(deployment))
        place = tmp_path / "snapshots"
        deployment.backup.choose(place)
        error = while_it_works(
            deployment, "backup.create", lambda: copied(place) > 50, second_engine.stop
        )
        assert error is not None
        assert deployment.backup.list() == []
        snapshots.tell(
            "the engine stopped while it is copied", "no snapshot; the next create goes on", error
        )
        second_engine.start()
        deployments.up(deployment)
        snapshots.perform(deployment, "backup.create")
        assert len(snapshots.promised(deployment.backup.list()[0])) >= OBJECTS
        check_whole(deployment)


def test_the_disk_fills_while_it_is_copied(running: Deployment, tmp_path: Path) -> None:
    """Somebody else fills it; what was copied is kept, and the next one goes on."""
    from tests.support import machine

    with machine.small_disk(tmp_path / "disk", "120m") as disk:
        place = disk / "snapshots"
        running.backup.choose(place)
        ballast: list[Path] = []
        error = while_it_works(
            running, "backup.create", lambda: copied(place) > 50,
            lambda: ballast.append(machine.fill(disk)),
        )  # fmt: skip
        assert error is not None
        assert "full" in error.message
        snapshots.tell(
            "the place filled by somebody else meanwhile",
            "no snapshot; what was copied is kept, the next create goes on",
            error,
        )
        assert running.backup.list() == []
        ballast[0].unlink()
        snapshots.perform(running, "backup.create")
        check_whole(running)


def test_no_secret_is_said(running: Deployment) -> None:
    """Neither in an argument of a process nor in a log, while it works."""
    secrets = [
        line.partition("=")[2] for line in (running.directory / ".env").read_text().splitlines()
        if line.startswith(("DATABASE_PASSWORD=", "STORE_SECRET_KEY=", "DATABASE_ROOT_PASSWORD="))
    ]  # fmt: skip
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(subprocess.run(
                ["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True
            ).stdout)  # fmt: skip
            over.wait(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        snapshots.perform(running, "backup.create")
    finally:
        over.set()
        thread.join()
    said = "".join(seen) + "".join(
        path.read_text(errors="replace") for path in running.paths.run.glob("backup*")
    )
    assert any("mysqldump" in each for each in seen)
    assert not any(secret in said for secret in secrets)

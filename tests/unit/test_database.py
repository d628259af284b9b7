"""The SQLite backend store: read only, and every failure a sentence."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.core.database.database import Root, RunCount, Running, from_epoch_ms
from console.core.database.service import DatabaseService
from console.core.deployment import Deployment
from console.core.errors import AccessError, BusyError, ConsoleError, UnreachableError
from console.core.settings import ServerSettings, Settings

# The columns that are read, as MLflow 3.17 makes them; the real ones are in
# test_experiments_server.py.
LAST = datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC)
TABLES = """
    CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256),
        artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32));
    CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), user_id VARCHAR(256),
        status VARCHAR(9), start_time BIGINT, end_time BIGINT,
        lifecycle_stage VARCHAR(20), experiment_id INTEGER);
    CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32),
        PRIMARY KEY (key, run_uuid));
    CREATE TABLE logged_models (model_id VARCHAR(36) PRIMARY KEY, experiment_id INTEGER,
        lifecycle_stage VARCHAR(32));
    CREATE TABLE trace_info (request_id VARCHAR(50) PRIMARY KEY, experiment_id INTEGER);
    INSERT INTO experiments VALUES (1, 'alpha', 'mlflow-artifacts:/1', 'active'),
        (2, 'beta [/x]', NULL, 'deleted');
    INSERT INTO runs VALUES ('a', 'one', 'u', 'RUNNING', 1700000000000, NULL, 'active', 1),
        ('b', NULL, 'u', 'RUNNING', 1700000001000, NULL, 'active', 1),
        ('c', 'three', 'u', 'FINISHED', 1, 1700000002000, 'active', 1),
        ('d', 'four', 'u', 'RUNNING', 1, NULL, 'deleted', 1),
        ('e', 'five', NULL, 'FAILED', 1, 1800000000000, 'deleted', 2);
    INSERT INTO tags VALUES ('mlflow.user', 'ada', 'a'), ('other', 'eve', 'b');
    INSERT INTO logged_models VALUES ('m-1', 1, 'active'), ('m-2', 2, 'deleted');
    INSERT INTO trace_info VALUES ('tr-1', 1);
"""


@pytest.fixture
def dep(tmp_path: Path) -> Deployment:
    # A name that would end the path of a URI, were it not quoted.
    directory = tmp_path / "a ?mode=rw#b%41"
    server = ServerSettings(port=5000, mlflow="3.17.2")
    dep = Deployment(directory, Settings(format=1, name="t", driver="embedded", server=server))
    dep.paths.database.parent.mkdir(parents=True)
    return dep


@pytest.fixture
def database(dep: Deployment) -> DatabaseService:
    connection = sqlite3.connect(dep.paths.database)
    connection.executescript(TABLES)
    connection.close()
    return dep.database


def test_what_it_answers(database: DatabaseService) -> None:
    assert database.run_counts() == {"1": RunCount(3, LAST)}
    assert database.roots() == [
        Root("1", "alpha", "active", "mlflow-artifacts:/1"),
        Root("2", "beta [/x]", "deleted", ""),
    ]
    assert sorted(database.runs())[1:5:3] == [
        ("b", "1", "", "active"),
        ("e", "2", "five", "deleted"),
    ]
    assert sorted(database.models()) == [("m-1", "1", "active"), ("m-2", "2", "deleted")]
    assert list(database.traces()) == [("tr-1", "1")]


def test_who_is_at_work(database: DatabaseService) -> None:
    first = Running("b", "", "alpha", "u", datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC))
    second = Running("a", "one", "alpha", "ada", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert database.running() == [first, second]
    assert database.running(1) == [first]


def test_any_thread_may_ask(database: DatabaseService) -> None:
    database.roots()
    found: list[dict[str, RunCount]] = []
    threads = [
        threading.Thread(target=lambda: found.append(database.run_counts())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"1": RunCount(3, LAST)}] * 8


def test_a_missing_database_is_not_made(dep: Deployment) -> None:
    with pytest.raises(UnreachableError, match="no database"):
        dep.database.roots()
    assert not dep.paths.database.exists()


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"x" * 5000]
)
def test_a_damaged_one_is_a_sentence(dep: Deployment, content: bytes) -> None:
    dep.paths.database.write_bytes(content)
    with pytest.raises(ConsoleError, match=r"damaged|cannot be read"):
        dep.database.roots()
    assert dep.paths.database.read_bytes() == content


def test_a_folder_in_its_place_is_a_sentence(dep: Deployment) -> None:
    dep.paths.database.mkdir()
    with pytest.raises(ConsoleError, match="no file"):
        dep.database.roots()


@pytest.mark.parametrize("statement", ["", "CREATE TABLE experiments (experiment_id INTEGER)"])
def test_another_schema_is_a_sentence(dep: Deployment, statement: str) -> None:
    connection = sqlite3.connect(dep.paths.database)
    connection.executescript(statement)
    connection.close()
    dep.paths.database.touch()
    with pytest.raises(ConsoleError, match="tables of MLflow 3"):
        dep.database.roots()


def test_a_locked_one_is_a_sentence_soon(
    dep: Deployment, database: DatabaseService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.core.database.sqlite.BUSY_SECONDS", 0.1)
    writer = sqlite3.connect(dep.paths.database, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(BusyError, match="locked"):
            database.roots()
    finally:
        writer.close()
    assert database.roots()


def test_a_reader_keeps_no_writer_waiting(dep: Deployment, database: DatabaseService) -> None:
    runs = database.runs()
    next(runs)
    writer = sqlite3.connect(dep.paths.database, timeout=0)
    writer.execute("DELETE FROM runs")
    writer.commit()
    writer.close()
    assert len(list(runs)) == 4


def test_a_change_that_a_crash_cut_short_is_a_sentence(dep: Deployment, tmp_path: Path) -> None:
    """SQLite must roll the journal back first, and we may not."""
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.executescript(sys.argv[2]); c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN');"
        "c.executemany('INSERT INTO tags VALUES (?, ?, ?)',"
        " [(str(n), 'x' * 4000, 'a') for n in range(500)]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(dep.paths.database), TABLES], check=False)
    journal = dep.paths.database.with_name("mlflow.db-journal")
    before = dep.paths.database.read_bytes(), journal.read_bytes()
    with pytest.raises(UnreachableError, match="crash"):
        dep.database.roots()
    assert (dep.paths.database.read_bytes(), journal.read_bytes()) == before


def test_text_that_is_no_utf8_does_not_break_a_list(
    dep: Deployment, database: DatabaseService
) -> None:
    connection = sqlite3.connect(dep.paths.database)
    connection.execute(
        "UPDATE experiments SET name = CAST(x'ff41' AS TEXT) WHERE experiment_id = 1"
    )
    connection.commit()
    connection.close()
    assert database.roots()[0].name == r"\xffA"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_not_for_this_account_is_a_sentence(dep: Deployment, database: DatabaseService) -> None:
    for folder in (dep.directory, *dep.directory.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to("/tmp"):  # noqa: S108  # where pytest makes its folders
            folder.chmod(0o755)
    dep.paths.database.chmod(0o600)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            database.roots()
        except AccessError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_nothing_is_opened_for_writing(
    dep: Deployment, database: DatabaseService, tmp_path: Path, mode: str
) -> None:
    writer = sqlite3.connect(dep.paths.database)
    writer.execute(f"PRAGMA journal_mode = {mode}")
    writer.execute("DELETE FROM tags")
    writer.commit()
    script = (
        "import sys; from pathlib import Path;"
        "from console.core.database.sqlite import SqliteDatabase;"
        "d = SqliteDatabase(Path(sys.argv[1])); "
        "assert d.run_counts()['1'].runs == 3; list(d.runs())"
    )
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-e", "trace=open,openat,creat,unlink,rename,ftruncate,pwrite64", "-o",
         str(trace), sys.executable, "-c", script, str(dep.paths.database)],
        check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    writer.close()
    lines = [line for line in trace.read_text().splitlines() if "mlflow.db" in line]
    assert any("O_RDONLY" in line for line in lines), "the database was opened"
    changing = ("O_RDWR", "O_WRONLY", "O_CREAT", "unlink(", "ftruncate(", "pwrite64(")
    wrote = [line for line in lines if any(word in line for word in changing)]
    # MLflow's mode is "delete". With a write-ahead log, SQLite itself opens log and shared memory
    # for writing even for a reader, to mark where it reads; the database it does not.
    assert [line for line in wrote if mode == "delete" or 'mlflow.db"' in line] == []


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (None, None),
        (0, None),
        (1500, datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        (-1000, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (2**62, None),
    ],
)
def test_times(milliseconds: int | None, expected: datetime | None) -> None:
    assert from_epoch_ms(milliseconds) == expected

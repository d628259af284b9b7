"""What every backend store answers, on the tables that MLflow itself makes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest

from console.core.database import mysql, sqlite
from console.core.database.database import Root, RunCount, Running
from console.core.database.mysql import MysqlDatabase
from console.core.database.sql import SchemaError, SqlDatabase
from console.core.database.sqlite import SqliteDatabase
from console.core.errors import AccessError, BusyError, ConsoleError, UnreachableError
from console.core.secrets import Secret
from tests.support import engine
from tests.support.mysql_server import NAME, PASSWORD, PORT, USER, Mysql, mysql_server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("database"), pytest.mark.timeout(300)]

LAST = datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC)
ROWS = (
    "DELETE FROM experiments",
    """INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) VALUES
        (1, 'alpha', 'mlflow-artifacts:/1', 'active'),
        (2, 'beta [/x] 😀', NULL, 'deleted')""",
    """INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage,
                          source_type, experiment_id) VALUES
        ('a', 'öne', 'u', 'RUNNING', 1700000000000, NULL, 'active', 'LOCAL', 1),
        ('b', NULL, 'u', 'RUNNING', 1700000001000, NULL, 'active', 'LOCAL', 1),
        ('c', 'three', 'u', 'FINISHED', 1, 1700000002000, 'active', 'LOCAL', 1),
        ('d', 'four', 'u', 'RUNNING', 1, NULL, 'deleted', 'LOCAL', 1),
        ('e', 'five', NULL, 'FAILED', NULL, 3400000000000, 'deleted', 'LOCAL', 2)""",
    "INSERT INTO tags VALUES ('mlflow.user', 'ada', 'a'), ('other', 'eve', 'b')",
    """INSERT INTO logged_models (model_id, experiment_id, name, artifact_location,
            creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage) VALUES
        ('m-1', 1, 'm', 'x', 1700000000000, 1700000000000, 1, 'active'),
        ('m-2', 2, 'm', 'x', 1700000000000, 1700000000000, 1, 'deleted')""",
    """INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES
        ('tr-1', 1, 1700000000000, 'OK')""",
)


class Backend(Protocol):
    """One implementation, and the door for everybody else who uses the database."""

    @property
    def database(self) -> SqlDatabase:
        """What is tested."""

    def empty(self) -> SqlDatabase:
        """One without any tables."""

    def execute(self, *statements: str) -> object:
        """Change it, without waiting for anybody."""

    def locked(self) -> AbstractContextManager[object]:
        """Somebody keeps everybody else from reading."""


class SqliteBackend:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.database = SqliteDatabase(path)

    def empty(self) -> SqlDatabase:
        path = self._path.with_name("empty.db")
        path.touch()
        return SqliteDatabase(path)

    def execute(self, *statements: str) -> None:
        connection = sqlite3.connect(self._path, timeout=0)
        with contextlib.closing(connection), connection:
            for statement in statements:
                connection.execute(statement)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        connection = sqlite3.connect(self._path, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN EXCLUSIVE")
            yield


class MysqlBackend:
    def __init__(self, server: Mysql) -> None:
        self.server = server
        self.database = MysqlDatabase(server.place)

    def empty(self) -> SqlDatabase:
        self.execute("CREATE DATABASE IF NOT EXISTS blank", "GRANT ALL ON blank.* TO mlflow")
        return MysqlDatabase(replace(self.server.place, name="blank"))

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(self.server.connect()) as connection:
            connection.query("LOCK TABLES experiments WRITE, runs WRITE")
            yield


def migrate(uri: str, *options: str) -> None:
    """Let MLflow make its tables."""
    engine.docker("run", "--rm", "--label", engine.LABEL, "--entrypoint", "mlflow", *options,
                  engine.images()["MLFLOW_IMAGE"], "db", "upgrade", uri, seconds=180)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Mysql]:
    engine.require_engine()
    with mysql_server(engine.images()["DATABASE_IMAGE"]) as running:
        migrate(f"mysql+pymysql://{USER}:{quote(PASSWORD)}@{running.address}:{PORT}/{NAME}")
        running.execute(*ROWS)
        yield running


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    engine.require_engine()
    if request.param == "mysql":
        yield MysqlBackend(request.getfixturevalue("server"))
        return
    folder = tmp_path_factory.mktemp("database")
    migrate("sqlite:////data/mlflow.db", "--user", f"{os.getuid()}:{os.getgid()}",
            "--volume", f"{folder}:/data")  # fmt: skip
    made = SqliteBackend(folder / "mlflow.db")
    made.execute(*ROWS)
    yield made


@pytest.fixture
def database(backend: Backend) -> SqlDatabase:
    return backend.database


def test_what_it_answers(database: SqlDatabase) -> None:
    assert database.run_counts() == {"1": RunCount(3, LAST)}
    assert database.roots() == [
        Root("1", "alpha", "active", "mlflow-artifacts:/1"),
        Root("2", "beta [/x] 😀", "deleted", ""),
    ]
    assert sorted(database.runs()) == [
        ("a", "1", "öne", "active"),
        ("b", "1", "", "active"),
        ("c", "1", "three", "active"),
        ("d", "1", "four", "deleted"),
        ("e", "2", "five", "deleted"),
    ]
    assert sorted(database.models()) == [("m-1", "1", "active"), ("m-2", "2", "deleted")]
    assert list(database.traces()) == [("tr-1", "1")]


def test_who_is_at_work(database: SqlDatabase) -> None:
    first = Running("b", "", "alpha", "u", datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC))
    second = Running("a", "öne", "alpha", "ada", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert database.running(100) == [first, second]
    assert database.running(1) == [first]


def test_the_revision_is_the_one_that_mlflow_notes(backend: Backend) -> None:
    revision = backend.database.revision()
    assert revision is not None
    assert len(revision) == 12
    assert int(revision, 16)


def test_without_tables_there_is_a_sentence_and_no_revision(backend: Backend) -> None:
    empty = backend.empty()
    for call in (empty.roots, empty.run_counts, lambda: list(empty.runs())):
        with pytest.raises(SchemaError, match="tables of MLflow 3") as caught:
            call()
        assert "brings it up to date" in caught.value.hint
    assert empty.revision() is None


def test_any_thread_may_ask(database: SqlDatabase) -> None:
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(database.run_counts())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"1": RunCount(3, LAST)}] * 8


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_every_page_of_a_large_table_is_read(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(mysql, "PAGE", size)
    assert sorted(row.run_id for row in database.runs()) == list("abcde")
    assert sorted(row.model_id for row in database.models()) == ["m-1", "m-2"]


def test_a_slow_reader_keeps_nobody_waiting(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "PAGE", 2)
    runs = backend.database.runs()
    next(runs)
    backend.execute("ALTER TABLE runs ADD COLUMN by_a_migration INTEGER")
    assert len(list(runs)) == 4
    backend.execute("ALTER TABLE runs DROP COLUMN by_a_migration")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM runs",
        "INSERT INTO tags VALUES ('k', 'v', 'a')",
        "CREATE TABLE ours (a INTEGER)",
        "DROP TABLE tags",
    ],
)
def test_nothing_can_be_written(database: SqlDatabase, statement: str) -> None:
    with pytest.raises(ConsoleError):
        list(database._ask(statement))
    assert len(list(database.runs())) == 5
    assert database.running(1)


def test_a_locked_one_is_a_sentence_soon(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 1)
    monkeypatch.setattr(mysql, "BUSY_SECONDS", 1)
    began = time.monotonic()
    with backend.locked(), pytest.raises(BusyError, match="stayed locked for 1 seconds"):
        backend.database.roots()
    assert time.monotonic() - began < 10
    assert backend.database.roots()


# What only a server has


def said(database: SqlDatabase, kind: type[ConsoleError]) -> str:
    """The sentence of a failure, of which no part tells the password."""
    with pytest.raises(kind) as caught:
        database.roots()
    assert type(caught.value) is kind
    told = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in told
    assert "wröng €" not in told
    return caught.value.message


def test_what_is_not_let_in_is_said(server: Mysql) -> None:
    place = server.place
    assert f"does not let {USER} in" in said(
        MysqlDatabase(replace(place, password=Secret("wröng €"))), AccessError
    )
    assert "does not let nobody in" in said(MysqlDatabase(replace(place, user="nobody")),
                                            AccessError)  # fmt: skip
    other = MysqlDatabase(replace(place, name="mysql"))
    assert f"does not let {USER} read it" in said(other, AccessError)


def test_a_database_that_is_gone_is_said(server: Mysql) -> None:
    server.execute("GRANT ALL ON gone.* TO mlflow")
    assert "does not exist" in said(MysqlDatabase(replace(server.place, name="gone")), ConsoleError)


def test_no_connection_left_is_said(server: Mysql) -> None:
    server.execute(f"ALTER USER '{USER}' WITH MAX_USER_CONNECTIONS 1")
    try:
        with contextlib.closing(server.connect(USER, PASSWORD)):
            assert "no connection left" in said(MysqlDatabase(server.place), BusyError)
    finally:
        server.execute(f"ALTER USER '{USER}' WITH MAX_USER_CONNECTIONS 0")


def test_a_connection_that_breaks_off_is_said(
    server: Mysql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "PAGE", 2)
    runs = MysqlDatabase(server.place).runs()
    next(runs)
    query = "SELECT id FROM performance_schema.processlist WHERE user = 'mlflow'"
    for (connection,) in server.execute(query):
        server.execute(f"KILL {connection}")
    with pytest.raises(UnreachableError, match="broke off"):
        list(runs)


def test_a_server_that_hangs_is_said(server: Mysql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "READ_SECONDS", 1)
    engine.docker("pause", server.container)
    try:
        assert "does not answer in time" in said(MysqlDatabase(server.place), UnreachableError)
    finally:
        engine.docker("unpause", server.container)


def test_a_server_that_is_stopped_is_said(server: Mysql) -> None:
    there = MysqlDatabase(server.place)
    engine.docker("stop", server.container)
    try:
        said(there, UnreachableError)
    finally:
        engine.docker("start", server.container)
        server.wait()
    assert MysqlDatabase(server.place).roots()

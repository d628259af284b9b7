"""What every dump holds and gives back, on the tables that MLflow itself makes."""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from console.core.backup import catalog
from console.core.backup.dumping import dump_mysql, dump_sqlite, dumps
from console.core.backup.restoring import run_values
from console.core.backup.snapshot import Dump
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, UnreachableError
from console.core.stack.places import MysqlServer, SqliteFile
from tests.support import dumping, engine
from tests.support.mysql_server import NAME, PASSWORD, PORT, USER, Mysql, mysql_server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("database"), pytest.mark.timeout(600)]

EXPERIMENT = (
    "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
    "VALUES ({0}, 'alpha {0}', 'mlflow-artifacts:/{0}', 'active')"
)
RUN = (
    "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, "
    "source_type, experiment_id) "
    "VALUES ('{0}', 'named {0}', 'ada', 'FINISHED', 1700000000000, NULL, 'active', 'LOCAL', 7)"
)
PARAM = ("params", ("key", "value", "run_uuid"))
METRIC = ("metrics", ("key", "value", "timestamp", "run_uuid", "step", "is_nan"))
SECRET = (
    "secrets",
    ("secret_id", "secret_name", "encrypted_value", "wrapped_dek", "kek_version", "masked_value",
     "created_at", "last_updated_at"),
)  # fmt: skip
SPAN = (
    "spans",
    ("trace_id", "experiment_id", "span_id", "status", "start_time_unix_nano",
     "end_time_unix_nano", "content"),
)  # fmt: skip
TRACE = ("trace_info", ("request_id", "experiment_id", "timestamp_ms", "status"))

Made = tuple["Backend", Dump, Path]
Rows = dict[str, list[tuple[object, ...]]]


class Backend(Protocol):
    """One kind of database, and the door for everybody else who uses it."""

    deployment: Deployment

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Change it, or ask it."""

    def insert(self, table: tuple[str, tuple[str, ...]], rows: Sequence[Sequence[object]]) -> None:
        """Add rows, in one transaction."""

    def tables(self) -> list[str]:
        """The names of its tables."""


class SqliteBackend:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.deployment = dumping.deployment(SqliteFile(path))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(self._connect()) as connection, connection:
            found: list[tuple[Any, ...]] = []
            for statement in statements:
                found = connection.execute(statement).fetchall()
        return found

    def insert(self, table: tuple[str, tuple[str, ...]], rows: Sequence[Sequence[object]]) -> None:
        name, columns = table
        places = ", ".join("?" * len(columns))
        with contextlib.closing(self._connect()) as connection, connection:
            connection.executemany(
                f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608
                rows,
            )

    def tables(self) -> list[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        return [name for (name,) in self.execute(query)]


class MysqlBackend:
    def __init__(self, server: Mysql) -> None:
        self.server = server
        self.deployment = dumping.deployment(server.place, server)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.server.connect(USER, PASSWORD)) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def insert(self, table: tuple[str, tuple[str, ...]], rows: Sequence[Sequence[object]]) -> None:
        name, columns = table
        places = ", ".join(["%s"] * len(columns))
        named = ", ".join(f"`{column}`" for column in columns)
        with contextlib.closing(self.server.connect(USER, PASSWORD)) as connection:
            connection.begin()
            connection.cursor().executemany(
                f"INSERT INTO `{name}` ({named}) VALUES ({places})",  # noqa: S608
                rows,
            )
            connection.commit()

    def tables(self) -> list[str]:
        return [str(name) for (name,) in self.execute("SHOW TABLES")]


def migrate(uri: str, *options: str) -> None:
    """Let MLflow make its tables."""
    engine.docker("run", "--rm", "--label", engine.LABEL, "--entrypoint", "mlflow", *options,
                  engine.images()["MLFLOW_IMAGE"], "db", "upgrade", uri, seconds=180)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Mysql]:
    engine.require_engine()
    with mysql_server(engine.images()["DATABASE_IMAGE"], in_memory=True) as running:
        migrate(f"mysql+pymysql://{USER}:{quote(PASSWORD)}@{running.address}:{PORT}/{NAME}")
        yield running


@pytest.fixture(scope="module")
def first_of_mysql(server: Mysql, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return filled(MysqlBackend(server), tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def first_of_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Made:
    engine.require_engine()
    folder = tmp_path_factory.mktemp("database")
    migrate("sqlite:////data/mlflow.db", "--user", f"{os.getuid()}:{os.getgid()}",
            "--volume", f"{folder}:/data")  # fmt: skip
    return filled(SqliteBackend(folder / "mlflow.db"), tmp_path_factory.mktemp("first"))


def filled(backend: Backend, folder: Path) -> Made:
    """The database with a few rows, and a dump of it."""
    backend.execute("DELETE FROM experiments", EXPERIMENT.format(7), EXPERIMENT.format(10))
    backend.execute(RUN.format("b"), RUN.format("a"))
    dump, _ = dumping.take(backend.deployment, folder)
    return backend, dump, folder


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def made(request: pytest.FixtureRequest) -> Made:
    """A database with MLflow's tables, and a dump of it as it was made."""
    found: Made = request.getfixturevalue(f"first_of_{request.param}")
    return found


@pytest.fixture
def backend(made: Made) -> Backend:
    """The database as it was made."""
    found, dump, folder = made
    dumping.load(found.deployment, folder, dump)
    return found


def everything(backend: Backend) -> Rows:
    """Every row of every table."""
    return {
        table: sorted(backend.execute(f"SELECT * FROM {table}"), key=repr)  # noqa: S608
        for table in backend.tables()
    }


def rows(folder: Path, dump: Dump, *tables: str) -> list[dict[str, Any]]:
    return [row for _, row in dumps.rows(folder, dump, tables)]


def test_what_a_dump_says_of_itself(backend: Backend, tmp_path: Path) -> None:
    backend.insert(PARAM, [("k", "v", "a"), ("l", "v", "a")])
    dump, told = dumping.take(backend.deployment, tmp_path)
    assert dump.rows == {table: len(found) for table, found in everything(backend).items()}
    assert (dump.runs, dump.experiments, dump.rows["params"]) == (2, 2, 2)
    assert dump.revision == backend.execute("SELECT version_num FROM alembic_version")[0][0]
    file = tmp_path / dump.file
    assert dump.bytes == file.stat().st_size
    for path in (file, tmp_path / "catalog.jsonl.gz"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in file.parent.iterdir()} == {file.name}
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert told
    room = dumps.source(backend.deployment).room()
    assert room > 0


def test_the_catalog_is_of_the_dump(backend: Backend, tmp_path: Path) -> None:
    backend.execute("UPDATE runs SET end_time = 1700000000001, status = 'FAILED', "
                    "lifecycle_stage = 'deleted', user_id = NULL WHERE run_uuid = 'b'")  # fmt: skip
    dumping.take(backend.deployment, tmp_path)
    experiments = catalog.experiments(tmp_path)
    assert [each.experiment_id for each in experiments] == ["7", "10"]
    assert experiments[0].artifact_location == "mlflow-artifacts:/7"
    first, second = catalog.runs(tmp_path)
    assert (first.run_id, first.name, first.user, first.status) == (
        "a", "named a", "ada", "FINISHED",
    )  # fmt: skip
    assert (first.started, first.ended) == (1700000000000, None)
    assert (second.user, second.lifecycle_stage, second.ended) == ("", "deleted", 1700000000001)
    assert list(catalog.runs(tmp_path, "10")) == []


texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="'\"\\,();`\n\0\r\x1a\x08\t%_ ", max_size=60),
    st.sampled_from(["),(", "'),('", "\\", "NULL", "-- Dump completed on", "😀" * 50, "\\N", "0x41",
                     ";\nDROP TABLE runs;\n", "\nINSERT INTO `runs` VALUES (1);\n"]),
)  # fmt: skip
doubles = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 0.1]),
)


# What fails leaves a database without tables: a smaller example would fail for that alone.
@settings(
    max_examples=5, deadline=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(
    params=st.lists(texts, max_size=40),
    metrics=st.lists(st.tuples(doubles, st.integers(-(2**63), 2**63 - 1), st.booleans()),
                     max_size=20),
    binary=st.lists(st.binary(min_size=1, max_size=60), max_size=5),
)  # fmt: skip
def test_every_value_comes_back(
    backend: Backend,
    tmp_path_factory: pytest.TempPathFactory,
    params: list[str],
    metrics: list[tuple[float, int, bool]],
    binary: list[bytes],
) -> None:
    backend.execute("DELETE FROM params", "DELETE FROM metrics", "DELETE FROM secrets",
                    "DELETE FROM spans", "DELETE FROM trace_info")  # fmt: skip
    backend.insert(PARAM, [(f"k{n}", text, "a") for n, text in enumerate(params)])
    backend.insert(METRIC, [(f"k{n}", value, 5, "b", step, nan)
                            for n, (value, step, nan) in enumerate(metrics)])  # fmt: skip
    backend.insert(SECRET, [(f"s{n}", f"s{n}", data, data, 1, '{"a": "b"}', 1, 1)
                            for n, data in enumerate(binary)])  # fmt: skip
    backend.insert(TRACE, [("tr-1", 7, 5, "OK")])
    backend.insert(SPAN, [("tr-1", 7, f"{n}", "OK", n, n + 5, text)
                          for n, text in enumerate(params)])  # fmt: skip
    before = everything(backend)
    folder = tmp_path_factory.mktemp("dump")
    dump, _ = dumping.take(backend.deployment, folder)
    assert dump.rows == {table: len(found) for table, found in before.items()}
    read = {row["key"]: row["value"] for row in rows(folder, dump, "params")}
    assert read == {f"k{n}": text for n, text in enumerate(params)}
    values = {row["key"]: (row["value"], row["step"], bool(row["is_nan"]))
              for row in rows(folder, dump, "metrics")}  # fmt: skip
    assert values == {f"k{n}": each for n, each in enumerate(metrics)}
    sealed = {row["secret_id"]: row["encrypted_value"] for row in rows(folder, dump, "secrets")}
    assert sealed == {f"s{n}": data for n, data in enumerate(binary)}
    backend.execute("DELETE FROM params", "DELETE FROM metrics", "DROP TABLE tags")
    dumping.load(backend.deployment, folder, dump)
    assert everything(backend) == before
    backend.insert(SECRET, [("x", "x", b"x", b"x", 1, "{}", 1, 1)])
    with pytest.raises(Exception, match="immutable"):
        backend.execute("UPDATE secrets SET secret_id = 'y' WHERE secret_id = 'x'")


def test_some_rows_of_some_tables(backend: Backend, tmp_path: Path) -> None:
    backend.insert(PARAM, [("k", "1", "a"), ("k", "2", "b"), ("b", "a", "a")])
    dump, _ = dumping.take(backend.deployment, tmp_path)
    asked = dumps.rows(tmp_path, dump, ["runs", "params", "nothing"],
                       {"params": (("run_uuid", "value"), ["b", "a"][:1])})  # fmt: skip
    found = [(table, row.get("value")) for table, row in asked]
    assert found == [("params", "2"), ("runs", None), ("runs", None)]


def test_all_that_belongs_to_a_run_is_found(backend: Backend, tmp_path: Path) -> None:
    backend.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/7/a/artifacts' "
                    "WHERE run_uuid = 'a'")  # fmt: skip
    backend.insert(PARAM, [("p", "v", "a"), ("p", "other", "b")])
    backend.insert(("tags", ("key", "value", "run_uuid")), [("t", "v'\\", "a"), ("t", "o", "b")])
    backend.insert(METRIC, [("m", 0.5, 5, "a", 1, False), ("m", 0, 6, "a", 2, True),
                            ("m", 1, 5, "b", 1, False)])  # fmt: skip
    backend.insert(
        ("datasets", ("dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type",
                      "dataset_source")),
        [("d1", 7, "data", "x", "local", "{}"), ("d2", 7, "not used", "x", "local", "{}")],
    )  # fmt: skip
    backend.insert(
        ("inputs", ("input_uuid", "source_type", "source_id", "destination_type",
                    "destination_id", "step")),
        [("i1", "DATASET", "d1", "RUN", "a", 0), ("i2", "RUN_OUTPUT", "a", "MODEL_OUTPUT", "m1", 4),
         ("i3", "DATASET", "d2", "RUN", "b", 0)],
    )  # fmt: skip
    backend.insert(("input_tags", ("input_uuid", "name", "value")),
                   [("i1", "k", "v"), ("i3", "k", "v")])  # fmt: skip
    backend.insert(
        ("logged_models", ("model_id", "experiment_id", "name", "artifact_location",
                           "creation_timestamp_ms", "last_updated_timestamp_ms", "status",
                           "lifecycle_stage", "source_run_id")),
        [(f"m{n}", 7, "model", f"mlflow-artifacts:/7/models/m{n}/artifacts", 1, 1, 2, stage, run)
         for n, stage, run in ((1, "active", "a"), (2, "deleted", "a"), (3, "active", "b"))],
    )  # fmt: skip
    for table, key, value in (("params", "param_key", "param_value"),
                              ("tags", "tag_key", "tag_value")):  # fmt: skip
        backend.insert((f"logged_model_{table}", ("model_id", "experiment_id", key, value)),
                       [("m1", 7, "k", table), ("m3", 7, "k", "other")])  # fmt: skip
    backend.insert(
        ("logged_model_metrics", ("model_id", "experiment_id", "run_id", "metric_name",
                                  "metric_timestamp_ms", "metric_step", "metric_value")),
        [("m1", 7, "a", "m", 5, 1, 0.5)],
    )  # fmt: skip
    dump, _ = dumping.take(backend.deployment, tmp_path)
    run = next(catalog.runs(tmp_path))
    with run_values.read(tmp_path, dump, [run], "") as (held,):
        assert (held.run.run_id, held.location) == ("a", "mlflow-artifacts:/7/a/artifacts")
        assert (held.params, held.tags) == ({"p": "v"}, {"t": "v'\\"})
        assert sorted((each.value, each.step, each.nan) for each in held.metrics) == [
            (0, 2, True), (0.5, 1, False),
        ]  # fmt: skip
        assert held.metrics.count == 2
        ((used, tags),) = [(each.dataset["name"], each.tags) for each in held.inputs]
        assert (used, tags) == ("data", {"k": "v"})
        (model,) = held.models
        assert (model.model_id, model.step, model.status) == ("m1", 4, 2)
        assert (model.params, model.tags) == ({"k": "params"}, {"k": "tags"})
        assert held.measured == {("m", 5, 1): [("m1", "", "")]}


def test_what_is_loaded_replaces_all_that_was_there(backend: Backend, tmp_path: Path) -> None:
    before = everything(backend)
    dump, _ = dumping.take(backend.deployment, tmp_path)
    backend.execute(
        "CREATE TABLE newer (a INTEGER PRIMARY KEY)",
        "CREATE TABLE newest (a INTEGER REFERENCES newer (a))",
        "CREATE VIEW seen AS SELECT a FROM newer",
        "DROP TABLE tags", "DELETE FROM runs WHERE run_uuid = 'a'",
    )  # fmt: skip
    told = dumping.load(backend.deployment, tmp_path, dump)
    assert everything(backend) == before
    assert told[-1].done == told[-1].total


def test_a_dump_is_of_one_moment(backend: Backend, tmp_path: Path) -> None:
    """A writer adds a run with all its parameters in one transaction, again and again."""
    stop, written = threading.Event(), 0
    backend.insert(PARAM, [(f"{n}" * 8, "x" * 5000, "a") for n in range(2000)])

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            backend.insert(PARAM, [(f"w{written}-{n}", "v", "b") for n in range(10)])
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        engine.wait_until(lambda: written > 2, 30)
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            dump, _ = dumping.take(backend.deployment, folder)
            added = dump.rows["params"] - 2000
            assert added % 10 == 0
            assert added > 0
            assert len(rows(folder, dump, "params")) == dump.rows["params"]
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_dump_that_is_cut_is_refused_before_anything_is_changed(
    backend: Backend, tmp_path: Path, kept: float
) -> None:
    dump, _ = dumping.take(backend.deployment, tmp_path)
    backend.insert(PARAM, [("k", "v", "a")])
    before = everything(backend)
    file = tmp_path / dump.file
    packed = file.read_bytes()
    file.write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(ConsoleError, match=r"cut short"):
        dumping.load(backend.deployment, tmp_path, dump)
    plain = gzip.decompress(packed)
    file.write_bytes(gzip.compress(plain[: int(len(plain) * kept)]))
    with pytest.raises(
        ConsoleError, match=r"before the dump was whole|cut short|damaged|other rows"
    ):
        dumping.load(backend.deployment, tmp_path, dump)
    file.unlink()
    with pytest.raises(ConsoleError, match="is missing"):
        dumping.load(backend.deployment, tmp_path, dump)
    assert everything(backend) == before


def test_a_flipped_bit_is_refused_before_anything_is_changed(
    backend: Backend, tmp_path: Path
) -> None:
    dump, _ = dumping.take(backend.deployment, tmp_path)
    backend.insert(PARAM, [("k", "v", "a")])
    before = everything(backend)
    file = tmp_path / dump.file
    packed = bytearray(file.read_bytes())
    packed[len(packed) // 2] ^= 4
    file.write_bytes(packed)
    with pytest.raises(ConsoleError, match=r"damaged|cut short"):
        dumping.load(backend.deployment, tmp_path, dump)
    assert everything(backend) == before


def test_a_load_that_was_stopped_can_be_done_again(backend: Backend, tmp_path: Path) -> None:
    backend.insert(PARAM, [(f"{n}", os.urandom(2000).hex(), "a") for n in range(3000)])
    before = everything(backend)
    dump, _ = dumping.take(backend.deployment, tmp_path)
    source = dumps.source(backend.deployment)
    for steps in (1, 2):
        cancel = threading.Event()
        work = source.load(tmp_path / dump.file, dump, cancel)
        for _ in range(steps):
            next(work)
        cancel.set()
        with pytest.raises(CancelledError):
            list(work)
    dumping.load(backend.deployment, tmp_path, dump)
    assert everything(backend) == before


def test_what_is_cancelled_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        dumping.take(backend.deployment, tmp_path, cancel)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_database_that_is_not_mlflows(backend: Backend, tmp_path: Path) -> None:
    backend.execute("DROP TABLE alembic_version", "DROP TABLE tags")
    with pytest.raises(ConsoleError, match="tables of MLflow: alembic_version, tags missing"):
        dumping.take(backend.deployment, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# What only SQLite has


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteBackend:
    path = tmp_path / "data" / "mlflow.db"
    path.parent.mkdir()
    backend = SqliteBackend(path)
    for table in ("alembic_version", "experiments", "runs", "metrics", "params", "tags"):
        backend.execute(f"CREATE TABLE {table} (a, version_num, run_uuid, experiment_id)")
    return backend


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_sqlite_database_that_is_always_written_is_copied(
    sqlite: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(dump_sqlite, "STEP_PAGES", 1)
    sqlite.execute(f"PRAGMA journal_mode = {mode}")
    sqlite.execute("INSERT INTO params (a) VALUES (zeroblob(3000000))")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            sqlite.execute("INSERT INTO tags (a) VALUES (1)", "INSERT INTO metrics (a) VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        dump, _ = dumping.take(sqlite.deployment, tmp_path)
    finally:
        stop.set()
        writer.join()
    assert dump.rows["tags"] == dump.rows["metrics"]
    assert dump.rows["params"] == 1


def test_a_journal_of_the_old_database_is_not_worked_into_the_new_one(
    sqlite: SqliteBackend, tmp_path: Path
) -> None:
    dump, _ = dumping.take(sqlite.deployment, tmp_path)
    sqlite.execute("PRAGMA journal_mode = wal")
    with contextlib.closing(sqlite3.connect(sqlite.path)) as open_still:
        open_still.execute("INSERT INTO tags (a) VALUES (1)")
        open_still.commit()
        killed = {end: Path(f"{sqlite.path}{end}").read_bytes() for end in ("", "-wal", "-shm")}
    for end, content in killed.items():
        Path(f"{sqlite.path}{end}").write_bytes(content)
    sqlite.path.chmod(0o640)
    dumping.load(sqlite.deployment, tmp_path, dump)
    assert sorted(path.name for path in sqlite.path.parent.iterdir()) == ["mlflow.db"]
    assert sqlite.execute("SELECT COUNT(*) FROM tags") == [(0,)]
    assert sqlite.path.stat().st_mode & 0o777 == 0o640


def test_a_change_that_a_crash_cut_short_is_finished_first(
    sqlite: SqliteBackend, tmp_path: Path
) -> None:
    sqlite.execute("INSERT INTO tags (a) VALUES (1)")
    writer = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_spill = 1'); c.execute('PRAGMA cache_size = 5')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('INSERT INTO tags (a) VALUES (zeroblob(3000000))')\n"
        "os._exit(9)"
    )
    subprocess.run(["python3", "-c", writer, str(sqlite.path)], check=False)
    assert Path(f"{sqlite.path}-journal").stat().st_size > 0
    dump, _ = dumping.take(sqlite.deployment, tmp_path)
    assert dump.rows["tags"] == 1


def test_a_damaged_sqlite_database_makes_no_dump(sqlite: SqliteBackend, tmp_path: Path) -> None:
    sqlite.insert(("tags", ("a",)), [(f"{'x' * 100}{number}",) for number in range(200)])
    data = bytearray(sqlite.path.read_bytes())
    data[-4096 * 3 : -4096 * 2] = os.urandom(4096)
    sqlite.path.write_bytes(data)
    with pytest.raises(ConsoleError, match="is damaged"):
        dumping.take(sqlite.deployment, tmp_path)
    sqlite.path.unlink()
    with pytest.raises(UnreachableError, match="There is no database"):
        dumping.take(sqlite.deployment, tmp_path)


def test_another_kind_of_dump_is_refused(sqlite: SqliteBackend, tmp_path: Path) -> None:
    dump, _ = dumping.take(sqlite.deployment, tmp_path)
    from console.core.secrets import Secret

    other = dumping.deployment(MysqlServer("127.0.0.1", 1, "mlflow", "mlflow", Secret("x")))
    with pytest.raises(ConsoleError, match=r"is of SQLite, and this deployment .* in MySQL"):
        dumping.load(other, tmp_path, dump)


# What only MySQL has


@pytest.fixture
def mysql(first_of_mysql: Made) -> MysqlBackend:
    """The database as it was made."""
    backend, dump, folder = first_of_mysql
    assert isinstance(backend, MysqlBackend)
    dumping.load(backend.deployment, folder, dump)
    return backend


def test_the_dump_loads_with_the_plain_client(
    server: Mysql, mysql: MysqlBackend, tmp_path: Path
) -> None:
    backend = mysql
    backend.execute("DELETE FROM params")
    backend.insert(PARAM, [("k", "it's \\ \n 😀 \0", "a")])
    before = everything(backend)
    dump, _ = dumping.take(backend.deployment, tmp_path)
    plain = gzip.decompress((tmp_path / dump.file).read_bytes())
    assert b"DEFINER" not in plain
    server.execute("CREATE DATABASE plain", "GRANT ALL ON plain.* TO mlflow")
    command = ["docker", "exec", "--interactive", "--env", f"MYSQL_PWD={PASSWORD}",
               server.container, "mysql", f"--user={USER}", "plain"]  # fmt: skip
    done = subprocess.run(command, input=plain, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    server.execute("USE plain")
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("USE plain")
        for table, expected in before.items():
            cursor.execute(f"SELECT * FROM `{table}`")  # noqa: S608
            assert sorted(cursor.fetchall(), key=repr) == expected
    server.execute("DROP DATABASE plain")


def test_rows_that_went_missing_on_the_way_are_noticed(
    server: Mysql, mysql: MysqlBackend, tmp_path: Path
) -> None:
    backend = mysql
    backend.insert(PARAM, [("missing", "v", "a")])
    dump, _ = dumping.take(backend.deployment, tmp_path)
    file = tmp_path / dump.file
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(b"INSERT INTO `params`")]
    assert len(kept) < len(lines)
    file.write_bytes(gzip.compress(b"".join(kept)))
    with pytest.raises(ConsoleError, match="it has other rows than the dump"):
        dumping.load(backend.deployment, tmp_path, dump)
    file.write_bytes(gzip.compress(b"".join(lines)))
    dumping.load(backend.deployment, tmp_path, dump)


def test_who_still_loads_is_waited_for(
    server: Mysql, mysql: MysqlBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = mysql
    dump, _ = dumping.take(backend.deployment, tmp_path)
    monkeypatch.setattr(dump_mysql, "BEFORE", dump_mysql.BEFORE.replace(b"), 60)", b"), 1)"))
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('mlflow-console mlflow', 1)")
        with pytest.raises(ConsoleError, match="something else is being loaded"):
            dumping.load(backend.deployment, tmp_path, dump)
    assert len(backend.tables()) > 60


def test_a_server_that_stops_in_the_middle_is_said(
    server: Mysql, mysql: MysqlBackend, tmp_path: Path
) -> None:
    backend = mysql
    backend.insert(PARAM, [(f"{n}", os.urandom(2000).hex(), "a") for n in range(8000)])
    work = dumps.source(backend.deployment).take(tmp_path, threading.Event())
    next(work)
    next(work)
    server.execute(
        "SET @id = (SELECT id FROM performance_schema.processlist WHERE user = 'mlflow' LIMIT 1)",
        "SET @kill = CONCAT('KILL ', @id)", "PREPARE statement FROM @kill", "EXECUTE statement",
    )  # fmt: skip
    with pytest.raises(ConsoleError, match="The database cannot be dumped"):
        list(work)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    backend.execute("DELETE FROM params")
    time.sleep(0)

"""Walking real folders and adding up whose they are."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.core.deployment import Deployment
from console.core.errors import AccessError, CancelledError, UnreachableError
from console.core.settings import ServerSettings, Settings
from console.core.storage import service
from console.core.storage.filesystem import FilesystemStore
from console.core.storage.service import Amount, StorageService, Usage
from tests.support import machine

if TYPE_CHECKING:
    from console.core.storage.store import Batch

RUN, GONE, NEW = "a" * 32, "b" * 32, "c" * 32
MODEL, TRACE = "m-" + "1" * 32, "tr-" + "2" * 32

TABLES = f"""
    CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256),
        artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32));
    CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250),
        lifecycle_stage VARCHAR(20), experiment_id INTEGER);
    CREATE TABLE logged_models (model_id VARCHAR(36) PRIMARY KEY, experiment_id INTEGER,
        lifecycle_stage VARCHAR(32));
    CREATE TABLE trace_info (request_id VARCHAR(50) PRIMARY KEY, experiment_id INTEGER);
    INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active'),
        (1, 'alpha', 'mlflow-artifacts:/1', 'active'),
        (2, 'beta', 'mlflow-artifacts:/2', 'deleted');
    INSERT INTO runs VALUES ('{RUN}', 'one', 'active', 1), ('{GONE}', 'two', 'deleted', 1),
        ('{"d" * 32}', 'three', 'deleted', 2);
    INSERT INTO logged_models VALUES ('{MODEL}', 1, 'active');
    INSERT INTO trace_info VALUES ('{TRACE}', 1);
"""  # noqa: S608  # constants of this file


@pytest.fixture
def dep(tmp_path: Path) -> Deployment:
    server = ServerSettings(port=5000, mlflow="3.17.2")
    dep = Deployment(tmp_path, Settings(format=1, name="t", driver="embedded", server=server))
    dep.paths.artifacts.mkdir(parents=True)
    execute(dep, TABLES)
    return dep


def execute(dep: Deployment, script: str) -> None:
    connection = sqlite3.connect(dep.paths.database)
    connection.executescript(script)
    connection.close()


def write(dep: Deployment, key: str, size: int) -> None:
    path = dep.paths.artifacts / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def walk(dep: Deployment) -> Usage:
    return list(dep.storage.usage(cancel=threading.Event()))[-1]


def listed(root: Path) -> dict[str, int]:
    return {
        key: size for batch in FilesystemStore(root).walk(threading.Event()) for key, size in batch
    }


def test_everything_has_its_owner_and_the_sums_agree(dep: Deployment) -> None:
    write(dep, f"1/{RUN}/artifacts/a", 100)
    write(dep, f"1/{RUN}/artifacts/deep/er/b", 23)
    write(dep, f"1/{GONE}/artifacts/a", 1000)
    write(dep, f"2/{'d' * 32}/artifacts/a", 7)
    write(dep, f"1/models/{MODEL}/artifacts/MLmodel", 11)
    write(dep, f"1/traces/{TRACE}/artifacts/traces.json", 13)
    write(dep, f"1/{'e' * 32}/artifacts/a", 17)
    write(dep, f"1/models/m-{'e' * 32}/artifacts/a", 19)
    write(dep, "lost+found/x", 29)
    write(dep, "1/readme", 31)
    usage = walk(dep)
    assert usage.complete
    assert [(e.name, e.bytes, e.objects, e.lifecycle_stage) for e in usage.experiments] == [
        ("alpha", 1147, 5, "active"),
        ("beta", 7, 1, "deleted"),
        ("Default", 0, 0, "active"),
    ]
    alpha = usage.experiments[0]
    assert [(r.run_id, r.bytes, r.objects, r.name, r.lifecycle_stage) for r in alpha.runs] == [
        (GONE, 1000, 1, "two", "deleted"),
        (RUN, 123, 2, "one", "active"),
    ]
    assert (alpha.models, alpha.traces) == (Amount(11, 1), Amount(13, 1))
    assert usage.trash == Amount(1007, 2)
    assert usage.orphans == Amount(36, 2)
    assert usage.unknown == Amount(60, 2)
    parts = [(usage.orphans.bytes, usage.orphans.objects)]
    parts += [(usage.unknown.bytes, usage.unknown.objects)]
    parts += [(each.bytes, each.objects) for each in usage.experiments]
    assert usage.bytes == sum(size for size, _ in parts) == 1250
    assert usage.objects == sum(count for _, count in parts) == 10
    assert usage.free_bytes is not None
    assert usage.problems == ()


class MeanwhileStore(FilesystemStore):
    """A store beside which something happens when half of it is walked."""

    def __init__(self, root: Path, happens: Callable[[], None]) -> None:
        super().__init__(root)
        self._happens = happens

    def walk(self, cancel: threading.Event) -> Iterator[Batch]:
        self._happens()
        yield from super().walk(cancel)


def test_what_begins_during_the_walk_is_no_orphan(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = "f" * 32

    def happens() -> None:
        execute(
            dep,
            f"INSERT INTO runs VALUES ('{NEW}', 'new', 'active', 1), ('{new}', 'n', 'active', 9);"  # noqa: S608  # constants
            f"INSERT INTO logged_models VALUES ('m-{NEW}', 1, 'active');"
            f"INSERT INTO trace_info VALUES ('tr-{NEW}', 1);"
            "INSERT INTO experiments VALUES (9, 'later', 'mlflow-artifacts:/9', 'active')",
        )
        for folder in (NEW, f"models/m-{NEW}", f"traces/tr-{NEW}"):
            write(dep, f"1/{folder}/artifacts/x", 5)
        write(dep, f"9/{new}/artifacts/x", 6)
        write(dep, f"9/models/m-{new}/artifacts/x", 7)

    store = MeanwhileStore(dep.paths.artifacts, happens)
    monkeypatch.setattr(StorageService, "store", property(lambda _self: store))
    monkeypatch.setattr(service, "INTERVAL_SECONDS", 0.0)
    reports = list(dep.storage.usage(cancel=threading.Event()))
    assert all(report.orphans == Amount() for report in reports[:-1])
    assert len(reports) > 1
    usage = reports[-1]
    by_name = {experiment.name: experiment for experiment in usage.experiments}
    assert [run.run_id for run in by_name["alpha"].runs] == [NEW]
    assert (by_name["alpha"].models, by_name["alpha"].traces) == (Amount(5, 1), Amount(5, 1))
    assert [run.run_id for run in by_name["later"].runs] == [new]
    assert usage.orphans == Amount(7, 1), "the model that really is nobody's"
    assert usage.unknown == Amount()


class UnfinishedStore(FilesystemStore):
    """A store with uploads that nobody has completed."""

    def incomplete(self, cancel: threading.Event) -> Amount:
        self.problems.append("not all of them")
        return Amount(7, 2)


def test_what_was_never_completed_is_beside_the_sums(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(dep, f"1/{RUN}/artifacts/a", 100)
    store = UnfinishedStore(dep.paths.artifacts)
    monkeypatch.setattr(StorageService, "store", property(lambda _self: store))
    monkeypatch.setattr(service, "INTERVAL_SECONDS", 0.0)
    *before, usage = dep.storage.usage(cancel=threading.Event())
    assert all(report.incomplete_uploads == Amount() for report in before)
    assert (usage.incomplete_uploads, usage.bytes) == (Amount(7, 2), 100)
    assert usage.problems == ("not all of them",)


def test_names_of_every_kind_are_counted(dep: Deployment) -> None:
    for number, name in enumerate(
        ["[red]x[/]", "new\nline", "\x1b[2J", "😀", "ä" * 100, "a:b?c#d%41"]
    ):
        write(dep, f"1/{RUN}/artifacts/{name}/{name}", number)
    root = os.fsencode(dep.paths.artifacts / f"1/{RUN}/artifacts")
    with open(root + b"/\xff\xfe", "wb") as file:
        file.write(b"abc")
    os.mkdir(root + b"/\xf0folder")
    with open(root + b"/\xf0folder/y", "wb") as file:
        file.write(b"defg")
    (run,) = walk(dep).experiments[0].runs
    assert (run.bytes, run.objects) == (15 + 3 + 4, 8)
    assert f"1/{RUN}/artifacts/\udcff\udcfe" in listed(dep.paths.artifacts)


def test_links_are_not_followed_and_hard_links_count_each(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 1000)
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a/file").write_bytes(b"x" * 10)
    (root / "a/hard").hardlink_to(root / "a/file")
    (root / "out").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "file").symlink_to(outside / "big")
    found = listed(root)
    assert set(found) == {"a/file", "a/hard", "out", "loop", "file"}
    assert found["a/file"] == found["a/hard"] == 10
    assert found["file"] == len(str(outside / "big"))


def test_sizes_are_apparent(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    assert listed(tmp_path) == {"sparse": 10**9}


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/x").write_bytes(b"1")
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert listed(tmp_path / "root") == {"x": 1}


def test_what_disappears_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"1")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("/b/"):
            (tmp_path / "b/x").unlink()
            (tmp_path / "b").rmdir()
        return real(path)

    monkeypatch.setattr("console.core.storage.filesystem.os.scandir", scandir)
    store = FilesystemStore(tmp_path)
    assert [key for batch in store.walk(threading.Event()) for key, _ in batch] == ["a/x"]
    assert store.problems == []


def test_a_missing_root_is_said_and_counts_nothing(dep: Deployment) -> None:
    dep.paths.artifacts.rmdir()
    usage = walk(dep)
    assert (usage.complete, usage.bytes, len(usage.experiments)) == (True, 0, 3)
    assert "does not exist" in usage.problems[0]


def test_without_the_database_there_is_a_sentence(dep: Deployment) -> None:
    dep.paths.database.unlink()
    with pytest.raises(UnreachableError, match="no database"):
        walk(dep)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_folders_that_may_not_be_read_are_named() -> None:
    with machine.common_folder() as root:
        for folder in ("open", "shut\n\x1b[2J", *(f"many{n}" for n in range(60))):
            (root / folder).mkdir()
            (root / folder / "x").write_bytes(b"12")
            if folder != "open":
                (root / folder).chmod(0o700)

        def walk() -> tuple[list[tuple[str, int]], list[str], str]:
            store = FilesystemStore(root)
            found = [item for batch in store.walk(threading.Event()) for item in batch]
            try:
                list(FilesystemStore(root / "many1").walk(threading.Event()))
            except AccessError as error:
                return found, list(store.problems), error.message
            return found, list(store.problems), ""

        found, problems, root_said = machine.as_nobody(walk)
    assert found == [("open/x", 2)]
    assert (len(problems), problems[-1]) == (51, "11 more could not be read")
    every = " ".join(problems)
    assert "many" in every
    assert "Permission denied" in every
    assert "\x1b" not in every
    assert "may not use" in root_said


def test_cancelling_ends_the_walk(dep: Deployment) -> None:
    for number in range(2000):
        write(dep, f"1/{RUN}/artifacts/{number}", 1)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        list(dep.storage.usage(cancel=cancel))


def test_cancelling_between_reports_ends_it(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(service, "REPORTS_SHARE", 0)
    for number in range(2000):
        write(dep, f"1/{RUN}/artifacts/{number}", 1)
    cancel = threading.Event()
    reports = dep.storage.usage(cancel=cancel)
    first = next(reports)
    assert not first.complete
    assert 0 < first.objects < 2000
    cancel.set()
    with pytest.raises(CancelledError):
        list(reports)


def test_empty_folders_give_the_caller_its_turn(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / str(number)).mkdir()
    assert list(FilesystemStore(tmp_path).walk(threading.Event())) == [[], [], []]


def test_fifty_thousand_files_in_seconds(dep: Deployment) -> None:
    """Twenty files a run; the bound is ten times what it took, of CPU, to catch the quadratic."""
    runs = [f"{number:032x}" for number in range(2500)]
    rows = ", ".join(f"('{run}', '', 'active', 1)" for run in runs)
    execute(dep, f"INSERT INTO runs VALUES {rows}")  # noqa: S608  # made here
    for run in runs:
        folder = dep.paths.artifacts / "1" / run / "artifacts"
        folder.mkdir(parents=True)
        for number in range(20):
            (folder / str(number)).touch()
    began = time.process_time()
    usage = walk(dep)
    assert time.process_time() - began < 5
    alpha = next(each for each in usage.experiments if each.name == "alpha")
    assert (usage.objects, len(alpha.runs)) == (50_000, 2500)
    assert usage.orphans == usage.unknown == Amount()

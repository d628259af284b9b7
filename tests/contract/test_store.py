"""What every artifact store does, on a real folder and a real S3 server."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from console.core.deployment import Deployment
from console.core.errors import AccessError, CancelledError, ConsoleError, UnreachableError
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings
from console.core.stack.embedded import EmbeddedDriver
from console.core.stack.places import ArtifactStore, Bucket, Folder
from console.core.storage import s3, s3_client, service
from console.core.storage import store as contract
from console.core.storage.filesystem import FilesystemStore
from console.core.storage.s3 import S3Store
from console.core.storage.service import Amount, Usage
from console.core.storage.store import Fetched, Item, Store
from tests.support import engine
from tests.support.s3_server import S3Server, s3_server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("store"), pytest.mark.timeout(180)]

RUN, GONE, NOBODYS = "a" * 32, "b" * 32, "e" * 32
MODEL, TRACE = "m-" + "1" * 32, "tr-" + "2" * 32
ODD = [
    "a b", "a+b", "a%b", "a%20b", "a&b", "a'b", 'a"b', "a<b>", "a&amp;b", "ä😀", "a\nb", "a\rb",
    "tab\tx", "\x01x", "..a", "a?b#c", "a*b~c", "x;y=z,@:$()!", "[/red]", "\ue000\ufffd", "é",
    "e\u0301",
]  # fmt: skip


class Shelf(Protocol):
    """One implementation's place for a test, and how to fill it."""

    @property
    def place(self) -> ArtifactStore:
        """As a driver would describe it."""

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Write objects under keys relative to the place."""

    def put_beside(self, key: str) -> None:
        """Write an object that is not in the place but next to it."""

    def store(self) -> Store:
        """What is tested."""


class FolderShelf:
    def __init__(self, root: Path) -> None:
        self._root = root / "in here"
        self._root.mkdir()
        self.place = Folder(self._root)

    def put(self, objects: Mapping[str, bytes]) -> None:
        for key, data in objects.items():
            path = self._root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def put_beside(self, key: str) -> None:
        (self._root.parent / key).write_bytes(b"beside")

    def store(self) -> Store:
        return FilesystemStore(self._root)


class BucketShelf:
    def __init__(self, server: S3Server, name: str) -> None:
        self._server = server
        self._name = name
        server.client().make_bucket(name)
        self.place = server.bucket(name, "in here")

    def put(self, objects: Mapping[str, bytes]) -> None:
        self._server.put(self._name, {f"in here/{key}": data for key, data in objects.items()})

    def put_beside(self, key: str) -> None:
        self._server.put(self._name, {key: b"beside"})

    def store(self) -> Store:
        return S3Store(self.place)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    engine.require_engine()
    with s3_server(engine.images()["STORE_IMAGE"]) as running:
        yield running


@pytest.fixture(params=["filesystem", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "filesystem":
        return FolderShelf(tmp_path)
    return BucketShelf(request.getfixturevalue("server"), bucket_name(request))


def bucket_name(request: pytest.FixtureRequest) -> str:
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    """A whole bucket of a test's own."""
    name = bucket_name(request)
    server.client().make_bucket(name)
    return server.bucket(name)


def listed(store: Store) -> dict[str, int]:
    found = [each for batch in store.walk(threading.Event()) for each in batch]
    assert len(found) == len(dict(found)), "nothing is listed twice"
    return dict(found)


def test_nothing_is_in_an_empty_one(shelf: Shelf) -> None:
    shelf.put_beside("in here too")
    shelf.put_beside("before")
    store = shelf.store()
    assert listed(store) == {}
    assert store.incomplete(threading.Event()) == Amount()
    assert store.problems == []


def test_keys_of_every_kind(shelf: Shelf) -> None:
    objects = {f"{name}/{name}": b"x" * number for number, name in enumerate(ODD)}
    shelf.put(objects)
    assert listed(shelf.store()) == {key: len(data) for key, data in objects.items()}


def test_more_than_one_page(shelf: Shelf) -> None:
    objects = {f"{number % 7}/{number:04}": b"x" * (number % 5) for number in range(2501)}
    shelf.put(objects)
    assert listed(shelf.store()) == {key: len(data) for key, data in objects.items()}


def test_a_walk_that_is_cancelled_just_ends(shelf: Shelf) -> None:
    shelf.put({f"{number:04}": b"" for number in range(1500)})
    cancel = threading.Event()
    store = shelf.store()
    found = 0
    for batch in store.walk(cancel):
        found += len(batch)
        cancel.set()
    assert 0 < found < 1500
    assert store.incomplete(cancel) == Amount()
    assert store.problems == []


def deployment(directory: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """One whose driver keeps the artifacts on the shelf; half of the roots are absolute."""
    settings = Settings(
        format=1, name="t", driver="embedded", server=ServerSettings(port=5000, mlflow="3.17.2")
    )
    dep = Deployment(directory, settings)
    monkeypatch.setattr(EmbeddedDriver, "artifact_store", lambda _self: shelf.place)
    dep.paths.database.parent.mkdir(parents=True)
    connection = sqlite3.connect(dep.paths.database)
    connection.executescript(f"""
        CREATE TABLE experiments (experiment_id, name, artifact_location, lifecycle_stage);
        CREATE TABLE runs (run_uuid, name, lifecycle_stage, experiment_id);
        CREATE TABLE logged_models (model_id, experiment_id, lifecycle_stage);
        CREATE TABLE trace_info (request_id, experiment_id);
        INSERT INTO experiments VALUES (1, 'alpha', 'mlflow-artifacts:/1', 'active'),
            (2, 'beta', '{shelf.store().base}/my own/place', 'active');
        INSERT INTO runs VALUES ('{RUN}', 'one', 'active', 1), ('{GONE}', 'two', 'deleted', 2);
        INSERT INTO logged_models VALUES ('{MODEL}', 2, 'active');
        INSERT INTO trace_info VALUES ('{TRACE}', 1);
    """)  # noqa: S608  # constants of this file
    connection.close()
    return dep


def walk(dep: Deployment) -> Usage:
    return list(dep.storage.usage(cancel=threading.Event()))[-1]


def test_everything_has_its_owner_and_the_sums_agree(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dep = deployment(tmp_path / "dep", shelf, monkeypatch)
    shelf.put(
        {
            f"1/{RUN}/artifacts/a": b"x" * 100,
            f"1/{RUN}/artifacts/plots/roc curve=1.png": b"x" * 23,
            f"my own/place/{GONE}/artifacts/a": b"x" * 1000,
            f"my own/place/models/{MODEL}/artifacts/MLmodel": b"x" * 11,
            f"1/traces/{TRACE}/artifacts/traces.json": b"x" * 13,
            f"1/{NOBODYS}/artifacts/a": b"x" * 17,
            "lost+found/x": b"x" * 29,
        }
    )
    usage = walk(dep)
    assert usage.complete
    beta, alpha = usage.experiments
    assert (alpha.name, alpha.bytes, alpha.objects) == ("alpha", 136, 3)
    assert (beta.name, beta.bytes, beta.objects) == ("beta", 1011, 2)
    assert [(run.run_id, run.bytes) for run in alpha.runs] == [(RUN, 123)]
    assert [(run.run_id, run.bytes) for run in beta.runs] == [(GONE, 1000)]
    assert (alpha.traces, beta.models) == (Amount(13, 1), Amount(11, 1))
    assert (usage.trash, usage.orphans) == (Amount(1000, 1), Amount(17, 1))
    assert usage.unknown == Amount(29, 1)
    assert (usage.bytes, usage.objects) == (1193, 7)
    assert (usage.incomplete_uploads, usage.problems) == (Amount(), ())


def test_a_cancelled_walk_of_the_service_is_an_error(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "INTERVAL_SECONDS", 0.0)
    dep = deployment(tmp_path / "dep", shelf, monkeypatch)
    shelf.put({f"{number:04}": b"" for number in range(1500)})
    cancel = threading.Event()
    reports = dep.storage.usage(cancel=cancel)
    assert not next(reports).complete
    cancel.set()
    with pytest.raises(CancelledError):
        list(reports)


def listed_items(store: Store) -> dict[str, Item]:
    found = [each for batch in store.items(threading.Event()) for each in batch]
    assert len(found) == len({each.key for each in found}), "nothing is listed twice"
    return {each.key: each for each in found}


def in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=os.fsencode)


def fetch(store: Store, folder: Path, keys: Iterable[str] | None = None) -> dict[str, Fetched]:
    items = listed_items(store)
    wanted = [(items[key], folder / "to" / f"{number}" / "x")
              for number, key in enumerate(items if keys is None else keys)]  # fmt: skip
    folder.mkdir(exist_ok=True)
    batches = store.fetch(wanted, folder / "parts", threading.Event())
    found = [each for batch in batches for each in batch]
    assert {each.item.key for each in found} == {item.key for item, _ in wanted}
    assert not list((folder / "parts").iterdir()), "nothing half is left"
    return {each.item.key: each for each in found}


def test_items_are_in_the_order_of_their_keys(shelf: Shelf) -> None:
    objects = {f"{name}/{name}": b"x" * number for number, name in enumerate(ODD)}
    objects |= {"a/b": b"1", "a-b": b"22", "a0": b"333", "a/b-c": b""}
    shelf.put(objects)
    items = listed_items(shelf.store())
    assert list(items) == in_order(objects)
    assert {key: item.size for key, item in items.items()} == {
        key: len(data) for key, data in objects.items()
    }
    assert all(item.mark for item in items.values())


def test_items_of_more_than_one_page(shelf: Shelf) -> None:
    objects = {f"{number % 7}/{number:04}": b"x" * (number % 5) for number in range(2501)}
    shelf.put(objects)
    assert list(listed_items(shelf.store())) == in_order(objects)


def test_the_mark_is_another_one_when_the_content_is(shelf: Shelf) -> None:
    shelf.put({"same": b"one", "other": b"one"})
    before = listed_items(shelf.store())
    assert listed_items(shelf.store()) == before
    shelf.put({"other": b"two"})
    after = listed_items(shelf.store())
    assert after["same"] == before["same"]
    assert after["other"].mark != before["other"].mark


def test_what_is_written_after_asking_for_the_time_is_not_older(shelf: Shelf) -> None:
    shelf.put({"before": b"x"})
    time.sleep(1.1)  # the clock of a bucket goes by seconds
    clock = shelf.store().clock()
    shelf.put({"after": b"x"})
    items = listed_items(shelf.store())
    assert max(items["before"].modified, items["before"].written) < clock
    assert clock <= max(items["after"].modified, items["after"].written)
    assert abs(clock / 1000 - time.time()) < 60


def test_everything_is_fetched_as_it_is(shelf: Shelf, tmp_path: Path) -> None:
    objects = {f"{name}/{name}": os.urandom(number * 7) for number, name in enumerate(ODD)}
    objects |= {"empty": b"", "large": os.urandom(9_000_001)}
    shelf.put(objects)
    fetched = fetch(shelf.store(), tmp_path / "fetched")
    items = listed_items(shelf.store())
    for key, data in objects.items():
        item, path, sha256, error = fetched[key]
        assert (item, error) == (items[key], "")
        assert path.read_bytes() == data
        assert sha256 == hashlib.sha256(data).hexdigest()
        found = path.stat()
        assert found.st_mtime_ns // 1_000_000 == item.modified
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_many_are_fetched(shelf: Shelf, tmp_path: Path) -> None:
    objects = {
        f"{number % 9}/{number:04}": b"%d" % number * (number % 50) for number in range(1500)
    }
    shelf.put(objects)
    fetched = fetch(shelf.store(), tmp_path / "fetched")
    assert {key: each.path.read_bytes() for key, each in fetched.items()} == objects


def test_what_went_meanwhile_is_gone_and_what_changed_is_told(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put({"a": b"a", "b": b"b", "changes": b"old"})
    store = shelf.store()
    items = listed_items(store)
    wanted = [(items["a"], tmp_path / "a"), (items["changes"], tmp_path / "c")]
    missing = items["b"]._replace(key="not/there")
    wanted.append((missing, tmp_path / "m"))
    shelf.put({"changes": b"newer"})
    found = {
        each.item.key: each
        for batch in store.fetch(wanted, tmp_path / "parts", threading.Event())
        for each in batch
    }
    assert found["a"].error == found["changes"].error == ""
    assert found["not/there"] == (missing, tmp_path / "m", "", contract.GONE)
    assert not (tmp_path / "m").exists()
    changed = found["changes"]
    assert changed.path.read_bytes() == b"newer"
    assert (changed.item.size, changed.item.mark) == (5, listed_items(store)["changes"].mark)
    assert changed.item != items["changes"]


def test_fetching_that_is_cancelled_just_ends(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put({f"{number:04}": b"x" for number in range(1500)})
    store, cancel = shelf.store(), threading.Event()
    items = listed_items(store).values()
    found = 0
    for batch in store.fetch(((i, tmp_path / i.key) for i in items), tmp_path / "parts", cancel):
        found += len(batch)
        cancel.set()
    assert 0 < found < 1500
    assert not list((tmp_path / "parts").iterdir())


def test_what_is_put_can_be_fetched(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put({"there": b"before"})
    objects = {f"{name}/{name}": os.urandom(number * 7) for number, name in enumerate(ODD)}
    objects |= {"there": b"after", "empty": b"", "large": os.urandom(17_000_001)}
    wanted = []
    for number, (key, data) in enumerate(objects.items()):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        os.utime(path, ns=(10**18, 10**18))
        wanted.append((key, path))
    store = shelf.store()
    done = [key for batch in store.put(iter(wanted), threading.Event()) for key in batch]
    assert sorted(done) == sorted(objects)
    assert listed(store) == {key: len(data) for key, data in objects.items()}
    fetched = fetch(store, tmp_path / "fetched")
    assert {key: each.path.read_bytes() for key, each in fetched.items()} == objects


def test_putting_what_is_not_there_is_said(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="nothing here"):
        list(shelf.store().put([("key", tmp_path / "nothing here")], threading.Event()))
    assert listed(shelf.store()) == {}


# What only a bucket has


def test_incomplete_uploads_are_no_objects_but_counted(server: S3Server, bucket: Bucket) -> None:
    server.begin_upload(bucket.name, "in/a b&c", b"x" * 1000, b"x" * 24)
    upload_id = server.begin_upload(bucket.name, "in/ä", b"x" * 5)
    server.begin_upload(bucket.name, "elsewhere", b"x" * 7)
    server.begin_upload(bucket.name, "inside", b"x" * 9)
    whole, folder = S3Store(bucket), S3Store(server.bucket(bucket.name, "in"))
    assert listed(whole) == {}
    assert whole.incomplete(threading.Event()) == Amount(1045, 4)
    assert folder.incomplete(threading.Event()) == Amount(1029, 2)
    server.abort_upload(bucket.name, "in/ä", upload_id)
    assert folder.incomplete(threading.Event()) == Amount(1024, 1)
    assert folder.problems == []


def test_parts_of_more_than_one_page(
    server: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.begin_upload(bucket.name, "a", *[b"x" * number for number in range(1, 8)])
    monkeypatch.setattr(s3, "PAGE", 3)
    assert S3Store(bucket).incomplete(threading.Event()) == Amount(28, 1)


def test_a_bucket_that_can_be_listed_is_fine(bucket: Bucket) -> None:
    S3Store(bucket).check()


def test_a_bucket_that_is_lost_is_said(server: S3Server) -> None:
    lost = S3Store(server.bucket("lost"))
    for call in (lost.check, lambda: listed(lost)):
        with pytest.raises(ConsoleError, match="has lost its bucket lost") as caught:
            call()
        assert "mlflow-console up" in caught.value.hint
        assert "gone" in caught.value.hint


@pytest.mark.parametrize(
    ("access_key", "secret_key"), [("tester", "wrong"), ("stranger", "a secret of tests")]
)
def test_keys_that_are_not_accepted_are_said(
    bucket: Bucket, access_key: str, secret_key: str
) -> None:
    other = Bucket(bucket.endpoint, bucket.name, "", access_key, Secret(secret_key))
    with pytest.raises(AccessError, match=f"does not accept the access key {access_key}"):
        S3Store(other).check()


def test_a_store_that_is_stopped_in_the_middle(
    server: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PAGE_SECONDS", 3.0)
    server.put(bucket.name, {f"{number:04}": b"" for number in range(1500)})
    walking = S3Store(bucket).walk(threading.Event())
    assert len(next(walking)) == 1000
    engine.docker("stop", "--time", "5", server.container)
    try:
        with pytest.raises(UnreachableError, match="The artifact store at"):
            list(walking)
        with pytest.raises(UnreachableError, match="The artifact store at"):
            S3Store(bucket).check()
    finally:
        server.restart()
    assert len(listed(S3Store(server.bucket(bucket.name)))) == 1500


def test_fetching_from_a_store_that_is_stopped_in_the_middle(
    server: S3Server, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "BACKOFF_SECONDS", 0.1)
    server.put(bucket.name, {f"{number:04}": b"x" * 1000 for number in range(3000)})
    store = S3Store(bucket)
    items = listed_items(store).values()
    fetching = store.fetch(
        ((item, tmp_path / item.key) for item in items), tmp_path / "parts", threading.Event()
    )
    found = next(fetching)
    engine.docker("kill", server.container)
    try:
        with pytest.raises(UnreachableError, match="The artifact store at"):
            list(fetching)
    finally:
        server.restart()
    assert not list((tmp_path / "parts").iterdir())
    assert all(each.path.read_bytes() == b"x" * 1000 for each in found)


def test_a_key_that_is_no_text_cannot_be_put(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(ConsoleError, match="cannot hold"):
        list(S3Store(bucket).put([("a\udcff", tmp_path / "x")], threading.Event()))


# What only a folder has


def test_what_a_killed_put_has_left_goes_with_the_next(tmp_path: Path) -> None:
    root, new = tmp_path / "root", tmp_path / "x"
    (root / "1" / "deep").mkdir(parents=True)
    new.write_bytes(b"x")
    theirs = root / "1" / ".0123456789abcdef.part"
    for path in (theirs, root / "1" / "deep" / ".mlflow-console-0123456789abcdef.part"):
        path.write_bytes(b"half")
    (tmp_path / "link").symlink_to(root)
    list(FilesystemStore(tmp_path / "link").put([("1/a", new)], threading.Event()))
    assert sorted(path for path in root.rglob("*") if path.is_file()) == [theirs, root / "1" / "a"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    store = FilesystemStore(root)
    fetched = fetch(store, tmp_path / "fetched")
    assert set(fetched) == {"file", "folder", "pipe"}
    assert all(each.error and not each.path.exists() for each in fetched.values())
    new = tmp_path / "new"
    new.write_bytes(b"new")
    with pytest.raises(ConsoleError):
        list(store.put([("folder/secret", new)], threading.Event()))
    assert (outside / "secret").read_bytes() == b"secret"
    for key in ("../x", "a//b", "", "/x", "a/./b", "a/../b"):
        with pytest.raises(ConsoleError, match="cannot hold"):
            list(store.put([(key, new)], threading.Event()))
    list(store.put([("file", new)], threading.Event()))
    assert (root / "file").read_bytes() == b"new"
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_copy_that_keeps_its_time_came_when_it_came(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    clock = store.clock()
    (tmp_path / "copy").write_bytes(b"x")
    os.utime(tmp_path / "copy", ns=(10**18, 10**18))
    item = listed_items(store)["copy"]
    assert item.modified < clock <= item.written

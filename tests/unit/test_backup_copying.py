"""The artifacts of a snapshot, of a store in a real folder."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.backup.artifacts import copying, index, naming, progress_log
from console.core.backup.artifacts.contents import Contents
from console.core.backup.artifacts.naming import Names
from console.core.backup.snapshot import (
    ARTIFACTS,
    CHANGED,
    INDEX,
    ODD,
    Artifacts,
    Change,
    Entry,
    Snapshot,
    State,
)
from console.core.errors import CancelledError, ConsoleError, DiskFullError
from console.core.storage.filesystem import FilesystemStore
from console.core.storage.store import Fetched, Item
from tests.support.live import Live, entries


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


def changes(folder: Path) -> list[Change]:
    with gzip.open(folder / CHANGED) as file:
        return [msgspec.json.decode(line, type=Change) for line in file]


def must_hold(folder: Path, objects: dict[str, bytes]) -> None:
    """Exactly these, and nothing else."""
    found = entries(folder)
    assert list(found) == sorted(objects, key=os.fsencode)
    for key, data in objects.items():
        entry = found[key]
        assert (folder / entry.file).read_bytes() == data
        assert entry.sha256 == hashlib.sha256(data).hexdigest()
        assert entry.size == len(data)
    files = {path for path in folder.rglob("*") if path.is_file()}
    known = {folder / entry.file for entry in found.values()}
    logs = {folder / name for name in (INDEX, CHANGED, *copying.LOGS)}
    assert known <= files <= known | logs


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_a_first_one_holds_everything(live: Live) -> None:
    objects = {f"1/run{number}/x": os.urandom(number) for number in range(50)} | {"a b\n%": b"odd"}
    for key, data in objects.items():
        live.write(key, data)
    found = live.run("one")
    must_hold(live.place / "one", objects)
    total = sum(map(len, objects.values()))
    assert found == Artifacts(objects=51, bytes=total, new_bytes=total)
    assert live.asked == [(total, 51)]
    for entry in entries(live.place / "one").values():
        found_at = (live.place / "one" / entry.file).stat()
        assert stat.S_IMODE(found_at.st_mode) == 0o600
        assert found_at.st_mtime_ns // 1_000_000 == entry.modified
    assert changes(live.place / "one") == []


def test_an_empty_store(live: Live) -> None:
    assert live.run("one") == Artifacts(objects=0, bytes=0, new_bytes=0)
    must_hold(live.place / "one", {})


def test_what_is_unchanged_is_linked_and_never_to_the_store(live: Live) -> None:
    for key in ("same/a", "same/b", "changes", "goes"):
        live.write(key, key.encode())
    first = live.snapshot("one")
    (live.root / "goes").unlink()
    live.write("changes", b"another")
    live.write("new", b"new")
    found = live.run("two", first)
    objects = {"same/a": b"same/a", "same/b": b"same/b", "changes": b"another", "new": b"new"}
    must_hold(live.place / "two", objects)
    assert (found.objects, found.new_bytes) == (4, 10)
    one, two = live.place / "one" / ARTIFACTS, live.place / "two" / ARTIFACTS
    assert inode(one / "same/a") == inode(two / "same/a")
    assert all((live.root / key).stat().st_nlink == 1 for key in objects)
    assert live.asked[-1] == (10, 4)


def test_the_same_content_takes_room_once(live: Live) -> None:
    live.write("moves", b"m" * 100)
    live.write("empty", b"")
    first = live.snapshot("one")
    (live.root / "moves").rename(live.root / "moved")
    for number in range(5):
        live.write(f"copies/{number}", b"c" * 1000)
    live.write("empty too", b"")
    found = live.run("two", first)
    assert found.new_bytes == 1000
    two = live.place / "two" / ARTIFACTS
    assert inode(two / "moved") == inode(live.place / "one" / ARTIFACTS / "moves")
    assert len({inode(two / f"copies/{number}") for number in range(5)}) == 1


def test_what_a_restore_has_written_anew_takes_no_room_again(live: Live) -> None:
    live.write("a", b"aaa")
    live.write("b", b"bb")
    first = live.snapshot("one")
    (live.root / "a").unlink()
    safety = live.snapshot("two", first)
    live.write("a", b"aaa")
    live.write("c", b"c")
    found = live.run("three", safety, older=[first])
    must_hold(live.place / "three", {"a": b"aaa", "b": b"bb", "c": b"c"})
    assert found.new_bytes == 1
    assert (first.path / ARTIFACTS / "a").samefile(live.place / "three" / ARTIFACTS / "a")


def test_an_older_one_that_is_damaged_is_of_no_use(live: Live) -> None:
    live.write("a", b"aaa")
    first = live.snapshot("one")
    (first.path / INDEX).write_bytes(b"no index")
    live.write("a", b"aaa")
    assert live.run("two", older=[first]).new_bytes == 3
    must_hold(live.place / "two", {"a": b"aaa"})


def test_content_that_has_changed_on_the_disk_is_not_linked(live: Live) -> None:
    live.write("moves", b"m" * 100)
    first = live.snapshot("one")
    (first.path / ARTIFACTS / "moves").write_bytes(b"x" * 100)
    (live.root / "moves").rename(live.root / "moved")
    live.run("two", first)
    must_hold(live.place / "two", {"moved": b"m" * 100})


@pytest.mark.parametrize("harm", ["broken", "more broken", "cut short", "gone"])
def test_what_is_known_to_be_broken_is_fetched_again(live: Live, harm: str) -> None:
    live.write("a", b"aaa")
    live.write("b", b"bbb")
    first = live.snapshot("one")
    file = first.path / ARTIFACTS / "a"
    state = State()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(b"xxx" if harm != "cut short" else b"")
    if harm == "broken":
        state = State(broken=("artifacts/a",), broken_count=1)
    if harm == "more broken":
        state = State(broken=("artifacts/b",), broken_count=2)
    live.run("two", Snapshot(first.path, None, state))
    must_hold(live.place / "two", {"a": b"aaa", "b": b"bbb"})


@pytest.mark.parametrize("where", [20, -30, -3])
def test_of_a_damaged_index_nothing_is_used(live: Live, where: int) -> None:
    for number in range(200):
        live.write(f"{number}", os.urandom(10))
    first = live.snapshot("one")
    packed = bytearray((first.path / INDEX).read_bytes())
    packed[where] ^= 4
    (first.path / INDEX).write_bytes(packed)
    found = live.run("two", first)
    assert found.new_bytes == 2000
    must_hold(live.place / "two", {f"{n}": (live.root / f"{n}").read_bytes() for n in range(200)})


def test_what_was_written_after_the_dump_began_is_named(live: Live) -> None:
    live.write("before", b"x")
    first = live.snapshot("one")
    clock = live.store.clock() + 1
    while live.store.clock() < clock:
        pass
    live.write("after", b"x")
    live.write("a copy", b"x")
    os.utime(live.root / "a copy", ns=(0, 0))
    found = live.run("two", first, clock=clock)
    assert found.changed == 2
    said = {(each.key, each.what) for each in changes(live.place / "two")}
    assert said == {("a copy", "changed"), ("after", "changed")}


class Meanwhile(FilesystemStore):
    """A store in which something happens between listing and copying."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.happens: Callable[[], object] = int

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        self.happens()
        yield from super().fetch(wanted, parts, cancel)


def test_what_goes_or_changes_while_it_is_copied(live: Live) -> None:
    store = live.store = Meanwhile(live.root)
    for key in ("goes", "grows", "stays"):
        live.write(key, b"xx")
    (live.root / "pipe").symlink_to("stays")

    def happens() -> None:
        (live.root / "goes").unlink()
        live.write("grows", b"grown")

    store.happens = happens
    found = live.run("one")
    must_hold(live.place / "one", {"grows": b"grown", "stays": b"xx"})
    assert (found.objects, found.bytes, found.new_bytes) == (2, 7, 7)
    assert (found.changed, found.gone, found.unread) == (1, 1, 1)
    said = {each.key: (each.what, bool(each.why)) for each in changes(live.place / "one")}
    assert said == {
        "goes": ("gone", False), "grows": ("changed", True), "pipe": ("unread", True),
    }  # fmt: skip


class Interrupted(FilesystemStore):
    """A store that fetches some objects, one after the other, and then no more."""

    most = 1 << 60

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        for fetched, task in enumerate(wanted):
            if fetched == self.most:
                raise DiskFullError("full")
            yield from super().fetch([task], parts, cancel)


def test_an_interrupted_one_goes_on(live: Live) -> None:
    store = live.store = Interrupted(live.root)
    objects = {f"{number % 3}/{number:02}": os.urandom(10) for number in range(20)}
    for key, data in objects.items():
        live.write(key, data)
    store.most = 8
    with pytest.raises(DiskFullError):
        live.run("one")
    log = live.place / "one" / progress_log.NAME
    assert len(log.read_bytes().splitlines()) == 8
    with log.open("ab") as file:
        file.write(b'{"key":"torn')
    (live.root / "0/00").unlink()
    del objects["0/00"]
    live.write("0/03", b"changed")
    objects["0/03"] = b"changed"
    (live.place / "one" / ARTIFACTS / "0/06").write_bytes(b"cut")  # as a crash may leave it
    before = inode(live.place / "one" / ARTIFACTS / "0/09")
    store.most = 100
    found = live.run("one")
    must_hold(live.place / "one", objects)
    assert live.asked[-1] == (sum(map(len, objects.values())) - 50, 19)
    assert found.new_bytes == found.bytes == sum(map(len, objects.values()))
    assert inode(live.place / "one" / ARTIFACTS / "0/09") == before


@pytest.mark.parametrize("same_boot", [True, False])
def test_after_another_boot_the_content_is_looked_at(live: Live, same_boot: bool) -> None:
    store = live.store = Interrupted(live.root)
    for number in range(3):
        live.write(f"{number}", b"right")
    store.most = 2
    with pytest.raises(DiskFullError):
        live.run("one")
    store.most = 10
    if not same_boot:
        (live.place / "one" / progress_log.BOOT).write_text("another")
    (live.place / "one" / ARTIFACTS / "0").unlink()
    (live.place / "one" / ARTIFACTS / "0").write_bytes(b"wrong")
    live.run("one")
    found = (live.place / "one" / ARTIFACTS / "0").read_bytes()
    assert found == (b"wrong" if same_boot else b"right")


def test_an_interrupted_second_one_goes_on(live: Live) -> None:
    live.write("old", b"old")
    live.write("older", b"older")
    first = live.snapshot("one")
    store = live.store = Interrupted(live.root)
    store.most = 1
    for key in ("new", "newer"):
        live.write(key, key.encode())
    with pytest.raises(DiskFullError):
        live.run("two", first)
    (live.root / "old").unlink()
    store.most = 10
    found = live.run("two", first)
    must_hold(live.place / "two", {"older": b"older", "new": b"new", "newer": b"newer"})
    assert found.new_bytes == 8


def test_links_that_an_interrupted_one_left_go_with_their_objects(live: Live) -> None:
    for key in ("1/stays", "2/goes"):
        live.write(key, key.encode())
    first = live.snapshot("one")
    live.write("3/new", b"new")
    store = live.store = Interrupted(live.root)
    store.most = 0
    with pytest.raises(DiskFullError):
        live.run("two", first)
    assert (live.place / "two" / ARTIFACTS / "2/goes").exists()
    shutil.rmtree(live.root / "2")
    store.most = 9
    live.run("two", first)
    must_hold(live.place / "two", {"1/stays": b"1/stays", "3/new": b"new"})


def test_what_cannot_be_listed_is_named(live: Live) -> None:
    shutil.rmtree(live.root)
    found = live.run("one")
    assert (found.objects, found.unread) == (0, 1)
    (change,) = changes(live.place / "one")
    assert (change.what, "does not exist" in change.why) == ("unread", True)


def test_a_cancelled_one_is_an_error(live: Live) -> None:
    live.write("a", b"a")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        live.run("one", cancel=cancel)


def test_too_little_room_is_refused_before_the_first_byte(live: Live) -> None:
    live.write("a", b"a" * 10)
    making = live.place / "one"
    making.mkdir()

    def refuse(new_bytes: int, objects: int) -> None:
        raise DiskFullError(f"{new_bytes} {objects}")

    with pytest.raises(DiskFullError, match="10 1"):
        list(copying.copy(live.store, making, None, clock=0, room=refuse,
                          cancel=threading.Event()))  # fmt: skip
    assert not list((making / ARTIFACTS).iterdir())


def test_what_keeps_no_links_is_copied(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    live.write("a", b"aaa")
    live.write("b", b"aaa")
    first = live.snapshot("one")
    monkeypatch.setattr(os, "link", refuse)
    found = live.run("two", first)
    must_hold(live.place / "two", {"a": b"aaa", "b": b"aaa"})
    assert found.new_bytes == 6


def test_an_estimate(live: Live) -> None:
    live.write("a", b"aaa")
    first = live.snapshot("one")
    live.write("b", b"bb")
    assert copying.estimate(live.store, None) == copying.Estimate(2, 5, 5)
    assert copying.estimate(live.store, first) == copying.Estimate(2, 5, 2)


class Shelf(FilesystemStore):
    """A store with keys that no folder holds."""

    def __init__(self, root: Path, objects: dict[str, bytes]) -> None:
        super().__init__(root)
        self.objects = objects

    def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
        keys = sorted(self.objects, key=lambda key: key.encode("utf-8", "surrogateescape"))
        yield [Item(key, len(self.objects[key]), 1000, f"m{key!r}") for key in keys]

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        for item, path in wanted:
            data = self.objects[item.key]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
            yield [Fetched(item, path, hashlib.sha256(data).hexdigest())]


HARD = [
    "", "/", "a/", "/a", "a//b", ".", "..", "a/..", "../a", "./a", "a/./b", "a\0b", "x" * 256,
    "ä" * 128, "a/" * 600 + "x", "p", "p/q", "p/q/r", "p-", "p/", "\udcff/x", "ä\udcff", ".hidden",
    "a/.b", "x" * 255, "b\nc", "%2e%2e", "~", "a/...", "CON", "Case", "case", "x" * 1025,
]  # fmt: skip


def test_keys_that_can_be_no_file_names_are_kept(live: Live) -> None:
    objects = {key: f"{number}".encode() for number, key in enumerate(HARD)}
    live.store = Shelf(live.root, objects)
    first = live.snapshot("one")
    must_hold(live.place / "one", objects)
    assert live.run("two", first).new_bytes == 0
    must_hold(live.place / "two", objects)
    plain = {entry.name for entry in entries(first.path).values() if not entry.path}
    assert {"p", ".hidden", "a/.b", "x" * 255, "b\nc", "a/...", "Case", "case", "ä\udcff"} <= plain
    assert not plain & {"", "/", "a/", "a//b", "..", "../a", "p/q", "p/q/r", "x" * 256, "a\0b"}
    assert {path.parent for path in first.path.rglob("*")} >= {first.path / ODD}


@settings(deadline=None, max_examples=40)
@given(st.sets(st.text("ab/.\0\udcff~é", max_size=8), max_size=30))
def test_any_keys_are_kept(tmp_path_factory: pytest.TempPathFactory, keys: set[str]) -> None:
    folder = tmp_path_factory.mktemp("keys")
    live = Live(folder)
    objects = {key: os.urandom(8) for key in keys}
    live.store = Shelf(live.root, objects)
    live.run("one")
    must_hold(live.place / "one", objects)
    shutil.rmtree(folder)


def test_a_picky_disk_gets_modest_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not naming.is_picky(tmp_path)
    monkeypatch.setattr(naming, "is_picky", lambda _folder: True)
    names = Names(tmp_path)
    said = {key: names.path(key, key.encode()) == "" for key in sorted(
        ["A", "a", "a:", "b.", "c /x", "d e/f.g", "ä", "1/0af/x=1.bin"])}  # fmt: skip
    assert {key for key, plain in said.items() if plain} == {"a", "d e/f.g", "1/0af/x=1.bin"}


def test_a_listing_that_is_in_no_order_is_copied_all_the_same(live: Live) -> None:
    objects = {"b": b"1", "a": b"2", "a/b": b"3", "c": b"4"}

    class Unordered(Shelf):
        def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
            yield [Item(key, 1, 1000, f"m{key}") for key in objects]

    live.store = Unordered(live.root, objects)
    first = live.snapshot("one")
    live.run("two", first)
    for folder in (first.path, live.place / "two"):
        found = entries(folder)
        assert {key: (folder / each.file).read_bytes() for key, each in found.items()} == objects


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(-(2**40), 2**40)), max_size=400))
def test_contents_are_found_as_in_a_dict(added: list[tuple[int, int]]) -> None:
    contents, known = Contents(), {}
    for number, place in added * 4:
        digest = hashlib.sha256(b"%d" % number).digest()
        contents.add(digest, place)
        known[digest] = place
    for number in range(302):
        digest = hashlib.sha256(b"%d" % number).digest()
        assert contents.find(digest) == known.get(digest)


def test_many_contents() -> None:
    contents = Contents()
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(5000)]
    for number, digest in enumerate(digests):
        contents.add(digest, number)
    assert [contents.find(digest) for digest in digests] == list(range(5000))


def test_a_log_with_an_older_line_of_a_key_tells_the_newer(tmp_path: Path) -> None:
    log = progress_log.ProgressLog(tmp_path)
    new = Entry("k\udcff".encode("utf-8", "replace").decode(), 2, 2, "n", "1" * 64, "", b"k\xff")
    old = Entry(new.key, 1, 1, "m", "0" * 64, "", b"k\xff")
    log.add([old, new])
    log.forget()
    log.close()
    again = progress_log.ProgressLog(tmp_path)
    assert again
    assert again.is_of_this_boot
    found = again.find("k\udcff")
    assert found is not None
    assert found[0] == new
    assert again.entry(found[1]) == new
    assert again.find("k") is None
    again.close()


def test_a_log_full_of_nothing_is_of_no_use(tmp_path: Path) -> None:
    (tmp_path / progress_log.NAME).write_bytes(bytes(5000) + b"\n{}\n" + bytes(10))
    log = progress_log.ProgressLog(tmp_path)
    assert not log
    log.close()
    with pytest.raises(ConsoleError):
        list(index.read(_with_index(tmp_path)))


def _with_index(folder: Path) -> Path:
    (folder / INDEX).write_bytes(b"no gzip")
    return folder

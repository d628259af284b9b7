"""The artifacts of a snapshot, put back into a store in a real folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.backup.artifacts import putting
from console.core.backup.snapshot import Snapshot
from console.core.errors import CancelledError, ConsoleError
from console.core.storage.filesystem import FilesystemStore
from console.core.storage.store import Item
from tests.support.live import Live, entries

ODD = os.fsdecode(b"1/\xff\n[bold]")
KEYS = ("1/a/artifacts/model", "1/b", ODD, "10/x", "2/\U0001f680", "2/\u00e9", "empty")


class Backwards(FilesystemStore):
    """A store that lists in another order than that of its keys."""

    def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
        for batch in reversed(list(super().items(cancel))):
            yield batch[::-1]


@pytest.fixture
def live(tmp_path: Path) -> Live:
    there = Live(tmp_path)
    for key in KEYS:
        there.write(key, b"" if key == "empty" else os.fsencode(key) * 7)
    return there


@pytest.fixture
def snapshot(live: Live) -> Snapshot:
    return live.snapshot("one")


def put_back(store: FilesystemStore, snapshot: Snapshot) -> list[str]:
    steps = list(putting.put_back(store, snapshot, threading.Event()))
    ends = [(step.done, step.total) for step in steps if step.done is not None]
    assert ends[0] == (0, ends[0][1])
    assert all(done <= (total or 0) for done, total in ends)
    return [step.label for step in steps]


def refuse(store: FilesystemStore, snapshot: Snapshot) -> None:
    putting.refuse_lacking(store, snapshot, threading.Event())


@pytest.mark.parametrize("kind", [FilesystemStore, Backwards])
def test_what_is_lacking_comes_back_and_the_rest_stays(
    live: Live, snapshot: Snapshot, kind: type[FilesystemStore]
) -> None:
    (live.root / KEYS[0]).unlink()
    (live.root / ODD).unlink()
    live.write("1/b", b"something else")
    live.write("1/came", b"since")
    live.write("3/came", b"since")
    store = kind(live.root)
    with pytest.raises(ConsoleError, match="3 artifacts are not in the store after all"):
        refuse(store, snapshot)
    found = putting.missing(FilesystemStore(live.root), snapshot, threading.Event())
    assert (found.objects, found.same, found.others) == (3, len(KEYS) - 3, 2)
    put_back(store, snapshot)
    refuse(store, snapshot)
    for key in KEYS:
        assert (live.root / key).read_bytes() == (snapshot.path / _file(snapshot, key)).read_bytes()
    assert (live.root / "1/came").read_bytes() == b"since"
    assert (live.root / "3/came").read_bytes() == b"since"


def test_what_is_there_is_not_written_again(live: Live, snapshot: Snapshot) -> None:
    before = {key: (live.root / key).stat() for key in KEYS}
    found = putting.missing(live.store, snapshot, threading.Event())
    assert (found.objects, found.same, sum(found.lacks)) == (0, len(KEYS), 0)
    put_back(live.store, snapshot)
    assert {key: (live.root / key).stat() for key in KEYS} == before


def test_what_is_broken_does_not_replace_what_is_whole(live: Live, snapshot: Snapshot) -> None:
    broken = snapshot.path / _file(snapshot, "1/b")
    broken.write_bytes(b"X" + broken.read_bytes()[1:])
    (live.root / "1/b").unlink()
    (live.root / "10/x").unlink()
    said = put_back(live.store, snapshot)
    assert said[-1] == "1 artifact of the snapshot did not come back, being broken: 1/b"
    assert not (live.root / "1/b").exists()
    assert (live.root / "10/x").read_bytes() == b"10/x" * 7
    refuse(live.store, snapshot)  # nobody can bring it back: it is no fault of the store


def test_leaving_off(live: Live, snapshot: Snapshot) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        list(putting.put_back(live.store, snapshot, cancel))
    with pytest.raises(CancelledError):
        putting.refuse_lacking(live.store, snapshot, cancel)


def _file(snapshot: Snapshot, key: str) -> str:
    return entries(snapshot.path)[key].file

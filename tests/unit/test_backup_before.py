"""What of a previous snapshot is known to be broken is not handed on, whatever it is called."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from console.core.backup.artifacts.before import Before
from console.core.backup.snapshot import INDEX, Entry, Snapshot, State
from console.core.files import printable
from console.core.storage.store import Item


@pytest.mark.parametrize("raw", [b"plain", b"no \xff text"])
def test_a_broken_file_is_found_by_its_name(tmp_path: Path, raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    entry = Entry(
        key=raw.decode("utf-8", "backslashreplace"), size=3, modified=0, mark="m",
        sha256="0" * 64, raw=raw,
    )  # fmt: skip
    (tmp_path / INDEX).write_bytes(gzip.compress(msgspec.json.encode(entry) + b"\n"))
    item = Item(name, 3, 0, "m")
    assert Before(Snapshot(tmp_path, None, State())).find(item, raw) is not None
    broken = State(broken=(printable(f"artifacts/{name}"),), broken_count=1)
    assert Before(Snapshot(tmp_path, None, broken)).find(item, raw) is None

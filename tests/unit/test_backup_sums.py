"""SHA256SUMS is what `sha256sum -c` reads, whatever the files are called."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.core.backup import sums
from console.core.backup.snapshot import ARTIFACTS, INDEX, SEAL, SUMS, Entry
from console.core.errors import ConsoleError

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


def fill(folder: Path, names: list[bytes]) -> None:
    """A snapshot's folder with these artifacts and one more file."""
    (folder / ARTIFACTS).mkdir(parents=True)
    lines = []
    for name in names:
        path = os.path.join(os.fsencode(folder / ARTIFACTS), name)
        Path(os.fsdecode(path)).write_bytes(name)
        text = name.decode("utf-8", "backslashreplace")
        raw = b"" if text.encode() == name else name
        lines.append(msgspec.json.encode(Entry(
            key=text, size=len(name), modified=0, mark="",
            sha256=hashlib.sha256(name).hexdigest(), raw=raw,
        )))  # fmt: skip
    (folder / INDEX).write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))
    (folder / "manifest.json").write_bytes(b"{}")
    sums.write(folder)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMES, max_size=8, unique=True))
def test_standard_tools_and_we_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("sums") / "snapshot"
    fill(folder, names)
    for listing in (SEAL, SUMS):
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", listing], cwd=folder,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    read = {os.fsencode(name): sha256 for name, sha256 in sums.read(folder)}
    expected = {f"{ARTIFACTS}/".encode() + name: hashlib.sha256(name).hexdigest() for name in names}
    assert read.items() >= expected.items()
    assert len(read) == len(names) + 2
    for name, sha256 in sums.read(folder):
        assert sums.digest(folder / name) == sha256


@pytest.mark.parametrize("damaged", [SUMS, SEAL])
def test_a_list_that_was_changed_is_not_believed(tmp_path: Path, damaged: str) -> None:
    folder = tmp_path / "snapshot"
    fill(folder, [b"one"])
    content = bytearray((folder / damaged).read_bytes())
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (folder / damaged).write_bytes(flipped)
        with pytest.raises(ConsoleError, match="is not as it was written"):
            list(sums.read(folder))


def test_a_list_that_is_missing_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    fill(folder, [b"one"])
    (folder / SEAL).unlink()
    with pytest.raises(ConsoleError, match="is missing"):
        list(sums.read(folder))

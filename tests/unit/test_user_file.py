"""One user file: edits of others are worked in, and a kill leaves the old one or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console.core.errors import BusyError, DiskFullError
from console.core.users.htpasswd import Htpasswd
from console.core.users.user_file import UserFile

FIELD = b"{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg="


@pytest.fixture
def written() -> list[int]:
    return []


def user_file(folder: Path, written: list[int], alone: bool = False) -> UserFile:
    return UserFile(
        folder / "htpasswd" / "default", folder / "run" / "users.lock",
        lambda: written.append(1), alone,
    )  # fmt: skip


def test_an_edit_without_a_lock_is_worked_in(tmp_path: Path, written: list[int]) -> None:
    file = user_file(tmp_path, written)
    file.change(lambda now: now.add(b"ada", FIELD))
    calls = 0

    def change(now: Htpasswd) -> Htpasswd:
        nonlocal calls
        calls += 1
        if calls == 1:
            with file.path.open("ab") as other:  # as Apache's htpasswd does
                other.write(b"theirs:" + FIELD + b"\n")
        return now.add(b"bob", FIELD)

    file.change(change)
    assert [line.name for line in file.read().users()] == [b"ada", b"theirs", b"bob"]
    assert (calls, written) == (2, [1, 1])


def test_edits_without_end_are_given_up(tmp_path: Path, written: list[int]) -> None:
    file = user_file(tmp_path, written)
    file.change(lambda now: now.add(b"ada", FIELD))

    def change(now: Htpasswd) -> Htpasswd:
        with file.path.open("ab") as other:
            other.write(b"# again\n")
        return now.add(b"bob", FIELD)

    with pytest.raises(BusyError, match="again and again"):
        file.change(change)
    assert [line.name for line in file.read().users()] == [b"ada"]
    assert list(file.path.parent.iterdir()) == [file.path]


def test_nothing_is_written_where_nothing_changed(tmp_path: Path, written: list[int]) -> None:
    file = user_file(tmp_path, written)
    file.change(lambda now: now.add(b"ada", FIELD))
    before = file.path.stat()
    file.change(lambda now: now)
    assert file.path.stat().st_ino == before.st_ino
    assert written == [1]


def test_a_file_that_is_mounted_alone_keeps_its_inode(tmp_path: Path, written: list[int]) -> None:
    file = user_file(tmp_path, written, alone=True)
    file.path.parent.mkdir()
    file.path.write_bytes(b"# kept\nlong:" + FIELD * 20 + b"\n")
    file.path.chmod(0o640)
    before = file.path.stat()
    file.change(lambda now: now.remove({b"long"}))
    after = file.path.stat()
    assert file.path.read_bytes() == b"# kept\n"
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert written == [1]
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["users.lock"]


def test_a_full_disk_leaves_a_file_that_is_mounted_alone(
    tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = user_file(tmp_path, written, alone=True)
    file.change(lambda now: now.add(b"ada", FIELD))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFullError):
        file.change(lambda now: now.add(b"bob", FIELD))
    assert file.path.read_bytes() == b"ada:" + FIELD + b"\n"


CHANGE = """
import sys
from pathlib import Path
from tests.unit.test_user_file import FIELD, user_file
file = user_file(Path(sys.argv[1]), [], alone=True)
print("ready", flush=True)
for n in range(1_000_000):
    file.change(lambda now: now.add(b"u%d" % n, FIELD) if n % 2 else now.remove({b"u%d" % (n - 1)}))
"""


def test_a_kill_in_the_middle_of_a_rewrite_is_mended(tmp_path: Path) -> None:
    file = user_file(tmp_path, [], alone=True)
    base = b"".join(b"user-%d:%s\n" % (n, FIELD) for n in range(2_000))
    file.path.parent.mkdir()
    file.path.write_bytes(base)
    for turn in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHANGE, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + turn * 0.013)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        file.change(lambda now: now)  # brings to its end what was begun
        assert file.path.read_bytes().startswith(base)
        assert file.path.read_bytes().endswith(b"\n")
        file.change(lambda now: Htpasswd.parse(base))

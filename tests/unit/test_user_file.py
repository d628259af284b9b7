"""One user file: edits of others are worked in, and a kill leaves the old one or the new one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.errors import AccessError, BusyError, DiskFullError
from console.core.users.htpasswd import Htpasswd
from console.core.users.journal import BLOCK, Change, Journal
from console.core.users.user_file import UserFile
from tests.support import machine

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


@pytest.mark.parametrize("alone", [False, True])
def test_a_link_stays_one_and_what_it_leads_to_is_changed(
    tmp_path: Path, written: list[int], alone: bool
) -> None:
    file = user_file(tmp_path, written, alone)
    file.path.parent.mkdir()
    target = tmp_path / "elsewhere" / "users"
    target.parent.mkdir()
    target.write_bytes(b"ada:" + FIELD + b"\n")
    target.chmod(0o640)
    leftover = target.with_name(".users.killed.tmp")
    leftover.touch()
    file.path.symlink_to("../elsewhere/users")
    file.change(lambda now: now.add(b"bob", FIELD))
    assert file.path.readlink() == Path("../elsewhere/users")
    assert [line.name for line in Htpasswd.parse(target.read_bytes()).users()] == [b"ada", b"bob"]
    assert target.stat().st_mode & 0o777 == 0o640
    assert leftover.exists() == alone  # what a kill left is swept where it was left
    assert written == [1]


def test_a_link_into_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = user_file(tmp_path, written)
    file.path.parent.mkdir()
    target = tmp_path / "elsewhere" / "users"
    target.parent.mkdir()
    target.write_bytes(b"ada:" + FIELD + b"\n")
    file.path.symlink_to(target)

    def refused(**settings: str | Path) -> None:  # the tests may run as root, who may everything
        raise PermissionError(errno.EACCES, "Permission denied", f"{settings['dir']}/.users.x.tmp")

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    with pytest.raises(AccessError) as caught:
        file.change(lambda now: now.add(b"bob", FIELD))
    assert caught.value.message.startswith(f"This account may not use {target.parent}, which")
    assert file.path.is_symlink()
    assert target.read_bytes() == b"ada:" + FIELD + b"\n"


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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with machine.small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.mark.parametrize("alone", [False, True])
def test_a_disk_full_to_the_brim_leaves_the_old_file(
    disk: Path, written: list[int], alone: bool
) -> None:
    file = user_file(disk, written, alone)
    file.change(lambda now: now.add(b"ada", FIELD))
    ballast = machine.fill(disk)
    with pytest.raises(DiskFullError, match="is full") as caught:
        file.change(lambda now: now.add(b"bob", FIELD))
    assert caught.value.exit_code == 1
    assert file.path.read_bytes() == b"ada:" + FIELD + b"\n"
    assert list(file.path.parent.iterdir()) == [file.path]
    assert [each.name for each in (disk / "run").iterdir()] == ["users.lock"]
    ballast.unlink()
    file.change(lambda now: now)
    assert file.path.read_bytes() == b"ada:" + FIELD + b"\n", "what was refused is not done later"
    file.change(lambda now: now.add(b"bob", FIELD))
    assert [line.name for line in file.read().users()] == [b"ada", b"bob"]
    assert written == [1, 1]


def test_no_room_for_a_rewriting_in_place_leaves_the_old_file(
    disk: Path, tmp_path: Path, written: list[int]
) -> None:
    """The journal has room, on another disk, and the file has none."""
    file = UserFile(disk / "default", tmp_path / "run" / "users.lock",
                    lambda: written.append(1), alone=True)  # fmt: skip
    file.change(lambda now: now.add(b"ada", FIELD))
    machine.fill(disk)
    with pytest.raises(DiskFullError, match="is full"):
        file.change(lambda now: Htpasswd.parse(bytes(now) + b"x:" + FIELD * 500 + b"\n"))
    assert file.path.read_bytes() == b"ada:" + FIELD + b"\n"
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["users.lock"]
    assert written == [1]


@pytest.mark.parametrize("alone", [False, True])
def test_any_bytes_on_the_disk_survive_an_added_line(tmp_path: Path, alone: bool) -> None:
    file = user_file(tmp_path, [], alone)
    file.path.parent.mkdir()

    @given(st.binary(max_size=200))
    def check(content: bytes) -> None:
        file.path.write_bytes(content)
        file.change(lambda now: now)
        assert file.path.read_bytes() == content
        file.change(lambda now: now.add(b"ada", FIELD))
        assert file.path.read_bytes().startswith(content)

    check()


@pytest.mark.parametrize("alone", [False, True])
def test_owner_and_mode_are_kept(tmp_path: Path, alone: bool) -> None:
    file = user_file(tmp_path, [], alone)
    file.change(lambda now: now.add(b"ada", FIELD))
    if os.geteuid() == 0:
        os.chown(file.path, machine.NOBODY, 12)
    file.path.chmod(0o640)
    before = file.path.stat()
    file.change(lambda now: now.add(b"bob", FIELD))
    after = file.path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid, before.st_gid, before.st_mode,
    )  # fmt: skip
    assert (after.st_ino == before.st_ino) is alone


# The journal


def begun(file: UserFile, before: bytes, after: bytes) -> Path:
    """A journal as a kill leaves it."""
    path = file.path.parent.parent / "run" / f"{file.path.name}.users-journal"
    path.parent.mkdir(exist_ok=True)
    assert Journal(path).begin(Change(before, after), unless=lambda: False)
    return path


TEXT = st.binary(max_size=3_000)


@given(TEXT, TEXT, st.integers(0, 8), st.booleans(), st.booleans())
def test_wherever_a_rewriting_was_left_it_is_known(
    before: bytes, after: bytes, blocks: int, room: bool, cut: bool
) -> None:
    """Room is made, blocks are written from the first one on, what is too much is cut off."""
    found = bytearray(before)
    if room:
        found = bytearray(before.ljust(len(after), b"\0"))
        done = after[: blocks * BLOCK]
        found[: len(done)] = done
        if len(done) == len(after) and cut:
            del found[len(after) :]
    assert Change(before, after).left(bytes(found))


@given(TEXT.filter(len), TEXT)
def test_an_edit_from_afterwards_is_no_such_thing(before: bytes, after: bytes) -> None:
    edited = before + b"eve:{SHA}x=\n"
    if len(edited) not in (len(before), len(after)):
        assert not Change(before, after).left(edited)


def test_what_is_read_in_the_middle_is_what_it_shall_be(tmp_path: Path, written: list[int]) -> None:
    file = user_file(tmp_path, written)  # whoever reads need not know that it is mounted alone
    file.path.parent.mkdir()
    before, after = b"a:" + FIELD * 60 + b"\n", b"b:" + FIELD * 80 + b"\n"
    file.path.write_bytes(after[:BLOCK] + before.ljust(len(after), b"\0")[BLOCK:])
    journal = begun(file, before, after)
    assert bytes(file.read()) == after
    assert journal.exists(), "who only reads writes nothing"
    file.change(lambda now: now)
    assert (file.path.read_bytes(), journal.exists(), written) == (after, False, [1])


def test_an_edit_after_a_kill_counts_more_than_what_was_killed(
    tmp_path: Path, written: list[int]
) -> None:
    file = user_file(tmp_path, written, alone=True)
    file.change(lambda now: now.add(b"ada", FIELD))
    before = file.path.read_bytes()
    journal = begun(file, before, before + b"killed:" + FIELD + b"\n")
    with file.path.open("ab") as other:
        other.write(b"theirs:" + FIELD + b"\n")
    assert [line.name for line in file.read().users()] == [b"ada", b"theirs"]
    file.change(lambda now: now.add(b"bob", FIELD))
    assert [line.name for line in file.read().users()] == [b"ada", b"theirs", b"bob"]
    assert not journal.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"mlflow-console user file 2 1 abc\nx"])
def test_a_journal_that_says_nothing_is_put_away(
    tmp_path: Path, written: list[int], content: bytes
) -> None:
    file = user_file(tmp_path, written, alone=True)
    file.change(lambda now: now.add(b"ada", FIELD))
    journal = begun(file, b"x", b"y")
    journal.write_bytes(content)
    assert [line.name for line in file.read().users()] == [b"ada"]
    file.change(lambda now: now.add(b"bob", FIELD))
    assert not journal.exists()


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

"""The door to the file system, against real kills, a full disk and other processes."""

from __future__ import annotations

import errno
import json
import os
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import files
from console.core.errors import AccessError, BusyError, ConsoleError, DiskFullError
from console.core.format import size
from tests.support import machine, unavailable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_a_new_file_has_the_mode_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write_atomic(tmp_path / "open", b"1", mode=0o644)
    finally:
        os.umask(before)
    files.write_atomic(tmp_path / "secret", b"2")
    assert (mode(tmp_path / "open"), mode(tmp_path / "secret")) == (0o644, 0o600)
    assert leftovers(tmp_path) == []


def test_an_existing_file_keeps_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, machine.NOBODY, 12)
    before = path.stat()
    files.write_atomic(path, b"new", mode=0o600)
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid, before.st_gid, before.st_mode,
    )  # fmt: skip
    assert after.st_ino != before.st_ino


def test_root_stays_out_of_somebody_elses_folder(tmp_path: Path) -> None:
    files.refuse_as_root(tmp_path)
    if os.geteuid() != 0:
        unavailable("only root can be refused as root")
    os.chown(tmp_path, machine.NOBODY, machine.NOBODY)
    with pytest.raises(AccessError) as caught:
        files.refuse_as_root(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path} belongs to nobody")
    assert "sudo -u nobody mlflow-console" in caught.value.hint


def test_a_line_is_not_appended_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "trail").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        files.append_line(tmp_path / "trail", b"x")
    assert victim.read_bytes() == b"untouched"


WRITER = """
import sys
from pathlib import Path
from console.core import files
path, number = Path(sys.argv[1]), 0
print("ready", flush=True)
while True:
    number += 1
    files.write_atomic(path, f"{number}:".encode() + str(number % 10).encode() * 200_000)
"""


def test_a_killed_write_leaves_the_old_or_the_new_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, b"0:" + b"0" * 200_000)
    moments = random.Random(7)  # noqa: S311  # when to kill, no secret
    seen = set()
    for _ in range(8):
        child = machine.python(WRITER, str(path))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        threading.Event().wait(moments.uniform(0.0, 0.06))
        child.kill()
        child.communicate()
        number, _, rest = path.read_text().partition(":")
        assert rest == str(int(number) % 10) * 200_000
        seen.add(number)
        files.sweep(path)
        assert leftovers(tmp_path) == []
    assert len(seen) > 1


def test_sweep_takes_only_leftovers_of_that_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("x")
    kept = {".other.ab12.tmp", "users.tmp", ".users", "users.bak", "users"}
    for name in (*kept, ".users.ab12.tmp", ".users.zz.tmp"):
        (tmp_path / name).touch()
    files.sweep(path)
    assert {entry.name for entry in tmp_path.iterdir()} == kept
    files.sweep(path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with machine.small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_leaves_the_old_file(disk: Path) -> None:
    path = disk / "users"
    files.write_atomic(path, b"old" * 100)
    machine.fill(disk, leave=20_000)
    with pytest.raises(DiskFullError) as caught:
        files.write_atomic(path, b"new" * 20_000)
    assert caught.value.message.endswith("is full")
    assert str(disk) in caught.value.message
    assert "Free some space" in caught.value.hint
    assert caught.value.exit_code == 1
    assert path.read_bytes() == b"old" * 100
    assert leftovers(disk) == []


def test_a_line_cut_short_by_a_full_disk_spoils_no_other(disk: Path) -> None:
    path = disk / "audit"
    files.append_line(path, b"a" * 100)
    ballast = machine.fill(disk)

    def overflow() -> None:
        for _ in range(3):
            files.append_line(path, b"b" * 6_000)

    with pytest.raises(OSError, match="No space") as caught:
        overflow()
    assert caught.value.errno == errno.ENOSPC
    ballast.unlink()
    files.append_line(path, b"c")
    lines = path.read_bytes().splitlines()
    assert (lines[0], lines[-1]) == (b"a" * 100, b"c")
    assert all(set(line) == {ord("b")} for line in lines[1:-1])


def test_room_is_asked_for_before_the_first_byte(disk: Path) -> None:
    files.need_room(disk / "a" / "b", 100_000, "It")
    with pytest.raises(DiskFullError) as caught:
        files.need_room(disk / "a" / "b", 2_000_000_000, "The environment")
    assert caught.value.message == (
        f"The environment needs 2.0 GB on the disk of {disk}/a/b; "
        f"{size(files.free_bytes(disk))} are free"
    )
    assert list(disk.iterdir()) == []


APPENDER = """
import sys
from pathlib import Path
from console.core import files
for number in range(200):
    files.append_line(Path(sys.argv[1]), f"{sys.argv[2]} {number} {'x' * 3000}".encode())
"""


def test_lines_of_several_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "trail"
    children = [machine.python(APPENDER, str(path), str(name)) for name in range(4)]
    for child in children:
        assert child.communicate(timeout=60)[0] == ""
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(
        f"{name} {number} {'x' * 3000}" for name in range(4) for number in range(200)
    )
    assert mode(path) == 0o600


HOLDER = """
import sys
import time
from pathlib import Path
from console.core import files
with files.locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_held_elsewhere_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    child = machine.python(HOLDER, str(path))
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.3)
    with pytest.raises(BusyError) as caught, files.locked(path, "the users"):
        pytest.fail("two have it")
    assert "changing the users" in caught.value.message
    assert f"fuser {path}" in caught.value.hint
    child.kill()
    child.communicate()
    with files.locked(path, "the users"):  # a killed holder holds nothing
        pass


COUNTER = """
import json, sys
from pathlib import Path
from console.core import files
path = Path(sys.argv[1])
for _ in range(50):
    with files.locked(path.with_name("lock"), "it"):
        number = json.loads(path.read_text())
        files.write_atomic(path, json.dumps(number + 1).encode())
"""


def test_a_lock_keeps_changes_of_several_processes_apart(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    children = [machine.python(COUNTER, str(path)) for _ in range(3)]
    for child in children:
        assert child.communicate(timeout=60)[0] == ""
    assert json.loads(path.read_text()) == 150


def test_a_lock_keeps_threads_apart(tmp_path: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        with files.locked(tmp_path / "lock", "it"):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_an_error_inside_a_lock_stays_what_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(ConsoleError, match="mine"),
        files.locked(tmp_path / "lock", "it"),
    ):
        raise ConsoleError("mine")


def test_no_right_is_told_with_the_owner() -> None:
    with machine.common_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        path = folder / "closed" / "file"

        def write() -> None:
            files.write_atomic(path, b"x")

        with pytest.raises(AccessError) as caught:
            machine.as_nobody(write)
        assert caught.value.message.startswith("This account may not use")
        assert "belongs to root" in caught.value.message
        assert "sudo" in caught.value.hint


def test_a_folder_gets_its_mode_once(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.make_folder(folder, 0o755)
    assert mode(folder) == 0o755
    files.make_folder(folder, 0o700)
    assert mode(folder) == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(ConsoleError):
        files.make_folder(tmp_path / "file" / "folder")

"""The lock of a place: who has it, whether that one lives, and `kill -9` at any moment."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from console.core import machine
from console.core.backup import lock
from console.core.backup.lock import Lock, Record
from console.core.errors import BusyError

BEFORE = datetime(2026, 3, 1, 8, tzinfo=UTC)


def dead(**others: object) -> Record:
    """The record of a process of this machine that was killed."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, check=True)  # fmt: skip
    values: dict[str, object] = {
        "by": "ada", "host": machine.host_name(), "machine": machine.machine_id() or "m",
        "boot": machine.boot_id(), "pid": int(ended.stdout), "ticks": 5, "since": BEFORE,
        "what": "backup of lab",
    }  # fmt: skip
    return Record(**(values | others))  # type: ignore[arg-type]  # as the test wants them


def leave(place: Path, record: Record) -> None:
    (place / lock.FILE).write_bytes(msgspec.json.encode(record))


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom console.core.backup.lock import Lock\n"
        "with Lock(Path(sys.argv[1])).holding('backup of lab'):\n"
        "    print(flush=True)\n    time.sleep(300)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_it_names_its_holder(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    held = Lock(tmp_path)
    holder = held.holder()
    assert holder is not None
    assert (holder.pid, holder.what, holder.alive) == (stranger.pid, "backup of lab", True)
    assert abs((holder.seen_at - holder.since).total_seconds()) < 30
    sentence = rf"in use by .+ \(process {stranger.pid}\), since .+ UTC, for: backup of lab"
    with pytest.raises(BusyError, match=sentence), held.holding("prune of lab"):
        pass
    with pytest.raises(BusyError, match=sentence):
        held.clear()


def test_who_was_killed_leaves_it_to_the_next(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    stranger.kill()
    stranger.wait()
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert (holder.pid, holder.alive) == (stranger.pid, False)
    with Lock(tmp_path).holding("prune of lab") as said:
        assert f"(process {stranger.pid})" in said
        assert "killed" in said
        now = Lock(tmp_path).holder()
        assert now is not None
        assert (now.pid, now.alive) == (os.getpid(), True)
    assert Lock(tmp_path).holder() is None


def test_a_stopped_holder_lives(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    stranger.send_signal(19)
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is True


def test_one_thread_has_it_twice_and_another_waits(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with Lock(tmp_path).holding("verify of lab"):
                pass
        except BusyError as error:
            refused.append(error.message)

    with Lock(tmp_path).holding("restore of lab") as first:
        with Lock(tmp_path).holding("backup of lab") as second:
            assert (first, second) == ("", "")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        holder = Lock(tmp_path).holder()
        assert holder is not None
        assert holder.what == "restore of lab"
    assert "in use by" in refused[0]
    assert Lock(tmp_path).holder() is None
    other()
    assert len(refused) == 1


@pytest.mark.parametrize("torn", [b"", b"{", b'{"by":"ada","host":"vm"', b"\x00" * 200])
def test_a_torn_one_is_dead_when_nobody_is_writing_it(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / lock.FILE
    path.write_bytes(torn)
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is True
    with pytest.raises(BusyError, match="in use by somebody"):
        Lock(tmp_path).clear()
    os.close(handle)
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is False
    with Lock(tmp_path).holding("backup of lab") as said:
        assert "killed" in said


def test_another_boot_of_this_machine_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "machine_id", lambda: "m")
    leave(tmp_path, dead(machine="m", boot="before", pid=os.getpid(), ticks=machine.ticks()))
    found = Lock(tmp_path).clear()
    assert found is not None
    assert (found.by, found.alive) == ("ada", False)
    assert Lock(tmp_path).clear() is None


@pytest.mark.parametrize(
    ("other", "record"),
    [("m", {"machine": "n", "boot": "b"}), ("m", {"machine": "m", "boot": "b", "host": "copy"}),
     ("m", {"machine": "m", "boot": ""}), ("", {"machine": "", "boot": "b"})],
)  # fmt: skip
def test_of_another_machine_nobody_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, record: dict[str, str]
) -> None:
    monkeypatch.setattr(machine, "machine_id", lambda: other)
    leave(tmp_path, dead(**record))
    os.utime(tmp_path / lock.FILE, (1_800_000_000, 1_800_000_000))
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is None
    sentence = "in use by ada on .*its last sign of life was at 2027-01-15 08:00:00 UTC"
    for attempt in (Lock(tmp_path).clear, Lock(tmp_path).holding("prune").__enter__):
        with pytest.raises(BusyError, match=sentence) as caught:
            attempt()
        assert f"remove {tmp_path / lock.FILE}" in caught.value.hint


def test_a_number_that_is_somebody_elses_by_now(tmp_path: Path) -> None:
    leave(tmp_path, dead(pid=os.getpid(), ticks=machine.ticks() - 1))
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is False
    leave(tmp_path, dead(pid=os.getpid(), ticks=machine.ticks()))
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.alive is True


def test_where_there_is_no_flock_nothing_is_taken_over_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int, kind: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with Lock(tmp_path).holding("backup of lab"), pytest.raises(BusyError, match="in use by"):
        Lock(tmp_path).clear()
    leave(tmp_path, dead())
    with (
        pytest.raises(BusyError, match="left by a process that was killed") as caught,
        Lock(tmp_path).holding("backup of lab"),
    ):
        pass
    assert "backup unlock" in caught.value.hint
    assert Lock(tmp_path).clear() is not None
    (tmp_path / lock.FILE).write_bytes(b"")
    with pytest.raises(BusyError, match="last sign of life"):
        Lock(tmp_path).clear()


def test_a_lock_that_became_somebody_elses_is_not_given_back(tmp_path: Path) -> None:
    with Lock(tmp_path).holding("backup of lab"):
        (tmp_path / lock.FILE).unlink()
        leave(tmp_path, dead(by="eve"))
    assert (tmp_path / lock.FILE).exists()


def test_its_holder_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    path = tmp_path / lock.FILE
    with Lock(tmp_path).holding("backup of lab"):
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            pass


def test_on_a_full_disk_something_can_still_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = os.write

    def write(handle: int, data: bytes) -> int:
        everything(handle, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with Lock(tmp_path).holding("prune of lab"):
        assert (tmp_path / lock.FILE).read_bytes() == b""
        holder = Lock(tmp_path).holder()
        assert holder is not None
        assert holder.alive is True
        assert holder.words.startswith("somebody, since ")
    assert not (tmp_path / lock.FILE).exists()


def test_names_from_outside_are_cleaned(tmp_path: Path) -> None:
    leave(tmp_path, dead(by="a\x1b[31mda", what="x\ny"))
    holder = Lock(tmp_path).holder()
    assert holder is not None
    assert holder.words.startswith("ada on ")
    assert "\n" not in holder.words


def storm(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    seed = random.randrange(1_000_000)  # noqa: S311  # pytest-randomly says which, so does it
    return subprocess.run(
        [sys.executable, "-m", "tests.support.lock_storm", str(folder), str(seed), how],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_two_are_never_inside_whatever_is_killed(tmp_path: Path) -> None:
    done = storm(tmp_path, "guarded")
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_its_guard_that_would_be_noticed(tmp_path: Path) -> None:
    done = storm(tmp_path, "unguarded")
    assert done.returncode == 1, done.stdout
    assert "is not alone" in done.stderr

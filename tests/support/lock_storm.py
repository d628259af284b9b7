"""Many processes want the lock of one place while `kill -9` hits them.

`python -m tests.support.lock_storm FOLDER SEED HOW` fails when two were ever inside. A second
lock, a flock that the kernel gives back with each kill, is the witness. HOW is "guarded", or
"unguarded": without what keeps two from taking a dead holder's lock at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from console.core.backup import lock
from console.core.backup.lock import Lock
from console.core.errors import BusyError

PROCESSES = 6
SECONDS = 12.0
WITNESS, TAKEN, TAKEN_OVER, WRONG = "witness", "taken", "taken-over", "wrong"


def note(folder: Path, name: str, words: str) -> None:
    """Add a line; short enough to be written whole."""
    with (folder / name).open("a") as file:
        file.write(f"{words}\n")


def work(place: Path, folder: Path) -> None:
    """Want the lock for ever, and leave it after a moment; now and then clear a dead one."""
    dice = random.Random(os.getpid())  # noqa: S311  # no secret
    while True:
        try:
            if dice.random() < 0.2:
                Lock(place).clear()
            with Lock(place).holding(f"process {os.getpid()}") as taken_over:
                inside(folder, taken_over)
                time.sleep(dice.random() * 0.01)
        except BusyError:
            time.sleep(0.001)


def inside(folder: Path, taken_over: str) -> None:
    """Be the only one, or say that this is not so."""
    witness = os.open(folder / WITNESS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(folder, WRONG, f"{os.getpid()} is not alone")
    else:
        note(folder, TAKEN, str(os.getpid()))
        if taken_over:
            note(folder, TAKEN_OVER, taken_over)
        time.sleep(0.002)
    finally:
        os.close(witness)


def start(place: Path, folder: Path) -> int:
    """One more process, without the time that a new Python takes; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work(place, folder)
        finally:
            traceback.print_exc()
            os._exit(1)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, how = os.waitpid(pid, 0)
    assert how == signal.SIGKILL, f"{pid} had ended by itself"


def storm(folder: Path, seed: int) -> None:
    """Kill and start for a while, then see that the place can be used."""
    dice = random.Random(seed)  # noqa: S311  # no secret
    place = folder / "place"
    place.mkdir()
    children = [start(place, folder) for _ in range(PROCESSES)]
    kills = 0
    try:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(dice.random() * 0.03)
            holder = Lock(place).holder()
            at = dice.randrange(PROCESSES)
            if holder and holder.pid in children and dice.random() < 0.5:
                at = children.index(holder.pid)
            kill(children[at])
            kills += 1
            children[at] = start(place, folder)
    finally:
        for child in children:
            kill(child)
    assert not (folder / WRONG).exists(), (folder / WRONG).read_text()
    taken = len((folder / TAKEN).read_text().splitlines())
    over = len((folder / TAKEN_OVER).read_text().splitlines())
    print(f"{kills} kills; taken {taken} times, {over} of them from the dead")
    with Lock(place).holding("the end"):
        assert (place / lock.FILE).exists()
    assert not (place / lock.FILE).exists()


@contextlib.contextmanager
def unguarded(_lock: Lock) -> Iterator[bool]:
    """Nobody waits for anybody."""
    yield True


if __name__ == "__main__":
    if sys.argv[3] == "unguarded":
        lock.Lock._guarded = unguarded  # type: ignore[assignment]  # what the lock must not be
    storm(Path(sys.argv[1]), int(sys.argv[2]))

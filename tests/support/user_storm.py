"""Eight processes that change one user file while they are killed at random; a program of its own.

    python -m tests.support.user_storm FOLDER SEED replaced|alone|unlocked

It forks, which a test runner with its threads must not. Each process writes down what it is about
to do, and after each change that came back that it is done: what is written down as done must be in
the file whatever happens, and what was under way may be.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import bcrypt

from console.core import files
from console.core.deployment import Deployment
from console.core.errors import BusyError
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings, UsersSettings
from console.core.stack.driver import Guard
from console.core.stack.embedded import EmbeddedDriver
from console.core.users.htpasswd import Htpasswd, Line
from console.core.users.user_files import UserFiles

PROCESSES, NAMES_EACH, KILLS = 8, 50, 200
SECONDS = 200.0
# In front of all others, so that a rewriting in place takes a while.
BASE = b"".join(b"# kept %04d %s\n" % (number, b"-" * 80) for number in range(600))


@dataclass(frozen=True, slots=True)
class Login:
    """What a name is to be let in by."""

    password: str
    on: bool = True

    def __str__(self) -> str:
        return f"{self.password} {'on' if self.on else 'off'}"


State = Login | None  # None: not in the file


@dataclass(slots=True)
class Entry:
    """One change, as its process wrote it down.

    Attributes:
        done: None as long as nobody knows.
    """

    name: str
    wanted: State
    done: bool | None = None


class Ledger:
    """What one process did and does; its file has one line for each beginning and each end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        whole = self.path.read_text().rpartition("\n")[0] if self.path.exists() else ""
        for line in whole.splitlines():
            match line.split(" "):
                case ["done" | "not" as word]:
                    found[-1].done = word == "done"
                case [name, "gone"]:
                    found.append(Entry(name, None))
                case [name, password, switch]:
                    found.append(Entry(name, Login(password, switch == "on")))
        return found

    def cut(self) -> None:
        """Take off a line that a kill cut short."""
        if self.path.exists():
            content = self.path.read_bytes()
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def write(self, line: str) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)


@functools.lru_cache(None)
def _is(password: str, field: bytes) -> bool:
    return bcrypt.checkpw(password.encode(), field)


def shows(line: Line | None, state: State) -> bool:
    """Whether a file's line is what a state says."""
    if line is None or state is None:
        return line is None and state is None
    return line.enabled == state.on and _is(state.password, line.field)


def settled(entries: list[Entry]) -> dict[str, State]:
    """The last state of each name that was done."""
    return {each.name: each.wanted for each in entries if each.done}


def opened(directory: Path) -> Deployment:
    server, users = ServerSettings(port=5000, mlflow="3.17.2"), UsersSettings(bcrypt_cost=4)
    return Deployment(
        directory, Settings(format=1, name="storm", driver="embedded", server=server, users=users)
    )


def read(deployment: Deployment) -> Htpasswd:
    return UserFiles(deployment).of("default").read()


# A process


class Worker:
    """One of the eight, over all its lives."""

    def __init__(self, deployment: Deployment, number: int, ledger: Ledger) -> None:
        self.users = deployment.users
        self.deployment = deployment
        self.names = [f"p{number}-{each}" for each in range(NAMES_EACH)]
        self.ledger = ledger
        self.state: dict[str, State] = {}
        self.touched: set[str] = set()

    def live(self, moments: random.Random, parent: int) -> None:
        """Change users until killed."""
        self.ledger.cut()
        entries = self.ledger.entries()
        if entries and entries[-1].done is None:
            entries[-1].done = self._was_done(entries)
            self.ledger.write("done" if entries[-1].done else "not")
        self.state, self.touched = settled(entries), {each.name for each in entries if each.done}
        while os.getppid() == parent:
            fresh = [each for each in self.names if each not in self.touched]
            name = moments.choice(fresh if fresh and moments.random() < 0.6 else self.names)
            self._change(name, self._wanted(name, moments))

    def _was_done(self, entries: list[Entry]) -> bool:
        """Of the change that was under way when the process was killed."""
        last = entries[-1]
        line = read(self.deployment).find(last.name)
        before = settled(entries[:-1]).get(last.name)
        assert shows(line, last.wanted) or shows(line, before), (
            f"{last} and before {before}: {line}"
        )
        return shows(line, last.wanted)

    def _wanted(self, name: str, moments: random.Random) -> State:
        now, new = self.state.get(name), f"{moments.getrandbits(64):x}"
        if now is None:
            return Login(new)
        kind = moments.random()
        if kind < 0.3:
            return None
        return Login(now.password, not now.on) if kind < 0.5 else Login(new, now.on)

    def _change(self, name: str, wanted: State) -> None:
        self.ledger.write(f"{name} {wanted or 'gone'}")
        try:
            self._do(name, self.state.get(name), wanted)
        except BusyError:
            self.ledger.write("not")
            return
        self.ledger.write("done")
        self.state[name] = wanted
        self.touched.add(name)

    def _do(self, name: str, before: State, wanted: State) -> None:
        if wanted is None:
            self.users.remove([name])
        elif before is None:
            self.users.add(name, Secret(wanted.password))
        elif before.password != wanted.password:
            self.users.passwd(name, Secret(wanted.password))
        elif wanted.on:
            self.users.enable([name])
        else:
            self.users.disable([name])


# The one that kills


class Storm:
    """The eight processes, and whoever kills them and looks."""

    def __init__(self, directory: Path, seed: int, alone: bool) -> None:
        self.deployment = opened(directory / "lab")
        self.path = self.deployment.paths.users
        self.moments = random.Random(seed)  # noqa: S311  # whom to kill, no secret
        self.alone = alone
        (directory / "ledgers").mkdir()
        self.ledgers = [Ledger(directory / "ledgers" / str(n)) for n in range(PROCESSES)]
        self.running: dict[int, int] = {}
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(BASE)
        self.inode = self.path.stat().st_ino

    def __enter__(self) -> Storm:
        for number in range(PROCESSES):
            self._start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self) -> tuple[int, int]:
        """Kill until every name was changed, and look after each; how many changes and kills."""
        kills, end = 0, time.monotonic() + SECONDS
        while kills < KILLS or self._untouched():
            assert time.monotonic() < end, f"{self._untouched()} names are left: is it locked?"
            time.sleep(self.moments.uniform(0.005, 0.04))
            number = self._kill(self.moments.choice(list(self.running)))
            self.look()
            self._start(number)
            kills += 1
        for pid in list(self.running):
            self._kill(pid)
        self.look()
        self._last_look()
        done = sum(bool(each.done) for ledger in self.ledgers for each in ledger.entries())
        return done, kills + len(self.ledgers)

    def _start(self, number: int) -> None:
        parent, seed = os.getpid(), self.moments.getrandbits(32)
        pid = os.fork()
        if pid == 0:
            try:
                worker = Worker(opened(self.deployment.directory), number, self.ledgers[number])
                worker.live(random.Random(seed), parent)  # noqa: S311  # as above
            except BaseException:  # noqa: BLE001  # a child must not go on as the parent
                traceback.print_exc()
            os._exit(1)
        self.running[pid] = number

    def _kill(self, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"process {self.running[pid]} failed before it was killed"
        return self.running.pop(pid)

    def _untouched(self) -> int:
        return PROCESSES * NAMES_EACH - sum(
            len(settled(ledger.entries())) for ledger in self.ledgers
        )

    def look(self) -> None:
        """Look at the file, while the others go on."""
        before = [ledger.entries() for ledger in self.ledgers]
        # One that is mounted alone is read as the next start finishes it.
        file = read(self.deployment) if self.alone else Htpasswd.parse(self.path.read_bytes())
        after = [ledger.entries() for ledger in self.ledgers]
        assert file.oddities() == []
        assert bytes(file).startswith(BASE)
        assert bytes(file).endswith(b"\n")
        assert self.path.stat().st_ino == self.inode or not self.alone
        for folder, name in ((self.path.parent, self.path.name), (self.deployment.paths.run, "")):
            left = list(folder.glob(f".{name}*.tmp"))
            assert len(left) <= 2, left
        found = file.by_name()
        for old, new in zip(before, after, strict=True):
            self._compare(found, old, new)
        strange = set(found) - {each.name for new in after for each in new}
        assert not strange, strange

    def _compare(self, found: Mapping[str, Line], old: list[Entry], new: list[Entry]) -> None:
        """See that nothing is older than what was done before, and nothing is made up."""
        known = sum(each.done is not None for each in old)
        least = settled(new[:known])
        since: dict[str, list[State]] = {}
        for each in new[known:]:
            if each.done is not False:
                since.setdefault(each.name, []).append(each.wanted)
        for name in {*least, *since}:
            allowed = [least.get(name), *since.get(name, ())]
            line = found.get(name)
            assert any(shows(line, state) for state in allowed), f"{name}: {allowed}, not {line}"

    def _last_look(self) -> None:
        """Nobody runs: the lock is free, and the next change leaves nothing of the others'."""
        UserFiles(self.deployment).to_change("default", self.deployment.driver.guard()).change(
            lambda now: now.add(b"last", b"{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg=")
        )
        content = self.path.read_bytes()
        assert content == bytes(read(self.deployment))
        assert content.endswith(b"last:{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg=\n")
        assert [each.name for each in self.path.parent.iterdir()] == [self.path.name]
        assert not list(self.deployment.paths.run.glob("*journal*"))


def _slowly(handle: int, data: bytes, at: int) -> int:
    """Write as a slow disk does, or hardly a kill would hit the middle."""
    time.sleep(0.0003)
    return _pwrite(handle, data[:4096], at)


_pwrite = os.pwrite


@contextlib.contextmanager
def _nobody_waits(path: Path, what: str) -> Iterator[None]:
    yield


def _alone(self: EmbeddedDriver) -> Guard:
    return Guard(alone=frozenset({"default"}))


def main() -> None:
    folder, seed, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    print(f"seed {seed}, {how}", flush=True)
    if how == "alone":
        os.pwrite = _slowly  # type: ignore[assignment]  # so much of it is used here
        EmbeddedDriver.guard = _alone  # type: ignore[method-assign]  # as if it were
    if how == "unlocked":
        files.locked = _nobody_waits
    with Storm(folder, seed, how == "alone") as storm:
        print("changes and kills: {} {}".format(*storm.run()), flush=True)


if __name__ == "__main__":
    main()

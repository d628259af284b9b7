"""The door to processes: children, and the processes of this machine by pid *and* start time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from console.core.errors import CancelledError, ConsoleError

if TYPE_CHECKING:
    import psutil

# What a child may inherit: no secret of this process, no variable that would bend its behaviour.
INHERITED = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
    "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip

START_TOLERANCE_SECONDS = 1.0
LOOK_SECONDS = 0.1
LOOPBACK = "127.0.0.1"


def environment(extra: Mapping[str, str], prefixes: Sequence[str] = ()) -> dict[str, str]:
    """The environment for a child: a few harmless variables of ours, then `extra`.

    Args:
        extra: Added as they are; secrets go here and never into arguments.
        prefixes: Variables of ours that begin with one of these are passed on too.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or any(name.startswith(prefix) for prefix in prefixes)
    }
    return kept | dict(extra)


def start_detached(
    argv: Sequence[str], env: Mapping[str, str], directory: Path, stderr: Path
) -> int:
    """Start a process that outlives this one, its terminal and its SSH session.

    Args:
        argv: Program and arguments; no secret.
        env: Its whole environment.
        directory: Its working directory.
        stderr: Where the little that it says before it has a log of its own goes.

    Returns:
        Its pid.
    """
    errors_file = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(errors_file, "wb") as errors:
        child = subprocess.Popen(
            list(argv), env=dict(env), cwd=directory, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    # Nobody waits for it here; this thread reaps it should it end while we live.
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()
    return child.pid


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended, and the last lines of what it said on stderr."""

    code: int
    errors: str


def lines(
    argv: Sequence[str],
    env: Mapping[str, str],
    cancel: threading.Event,
    directory: Path | None = None,
) -> Iterator[str | Finished]:
    """Run a child and yield its lines (both streams), then how it ended.

    Raises:
        CancelledError: `cancel` was set; the child was ended.
        ConsoleError: The program cannot be started.
    """
    try:
        child = subprocess.Popen(
            list(argv), env=dict(env), cwd=directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            text=True, errors="replace", bufsize=1,
        )  # fmt: skip
    except OSError as error:
        raise ConsoleError(f"{argv[0]} cannot be started: {error.strerror}") from error
    read = threading.Event()
    watch = threading.Thread(target=_end_when, args=(cancel, child, read), daemon=True)
    watch.start()
    tail: list[str] = []
    try:
        for line in _text(child):
            tail = [*tail[-19:], line]
            yield line
        code = child.wait()
    finally:
        read.set()
        watch.join()
        end(child)
        if child.stdout is not None:
            child.stdout.close()
    if cancel.is_set():
        raise CancelledError("Cancelled")
    yield Finished(code, "\n".join(tail))


def _text(child: subprocess.Popen[str]) -> Iterator[str]:
    stream: IO[str] | None = child.stdout
    if stream is not None:
        for line in stream:
            yield line.rstrip("\n")


def _end_when(cancel: threading.Event, child: subprocess.Popen[str], read: threading.Event) -> None:
    """End the child's session when cancelled, until its output was read to the end.

    The child may have ended long before: what it left behind holds the other end of the pipe.
    Nobody reaps it while it is read, so its number still means its session.
    """
    while not read.wait(LOOK_SECONDS):
        if cancel.is_set():
            for number in (15, 9):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                if read.wait(5):
                    return


def end(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a child of ours with its whole session; it has one of its own."""
    if child.returncode is not None:
        return  # reaped: its number may mean somebody else
    for number in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
            return


def on_this_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Give the terminal to a program until it ends.

    Args:
        argv: Program and arguments; no secret.
        env: Variables beside all of our own.

    Returns:
        Its exit code.

    Raises:
        ConsoleError: It cannot be started.
    """
    # Ctrl-c is for the program; it comes to all that share the terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen(
            list(argv), env=os.environ | dict(env),
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # alone
        )  # fmt: skip
        return child.wait()
    except OSError as error:
        raise ConsoleError(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)


def on_socket(argv: Sequence[str], env: Mapping[str, str], seconds: float) -> socket.socket:
    """Start a child whose stdin and stdout are a socket, and return the other end.

    It ends when that end is closed.

    Args:
        argv: Program and arguments; no secret.
        env: Its whole environment.
        seconds: How long each read may take; the caller may change it.

    Raises:
        ConsoleError: It cannot be started.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(seconds)
    try:
        child = subprocess.Popen(
            list(argv), env=dict(env), stdin=theirs.fileno(), stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        ours.close()
        raise ConsoleError(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        theirs.close()
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()
    return ours


def find(pid: int, start_time: float) -> psutil.Process | None:
    """The process with this pid, if it is still the one that started then.

    Args:
        pid: Its process id.
        start_time: Epoch seconds, as psutil's `create_time` gives it.
    """
    import psutil  # noqa: PLC0415  # first use, not start-up

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - start_time) < START_TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError):  # a number below zero is no pid
        return None


def find_by_ticks(pid: int, ticks: int, words: Sequence[str]) -> psutil.Process | None:
    """The process with this pid, if it started at this tick since boot and runs what is named.

    Args:
        pid: Its process id.
        ticks: Clock ticks since boot, field 22 of /proc/PID/stat (proc_pid_stat(5)).
        words: All of these stand in its command line: ticks alone come again after a reboot.
    """
    import psutil  # noqa: PLC0415  # first use, not start-up

    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        process = psutil.Process(pid)
        same = int(stat[stat.rindex(")") + 2 :].split()[19]) == ticks
        return process if same and set(words) <= set(process.cmdline()) else None
    except (psutil.Error, OSError, ValueError):
        return None


def ended(pid: int) -> bool:
    """Whether a child of ours has ended; its thread reaps it."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def children(parent: psutil.Process) -> list[psutil.Process]:
    """Its living descendants; none when it has just ended."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    try:
        return parent.children(recursive=True)
    except psutil.Error:
        return []


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes that carry `variable=value` in their environment, oldest first.

    Only processes whose environment this account may read are found; those are the ones that it
    could end.
    """
    import psutil  # noqa: PLC0415  # first use, not start-up

    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return sorted(found, key=lambda process: process.pid)


def terminate(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Ask processes to end, then make them.

    psutil compares the start time before each signal, so a pid that now belongs to somebody
    else is left alone.

    Args:
        processes: Whom to end.
        seconds: How long to wait before SIGKILL.

    Raises:
        ConsoleError: One of them is still there.
    """
    import psutil  # noqa: PLC0415  # first use, not start-up

    alive = list(processes)
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
        asked = []
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
                asked.append(process)
        _, alive = psutil.wait_procs(asked, timeout=patience)
    if alive:
        names = ", ".join(str(process.pid) for process in alive)
        raise ConsoleError(f"Process {names} does not end, not even killed")


def listening(processes: Sequence[psutil.Process]) -> set[int]:
    """The TCP ports that these processes listen on."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    ports = set()
    for process in processes:
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        ports |= {each.laddr[1] for each in connections if each.status == psutil.CONN_LISTEN}
    return ports


def listener(port: int) -> str | None:
    """Who listens on a TCP port of this machine, in words; None when nobody does."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.laddr[1:2] != (port,):
            continue
        if connection.pid is None:
            return "a process of another account"
        try:
            return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
        except psutil.Error:
            return f"process {connection.pid}"
    return None


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(first: int, spoken_for: Collection[int] = ()) -> int:
    """The first free port from `first` on that is nobody's."""
    for port in range(first, 65536):
        if port not in spoken_for and port_is_free(port):
            return port
    raise ConsoleError(f"No port from {first} on is free")

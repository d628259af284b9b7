"""What containers use, from the statistics that the engine streams once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import msgspec

from console.core import engine_streams
from console.core.engine import Engine
from console.core.engine_streams import EngineStream
from console.core.errors import ConsoleError
from console.core.stack.driver import Sample
from console.core.streams import Stream

EACH_SECONDS = 2.0
FIRST_SECONDS = 1.3  # by then the engine has measured twice
LOOK_AGAIN_SECONDS = 4.0


class Usage(msgspec.Struct, frozen=True):
    """`cpu_usage` of the engine's API: nanoseconds of all cores together."""

    total_usage: int = 0


class Cpu(msgspec.Struct, frozen=True):
    """`cpu_stats` of the engine's API."""

    cpu_usage: Usage = Usage()


class Memory(msgspec.Struct, frozen=True):
    """`memory_stats` of the engine's API; `usage` is missing for one that has just ended."""

    usage: int | None = None
    stats: dict[str, int] = {}

    @property
    def held(self) -> int | None:
        """As `docker stats` shows it: without the inactive page cache."""
        if self.usage is None:
            return None
        cache = self.stats.get("total_inactive_file", self.stats.get("inactive_file", 0))
        return self.usage - cache if cache < self.usage else self.usage


class Network(msgspec.Struct, frozen=True):
    """One of `networks` of the engine's API, in bytes since the container started."""

    rx_bytes: int = 0
    tx_bytes: int = 0


class Moved(msgspec.Struct, frozen=True):
    """One row of `io_service_bytes_recursive`; cgroup v1 writes "Read", v2 "read"."""

    op: str = ""
    value: int = 0


class Disk(msgspec.Struct, frozen=True):
    """`blkio_stats` of the engine's API."""

    io_service_bytes_recursive: list[Moved] | None = None

    def bytes(self, operation: str) -> int:
        """The bytes read or written since the container started."""
        rows = self.io_service_bytes_recursive or []
        return sum(row.value for row in rows if row.op.lower() == operation)


class Processes(msgspec.Struct, frozen=True):
    """`pids_stats` of the engine's API."""

    current: int | None = None


class Stats(msgspec.Struct, frozen=True):
    """One document of `/containers/{id}/stats` of the engine's API, as far as it is used here."""

    read: datetime
    cpu_stats: Cpu = Cpu()
    memory_stats: Memory = Memory()
    networks: dict[str, Network] = {}
    blkio_stats: Disk = Disk()
    pids_stats: Processes = Processes()


_decoder = msgspec.json.Decoder(Stats)


@dataclass(frozen=True, slots=True)
class Measured:
    """A running container to be measured.

    Attributes:
        service: The name of its service.
        memory_limit_bytes: None where it is the machine's own.
        log: How large its log is in bytes, where this account may know.
    """

    id: str
    service: str
    memory_limit_bytes: int | None
    log: Callable[[], int | None] = lambda: None


def decode(line: bytes) -> Stats | None:
    """A document of the stream; None of a container that has ended, whose times are the year 1."""
    stats = _decoder.decode(line)
    return stats if stats.read.year > 1 else None


def sample(container: Measured, now: Stats, before: Stats | None) -> Sample:
    """What a container uses; what is a rate needs a look from before."""
    seconds = (now.read - before.read).total_seconds() if before else 0.0

    def rate(count: Callable[[Stats], int]) -> float | None:
        if before is None or seconds <= 0:
            return None
        # One that was started anew counts from zero.
        more = count(now) - count(before)
        return (more if more >= 0 else count(now)) / seconds

    cpu = rate(lambda stats: stats.cpu_stats.cpu_usage.total_usage)
    return Sample(
        service=container.service,
        at=now.read,
        cpu_percent=None if cpu is None else cpu / 1e9 * 100,
        memory_bytes=now.memory_stats.held,
        memory_limit_bytes=container.memory_limit_bytes,
        received=rate(lambda stats: sum(each.rx_bytes for each in stats.networks.values())),
        sent=rate(lambda stats: sum(each.tx_bytes for each in stats.networks.values())),
        read=rate(lambda stats: stats.blkio_stats.bytes("read")),
        written=rate(lambda stats: stats.blkio_stats.bytes("write")),
        processes=now.pids_stats.current,
        log_bytes=container.log(),
    )


def measure(engine: Engine, containers: Mapping[str, Measured]) -> dict[str, Sample]:
    """Measure containers once, by service; it takes a second.

    The first document of a stream comes at once and the next one a second later, where the
    engine's answer to a single question takes two.
    """

    def look(container: Measured) -> Sample | None:
        before = None
        try:
            with _open(engine, container.id) as stream:
                for line in engine_streams.lines(stream):
                    now = decode(line)
                    if now is None or (before is not None and now.read > before.read):
                        return sample(container, now, before) if now else None
                    before = before or now
        except (ConsoleError, msgspec.DecodeError):
            pass  # it ended meanwhile
        return None

    if not containers:
        return {}
    with ThreadPoolExecutor(len(containers)) as pool:
        every = pool.map(look, containers.values())
    return {each.service: each for each in every if each is not None}


def _open(engine: Engine, container: str) -> EngineStream:
    return EngineStream(engine, f"/containers/{container}/stats", {"stream": "1"})


def stream(engine: Engine, find: Callable[[], Mapping[str, Measured]]) -> Stream[list[Sample]]:
    """What the running containers use, every two seconds.

    Args:
        engine: Whose they are.
        find: Gives the ones that run now by id; asked again every few seconds.
    """

    def produce(cancel: threading.Event, emit: Callable[[list[Sample]], None]) -> None:
        readers: dict[str, _Reader] = {}
        looked, wait = 0.0, FIRST_SECONDS
        try:
            while not cancel.is_set():
                if time.monotonic() - looked >= LOOK_AGAIN_SECONDS:
                    _follow(engine, readers, find())
                    looked = time.monotonic()
                if cancel.wait(wait):
                    return
                wait = EACH_SECONDS
                emit([each for reader in readers.values() if (each := reader.sample())])
        finally:
            for reader in readers.values():
                reader.close()

    return Stream(produce)


def _follow(engine: Engine, readers: dict[str, _Reader], running: Mapping[str, Measured]) -> None:
    """Read those that run, and no others."""
    for gone in [key for key, each in readers.items() if key not in running or each.ended]:
        readers.pop(gone).close()
    for key, container in running.items():
        if key not in readers:
            readers[key] = _Reader(engine, container)


class _Reader:
    """Keeps the newest document of one container; it is looked into when it is asked for."""

    def __init__(self, engine: Engine, container: Measured) -> None:
        self._engine = engine
        self._container = container
        self._newest: bytes | None = None
        self._before: Stats | None = None
        self._stream: EngineStream | None = None
        self._closed = threading.Event()
        self.ended = False
        threading.Thread(target=self._read, name="statistics", daemon=True).start()

    def _read(self) -> None:
        try:
            with _open(self._engine, self._container.id) as stream:
                self._stream = stream
                for line in self._until_closed(engine_streams.lines(stream)):
                    self._newest = line
        except ConsoleError:
            pass  # it has just ended, or the engine has: whoever asks for those that run learns it
        finally:
            self.ended = True

    def _until_closed(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            if self._closed.is_set():
                return
            yield line

    def sample(self) -> Sample | None:
        """What it uses; None while the engine has said nothing new."""
        newest, self._newest = self._newest, None
        now = decode(newest) if newest else None
        if now is None:
            return None
        before, self._before = self._before, now
        return sample(self._container, now, before)

    def close(self) -> None:
        """End it."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()

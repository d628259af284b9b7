"""A million lines of logs in a few megabytes, any of which is there at once.

Lines are kept in blocks of some thousand, compressed at the lowest level. What belongs to a line
but is not searched (its time, service and level) lies beside the text, so that a search runs over
a whole block of text in one go. Lines are numbered from the first that ever came; the oldest block
is dropped when there are too many.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from console.core.stack import log_levels
from console.core.stack.log_lines import Raw, moment, plain, shown, split

MOST_LINES = 1_000_000
MOST_BYTES = 24_000_000
BLOCK_LINES = 4_096
BLOCK_BYTES = 512_000
UNPACKED_BLOCKS = 2
MOST_SERVICES = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """One line.

    Attributes:
        stamp: The time as it came; b"" when there was none.
        code: Its level, see `log_levels`.
    """

    service: str
    stamp: bytes
    raw: bytes
    code: int

    @property
    def at(self) -> datetime | None:
        """When it was written."""
        return moment(self.stamp) if self.stamp else None

    @property
    def text(self) -> str:
        """As it may be shown."""
        return shown(self.raw)


class Part:
    """Lines that follow each other, for a search.

    Attributes:
        first: The number of the first one.
        count: How many.
        services: A byte for each, an index into `names`.
        codes: A byte for each, its level.
    """

    def __init__(
        self, first: int, services: bytes, codes: bytes, names: Sequence[str], *,
        packed: bytes | None = None, texts: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        self.first, self.count = first, len(codes)
        self.services, self.codes, self.names = services, codes, names
        self._packed, self._texts = packed, texts

    @cached_property
    def text(self) -> bytes:
        """Their texts, joined by the ends of lines."""
        if self._packed is None:
            return b"\n".join(self._texts)
        text = zlib.decompress(self._packed)
        return b"\n".join(text.split(b"\n")[-self.count :])


class _Block:
    """Lines that are complete and packed."""

    __slots__ = ("codes", "first", "packed", "services", "stamps")

    def __init__(
        self, first: int, texts: Sequence[bytes], stamps: Sequence[bytes], services: bytes,
        codes: bytes,
    ) -> None:  # fmt: skip
        self.first = first
        self.packed = zlib.compress(b"\n".join(texts), 1)
        self.stamps = zlib.compress(b"\n".join(stamps), 1)
        self.services = zlib.compress(services, 1)
        self.codes = codes

    @property
    def end(self) -> int:
        return self.first + len(self.codes)

    @property
    def bytes(self) -> int:
        return len(self.packed) + len(self.stamps) + len(self.services) + len(self.codes) + 400

    def lines(self, names: Sequence[str]) -> list[Stored]:
        texts = zlib.decompress(self.packed).split(b"\n")
        stamps = zlib.decompress(self.stamps).split(b"\n")
        services = zlib.decompress(self.services)
        return [
            Stored(names[service], stamp, text, code)
            for service, stamp, text, code in zip(services, stamps, texts, self.codes, strict=True)
        ]


class LogStore:
    """Lines of logs, bounded in number and in bytes; usable from any thread.

    Args:
        most_lines: How many are kept.
        most_bytes: How many bytes they may take, packed.
        block_lines: How many are packed together.
    """

    def __init__(
        self, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES,
        block_lines: int = BLOCK_LINES,
    ) -> None:  # fmt: skip
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._block_lines = block_lines
        self._lock = threading.Lock()
        self._blocks: list[_Block] = []
        self._packed_bytes = 0
        self._unpacked: OrderedDict[int, list[Stored]] = OrderedDict()
        self._names: list[str] = []
        self._indexes: dict[str, int] = {}
        self._last_codes: dict[str, int] = {}
        self._begin_tail(0)

    def _begin_tail(self, first: int) -> None:
        self._first = first
        self._texts: list[bytes] = []
        self._stamps: list[bytes] = []
        self._services = bytearray()
        self._codes = bytearray()
        self._tail_bytes = 0

    # What is in it

    @property
    def names(self) -> Sequence[str]:
        """The services that lines came from, in the order in which they came."""
        return self._names

    @property
    def first(self) -> int:
        """The number of the oldest line that is kept: so many were dropped."""
        blocks = self._blocks
        return blocks[0].first if blocks else self._first

    @property
    def end(self) -> int:
        """The number that the next line will have."""
        with self._lock:
            return self._first + len(self._codes)

    @property
    def count(self) -> int:
        """How many lines are kept."""
        with self._lock:
            return self._first + len(self._codes) - self.first

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._packed_bytes + self._tail_bytes

    def line(self, number: int) -> Stored | None:
        """A line by its number; None when it is not there, or not any more."""
        with self._lock:
            if number >= self._first:
                at = number - self._first
                if at >= len(self._codes):
                    return None
                return Stored(self._names[self._services[at]], self._stamps[at],
                              self._texts[at], self._codes[at])  # fmt: skip
            block = self._block(number)
            if block is None:
                return None
            lines = self._unpacked.get(block.first)
            if lines is None:
                lines = self._unpacked[block.first] = block.lines(self._names)
                if len(self._unpacked) > UNPACKED_BLOCKS:
                    self._unpacked.popitem(last=False)
            else:
                self._unpacked.move_to_end(block.first)
            return lines[number - block.first]

    def _block(self, number: int) -> _Block | None:
        low, high = 0, len(self._blocks)
        while low < high:
            middle = (low + high) // 2
            if self._blocks[middle].end <= number:
                low = middle + 1
            else:
                high = middle
        if low < len(self._blocks) and self._blocks[low].first <= number:
            return self._blocks[low]
        return None

    def parts(self, start: int = 0) -> Iterator[Part]:
        """The lines from a number on, for a search; what comes meanwhile is not in it."""
        with self._lock:
            blocks = [each for each in self._blocks if each.end > start]
            skip = max(0, start - self._first)
            tail = Part(self._first + skip, bytes(self._services[skip:]),
                        bytes(self._codes[skip:]), self._names,
                        texts=self._texts[skip:])  # fmt: skip
        for block in blocks:
            skip = max(0, start - block.first)
            yield Part(block.first + skip, zlib.decompress(block.services)[skip:],
                       block.codes[skip:], self._names, packed=block.packed)  # fmt: skip
        if tail.count:
            yield tail

    # Adding

    def add(self, lines: Sequence[Raw]) -> None:
        """Add lines behind the others."""
        for at in range(0, len(lines), self._block_lines):
            self._add(lines[at : at + self._block_lines])

    def _add(self, lines: Sequence[Raw]) -> None:
        if not lines:
            return
        stamps, texts = zip(*[split(line) for line, _ in lines], strict=True)
        clean = plain(b"\n".join(texts)).split(b"\n")
        services = [service for _, service in lines]
        codes = log_levels.of_lines(clean, services, self._last_codes)
        with self._lock:
            indexes = bytes([self._index(service) for service in services])
            self._texts += clean
            self._stamps += stamps
            self._services += indexes
            self._codes += codes
            self._tail_bytes += sum(map(len, clean)) + sum(map(len, stamps)) + 100 * len(clean)
            if len(self._codes) >= self._block_lines or self._tail_bytes >= 2 * BLOCK_BYTES:
                self._pack()

    def _index(self, service: str) -> int:
        index = self._indexes.get(service)
        if index is None:
            index = min(len(self._names), MOST_SERVICES)
            if index == len(self._names):
                self._names.append(service)
            self._indexes[service] = index
        return index

    def _pack(self) -> None:
        at, end = 0, len(self._codes)
        while at < end:
            stop, size = at, 0
            while stop < end and stop - at < self._block_lines and size < BLOCK_BYTES:
                size += len(self._texts[stop]) + 1
                stop += 1
            block = _Block(self._first + at, self._texts[at:stop], self._stamps[at:stop],
                           bytes(self._services[at:stop]), bytes(self._codes[at:stop]))  # fmt: skip
            self._blocks.append(block)
            self._packed_bytes += block.bytes
            at = stop
        self._begin_tail(self._first + end)
        while len(self._blocks) > 1 and (
            self._first - self._blocks[0].first > self._most_lines
            or self._packed_bytes > self._most_bytes
        ):
            oldest = self._blocks.pop(0)
            self._packed_bytes -= oldest.bytes
            self._unpacked.pop(oldest.first, None)

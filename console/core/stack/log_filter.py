"""Which lines of a store are wanted, and where they are."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.core.regular import Regular
from console.core.stack import log_levels
from console.core.stack.driver import LogLine
from console.core.stack.log_levels import CODES, Level
from console.core.stack.log_lines import Raw, parse, plain, split
from console.core.stack.log_store import MOST_LINES, MOST_SERVICES, LogStore, Part

CHUNK_SPAN = 60_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a line must be like; every condition that is given counts.

    Attributes:
        pattern: It, or the name of its service, holds this.
        inverse: They do not.
        level: It is at least so bad.
        services: It is of one of these.
        begins: It has one of these codes, see `log_levels`.
    """

    pattern: Regular | None = None
    inverse: bool = False
    level: Level | None = None
    services: frozenset[str] = frozenset()
    begins: frozenset[int] = frozenset()

    @property
    def everything(self) -> bool:
        """Every line is wanted."""
        return self.pattern is None and not (self.level or self.services or self.begins)

    def rows(self, part: Part) -> Sequence[int]:
        """Which lines of a part are wanted, from 0 on, in order."""
        rows: Sequence[int] = range(part.count)
        codes = CODES[self.level] & self.begins if self.begins else CODES[self.level]
        if len(codes) < len(CODES[None]):
            rows = [row for row, code in enumerate(part.codes) if code in codes]
        if self.services:
            wanted = {index for index, name in enumerate(part.names) if name in self.services}
            rows = [row for row in rows if part.services[row] in wanted]
        if self.pattern is not None and rows:
            rows = self._matching(self.pattern, part, rows)
        return rows

    def _matching(self, pattern: Regular, part: Part, rows: Sequence[int]) -> Sequence[int]:
        matching = set(pattern.rows(part.text))
        named = {index for index, name in enumerate(part.names) if pattern.matches(name.encode())}
        if named:
            matching.update(row for row, each in enumerate(part.services) if each in named)
        if self.inverse:
            return [row for row in rows if row not in matching] if matching else rows
        return [row for row in rows if row in matching] if matching else []


class Selection:
    """The lines of a store that are wanted; goes on with what comes.

    Args:
        store: Where they are.
        wanted: Conditions; all of them must be met. Without one every line is wanted.
    """

    def __init__(self, store: LogStore, *wanted: Wanted) -> None:
        self.store = store
        self.wanted = tuple(each for each in wanted if not each.everything)
        self._working = threading.Lock()
        self._lock = threading.Lock()
        self._next = store.first
        # The number of the first line, and of each that is wanted how far behind it is.
        self._chunks: list[tuple[int, array[int]]] = []
        # How many wanted lines came before each chunk, from the first that ever came.
        self._starts: list[int] = []
        self._total = 0

    def update(self, cancel: threading.Event | None = None) -> None:
        """Look at the lines that came since the last time.

        Args:
            cancel: Leaves off.
        """
        if not self.wanted:
            return
        with self._working:
            for part in self.store.parts(self._next):
                if cancel is not None and cancel.is_set():
                    return
                rows = self._rows(part)
                with self._lock:
                    self._add(part, rows)
                    self._next = part.first + part.count
                    self._drop()

    def _rows(self, part: Part) -> Sequence[int]:
        rows = self.wanted[0].rows(part)
        for each in self.wanted[1:]:
            if not rows:
                break
            other = set(each.rows(part))
            rows = [row for row in rows if row in other]
        return rows

    def _add(self, part: Part, rows: Sequence[int]) -> None:
        if not rows:
            return
        last = self._chunks[-1] if self._chunks else None
        if last is not None and part.first + part.count - last[0] < CHUNK_SPAN:
            shift = part.first - last[0]
            last[1].extend([row + shift for row in rows])
        else:
            self._chunks.append((part.first, array("H", rows)))
            self._starts.append(self._total)
        self._total += len(rows)

    def _drop(self) -> None:
        first = self.store.first
        while self._chunks and self._chunks[0][0] + self._chunks[0][1][-1] < first:
            del self._chunks[0], self._starts[0]

    @property
    def gone(self) -> int:
        """How many wanted lines came and were dropped since."""
        if not self.wanted:
            return self.store.first
        with self._lock:
            return self._gone()

    def _gone(self) -> int:
        self._drop()
        if not self._chunks:
            return self._total
        first, rows = self._chunks[0]
        return self._starts[0] + bisect_left(rows, max(0, self.store.first - first))

    def __len__(self) -> int:
        if not self.wanted:
            return self.store.count
        with self._lock:
            return self._total - self._gone()

    def number(self, index: int) -> int:
        """The number of the line at an index, 0 for the oldest; -1 when there is none."""
        if not self.wanted:
            return self.store.first + index
        with self._lock:
            place = self._gone() + index
            if index < 0 or place >= self._total:
                return -1
            chunk = bisect_right(self._starts, place) - 1
            first, rows = self._chunks[chunk]
            return first + rows[place - self._starts[chunk]]

    def index(self, number: int) -> int:
        """The index of a line, or of the next wanted one behind it."""
        if not self.wanted:
            return max(0, number - self.store.first)
        with self._lock:
            chunk = bisect_right(self._chunks, number, key=lambda each: each[0]) - 1
            if chunk < 0:
                return 0
            first, rows = self._chunks[chunk]
            place = self._starts[chunk] + bisect_left(rows, min(number - first, 0xFFFF))
            return max(0, place - self._gone())

    def beyond(self, number: int, down: bool) -> int:
        """The number of the next wanted line above or below a line; -1 when there is none."""
        index = self.index(number)
        if down:
            index += self.number(index) == number
            return self.number(index) if index < len(self) else -1
        return self.number(index - 1) if index > 0 else -1


class Shown:
    """The lines that came, and which of them are shown.

    Args:
        wanted: The conditions to begin with.
        most_lines: How many are kept.
    """

    def __init__(self, *wanted: Wanted, most_lines: int = MOST_LINES) -> None:
        self.store = LogStore(most_lines)
        self.selection = Selection(self.store, *wanted)

    def add(self, lines: Sequence[Raw]) -> None:
        """Add lines behind the others."""
        self.store.add(lines)
        self.selection.update()

    def select(self, wanted: Wanted, cancel: threading.Event) -> Selection:
        """Show other lines from now on, unless it is left off."""
        selection = Selection(self.store, wanted)
        selection.update(cancel)
        if not cancel.is_set():
            self.selection = selection
            selection.update(cancel)  # what came before it was known to `add`
        return selection


def picked(batches: Iterator[list[Raw]], wanted: Wanted) -> Iterator[LogLine]:
    """The wanted ones of lines as they come, without keeping any."""
    before: dict[str, int] = {}
    for batch in batches:
        texts = plain(b"\n".join([split(line)[1] for line, _ in batch])).split(b"\n")
        services = [service for _, service in batch]
        codes = log_levels.of_lines(texts, services, before)
        names = sorted(set(services))[:MOST_SERVICES]
        indexes = bytes([names.index(service) for service in services])
        for row in wanted.rows(Part(0, indexes, bytes(codes), names, texts=texts)):
            yield parse(*batch[row])

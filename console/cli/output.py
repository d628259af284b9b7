"""The only writer: stdout is data, stderr is narration."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from console.cli.tables import Cell, Column, Layout, Tone, painted, width_of
from console.core import pace
from console.core.format import exact, when
from console.core.progress import Progress
from console.core.text import clean

T = TypeVar("T")

BLOCK = 200
LONGEST = 2_000
REDRAW_SECONDS = 0.1
BAR, SHORTEST_BAR = 24, 8

# What JSON leaves as it is and a terminal would obey: DEL, C1, separators, changes of direction.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]"
)


class Output:
    """Where a command writes.

    Attributes:
        quiet: No narration; errors and questions are still shown.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    # stdout

    def line(self, text: str = "") -> None:
        """One line of data that this program made."""
        sys.stdout.write(text + "\n")

    def secret(self, value: str) -> None:
        """A generated password: shown this once.

        Raises:
            OSError: It did not get out.
        """
        sys.stdout.write(value + "\n")
        sys.stdout.flush()

    def json(self, value: object) -> None:
        """One JSON document."""
        self._bytes(_encoded(value, pretty=sys.stdout.isatty()) + b"\n")

    def json_lines(self, values: Iterable[object], at_once: bool = False) -> None:
        """One JSON document a line.

        Args:
            values: What to write.
            at_once: Somebody follows: nothing waits in a buffer.
        """
        for value in values:
            self._bytes(_encoded(value) + b"\n")
            if at_once:
                sys.stdout.flush()

    def json_array(self, values: Iterable[object]) -> None:
        """One JSON array, written as its elements come; it is only closed when all of them came."""
        between = b"["
        for value in values:
            self._bytes(between + _encoded(value, pretty=sys.stdout.isatty()))
            between = b",\n"
        self._bytes(b"]\n" if between != b"[" else b"[]\n")

    def _bytes(self, data: bytes) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)

    def table(
        self, columns: Sequence[Column], values: Iterable[T],
        row: Callable[[T], Sequence[Cell]], empty: str,
    ) -> None:  # fmt: skip
        """An aligned table; long ones are written in blocks as they come.

        Args:
            columns: The columns.
            values: What stands in the rows.
            row: The cells of one value; text from outside is made harmless here.
            empty: The narration when there is no row.
        """
        rest = iter(values)
        first = [row(value) for value in itertools.islice(rest, BLOCK)]
        if not first:
            self.note(empty)
            return
        layout = Layout(columns, first, self.columns(), self.colour())
        self.line(layout.head())
        for text in itertools.chain(layout.lines(first), layout.lines(map(row, rest))):
            self.line(text)

    def facts(self, facts: Iterable[tuple[str, Cell]]) -> None:
        """Names and values, one a line; what has no value is left out."""
        rows = [fact for fact in facts if fact[1] != ""]
        layout = Layout([Column("", keep=True), Column("", keep=True)], rows, colour=self.colour())
        for text in layout.lines(rows):
            self.line(text)

    def tone(self, text: str, tone: Tone) -> str:
        """The text in its colour where stdout wants colours."""
        return painted(text, tone, self.colour())

    def time(self, moment: datetime | None) -> str:
        """A moment for a table: short where a terminal's width is scarce, else exact."""
        return exact(moment) if self.columns() is None else when(moment)

    def columns(self) -> int | None:
        """The width that tables are fitted to; None when nobody looks."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def colour(self) -> bool:
        """Whether stdout wants colours (https://no-color.org)."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
        return sys.stdout.isatty() and not plain

    def flush(self) -> None:
        """Everything is written now, or an error says that it could not be."""
        sys.stdout.flush()

    # stderr

    def note(self, text: str) -> None:
        """Narration: one sentence, left out by --quiet."""
        if not self.quiet:
            self.say(clean(text, LONGEST))

    def always(self, text: str) -> None:
        """What a person has to see before a question is answered."""
        self.say(clean(text, LONGEST))

    def problem(self, message: str, hint: str = "") -> None:
        """What went wrong and what to do; never left out."""
        self.say(f"Error: {clean(message, LONGEST)}")
        if hint:
            self.say(clean(hint, LONGEST))

    def warn(self, text: str) -> None:
        """Something a person should know although the command goes on; never left out."""
        self.say(f"Warning: {clean(text, LONGEST)}")

    def ask(self, question: str) -> str:
        """Put a question on the terminal and return the answer; "" at the end of input."""
        self.say(f"{clean(question)} ", end="")
        return sys.stdin.readline().strip()

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None]]:
        """Something that shows reports: one line that changes on a terminal, else a line each."""
        bar = _Bar(self) if sys.stderr.isatty() else _Labels(self)
        try:
            yield bar.show
        finally:
            bar.close()

    def say(self, text: str, end: str = "\n") -> None:
        """Write to stderr whatever --quiet says; the text is harmless already."""
        # Narration that nobody can read any more must not end the work that it tells of.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text + end)
            sys.stderr.flush()


class _Labels:
    """Progress where nobody watches: each new label once."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._words = ""
        self._last: Progress | None = None

    def show(self, report: Progress) -> None:
        words = report.said or report.label
        new = words != self._words and not pace.goes_on(self._last, report)
        self._last = report
        if new:
            self._words = words
            self._output.note(words)

    def close(self) -> None:
        """Nothing is left to tidy up."""


class _Bar:
    """Progress on a terminal: counted work has a bar, finished steps stay as lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last: Progress | None = None
        self._at = 0.0
        self._pace = pace.Pace()

    def show(self, report: Progress) -> None:
        if self._output.quiet:
            return
        now = time.monotonic()
        rate = self._pace.add(report, now)
        same = self._last is not None and self._last.label == report.label
        if not same and not pace.goes_on(self._last, report):
            self._keep()
        elif now - self._at < REDRAW_SECONDS:
            self._last = report
            return
        self._last, self._at = report, now
        width = shutil.get_terminal_size().columns - 1
        self._output.say(f"\r\x1b[K{_report(report, rate, width)[:width]}", end="")

    def _keep(self) -> None:
        if self._last is not None:
            self._output.say(f"\r\x1b[K{clean(self._last.label)}")

    def close(self) -> None:
        self._keep()
        self._last = None


def _report(report: Progress, rate: float | None, width: int) -> str:
    label = clean(report.label)
    if report.said:
        return f"{label}: {clean(report.said)}"
    if report.done is None:
        return f"{label} …"
    amount = pace.words(report, rate)
    if not report.total:
        return f"{label}  {amount}"
    words = f"{100 * report.done // report.total} %  {amount}"
    room = min(BAR, width - width_of(label) - width_of(words) - 3)
    if room < SHORTEST_BAR:  # how much and how long yet is worth more
        return f"{label}  {words}"
    filled = min(room, room * report.done // report.total)
    return f"{label}  {'━' * filled}{'─' * (room - filled)} {words}"


def urgent(text: str) -> None:
    """Narration from a signal handler, which must not enter a buffered writer."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _encoded(value: object, pretty: bool = False) -> bytes:
    text = msgspec.json.encode(value, enc_hook=_outside)
    if pretty:
        text = msgspec.json.format(text, indent=2)
    decoded = text.decode()
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", decoded).encode()


def _outside(value: Any) -> object:
    """What JSON has no form for: a path, whose bytes may be no text at all."""
    if isinstance(value, Path):
        return os.fsencode(value).decode(errors="replace")
    raise TypeError(type(value).__name__)

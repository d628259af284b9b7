"""Aligned tables of text from outside: no markup, no control characters, no boxes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from console.core.text import clean

GAP = "  "
NARROWEST = 8
LONG_NAME = 60
"""The `most` of names that anybody may make as long as they like."""


class Tone(Enum):
    """What a colour says; the value is its SGR parameter (ECMA-48)."""

    GOOD = "32"
    WARN = "33"
    BAD = "31"
    QUIET = "2"
    TITLE = "1"


@dataclass(frozen=True, slots=True)
class Marked:
    """A cell whose state is also said by a colour, never by the colour alone."""

    text: str
    tone: Tone


Cell = str | Marked


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        right: Numbers stand at the right.
        keep: Never shortened, because a person copies it.
        most: No wider than this for the sake of one row: what is longer is cut on a terminal, and
            elsewhere runs over in its own row alone.
    """

    title: str
    right: bool = False
    keep: bool = False
    most: int | None = None


def width_of(text: str) -> int:
    """How many cells of a terminal a text takes: wide letters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter)
        else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )  # fmt: skip


class Layout:
    """The widths of the columns, found from the first rows and kept for those that follow.

    Args:
        columns: The columns.
        first: The rows that the widths are taken from.
        terminal: The terminal's width that must not be passed; None where there is none.
        colour: Whether colours are wanted.
    """

    def __init__(
        self, columns: Sequence[Column], first: Sequence[Sequence[Cell]],
        terminal: int | None = None, colour: bool = False,
    ) -> None:  # fmt: skip
        self._columns = columns
        self._colour = colour
        widest = [
            max([width_of(column.title), *(width_of(_text(row[at])) for row in first)])
            for at, column in enumerate(columns)
        ]
        self._widths = [
            min(width, column.most or width) for width, column in zip(widest, columns, strict=True)
        ]
        if terminal is not None:
            self._shrink(terminal)
        self._terminal = terminal

    def _shrink(self, terminal: int) -> None:
        """Take cells from the widest column that may lose some until the table fits."""
        over = sum(self._widths) + len(GAP) * (len(self._widths) - 1) - terminal
        while over > 0:
            able = [
                at for at, column in enumerate(self._columns)
                if not (column.right or column.keep) and self._widths[at] > NARROWEST
            ]  # fmt: skip
            if not able:
                return
            self._widths[max(able, key=lambda at: self._widths[at])] -= 1
            over -= 1

    def head(self) -> str:
        """The line of titles."""
        return self.line([Marked(column.title, Tone.TITLE) for column in self._columns])

    def lines(self, rows: Iterable[Sequence[Cell]]) -> Iterable[str]:
        """The rows, one line each."""
        return map(self.line, rows)

    def line(self, row: Sequence[Cell]) -> str:
        """One row."""
        cells = [
            self._cell(cell, column, width)
            for cell, column, width in zip(row, self._columns, self._widths, strict=True)
        ]
        return GAP.join(cells).rstrip()

    def _cell(self, cell: Cell, column: Column, width: int) -> str:
        text = _text(cell)
        if self._terminal is not None and width_of(text) > width and not column.keep:
            text = _cut(text, width)
        space = " " * max(0, width - width_of(text))
        if isinstance(cell, Marked):
            text = painted(text, cell.tone, self._colour)
        return space + text if column.right else text + space


def painted(text: str, tone: Tone, colour: bool) -> str:
    """The text in its colour, where colours are wanted."""
    return f"\x1b[{tone.value}m{text}\x1b[0m" if colour and text else text


def _text(cell: Cell) -> str:
    return clean(cell.text if isinstance(cell, Marked) else cell)


def _cut(text: str, width: int) -> str:
    kept, used = [], 0
    for letter in text:
        used += width_of(letter)
        if used > width - 1:
            break
        kept.append(letter)
    return "".join(kept) + "…"

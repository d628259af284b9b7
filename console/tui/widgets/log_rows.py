"""One log line as the rows that it takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style

# With less room than this, lines that go on begin at the left.
LEAST_TEXT = 30
GUTTER = 2
LEAST_ROW = 8


def rows(
    before: Sequence[Segment], text: str, width: int, spans: Sequence[tuple[int, int]],
    styles: tuple[Style, Style],
) -> list[list[Segment]]:  # fmt: skip
    """A line in rows.

    Args:
        before: What stands before the text, in the first row.
        text: Harmless already.
        width: Of a row, in cells; 0 when the line takes one row, however long it is.
        spans: What was found in it, from character to character.
        styles: Of the text, and of what was found.
    """
    indent = sum(cell_len(each.text) for each in before)
    room = max(LEAST_ROW, width - indent)
    if room < LEAST_TEXT:
        indent = GUTTER
    wraps = width > 0 and cell_len(text) > room
    drawn, at = [], 0
    for chunk in chop_cells(text, room) if wraps else [text]:
        first = before if at == 0 else [Segment(" " * indent, styles[0])]
        drawn.append([*first, *_coloured(chunk, at, spans, styles)])
        at += len(chunk)
    return drawn


def _coloured(
    chunk: str, at: int, spans: Sequence[tuple[int, int]], styles: tuple[Style, Style]
) -> list[Segment]:
    """A piece of a text, which begins at a character, with what was found in it."""
    style, found = styles
    segments, here = [], 0
    for start, end in spans:
        first, last = max(start - at, here), min(end - at, len(chunk))
        if first < last:
            segments += [Segment(chunk[here:first], style), Segment(chunk[first:last], found)]
            here = last
    return [*segments, Segment(chunk[here:], style)]

"""Regular expressions that a person types.

They run over a million lines while somebody waits. RE2 takes time in proportion to the text
whatever the expression is, and lets other threads run meanwhile; Python's own would stand still
for an hour over `(a+)+$`.
"""

from __future__ import annotations

from typing import Any

from console.core.errors import UsageError
from console.core.text import clean


class Regular:
    """An expression, searched line by line; small letters stand for large ones as well.

    Args:
        words: The expression in RE2's syntax. A large letter in it makes it exact.

    Raises:
        UsageError: It is none.
    """

    def __init__(self, words: str) -> None:
        import re2  # noqa: PLC0415  # first use, not start-up

        options = re2.Options()
        options.log_errors = False  # it would write over the screen
        options.never_nl = True
        options.case_sensitive = _without_classes(words) != _without_classes(words).lower()
        try:
            self._search: Any = re2.compile(
                b"(?m)" + words.encode(errors="replace"), options
            ).search
        except re2.error as error:
            raise UsageError(
                f"{clean(words, 60)} is no regular expression: {_said(error, words)}",
                "A sign like [ or ( stands for itself after a backslash.",
            ) from error
        self.words = words

    def rows(self, texts: bytes) -> list[int]:
        """The numbers of the lines that match, of lines joined by their ends."""
        found, row, at = [], 0, 0
        search, count, find = self._search, texts.count, texts.find
        while (match := search(texts, at)) is not None:
            start = match.start()
            row += count(b"\n", at, start)
            found.append(row)
            at = find(b"\n", start) + 1
            if not at:
                break
            row += 1
        return found

    def matches(self, text: bytes) -> bool:
        """Whether it is in a single line."""
        return self._search(text) is not None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where it is in a line, from character to character; empty ones are left out."""
        data = text.encode(errors="replace")
        found, at = [], 0
        while at < len(data) and (match := self._search(data, at)) is not None:
            start, end = match.span()
            if end > start:
                first = len(data[:start].decode(errors="ignore"))
                found.append((first, first + len(data[start:end].decode(errors="ignore"))))
            at = max(end, start + 1)
        return found


def _without_classes(words: str) -> str:
    r"""Without escapes, so that \S and \W are not taken for large letters."""
    kept, escaped = [], False
    for each in words:
        if not escaped and each != "\\":
            kept.append(each)
        escaped = each == "\\" and not escaped
    return "".join(kept)


def _said(error: Exception, words: str) -> str:
    """What is wrong; without the whole expression, which has our own beginning."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return clean(text.removesuffix(f": (?m){words}"), 100)

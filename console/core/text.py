"""Text from outside made safe for a terminal."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, what turns the direction of writing, and what
# has no width; but for the joiners, which emoji and some scripts need.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b\u200e\u200f\u061c\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)
_ESCAPE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-_])")
_NAMES = {"\t": " ", "\n": "↵", "\r": "↵"}


def clean(text: str, limit: int = 200) -> str:
    """Text that cannot move the cursor, change colours, or turn the direction of writing.

    Args:
        text: Any text, for instance a name from a database or a line of a log.
        limit: The longest result in characters; what is cut off ends in "…".

    Returns:
        One line. Escape sequences are left out whole, other control characters become visible.
    """
    # A little more than the limit is looked at, so that 10 MB in a tag cost nothing.
    head = text[: limit * 4 + 64]
    safe = _UNSAFE.sub(_visible, _ESCAPE.sub("", head))
    return safe if len(safe) <= limit and len(head) == len(text) else safe[: limit - 1] + "…"


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    if character in _NAMES:
        return _NAMES[character]
    return chr(0x2400 + ord(character)) if ord(character) < 0x20 else "�"

"""The generation of the user files, by which the shipped proxy tells old verdicts from new ones.

It is a number in twelve flags, files in `htpasswd/.generation/`, which nginx looks at with every
request (stack/nginx/generation.conf). It counts in Gray code: one step turns exactly one flag
over, so that no half-made number is ever seen and a kill leaves the old one or the next. After
4,096 edits within the thirty seconds that a verdict lives an old one would count again.
"""

from __future__ import annotations

from pathlib import Path

from console.core import files

FLAGS = 12
FOLDER = ".generation"


def advance(users: Path) -> None:
    """Count one further; call it under the lock of the users, after the edit.

    Args:
        users: The folder of the user files.

    Raises:
        AccessError: This account may not write there.
    """
    folder = users / FOLDER
    files.make_folder(folder, 0o755)
    with files.explained(folder):
        flag = folder / str(_next(current(users)))
        if flag.exists():
            flag.unlink()
        else:
            flag.touch(mode=0o644)


def current(users: Path) -> list[bool]:
    """The flags as they are now, the first one first."""
    folder = users / FOLDER
    return [(folder / str(number)).exists() for number in range(FLAGS)]


def _next(flags: list[bool]) -> int:
    """Which flag the next step turns over.

    The rule of the reflected binary code (F. Gray, US patent 2632058): with an even number of
    flags up the first one, else the one after the first that is up; the last one wraps around.
    """
    if sum(flags) % 2 == 0:
        return 0
    return min(flags.index(True) + 1, len(flags) - 1)

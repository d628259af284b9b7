"""Users as the access log names them."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.users.access_log import escape, unescape
from console.core.users.activity_answers import Scope
from console.core.users.user_files import SHARED


def scope(host: str, hosts: Sequence[str]) -> Scope:
    """The host names whose requests are those of the users of one file.

    Args:
        host: Whose file; "default" for the shared one.
        hosts: All that have a file, the shared one first.
    """
    if host != SHARED:
        return Scope(hosts=(spelt(host),))
    return Scope(without=tuple(spelt(each) for each in hosts if each != SHARED))


def spelt(name: str) -> str:
    """A name as the log has it."""
    return escape(name.encode("utf-8", "backslashreplace")).decode("ascii")


def shown(name: str) -> str:
    """A name of the log as it was sent."""
    return unescape(name.encode()) if "\\" in name else name

"""The access log of the shipped proxy: one request a line, fields separated by tabs.

The fields stand in stack/nginx/nginx.conf; nginx escapes control characters in each of them.
"""

from __future__ import annotations

from collections.abc import Iterable

STATUS, ADDRESS, USER = 1, 4, 5
FIELDS = 12
NOBODY = "-"


def clients(lines: Iterable[bytes], own: str) -> int:
    """How many users called from how many addresses, each pair once.

    Args:
        lines: Of the log; others than requests are left out.
        own: The service user of the console's own checks, who does not count.
    """
    found = set()
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) != FIELDS or fields[STATUS] == b"401":
            continue
        user = fields[USER].decode(errors="replace")
        if user not in (NOBODY, own):
            found.add((user, fields[ADDRESS]))
    return len(found)

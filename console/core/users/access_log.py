r"""Lines of access logs: the shipped proxy's, the combined format, and failed logins between them.

The shipped format is in stack/nginx/nginx.conf: twelve fields separated by tabs, control characters
in each of them as \xXX. The combined format is nginx's and Apache's default, with or without the
virtual host before it (https://httpd.apache.org/docs/2.4/logs.html). What nginx says of failed
logins is in src/http/modules/ngx_http_auth_basic_module.c.

All of this takes any bytes; what is no request is None. :mod:`console.core.users.digest` reads the
shipped format by itself, because it is the one that comes by the million.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

FIELDS = 12
LONGEST_LINE = 65_536  # bytes; nginx takes requests of 32 kB at the most
NOBODY = (b"-", b"")
UNKNOWN_TIME = b"-"


class Request(NamedTuple):
    """One request, with names as they stand in the log.

    Attributes:
        at: Seconds since 1970, as text: b"1764064800.123".
        user: As claimed: a 401 was not that user. b"-" when none was claimed.
        seconds: From the first byte of the request to the last of the answer, as text; b"-" when
            the log does not say.
        upstream: Seconds of MLflow, as text; b"-" when it was not asked, or the log does not say.
        received: Bytes, as text; b"0" when the log does not say.
        sent: Bytes, as text.
        path: With its query.
        client: The User-Agent header.
    """

    at: bytes
    status: bytes
    method: bytes
    host: bytes
    address: bytes
    user: bytes
    seconds: bytes
    upstream: bytes
    received: bytes
    sent: bytes
    path: bytes
    client: bytes


class FailedLogin(NamedTuple):
    """What nginx's error log says of one.

    Attributes:
        user: The name that was tried, as it stands in the log.
        unknown: There is no such name in the user file; else its password was another.
    """

    user: bytes
    address: bytes
    host: bytes
    unknown: bool


_TABS = re.compile(
    rb"(\d{10}\.\d{3})\t([1-9]\d\d)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)"
    rb"\t(\d{1,18})\t(\d{1,18})\t([^\t]*)\t([^\t]*)"
)
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_COMBINED = re.compile(
    rb"(?:([^\s\"]+) )?([^\s\"]+) - ([^\t\n]{1,2000}?) "
    rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rb"%s ([1-9]\d\d) (\d{1,18}|-)(?: %s %s)?.*" % (_QUOTED, _QUOTED, _QUOTED), re.DOTALL,
)  # fmt: skip
_FAILED = re.compile(
    rb'user "([^"\n]*)"(?:: password mismatch|( was not found in) "[^"\n]*"), client: ([^\s,]+)'
    rb'(?:.*, host: "([^"\n]*)")?'
)
_ESCAPED = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb'[^ -~]|["\\]')


def tabs(line: bytes) -> Request | None:
    """A line of the shipped format, None when it is none."""
    found = _TABS.fullmatch(line)
    return Request(*found.groups()) if found else None


def combined(line: bytes) -> Request | None:
    """A line of the combined format, None when it is none.

    It knows no durations and no bytes received, and its times are whole seconds.
    """
    if len(line) > LONGEST_LINE or b"\t" in line:
        return None
    found = _COMBINED.fullmatch(line)
    if found is None:
        return None
    host, address, user, when, request, status, sent, _, client = found.groups()
    at = _epoch(when)
    method, _, rest = request.partition(b" ")
    path = rest.rpartition(b" ")[0] if b" HTTP/" in rest else rest
    if at is None:
        return None
    return Request(
        b"%010d.000" % at, status, method, (host or b"").partition(b":")[0], address, user,
        UNKNOWN_TIME, UNKNOWN_TIME, b"0", sent.replace(b"-", b"0"), path, client or b"",
    )  # fmt: skip


def failed_login(line: bytes) -> FailedLogin | None:
    """A line of nginx's error log about a login that failed, None when it is another."""
    if b"user " not in line or len(line) > LONGEST_LINE:
        return None
    found = _FAILED.search(line)
    if found is None:
        return None
    user, unknown, address, host = found.groups()
    return FailedLogin(user, address, host or b"", unknown is not None)


_MONTHS = {name: number for number, name in enumerate(
    b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}  # fmt: skip


def _epoch(when: bytes) -> int | None:
    """Seconds since 1970 of "25/Nov/2026:10:00:00 +0100"."""
    east = timedelta(hours=int(when[22:24]), minutes=int(when[24:26]))
    try:
        at = datetime(
            int(when[7:11]), _MONTHS[when[3:6]], int(when[:2]), int(when[12:14]),
            int(when[15:17]), int(when[18:20]),
            tzinfo=timezone(-east if when[21:22] == b"-" else east),
        )  # fmt: skip
        seconds = int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (KeyError, ValueError, OverflowError):
        return None
    return seconds if 1_000_000_000 <= seconds <= 9_999_999_999 else None


def unescape(name: bytes) -> str:
    r"""A name of the log as it was sent, for showing it; what is no UTF-8 is shown as \xXX."""
    raw = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), name)
    return raw.decode("utf-8", "backslashreplace")


def escape(name: bytes) -> bytes:
    """A name as nginx writes it into its log: what the activity of a user is found by."""
    return _TO_ESCAPE.sub(lambda found: b"\\x%02X" % found[0][0], name)


def key(name: bytes) -> str:
    """A name of any log in one spelling: that of nginx, so that two spellings are one user."""
    raw = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), name)
    return escape(raw).decode("ascii")

"""Lines of logs: as they come from the engine or a file, and as they are shown."""

from __future__ import annotations

import re
from datetime import datetime

from console.core.stack.driver import LogLine
from console.core.text import clean

LONGEST_LINE = 10_000
# What is kept of a line: more than is ever shown of it, in bytes of any alphabet.
KEPT_BYTES = 16_384

Raw = tuple[bytes, str]
"""A line as it came, with the time before it, and its service."""

_STAMP = (
    rb"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    rb"(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
)
# MLflow's and nginx's own, MySQL's, and the seconds since 1970 of the proxy's access log.
_OWN_TIME = (
    rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z |\d{10}\.\d{3}\t"
)
_HEAD = re.compile(rb"(%s)(?: (?:%s)?|$)" % (_STAMP, _OWN_TIME))
_OWN = re.compile(_OWN_TIME)
_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-_])"
)  # fmt: skip


def split(line: bytes) -> tuple[bytes, bytes]:
    """The time before a line, b"" where there is none, and its text.

    Most services put a time of their own before their lines; one time is enough.
    """
    head = _HEAD.match(line)
    if head is not None:
        return head[1], line[head.end() : head.end() + KEPT_BYTES]
    own = _OWN.match(line)
    return b"", line[own.end() if own else 0 :][:KEPT_BYTES]


def plain(texts: bytes) -> bytes:
    """Lines without their escape sequences, so that what is searched is what is shown."""
    if b"\x1b" in texts:
        texts = _ESCAPE.sub(b"", texts)
    return texts.replace(b"\r\n", b"\n") if b"\r\n" in texts else texts


def moment(stamp: bytes) -> datetime | None:
    """The time that stood before a line."""
    try:
        return datetime.fromisoformat(stamp.decode())
    except ValueError:
        return None


def shown(text: bytes) -> str:
    """A text as it may be shown: harmless, and not endless."""
    return clean(text.decode(errors="replace").removesuffix("\r"), LONGEST_LINE)


def parse(line: bytes, service: str) -> LogLine:
    """One line as it came: the time, a space, the text."""
    stamp, text = split(line)
    at = moment(stamp)
    if at is None:
        return LogLine(service, None, shown(line[: KEPT_BYTES + len(stamp)] if stamp else text))
    return LogLine(service, at, shown(text))

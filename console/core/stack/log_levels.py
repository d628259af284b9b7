"""How bad a line of a log is, for the services of the stack and whatever speaks like them."""

from __future__ import annotations

import functools
import re
from enum import StrEnum

from console.core.regular import Regular


class Level(StrEnum):
    """How bad; each holds what is worse as well."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# One byte a line; small letters go on with the message of a line before.
CODES = {
    None: frozenset(b"DdIiWwEe"), Level.INFO: frozenset(b"IiWwEe"),
    Level.WARNING: frozenset(b"WwEe"), Level.ERROR: frozenset(b"Ee"),
}  # fmt: skip
DEBUG, INFO, WARNING, ERROR = b"DIWE"
CONTINUED = 0x20
HEAD_BYTES = 160

_WORDS = {
    b"trace": DEBUG, b"debug": DEBUG, b"info": INFO, b"note": INFO, b"notice": INFO,
    b"system": INFO, b"warn": WARNING, b"warning": WARNING, b"err": ERROR, b"error": ERROR,
    b"crit": ERROR, b"critical": ERROR, b"alert": ERROR, b"emerg": ERROR, b"fatal": ERROR,
    b"panic": ERROR,
}  # fmt: skip
# Most lines hold none of these and are not looked at one by one.
_TELLING = (
    r'^[ \t]|^[45]\d\d\t|" [45]\d\d\b|trace|debug|warn|err|crit|alert|emerg|fatal|panic|exception'
)
# nginx and MySQL write [error] and [ERROR], MLflow and uvicorn ERROR, Go and JSON level=error.
_WORD = re.compile(
    rb"\[(?i:(trace|debug|info|note|notice|system|warn|warning|err|error|crit|critical|alert|emerg"
    rb"|fatal|panic))\]"
    rb"|(?<![\w/.=-])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC)(?![\w/.-])"
    rb"|\blevel\"?[=:]\s*\"?(?i:(trace|debug|info|notice|warn|warning|error|critical|fatal"
    rb"|panic))\b"
    rb"|^(?i:(warning|error|fatal|panic)):"
)
_STATUS = re.compile(rb'^([45])\d\d\t|" ([45])\d\d\b')
_RAISED = re.compile(
    rb"Traceback \(most recent call last\)|[\w.]*(?:Error|Exception|Interrupt)(?::|$)"
)


@functools.cache
def _telling() -> Regular:
    return Regular(_TELLING)


def of_line(text: bytes, before: int = INFO) -> int:
    """The code of a line.

    Args:
        text: Without the time before it.
        before: The code of the line before it of the same service: what is indented goes on
            with that.
    """
    if text[:1] in (b" ", b"\t"):
        return before | CONTINUED
    if _RAISED.match(text):
        return ERROR | CONTINUED if before | CONTINUED == ERROR | CONTINUED else ERROR
    word = _WORD.search(text, 0, HEAD_BYTES)
    level = _WORDS[word[word.lastindex or 0].lower()] if word else INFO
    status = _STATUS.search(text) if level == INFO else None
    if status is not None:
        return ERROR if b"5" in (status[1], status[2]) else WARNING
    return level


def of_lines(texts: list[bytes], services: list[str], before: dict[str, int]) -> bytearray:
    """The codes of lines that came one after the other.

    Args:
        texts: Without the times before them, and without ends of lines in them.
        services: Whose they are.
        before: The last code of each service; brought up to date.
    """
    codes = bytearray(b"I") * len(texts)
    for row in _telling().rows(b"\n".join(texts)) if texts else ():
        service = services[row]
        codes[row] = of_line(texts[row], _before(row, service, services, codes, before))
    left = set(before) | set(services)
    for row in range(len(texts) - 1, -1, -1):
        if services[row] in left:
            before[services[row]] = codes[row]
            left.discard(services[row])
            if not left:
                break
    return codes


def _before(
    row: int, service: str, services: list[str], codes: bytearray, before: dict[str, int]
) -> int:
    for each in range(row - 1, max(-1, row - 50), -1):
        if services[each] == service:
            return codes[each]
    return before.get(service, INFO) if row < 50 else INFO

"""What can stand in a htpasswd file: names and passwords."""

from __future__ import annotations

import unicodedata

from console.core.errors import UsageError
from console.core.secrets import Secret

LONGEST_NAME = 255  # bytes; what the column of a database or a log has room for
LONGEST_PASSWORD = 72  # bytes; bcrypt looks at no more (Provos and Mazieres, USENIX 1999)

_FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, line and paragraph separators


def check_name(name: str) -> None:
    """Raise UsageError when a name cannot stand in a htpasswd file.

    HTTP Basic ends the name at the first colon (RFC 7617), a line at a line feed.
    """
    problem = _problem_of_name(name)
    if problem:
        raise UsageError(f"This name cannot be used: {problem}")


def _problem_of_name(name: str) -> str:
    problems = {
        "it is empty": not name,
        "it has control characters": _has_controls(name),
        "it has a colon": ":" in name,
        "it begins with #, which makes the line a comment": name.startswith("#"),
        "it begins or ends with a space": name != name.strip(),
        f"it is longer than {LONGEST_NAME} bytes": _size(name) > LONGEST_NAME,
    }
    return next((sentence for sentence, found in problems.items() if found), "")


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) in _FORBIDDEN for character in text)


def _size(text: str) -> int:
    """Bytes in UTF-8; also of text that has no UTF-8 form, which is refused for that."""
    return len(text.encode("utf-8", "surrogatepass"))


def check_password(password: Secret) -> None:
    """Raise UsageError when a password cannot be used; the sentence never holds it."""
    problem = _problem_of_password(password.reveal())
    if problem:
        raise UsageError(f"This password cannot be used: {problem}")


def _problem_of_password(text: str) -> str:
    if not text:
        return "it is empty"
    if _has_controls(text):
        return "it has control characters"
    size = _size(text)
    if size > LONGEST_PASSWORD:
        return (
            f"it is {size} bytes long, and bcrypt cuts off what is beyond {LONGEST_PASSWORD}; "
            "letters outside of ASCII take two to four bytes each"
        )
    return ""

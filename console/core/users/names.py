"""What can stand in a htpasswd file: names and passwords."""

from __future__ import annotations

import unicodedata

from console.core.errors import UsageError
from console.core.secrets import Secret
from console.core.users.htpasswd import DISABLED, LONGEST_LINE

# Bytes: what is left of a line by a bcrypt hash and the mark of a disabled user.
LONGEST_NAME = LONGEST_LINE - len(DISABLED) - len(":") - 60
LONGEST_PASSWORD = 72  # bytes; bcrypt looks at no more (Provos and Mazieres, USENIX 1999)

_CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, line and paragraph separators
_INVISIBLE = ("Cf",)  # what turns the direction of writing or has no width


def check_name(name: str) -> None:
    """Raise UsageError when a name cannot newly stand in a htpasswd file.

    HTTP Basic ends the name at the first colon (RFC 7617), a line at a line feed.
    """
    problem = _problem_of_name(name)
    if problem:
        raise UsageError(f"This name cannot be used: {problem}")


def _problem_of_name(name: str) -> str:
    problems = {
        "it is empty": not name,
        "it has control characters": _has(_CONTROLS, name),
        "it has invisible characters, which make a name look like another": _has(_INVISIBLE, name),
        "it has a colon": ":" in name,
        "it begins with #, which makes the line a comment": name.startswith("#"),
        "it begins or ends with a space": name != name.strip(),
        f"it is longer than {LONGEST_NAME} bytes, and with a line that is longer Apache's htpasswd "
        "could not read the file any more": _size(name) > LONGEST_NAME,
    }
    return next((sentence for sentence, found in problems.items() if found), "")


def _has(categories: tuple[str, ...], text: str) -> bool:
    return any(unicodedata.category(character) in categories for character in text)


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
    if _has(_CONTROLS, text):
        return "it has control characters"
    size = _size(text)
    if size > LONGEST_PASSWORD:
        return (
            f"it is {size} bytes long, and bcrypt cuts off what is beyond {LONGEST_PASSWORD}; "
            "letters outside of ASCII take two to four bytes each"
        )
    return ""

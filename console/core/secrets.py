"""The door to secrets: values that do not print themselves, and the files that hold them."""

from __future__ import annotations

import secrets as _random
from dataclasses import dataclass
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.files import explained, write_atomic

# Without the characters that are mistaken for each other when a password is read aloud.
ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A secret text; it shows itself only where `reveal` is called."""

    _value: str

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def generate(length: int = 20) -> Secret:
    """A random password; 20 characters of a 56-letter alphabet are 116 bits."""
    return Secret("".join(_random.choice(ALPHABET) for _ in range(length)))


def read_secret(path: Path) -> Secret:
    """The secret that a file holds.

    Raises:
        ConsoleError: The file is missing, empty or not for this account.
    """
    with explained(path):
        try:
            value = path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as error:
            raise ConsoleError(f"{path} holds no text, so no password") from error
    if not value:
        raise ConsoleError(f"{path} is empty")
    return Secret(value)


def write_secret(path: Path, secret: Secret) -> None:
    """Write a secret for the owner alone (0600), atomically."""
    write_atomic(path, secret.reveal().encode() + b"\n", mode=0o600)

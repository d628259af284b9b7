"""What may be shown of settings: their names, and dots in the place of secrets."""

from __future__ import annotations

import re

MASK = "••••••"
# Also what names a file or a user beside a secret is masked: better one too many.
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|PRIVATE", re.I)
# A password inside of an address: scheme://user:password@host.
_IN_ADDRESS = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_NAMES_A_FILE = re.compile(r"_FILE$|_PATH$", re.I)


def mask(name: str, value: str) -> str:
    """The value of a variable as it may be shown."""
    if value and _SECRET.search(name) and not _NAMES_A_FILE.search(name):
        return MASK
    return masked_text(value)


def masked_text(text: str) -> str:
    """A text without the passwords of the addresses in it."""
    return _IN_ADDRESS.sub(rf"\1:{MASK}@", text)

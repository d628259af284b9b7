"""Under which name an artifact lies in a snapshot."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from console.core.backup.snapshot import ODD
from console.core.files import explained

LONGEST_KEY = 3000  # bytes; a path has at most 4096, and some of them are the place's
# What every file system takes, and keeps as it is.
_SLASH = ord("/")
_ENDS_BADLY = re.compile(r"[ .](?:/|$)")
_MODEST = re.compile(r"(?:[a-z0-9_=+-][a-z0-9_=+ .-]*/)*[a-z0-9_=+-][a-z0-9_=+ .-]*")


class Names:
    """Tells names, of keys that are given in their order.

    Args:
        folder: Where the snapshot is made; it is tried out.
    """

    def __init__(self, folder: Path) -> None:
        with explained(folder):
            self._longest = min(255, os.pathconf(folder, "PC_NAME_MAX"))
            self._picky = is_picky(folder)
        self._above: list[str] = []
        self._last = b""

    def path(self, key: str, encoded: bytes) -> str:
        """Where it lies, relative to the snapshot; "" when that is "artifacts/" and the key.

        Args:
            key: As the store has it.
            encoded: Its bytes.
        """
        in_order, self._last = encoded > self._last, encoded
        # A file cannot be the folder of another one. Its key comes before the other's, and every
        # key between them begins with it.
        above = self._above
        while above and not key.startswith(above[-1]):
            above.pop()
        blocked = bool(above) and any(key.startswith(f"{each}/") for each in above)
        above.append(key)
        if in_order and not blocked and self._is_name(key, encoded):
            return ""
        return f"{ODD}/{hashlib.sha256(encoded).hexdigest()}"

    def _is_name(self, key: str, encoded: bytes) -> bool:
        if self._picky and not (_MODEST.fullmatch(key) and not _ENDS_BADLY.search(key)):
            return False
        if not 0 < len(encoded) <= LONGEST_KEY or b"\0" in encoded:
            return False
        # Most are short, and no part of them begins with a dot or is empty.
        if (
            len(encoded) <= self._longest and encoded[0] not in b"/." and encoded[-1] != _SLASH
            and b"//" not in encoded and b"/." not in encoded
        ):  # fmt: skip
            return True
        return all(
            part not in (b"", b".", b"..") and len(part) <= self._longest
            for part in encoded.split(b"/")
        )


def is_picky(folder: Path) -> bool:
    """Whether a file system takes only some names, or takes two of them for the same; OSError."""
    probe = Path(tempfile.mkdtemp(prefix=".names-", dir=folder))
    try:
        (probe / "e\u0301").touch()
        (probe / "case").touch()
        if (probe / "CASE").exists() or (probe / "\u00e9").exists():
            return True
        with contextlib.suppress(OSError):
            for name in (b'a:b?c*d"e<f>g|h\\', b"\xff\xfe", b"line\nend", b"end. "):
                Path(probe, os.fsdecode(name)).touch()
            return len(os.listdir(probe)) != 6
        return True
    finally:
        shutil.rmtree(probe, ignore_errors=True)

"""What content lies where: so that the same one takes room once."""

from __future__ import annotations

from array import array

DIGEST = 32


class Contents:
    """SHA-256 sums, and a number for each; 48 bytes a piece, where a dict takes 250."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._places = array("q")
        self._slots = array("I", bytes(4 * 1024))

    def find(self, digest: bytes) -> int | None:
        """The place of a content; None when it is not known."""
        found = self._slots[self._slot(digest)]
        return self._places[found - 1] if found else None

    def add(self, digest: bytes, place: int) -> None:
        """Remember where a content lies, instead of what was known before.

        Args:
            digest: All 32 bytes of it.
            place: Any number.
        """
        slot = self._slot(digest)
        if self._slots[slot]:
            self._places[self._slots[slot] - 1] = place
            return
        self._digests += digest
        self._places.append(place)
        self._slots[slot] = len(self._places)
        if 2 * len(self._places) > len(self._slots):
            self._grow()

    def _slot(self, digest: bytes) -> int:
        """Where it is, or would be."""
        mask = len(self._slots) - 1
        slot = int.from_bytes(digest[:8], "big") & mask
        while found := self._slots[slot]:
            if self._digests.startswith(digest, (found - 1) * DIGEST):
                break
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        self._slots = array("I", bytes(4 * 4 * len(self._slots)))
        for number in range(len(self._places)):
            digest = bytes(self._digests[number * DIGEST : (number + 1) * DIGEST])
            self._slots[self._slot(digest)] = number + 1

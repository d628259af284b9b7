"""progress.jsonl: which artifacts of the snapshot that is being made are there already."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from console.core import machine
from console.core.backup.snapshot import Entry
from console.core.files import explained

NAME = "progress.jsonl"
BOOT = "boot"
_OFFSET_BITS = 40
_PIECE = 1 << 20


class ProgressLog:
    """One line an artifact, written when it is whole; what a former call has left is gone on with.

    What was fetched before the machine went down may not have got to the disk, whatever its line
    says: see `is_of_this_boot`.

    Args:
        folder: Where the snapshot is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._decoder = msgspec.json.Decoder(Entry)
        with explained(folder):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(folder / NAME, flags, 0o600)
            self._known = self._read()
            boot = machine.boot_id()
            self.is_of_this_boot = not self._known or (boot != "" and self._boot() == boot)

    def _boot(self) -> str:
        try:
            return (self._folder / BOOT).read_text()
        except FileNotFoundError:
            return ""

    def _read(self) -> list[int]:
        """Remember where each key's line is; a torn line at the end is cut off."""
        known: list[int] = []
        self._end = 0
        rest = b""
        while piece := os.pread(self._handle, _PIECE, self._end + len(rest)):
            whole, end, rest = (rest + piece).rpartition(b"\n")
            if not end:
                continue
            for line in whole.split(b"\n"):
                try:
                    key = self._decoder.decode(line).name
                except msgspec.DecodeError:
                    key = None
                if key is not None:
                    known.append(_short(key) << _OFFSET_BITS | self._end)
                self._end += len(line) + 1
        os.ftruncate(self._handle, self._end)
        known.sort()
        return known

    def __bool__(self) -> bool:
        """Whether a former call has left something."""
        return bool(self._known)

    def find(self, key: str) -> tuple[Entry, int] | None:
        """What a former call knew of a key, and the place of its line."""
        short = _short(key)
        number = bisect.bisect_left(self._known, (short + 1) << _OFFSET_BITS)
        while number and self._known[number - 1] >> _OFFSET_BITS == short:
            number -= 1
            place = self._known[number] & ((1 << _OFFSET_BITS) - 1)
            entry = self.entry(place)
            if entry.name == key:
                return entry, place
        return None

    def forget(self) -> None:
        """The listing is done, and nothing is looked for any more."""
        self._known = []
        with explained(self._folder):
            (self._folder / BOOT).write_text(machine.boot_id())

    def add(self, entries: Iterable[Entry]) -> list[int]:
        """Write lines; returns their places."""
        lines = [msgspec.json.encode(entry) + b"\n" for entry in entries]
        places = []
        for line in lines:
            places.append(self._end)
            self._end += len(line)
        data = memoryview(b"".join(lines))
        with explained(self._folder):
            at = self._end - len(data)
            while data:
                written = os.pwrite(self._handle, data, at)
                data, at = data[written:], at + written
        return places

    def line(self, place: int) -> bytes:
        """A line with its end."""
        size = 1024
        while True:
            line, end, _ = os.pread(self._handle, size, place).partition(b"\n")
            if end:
                return line + end
            size *= 8

    def entry(self, place: int) -> Entry:
        """What a line says."""
        return self._decoder.decode(self.line(place))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def _short(key: str) -> int:
    encoded = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")

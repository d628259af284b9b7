"""listed.jsonl: what the store holds, in the order of the listing, while a snapshot is made."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from console.core.backup.artifacts.progress_log import ProgressLog
from console.core.backup.gzipped import Writer
from console.core.backup.snapshot import INDEX, Entry
from console.core.files import explained

NAME = "listed.jsonl"
LEVEL = 1
PIECE = 1 << 20
_UNKNOWN = b'"sha256":""'  # in no key: there the quotes are escaped


class Listed:
    """Lines as those of the index; one without a sum is of what is to be fetched.

    Args:
        folder: Where the snapshot is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME

    def write(self, batches: Iterable[Iterable[Entry]]) -> Iterator[None]:
        """Write all of them anew; yields after each batch."""
        encode = msgspec.json.Encoder().encode_lines
        with explained(self._path), self._path.open("wb", PIECE) as file:
            for batch in batches:
                file.write(encode(list(batch)))
                yield

    def read(self) -> Iterator[Entry]:
        """All of them."""
        decoder = msgspec.json.Decoder(Entry)
        for lines in self._pieces():
            yield from decoder.decode_lines(lines)

    def _pieces(self) -> Iterator[bytes]:
        """Whole lines, about a megabyte of them at once."""
        with explained(self._path), self._path.open("rb", PIECE) as file:
            while piece := file.read(PIECE):
                yield piece + (b"" if piece.endswith(b"\n") else file.readline())

    def write_index(self, log: ProgressLog, places: array[int]) -> Iterator[None]:
        """Write the index; yields now and then.

        Args:
            log: Holds the lines of what was fetched.
            places: Where they are there, plus one, in this order; 0 for what could not be.
        """
        number = 0
        with Writer(self._folder / INDEX, LEVEL) as file:
            for lines in self._pieces():
                yield
                if _UNKNOWN not in lines:
                    file.write(lines)
                    continue
                found = []
                for line in lines.splitlines(keepends=True):
                    if _UNKNOWN not in line:
                        found.append(line)
                        continue
                    if places[number]:
                        found.append(log.line(places[number] - 1))
                    number += 1
                file.write(b"".join(found))

    def remove(self) -> None:
        """It is of no use any more."""
        with explained(self._path):
            self._path.unlink()

"""The artifacts of a snapshot, one line each: `artifacts.jsonl.gz`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from console.core.backup.snapshot import INDEX, Entry
from console.core.errors import ConsoleError

_PIECE = 1 << 20


def read(folder: Path) -> Iterator[Entry]:
    """The artifacts in the order that they were listed; none where there is no index.

    Args:
        folder: Of the snapshot.

    Raises:
        ConsoleError: The index is damaged.
    """
    decoder = msgspec.json.Decoder(Entry)
    try:
        with gzip.open(folder / INDEX, "rb") as file:
            rest = b""
            while piece := file.read(_PIECE):
                whole, end, rest = (rest + piece).rpartition(b"\n")
                if end:
                    yield from decoder.decode_lines(whole)
            if rest:
                raise ValueError("its last line is cut short")
    except FileNotFoundError:
        return
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConsoleError(
            f"{folder / INDEX} cannot be read: {error}",
            "`mlflow-console backup verify` shows what else is broken.",
        ) from error

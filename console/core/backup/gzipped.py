"""Gzip files, written and read in pieces."""

from __future__ import annotations

import gzip
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from console.core.errors import CancelledError, ConsoleError
from console.core.files import explained

PIECE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # a header and a trailer of gzip's around it


class Writer:
    """A new gzip file that only its owner can read; it is on the disk when the block is left.

    What a failure leaves is removed.

    Args:
        path: Replaced if it exists.
        level: 1 is fast, 9 is small.
    """

    def __init__(self, path: Path, level: int) -> None:
        self._path = path
        self._packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        with explained(path):
            path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=PIECE)

    def write(self, data: bytes) -> None:
        """Add some bytes."""
        packed = self._packer.compress(data)
        if packed:
            with explained(self._path):
                self._file.write(packed)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            with explained(self._path):
                if kind is None:
                    self._file.write(self._packer.flush())
                    self._file.flush()
                    os.fsync(self._file.fileno())
                self._file.close()
        except BaseException:
            self._drop()
            raise
        if kind is not None:
            self._drop()

    def _drop(self) -> None:
        self._path.unlink(missing_ok=True)


class Reader:
    """A gzip file from its beginning to its end.

    Args:
        path: The file.
        cancel: Leaves off; None where nobody can ask for that.
    """

    def __init__(self, path: Path, cancel: threading.Event | None = None) -> None:
        self._path = path
        self._cancel = cancel
        self.position = 0
        """How much of the file, packed, was read so far."""

    def pieces(self) -> Iterator[bytes]:
        """What it holds, in pieces of at most a megabyte.

        Raises:
            ConsoleError: It is damaged, cut short, or not there.
            CancelledError: `cancel` was set.
        """
        try:
            with self._path.open("rb") as raw, gzip.open(raw, "rb") as file:
                if not self._path.stat().st_size:
                    raise EOFError
                while piece := file.read(PIECE):
                    if self._cancel is not None and self._cancel.is_set():
                        raise CancelledError("Cancelled")
                    self.position = raw.tell()
                    yield piece
        except FileNotFoundError as error:
            raise ConsoleError(f"{self._path} is missing", _HINT) from error
        except EOFError as error:
            raise ConsoleError(f"{self._path} is cut short", _HINT) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ConsoleError(f"{self._path} is damaged: {error}", _HINT) from error
        except OSError as error:
            raise ConsoleError(
                f"{self._path} cannot be read: {error.strerror or error}", _HINT
            ) from error

    def lines(self) -> Iterator[bytes]:
        """Its lines, each with its end; raises as `pieces`."""
        return lines(self.pieces())


_HINT = "`mlflow-console backup verify` shows what else is broken; restore another snapshot."


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends from bytes that come in pieces; the last one may lack its end."""
    begun: list[bytes] = []
    for piece in pieces:
        first, end, rest = piece.partition(b"\n")
        begun.append(first + end)
        if not end:
            continue
        yield b"".join(begun)
        whole = rest.split(b"\n")
        begun = [whole.pop()]
        yield from (line + b"\n" for line in whole)
    last = b"".join(begun)
    if last:
        yield last

"""Two long lists side by side, without either in memory."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
One = TypeVar("One")
Other = TypeVar("Other")

CHUNK = 50_000  # entries that are sorted at once


def in_order(read: Callable[[], Iterator[T]], key: Callable[[T], bytes]) -> Iterator[T]:
    """A list by its keys. One that is in order is read as it is, another is sorted on the disk.

    Args:
        read: Begins reading it; is called twice.
        key: Of an entry.
    """
    return read() if _is_in_order(map(key, read())) else _sorted(read(), key)


def _is_in_order(keys: Iterable[bytes]) -> bool:
    return all(one <= other for one, other in itertools.pairwise(keys))


def _sorted(entries: Iterator[T], key: Callable[[T], bytes]) -> Iterator[T]:
    encoder = msgspec.json.Encoder()
    chunks: list[Iterator[T]] = []
    while chunk := list(itertools.islice(entries, CHUNK)):
        chunk.sort(key=key)
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # read and closed below
        file.write(encoder.encode_lines(chunk))
        file.seek(0)
        chunks.append(_read_back(file, type(chunk[0])))
    yield from heapq.merge(*chunks, key=key)


def _read_back(file: BinaryIO, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with file:
        for line in file:
            yield decoder.decode(line)


def side_by_side(
    older: Iterator[One], newer: Iterator[Other], key: Callable[[Any], bytes]
) -> Iterator[tuple[One | None, Other | None]]:
    """The entries of two lists that are in order, those of one key together."""
    one, other = next(older, None), next(newer, None)
    while one is not None or other is not None:
        left = other is None or (one is not None and key(one) <= key(other))
        right = one is None or (other is not None and key(other) <= key(one))
        yield one if left else None, other if right else None
        if left:
            one = next(older, None)
        if right:
            other = next(newer, None)

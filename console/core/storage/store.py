"""The contract of an artifact store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from console.core.storage.usage import Amount

Batch = list[tuple[str, int]]


class Item(NamedTuple):
    """One object as the store tells of it.

    Attributes:
        key: Relative to the store's root; what is no UTF-8 as surrogate escapes (PEP 383).
        size: Bytes.
        modified: When the store says that it was written, milliseconds since 1970.
        mark: What is another one when the content is: an ETag, or times and inode of a file; ""
            where the store has no such thing.
        written: When it came into the store, where that can be later than `modified`: a file keeps
            the time of what it is a copy of. Milliseconds since 1970, else 0.
    """

    key: str
    size: int
    modified: int
    mark: str
    written: int = 0


class Fetched(NamedTuple):
    """One object that was fetched, or could not be.

    Attributes:
        item: As it was read, which may be newer than it was listed.
        path: Where it lies, whole; nothing is there when there is an error.
        sha256: Of the content, in hexadecimal digits; "" when there is an error.
        error: GONE, or why it could not be read, in words; "" when it was.
    """

    item: Item
    path: Path
    sha256: str
    error: str = ""


GONE = "gone"
"""The error of what is no longer in the store."""


class Store(Protocol):
    """What every artifact store can list, read and write.

    Attributes:
        base: Where the store lies as MLflow writes it in a location that is not proxied, for
            instance an absolute path; "" where no such location can be told.
        problems: What the last walk, and counting what is incomplete after it, could not read; one
            sentence each.
    """

    base: str
    problems: list[str]

    def walk(self, cancel: threading.Event) -> Iterator[Batch]:
        """List every object under the store's root.

        A batch may be empty, so that the caller gets its turn where nothing is found for long.

        Args:
            cancel: The walk just ends when it is set.

        Yields:
            Keys, separated by "/" and relative to the root, and their sizes in bytes.
        """

    def incomplete(self, cancel: threading.Event) -> Amount:
        """What uploads hold that were begun in parts and never completed: no object shows them.

        At least so much: what a store does not tell, and when it cannot be asked, becomes one of
        the `problems`, and the walk still counts.

        Args:
            cancel: The counting just ends when it is set.
        """

    def free_bytes(self) -> int | None:
        """What can still be written there, in bytes; None where it cannot be known."""

    def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
        """List every object as `walk` does, with its mark and its time, in the order of the keys.

        The order is that of the keys' bytes, as far as the server keeps to it.

        Args:
            cancel: The listing just ends when it is set.
        """

    def clock(self) -> int:
        """The store's own clock, in milliseconds since 1970.

        Rounded down, so that nothing that is written from now on has an earlier time.
        """

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        """Read many objects at once into files.

        A file has its name when it is whole and has the time of the object, and not before. Files
        are 0600; the folders that they need are made, 0700.

        Args:
            wanted: What, and where to; no file has the name as yet. Asked for one by one.
            parts: A folder on the same disk, for what is not whole. What is in it is overwritten.
            cancel: The fetching just ends, soon, when it is set.

        Yields:
            Each of the wanted ones, in the order in which they are complete.

        Raises:
            UnreachableError: The store does not answer, or no longer.
            AccessError: It does not accept the keys.
            DiskFullError: Nothing can be written any more.
            ConsoleError: Another failure that is not one object's.
        """

    def put(
        self, wanted: Iterable[tuple[str, Path]], cancel: threading.Event
    ) -> Iterator[list[str]]:
        """Write files into the store, each whole or not at all.

        What the store has of these keys is replaced.

        Args:
            wanted: Keys relative to the root, and the files. Asked for one by one.
            cancel: The writing just ends, soon, when it is set.

        Yields:
            The keys that are done.

        Raises:
            ConsoleError: One could not be written, and why; what was yielded is.
        """

"""The contract of an artifact store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from console.core.storage.usage import Amount

Batch = list[tuple[str, int]]


class Store(Protocol):
    """What every artifact store can list.

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

"""How far a long operation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running operation.

    Attributes:
        label: What is being done now, in words.
        done: How much is done, in `unit`; None when it cannot be counted.
        total: How much there is, in `unit`; None when it is not known.
        unit: What is counted, for instance "runs" or "bytes".
        said: What a program that runs under this label has just said, one line; "" for none.
    """

    label: str
    done: int | None = None
    total: int | None = None
    unit: str = ""
    said: str = ""

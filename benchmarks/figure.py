"""What a benchmark yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        value: What was measured, in `unit`.
        bound: The most it should be, in `unit`; None when it is only shown.
        left_out: Why it could not be measured here; "" when it was.
        least: The least it should be, in `unit`; None when it may be less.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    left_out: str = ""
    least: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it is beyond one of its bounds."""
        if self.left_out:
            return False
        over = self.bound is not None and self.value > self.bound
        return over or (self.least is not None and self.value < self.least)

    @property
    def wanted(self) -> str:
        """Its bounds in words; "" when it is only shown."""
        bounds = ((self.least, "≥"), (self.bound, "≤"))
        return " ".join(f"{sign} {bound:g} {self.unit}" for bound, sign in bounds
                        if bound is not None)  # fmt: skip

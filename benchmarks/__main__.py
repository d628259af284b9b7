"""Measure everything and print one table; the exit code is 1 when a figure misses its bound."""

from __future__ import annotations

import sys
from itertools import chain

from benchmarks import activity, backup, console_figures, logs, stack, users, walk
from benchmarks.figure import Figure


def main() -> int:
    """Print each figure as soon as it is measured."""
    missed = 0
    print(f"{'figure':<52} {'measured':>12} {'bound':>12}")
    parts = (console_figures, walk, backup, activity, users, stack, logs)
    for figure in chain.from_iterable(part.figures() for part in parts):
        missed += figure.missed
        print(_line(figure), "  MISSED" if figure.missed else "", sep="", flush=True)
    return 1 if missed else 0


def _line(figure: Figure) -> str:
    if figure.left_out:
        return f"{figure.name:<52} left out: {figure.left_out}"
    measured = f"{figure.value:.2f} {figure.unit}"
    return f"{figure.name:<52} {measured:>12} {figure.wanted:>12}"


if __name__ == "__main__":
    sys.exit(main())

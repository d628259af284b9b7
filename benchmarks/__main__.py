"""Measure everything and print one table; the exit code is 1 when a figure misses its bound."""

from __future__ import annotations

import sys

from benchmarks import console_figures


def main() -> int:
    """Print each figure as soon as it is measured."""
    missed = 0
    print(f"{'figure':<52} {'measured':>10} {'bound':>10}")
    for figure in console_figures.figures():
        bound = "" if figure.bound is None else f"{figure.bound:g} {figure.unit}"
        over = figure.bound is not None and figure.value > figure.bound
        missed += over
        measured = f"{figure.value:.2f} {figure.unit}"
        print(f"{figure.name:<52} {measured:>10} {bound:>10}{'  MISSED' if over else ''}",
              flush=True)  # fmt: skip
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The steps of a long operation, and of a chatty one only the last lines that it said."""

from __future__ import annotations

import re

from console.core import format as fmt
from console.core.progress import Progress
from console.core.text import clean
from console.tui.widgets.facts import Part
from console.tui.widgets.table import fit

# `docker compose` tells each change of each container, network and layer of an image: hundreds of
# lines. They belong to the step before them and are no steps themselves.
# What a line is about: a part (a layer of an image, a step of a build), else its kind and name.
_ABOUT = re.compile(r"(?P<part>[0-9a-f]{12}|#\d+)\b|\S+\s+\S+")
LINES = 5


class Steps:
    """What was reported so far."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.said: list[str] = []

    def add(self, report: Progress) -> None:
        """Take a report: the newest of a step stands for it, and the newest line of a thing."""
        if report.said:
            self._hear(report.said)
            return
        self.said = []
        if self.steps and self.steps[-1].label == report.label:
            self.steps[-1] = report
        else:
            self.steps.append(report)

    def _hear(self, said: str) -> None:
        about = _about(said)
        for index, line in enumerate(self.said):
            if _about(line) == about:
                self.said[index] = said
                return
        if len(self.said) == LINES:
            # Parts give way first: which image is being fetched stays to be read.
            parts = (index for index, line in enumerate(self.said) if _is_part(line))
            del self.said[next(parts, 0)]
        self.said.append(said)

    def shown(self) -> list[Part]:
        """The steps, one line each; all but the last are done."""
        parts: list[Part] = []
        for index, step in enumerate(self.steps):
            over = index < len(self.steps) - 1
            parts.append(("✓ ", "ok") if over else ("○ ", "accent"))
            parts.append(clean(step.label, 100) + ("" if over else _amount(step)) + "\n")
        return parts

    def tail(self, width: int) -> list[Part]:
        """The last lines, each on one line of the screen."""
        return [
            (("\n" if index else "") + fit(f"    {clean(line)}", width), "dim")
            for index, line in enumerate(self.said)
        ]


def _about(label: str) -> str:
    match = _ABOUT.match(label)
    return match[0] if match else label


def _is_part(label: str) -> bool:
    match = _ABOUT.match(label)
    return match is not None and match["part"] is not None


def _amount(step: Progress) -> str:
    if step.done is None:
        return " …"
    say = fmt.size if step.unit == "bytes" else fmt.count
    of = f" of {say(step.total)}" if step.total is not None else ""
    unit = "" if step.unit == "bytes" else f" {step.unit}"
    return f"  {say(step.done)}{of}{unit}"

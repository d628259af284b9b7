"""A few lines of text that are redrawn only when they say something else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

TONES = {
    "ok": "$success", "warn": "$warning", "bad": "$error", "dim": "dim", "accent": "$primary",
    "bold": "bold", "tab": "bold underline", "secret": "bold",
}  # fmt: skip

Part = str | tuple[str, str]


def text(*parts: Part) -> Content:
    """Plain pieces and (text, tone) pairs as one content; nothing in them is markup."""
    return Content.assemble(
        *(part if isinstance(part, str) else (part[0], TONES.get(part[1], "")) for part in parts)
    )


class Facts(Static):
    """Text made of parts; nothing in it is markup. Those of the tone "secret" are on no picture."""

    def __init__(self, *parts: Part, id: str | None = None, classes: str = "") -> None:  # noqa: A002  # Textual's name
        super().__init__(text(*parts), id=id, classes=classes, markup=False)
        self._parts: tuple[Part, ...] = parts

    def show(self, *parts: Part) -> None:
        """Say this from now on."""
        if parts != self._parts:
            before, self._parts = self._parts, parts
            self.update(text(*parts), layout=_shape(before) != _shape(parts))

    def cover(self, covered: bool) -> None:
        """Put dots in the place of secrets, or show them again."""
        if any(not isinstance(part, str) and part[1] == "secret" for part in self._parts):
            dots = [part if isinstance(part, str) else _covered(*part) for part in self._parts]
            self.update(text(*(dots if covered else self._parts)), layout=False)

    @property
    def said(self) -> str:
        """What it says, without tones."""
        return "".join(part if isinstance(part, str) else part[0] for part in self._parts)


def _covered(words: str, tone: str) -> Part:
    return ("•" * len(words) if tone == "secret" else words, tone)


def _shape(parts: tuple[Part, ...]) -> list[int]:
    whole = "".join(part if isinstance(part, str) else part[0] for part in parts)
    return [len(line) for line in whole.split("\n")]

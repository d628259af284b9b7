"""A few facts with their names, for instance a finding or an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from console.core.stack.driver import Finding
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts, Part


class DetailModal(Modal[None]):
    """Shows pairs of a name and a text.

    Args:
        pairs: What is shown; empty texts are left out.
        copies: What `y` sends to the clipboard; "" for nothing.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "Close", show=False, id="detail.close", tooltip="Close"),
        Binding("y", "copy", "Copy", show=False, id="detail.copy",
                tooltip="Send it to the clipboard"),
    ]  # fmt: skip

    def __init__(self, title: str, pairs: Sequence[tuple[str, str]], copies: str = "") -> None:
        super().__init__(clean(title, 300))
        self.pairs = [(name, value) for name, value in pairs if value]
        self.copies = copies

    def compose_body(self) -> Iterable[Widget]:
        parts: list[Part] = []
        for name, value in self.pairs:
            safe = "\n".join(clean(line, 1000) for line in value.splitlines()[:200])
            parts += [(clean(name, 60) + "\n", "dim"), safe + "\n\n"]
        with VerticalScroll(classes="dialog-text"):
            yield Facts(*parts)
        copy: list[Part] = [("y", "accent"), " Copy   "] if self.copies else []
        yield Facts(*copy, ("escape", "accent"), " Close", classes="keys")

    def action_copy(self) -> None:
        if self.copies:
            self.send(self.copies)


def of_finding(finding: Finding) -> DetailModal:
    """What a finding means; `y` sends its remedy."""
    pairs = (
        ("what to do", finding.fix), ("what was seen", finding.detail),
        ("service", finding.service),
    )  # fmt: skip
    return DetailModal(finding.title, pairs, copies=finding.fix)

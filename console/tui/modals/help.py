"""The keys of the active screen."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget

from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts, Part


class HelpModal(Modal[None]):
    """Every key that does something on a screen, with what it does."""

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__("Keys")
        keys: dict[tuple[str, str], list[str]] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.tooltip:
                what = (binding.tooltip, "" if active.enabled else "dim")
                shown = screen.app.get_key_display(binding)
                if shown not in keys.setdefault(what, []):
                    keys[what].append(shown)
        self.lines: list[Part] = []
        for (tooltip, tone), names in keys.items():
            self.lines += [(f"{', '.join(names):>16}", "accent"), (f"  {tooltip}\n", tone)]

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(classes="dialog-text"):
            yield Facts(*self.lines)
        yield Facts(("escape", "accent"), " Close", classes="keys")

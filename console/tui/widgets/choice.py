"""One of a few: every option is seen at once, what cannot be had is grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget

from console.tui.widgets.facts import text
from console.tui.widgets.table import fit


class Option(NamedTuple):
    """One option: what it is called in code and on the screen, and what one gets."""

    key: str
    title: str
    about: str


class Choice(Widget, can_focus=True):
    """Options below each other; the arrows choose, and pass over what cannot be had.

    Args:
        options: The first one can always be had, and is chosen.
        refused: The keys of those that cannot be had for now.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice--chosen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,right,space", "choose(1)", "Next", show=False, id="choice.next",
                tooltip="Choose the next one"),
        Binding("up,left", "choose(-1)", "Before", show=False, id="choice.before",
                tooltip="Choose the one before"),
    ]  # fmt: skip

    chosen: var[str] = var("", init=False)

    class Changed(Message):
        """Another option is chosen."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(
        self, options: Sequence[Option], refused: Sequence[str] = (), *,
        id: str | None = None,  # noqa: A002  # Textual's name
    ) -> None:  # fmt: skip
        super().__init__(id=id)
        self.options = tuple(options)
        self.refused = set(refused)
        self.set_reactive(Choice.chosen, self.options[0].key)

    def allow(self, key: str, free: bool) -> None:
        """Say whether an option can be had; a chosen one that cannot gives way to the first."""
        (self.refused.discard if free else self.refused.add)(key)
        if self.chosen in self.refused:
            self.chosen = self.options[0].key
        self.refresh()

    def watch_chosen(self, key: str) -> None:
        """Show it and tell."""
        self.refresh()
        self.post_message(self.Changed(key))

    def action_choose(self, by: int) -> None:
        free = [each.key for each in self.options if each.key not in self.refused]
        self.chosen = free[(free.index(self.chosen) + by) % len(free)]

    def on_key(self, event: events.Key) -> None:
        """Take an arrow here: a binding would go to whoever has the focus by the time it is run."""
        by = {"down": 1, "right": 1, "space": 1, "up": -1, "left": -1}.get(event.key)
        if by is not None:
            event.stop()
            self.action_choose(by)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self.options):
            key = self.options[offset.y].key
            self.chosen = self.chosen if key in self.refused else key

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render(self) -> Content:
        return Content("\n").join([self._line(each) for each in self.options])

    def _line(self, option: Option) -> Content:
        width = max(len(each.title) for each in self.options)
        here = option.key == self.chosen
        title = f" {'●' if here else '○'} {option.title:<{width}}  "
        about = fit(option.about, max(0, self.size.width - len(title)))
        if option.key in self.refused:
            return text((title, "dim"), (about, "dim"))
        if here and self.has_focus:
            line = (title + about).ljust(self.size.width)
            plain = self.app.no_color  # and a visual style knows no reverse
            return Content(line).stylize(
                "reverse" if plain else self.get_visual_style("choice--chosen")
            )
        return text((title, "bold" if here else ""), (about, "dim"))

"""The line that `f` opens: what is typed is looked for."""

from __future__ import annotations

from textual.message import Message

from console.tui.widgets.filter import FilterLine


class FindLine(FilterLine):
    """A filter's line for what is looked for; every row stays."""

    class Wanted(Message):
        """This is looked for; "" for nothing."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """It is typed."""

    def __init__(self) -> None:
        super().__init__()
        self.placeholder = "Find"

"""Asks for one line of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual import on
from textual.widget import Widget
from textual.widgets import Input

from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts


class LineModal(Modal[str]):
    """Asks for a line and takes only one that makes sense.

    Args:
        title: What is asked for.
        value: What stands there already.
        about: One sentence on what may be typed.
        check: Raises a ConsoleError for a line that makes no sense.
        secret: What is typed is not shown.
    """

    def __init__(
        self, title: str, value: str, about: str, check: Callable[[str], object],
        secret: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(title)
        self._value, self._about, self._check = value, about, check
        self._secret = secret

    def compose_body(self) -> Iterable[Widget]:
        typed = Input(self._value, id="typed", password=self._secret, compact=True)
        typed.cursor_blink = False
        yield typed
        yield Facts((self._about, "dim"))
        yield Facts(id="wrong", classes="wrong")
        yield Facts(("enter", "accent"), " Go   ", ("escape", "accent"), " Cancel", classes="keys")

    @on(Input.Submitted)
    def _typed(self, message: Input.Submitted) -> None:
        message.stop()
        try:
            self._check(message.value)
        except ConsoleError as error:
            words = f"{error.message}. {error.hint}" if error.hint else error.message
            self.query_one("#wrong", Facts).show(f"✗ {clean(words)}")
        else:
            self.dismiss(message.value)

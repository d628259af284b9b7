"""Asks for one line of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from textual import on
from textual.widget import Widget
from textual.widgets import Input

from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts, Part


class LineModal(Modal[str]):
    """Asks for a line and takes only one that makes sense.

    Args:
        title: What is asked for.
        value: What stands there already.
        about: One sentence on what may be typed.
        check: Raises a ConsoleError for a line that makes no sense; runs on a thread.
        secret: What is typed is not shown.
        answer: Makes a sentence of what the check gives; the dialog stays open with it.
    """

    def __init__(
        self, title: str, value: str, about: str, check: Callable[[str], Any],
        *, secret: bool = False, answer: Callable[[Any], Part] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(title)
        self._value, self._about, self._check = value, about, check
        self._secret, self._answer, self._busy = secret, answer, False

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
        if not self._busy:
            self._busy = True
            typed, check = message.value, self._check
            self.ask(lambda: check(typed), partial(self._checked, typed), self._wrong)

    def _checked(self, typed: str, found: object) -> None:
        self._busy = False
        if self._answer is None:
            self.dismiss(typed)
        else:
            self.query_one("#wrong", Facts).show(self._answer(found))

    def _wrong(self, error: ConsoleError) -> None:
        self._busy = False
        words = f"{error.message}. {error.hint}" if error.hint else error.message
        self.query_one("#wrong", Facts).show(f"✗ {clean(words)}")

"""How strong a typed password is, in one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.text import clean
from console.core.users.passwords import Strength
from console.tui.caller import Caller
from console.tui.widgets.facts import Facts

Judge = Callable[[Secret], Strength]


class Meter(Facts, Caller):
    """Says what a judge thinks of what is typed; the judge is asked on a thread, once at a time."""

    def __init__(self) -> None:
        super().__init__(id="strength")
        self._wanted: tuple[Secret, Judge] | None = None
        self._busy = False

    def judge(self, password: Secret, judge: Judge) -> None:
        """Say what there is to say of a password; of one that came meanwhile instead."""
        if not password.reveal():
            self._wanted = None
            self.show()
            return
        self._wanted = password, judge
        if not self._busy:
            self._begin(password, judge)

    def _begin(self, password: Secret, judge: Judge) -> None:
        self._busy = True
        ended = partial(self._ended, (password, judge))
        self.ask(lambda: judge(password), lambda found: ended(_said(found)),
                 lambda error: ended(_refused(error)), group="strength")  # fmt: skip

    def _ended(self, asked: tuple[Secret, Judge], parts: tuple[str | tuple[str, str], ...]) -> None:
        self._busy = False
        if self._wanted == asked:
            self.show(*parts)
        elif self._wanted is not None:
            self._begin(*self._wanted)


def _said(found: Strength) -> tuple[str | tuple[str, str], ...]:
    mark = ("✗ ", "bad") if found.weak else ("✓ ", "ok")
    return mark, found.rating


def _refused(error: ConsoleError) -> tuple[str | tuple[str, str], ...]:
    return ("✗ ", "bad"), clean(error.message)

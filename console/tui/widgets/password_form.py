"""A form that asks for a password: twice, with its strength, and a weak one only on insisting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual import on
from textual.widgets import Input

from console.core.errors import ConsoleError, UsageError
from console.core.secrets import Secret
from console.core.users.names import check_password
from console.core.users.passwords import Strength
from console.tui.caller import Caller
from console.tui.widgets.form import Field, Form
from console.tui.widgets.meter import Judge, Meter


class PasswordForm(Form, Caller):
    """Has the fields `#password` and `#again`, and a `Meter` below them."""

    _insisted: Secret | None = None

    def judge(self) -> Judge:
        """Who judges passwords, with what else was typed so far; it is asked on a thread."""
        raise NotImplementedError

    def wrong(self, error: ConsoleError) -> None:
        """Say what keeps the form from being done with."""
        raise NotImplementedError

    @on(Input.Changed, "#password")
    def _measure(self, message: Input.Changed) -> None:
        self.query_one(Meter).judge(Secret(message.value), self.judge())

    def typed_password(self) -> Secret:
        """What was typed; raises UsageError where it cannot be used."""
        typed = Secret(self.query_one("#password", Field).value)
        if typed != Secret(self.query_one("#again", Field).value):
            raise UsageError("The two passwords differ")
        check_password(typed)
        return typed

    def when_strong(self, password: Secret, then: Callable[[], object]) -> None:
        """Go on with a typed password, with a weak one only when it is asked for a second time."""
        judge = self.judge()
        self.ask(lambda: judge(password), partial(self._judged, password, then), group="judged")

    def _judged(self, password: Secret, then: Callable[[], object], found: Strength) -> None:
        if found.weak and password != self._insisted:
            self._insisted = password
            self.wrong(
                UsageError(
                    f"Too easy to guess: {found.because}", "Once more takes it all the same."
                )
            )
            return
        then()

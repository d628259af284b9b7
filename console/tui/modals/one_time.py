"""A generated password, shown once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core.secrets import Secret
from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts

SENT = "Sent; your terminal may refuse it (tmux needs set-clipboard on)"


class OneTimeModal(Modal[None]):
    """Shows a password until the dialog is left; it is kept nowhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", show=False, id="one-time.copy",
                tooltip="Send the password to the clipboard"),
    ]  # fmt: skip

    def __init__(self, name: str, password: Secret) -> None:
        super().__init__(f"Password of {clean(name, 60)}")
        self.password = password

    def compose_body(self) -> Iterable[Widget]:
        yield Facts((self.password.reveal(), "secret"), id="password")
        yield Facts(id="sent")
        yield Facts(("! ", "warn"), "It is shown this once and kept nowhere.")
        yield Facts(("y", "accent"), " Copy   ", ("escape", "accent"), " Close", classes="keys")

    def action_copy(self) -> None:
        """Send it to the terminal, which alone knows whether it takes it."""
        self.app.copy_to_clipboard(self.password.reveal())
        self.query_one("#sent", Facts).show(("✓ ", "ok"), SENT)

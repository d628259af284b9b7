"""The lines that a training script needs, right after the set-up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts

if TYPE_CHECKING:
    from console.tui.opening import Created


class PasteModal(Modal[None]):
    """Shows where to log to, once; a generated password is on no other page.

    Args:
        created: The new deployment.
        up: It has come up as well.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "Done", show=False, id="paste.close", tooltip="Go to Home"),
        Binding("y", "copy", "Copy", show=False, id="paste.copy",
                tooltip="Send the lines to the clipboard"),
    ]  # fmt: skip

    def __init__(self, created: Created, up: bool) -> None:
        name = clean(created.session.deployment.name, 60)
        super().__init__(f"✓ {name} is up" if up else f"! {name} is set up and does not run yet")
        self.password = created.password
        self.up = up
        self.port = urlsplit(created.url).port or 80
        self.lines = (
            f"export MLFLOW_TRACKING_URI={created.url}",
            f"export MLFLOW_TRACKING_USERNAME={created.user}",
            "export MLFLOW_TRACKING_PASSWORD=",
        )

    def compose_body(self) -> Iterable[Widget]:
        if not self.up:
            yield Facts(("u", "accent"), " on Home brings it up; nothing has to be typed again.\n")
        yield Facts("Paste this where your training runs:")
        lines = "\n".join(clean(line, 300) for line in self.lines)
        yield Facts((lines, "accent"), (self._password, "secret"), id="lines")
        if self.password is not None:
            yield Facts(("! ", "warn"), "The password is shown this once and kept nowhere.")
        there = f"{self.port}:localhost:{self.port} {clean(self.console.who, 60)}"
        yield Facts((f"From another machine, first: ssh -L {there}", "dim"))
        yield Facts(("y", "accent"), " Copy   ", ("enter", "accent"), " Go to Home", classes="keys")

    def action_copy(self) -> None:
        self.send("\n".join(self.lines) + self._password)

    @property
    def _password(self) -> str:
        return "…" if self.password is None else self.password.reveal()

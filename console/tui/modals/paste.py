"""The lines that a training script needs, right after the set-up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core.text import clean
from console.tui.modals.modal import Modal
from console.tui.widgets.facts import Facts

if TYPE_CHECKING:
    from console.tui.opening import Created


class PasteModal(Modal[None]):
    """Shows where to log to, once; a generated password is on no other page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "Done", show=False, id="paste.close", tooltip="Go to Home"),
        Binding("y", "copy", "Copy", show=False, id="paste.copy",
                tooltip="Send the lines to the clipboard"),
    ]  # fmt: skip

    def __init__(self, created: Created) -> None:
        super().__init__(f"✓ {created.session.deployment.name} is up")
        password = created.password
        self.generated = password is not None
        self.lines = (
            f"export MLFLOW_TRACKING_URI={created.url}",
            f"export MLFLOW_TRACKING_USERNAME={created.user}",
            "export MLFLOW_TRACKING_PASSWORD=" + (password.reveal() if password else "…"),
        )

    def compose_body(self) -> Iterable[Widget]:
        yield Facts("Paste this where your training runs:")
        yield Facts(("\n".join(clean(line, 300) for line in self.lines), "accent"), id="lines")
        if self.generated:
            yield Facts(("! ", "warn"), "The password is shown this once and kept nowhere.")
        yield Facts(("y", "accent"), " Copy   ", ("enter", "accent"), " Go to Home", classes="keys")

    def action_copy(self) -> None:
        self.send("\n".join(self.lines))

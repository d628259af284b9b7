"""The first frame: the header without a deployment, until one is opened."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static

from console.tui.widgets.header import Header


class OpeningScreen(Screen[None]):
    """Shown while the deployment is opened.

    Args:
        who: Whose terminal this is.
    """

    def __init__(self, who: str) -> None:
        super().__init__()
        self.who = who

    def compose(self) -> ComposeResult:
        yield Header("mlflow-console", "", self.who, read_only=False, area="home")
        yield Static("Opening the deployment…", classes="page dim")

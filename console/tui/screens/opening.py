"""The first frame: nothing but where we are, until the deployment is opened."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static


class OpeningScreen(Screen[None]):
    """Shown while the deployment is opened."""

    def compose(self) -> ComposeResult:
        yield Static("Opening the deployment…", classes="page dim")

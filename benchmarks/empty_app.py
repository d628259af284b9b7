"""The peer for the start: a Textual app that shows one line and does nothing."""

from textual.app import App, ComposeResult
from textual.widgets import Static


class EmptyApp(App[None]):
    """One line of text."""

    def compose(self) -> ComposeResult:
        yield Static("nothing here")


if __name__ == "__main__":
    EmptyApp().run()

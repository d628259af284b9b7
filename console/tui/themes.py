"""Colours: quiet surfaces, one accent, and the terminal's own where it has only sixteen."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from textual.app import App

DARK = Theme(
    name="console-dark",
    primary="#6cb6ff", secondary="#6cb6ff", accent="#6cb6ff",
    success="#6bc46d", warning="#daaa3f", error="#f47067",
    foreground="#cdd5de", background="#15191e", surface="#15191e", panel="#1d232a",
    dark=True,
    variables={
        "footer-background": "#15191e", "footer-key-foreground": "#6cb6ff",
        "footer-key-background": "#15191e", "footer-description-background": "#15191e",
        "block-cursor-background": "#2b4561", "block-cursor-foreground": "#f2f6fa",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#232b34",
        "input-selection-background": "#2b4561",
    },
)  # fmt: skip
LIGHT = Theme(
    name="console-light",
    primary="#0b62c4", secondary="#0b62c4", accent="#0b62c4",
    success="#1a7f37", warning="#8a5c00", error="#c4232b",
    foreground="#24292f", background="#ffffff", surface="#ffffff", panel="#f3f5f7",
    dark=False,
    variables={
        "footer-background": "#ffffff", "footer-key-foreground": "#0b62c4",
        "footer-key-background": "#ffffff", "footer-description-background": "#ffffff",
        "block-cursor-background": "#cfe3fb", "block-cursor-foreground": "#24292f",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#eaeef2",
    },
)  # fmt: skip
# Whose line of a log it is: an own calm colour for each role, none of those that carry state.
_LOGS_DARK = {
    "log-tracking": "#6cb6ff", "log-proxy": "#a79be0", "log-database": "#5fb3b3",
    "log-store": "#c79bbd", "log-other": "#8b98a5",
}  # fmt: skip
_LOGS_LIGHT = {
    "log-tracking": "#0b62c4", "log-proxy": "#6a4bbc", "log-database": "#0d6e6e",
    "log-store": "#943f77", "log-other": "#57606a",
}  # fmt: skip
_LOGS_PLAIN = {
    "log-tracking": "ansi_cyan", "log-proxy": "ansi_magenta", "log-database": "ansi_bright_blue",
    "log-store": "ansi_bright_magenta", "log-other": "ansi_default",
}  # fmt: skip
_ANSI = BUILTIN_THEMES["ansi-dark"]
# Bold black is grey on most of the terminals that have sixteen colours: unreadable on the cursor.
PLAIN = replace(
    _ANSI, name="console-plain", variables={**_ANSI.variables, "block-cursor-text-style": "none"}
)


def logs(theme: Theme) -> dict[str, str]:
    """The colours of the services in the logs, also for a theme that has none of its own."""
    if theme.name == PLAIN.name:
        return _LOGS_PLAIN
    return _LOGS_DARK if theme.dark else _LOGS_LIGHT


def plain() -> bool:
    """Whether to use the terminal's own sixteen colours.

    SSH does not forward COLORTERM, so a 256-colour TERM is taken at its word; a bare `xterm`,
    `linux` or `screen` is not, and NO_COLOR means the terminal's own two.
    """
    if os.environ.get("NO_COLOR") is not None:
        return True
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = os.environ.get("TERM", "")
    return not any(word in term for word in ("256color", "direct", "kitty", "alacritty", "ghostty"))


def use(app: App[int], wanted: str | None = None) -> None:
    """Choose the theme: the person's where the terminal can show it."""
    app.register_theme(DARK)
    app.register_theme(LIGHT)
    app.register_theme(PLAIN)
    if plain():
        app.theme = PLAIN.name
    elif wanted is None or wanted in app.available_themes:
        app.theme = wanted or DARK.name


def who() -> str:
    """Whose terminal this is, as user@host."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname().split('.')[0]}"

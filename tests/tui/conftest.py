"""Frozen time, a fixed zone and colours, and nothing of the caller's terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import time_machine

from console.core import engine
from tests.tui.fake import NOW


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A truecolor terminal in UTC at a fixed moment."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    with time_machine.travel(NOW, tick=True):
        yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine and a Compose that can be used, whatever this machine has."""
    monkeypatch.setattr(engine, "versions", lambda: ("28.2", "5.6"))

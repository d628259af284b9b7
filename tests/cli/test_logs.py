"""logs, with the options that pick lines, of a real log file of an embedded deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from console.core.deployment import Deployment
from tests.cli.conftest import Cli

NOW = datetime.now(UTC)
LINES = (
    (timedelta(hours=3), "INFO:     Uvicorn is running"),
    (timedelta(hours=2), "\x1b[31mERROR:\x1b[0m    Exception in ASGI application"),
    (timedelta(hours=2), "  File x.py [/bold]"),
    (timedelta(minutes=30), 'INFO:     1.2.3.4:5 - "GET /a HTTP/1.1" 404 Not Found'),
    (timedelta(minutes=1), 'INFO:     1.2.3.4:5 - "GET /b HTTP/1.1" 200 OK'),
)


@pytest.fixture(autouse=True)
def _log(deployment: Deployment) -> Iterator[None]:
    """The log, and the moment that it was written at for now: the suite may take an hour."""
    stamped = ((NOW - ago, text) for ago, text in LINES)
    text = "".join(f"{at:%Y-%m-%dT%H:%M:%S.000Z} {text}\n" for at, text in stamped)
    (deployment.paths.logs / "tracking.log").write_text(text)
    with time_machine.travel(NOW):
        yield


def found(cli: Cli, *arguments: str) -> list[str]:
    """The texts, by the machine's form."""
    result = cli("logs", "--jsonl", *arguments)
    assert result.code == 0, result.err
    return [json.loads(line)["text"] for line in result.out.splitlines()]


EVERY = [
    "INFO:     Uvicorn is running", "ERROR:    Exception in ASGI application",
    "  File x.py [/bold]", 'INFO:     1.2.3.4:5 - "GET /a HTTP/1.1" 404 Not Found',
    'INFO:     1.2.3.4:5 - "GET /b HTTP/1.1" 200 OK',
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--grep", "get /[ab]"), [3, 4]),
        (("--grep", "Get"), []),
        (("--grep", "^ERROR: +Exc"), [1]),  # what is matched is what is shown
        (("--grep", "get", "--invert"), [0, 1, 2]),
        (("--grep", "tracking"), [0, 1, 2, 3, 4]),
        (("--level", "error"), [1, 2]),
        (("--level", "warning"), [1, 2, 3]),
        (("--level", "warning", "--grep", "get"), [3]),
        (("--since", "1h"), [3, 4]),
        (("--since", f"{NOW - timedelta(minutes=150):%Y-%m-%dT%H:%M:%SZ}"), [1, 2, 3, 4]),
        (("--since", "1h", "--tail", "1"), [4]),
        (("--grep", "get", "--tail", "1"), [4]),
        (("--grep", "(a+)+$"), []),
    ],
)
def test_lines_are_picked(cli: Cli, arguments: tuple[str, ...], rows: list[int]) -> None:
    assert found(cli, *arguments) == [EVERY[row] for row in rows]
    every = json.loads(cli("logs", "--json", *arguments).out)
    assert [line["text"] for line in every] == [EVERY[row] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grep", "[a"), "[a is no regular expression: missing ]"),
        (("--grep", "(?=a)"), "is no regular expression"),
        (("--invert",), "--invert turns --grep round"),
        (("--since", "soon"), "soon is no moment"),
        (("--since", "99999999999d"), "is no moment"),
        (("--level", "loud"), "loud"),
        (("--json", "--follow"), "--jsonl"),
    ],
)
def test_what_makes_no_sense_is_said(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    result = cli("logs", *arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_nothing_that_matches_is_not_an_empty_log(cli: Cli) -> None:
    result = cli("logs", "--grep", "nowhere")
    assert (result.code, result.out, result.err) == (0, "", "No line matches.\n")
    assert "\x1b" not in cli("logs").out

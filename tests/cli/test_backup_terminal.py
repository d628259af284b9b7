"""A snapshot made on a terminal: ctrl-c keeps what was copied, a lost terminal changes nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from tests.cli.conftest import Cli, Terminal
from tests.cli.test_backup import MORE, listed

MANY = 4000


@pytest.fixture(autouse=True)
def many(database: Path, deployment: Deployment) -> None:
    """So many artifacts that there is time to do something meanwhile."""
    folder = deployment.paths.artifacts / "1/a1/artifacts"
    folder.mkdir(parents=True)
    for number in range(MANY):
        (folder / str(number)).write_bytes(os.urandom(20_000))
    with sqlite3.connect(database) as connection:
        connection.executescript(MORE)


def test_ctrl_c_and_the_same_again(
    terminal: Callable[..., Terminal], program: Cli, tmp_path: Path
) -> None:
    there = terminal("backup", "create", "--to", str(tmp_path / "snapshots"))
    there.expect(f"of {MANY:,} copied")
    there.type("\x03")
    assert there.close() == 130
    assert "goes on where this stopped" in there.seen or "already complete" in there.seen
    result = program("backup", "create", "--label", "whole")
    assert result.code == 0, result.err
    newest = listed(program)[0]
    assert (newest["label"], newest["artifacts"], newest["state"]) == ("whole", MANY, "ok")
    assert program("backup", "verify", "whole").code == 0
    assert not (tmp_path / "snapshots" / ".making").exists()


def test_a_lost_terminal_leaves_it_going(
    terminal: Callable[..., Terminal], program: Cli, tmp_path: Path
) -> None:
    there = terminal("backup", "create", "--to", str(tmp_path / "snapshots"))
    there.expect(f"of {MANY:,} copied")
    os.kill(there.pid, signal.SIGHUP)  # as the kernel does
    there.close()
    deadline = time.monotonic() + 120
    while not listed(program):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    [made] = listed(program)
    assert (made["artifacts"], made["state"]) == (MANY, "ok")

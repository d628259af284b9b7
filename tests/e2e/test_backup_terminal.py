"""A person at a real terminal who backs up, leaves, comes back, and restores."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.support import deployments, unavailable
from tests.support.tmux import Tmux

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("real"), pytest.mark.timeout(600)]


def _begun(deployment: Deployment) -> Action:
    """The action that goes on, as soon as there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        action = deployment.backup.current()
        if action is not None:
            return action
        time.sleep(0.002)
    raise AssertionError("nothing was begun")


def _artifacts(deployment: Deployment) -> Path:
    """A folder with two hundred artifacts of a run."""
    folder = deployment.paths.artifacts / "0" / "0123456789abcdef0123456789abcdef" / "artifacts"
    folder.mkdir(parents=True)
    for number in range(200):
        (folder / f"{number}.bin").write_bytes(os.urandom(10_000))
    return folder


def test_backed_up_left_found_again_and_restored(
    make_deployment: Callable[[str], Deployment], tmp_path: Path
) -> None:
    if not shutil.which("tmux"):
        unavailable("tmux is not installed")
    deployment = make_deployment("lab")
    deployments.up(deployment)
    folder = _artifacts(deployment)
    argv = [CONSOLE, "--deployment", str(deployment.directory)]
    with Tmux(argv, dict(os.environ)) as terminal:
        action = _begin_and_leave(terminal, deployment, tmp_path / "snapshots")
    with Tmux(argv, dict(os.environ)) as terminal:
        _come_back(terminal, deployment, action)
        deployment.users.add("dora", Secret("one who came later"))
        shutil.rmtree(folder)
        _restore(terminal, deployment)
        terminal.send("q")
        terminal.wait_for("[ended 0]", seconds=10)
    assert len(list(folder.iterdir())) == 200
    assert "dora" not in [each.name for each in deployment.users.list()]


def _begin_and_leave(terminal: Tmux, deployment: Deployment, place: Path) -> Action:
    """The first backup, and out while it is made; its process is held, so that it goes on."""
    terminal.wait_for("● healthy", "no backup yet")
    terminal.send("7")
    terminal.wait_for("No backup yet", "b asks where the snapshots go")
    terminal.send("b")
    terminal.wait_for("Where do the snapshots go?")
    terminal.send("Home", "C-k")
    terminal.wait_until_gone("mlflow-lab")
    terminal.type(str(place))
    terminal.send("Enter")
    terminal.wait_for("It needs at most", "the same disk")
    terminal.send("Right", "Enter")
    action = _begun(deployment)
    os.kill(action.pid, signal.SIGSTOP)
    terminal.wait_for("making a snapshot", "x stops it")
    terminal.send("3")
    terminal.wait_for("mlflow-console")
    terminal.send("q")
    terminal.wait_for("goes on; the next console shows it again", "[ended 0]", seconds=10)
    return action


def _come_back(terminal: Tmux, deployment: Deployment, action: Action) -> None:
    """What was begun is there, comes to its end, and is read again."""
    terminal.wait_for("● healthy", "making a snapshot")
    terminal.send("7")
    terminal.wait_for("making a snapshot", "begun by")
    os.kill(action.pid, signal.SIGCONT)
    terminal.wait_for("Backed up", "last good today", seconds=120)
    [made] = Deployment.open(str(deployment.directory)).backup.list()
    assert made.manifest is not None
    assert made.manifest.artifacts is not None
    assert made.manifest.artifacts.objects == 200
    terminal.send("v")
    terminal.wait_for("Verified", "✓ last good today", seconds=120)


def _restore(terminal: Tmux, deployment: Deployment) -> None:
    """Asked twice; the first time with the answer that changes nothing."""
    terminal.send("o")
    terminal.wait_for("Nobody is at work", "server is stopped")
    terminal.send("Enter")
    terminal.wait_until_gone("Nobody is at work")
    assert deployment.backup.current() is None
    terminal.send("o")
    terminal.wait_for("Nobody is at work", "server is stopped")
    terminal.send("Right", "Enter")
    terminal.wait_for("restoring")
    terminal.wait_for("Restored", seconds=240)
    terminal.wait_for("today", "✓")

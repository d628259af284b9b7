"""Read-only means it: under strace nothing of the deployment is written, nothing is changed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from tests.support import unavailable
from tests.support.tmux import Tmux

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))
_WRITES = re.compile(
    r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND"
    r"|\b(?:rename|renameat2?|unlink|unlinkat|mkdir|mkdirat|rmdir|link|linkat|symlink|symlinkat"
    r"|truncate|chmod|fchmodat2?|chown|lchown|fchownat|utimensat|creat)\("
)
# MLflow searches by POST; everything else that is not GET changes something.
_SEARCHES = ("/experiments/search", "/runs/search")
_REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>[^ "?]+)[^"]* HTTP/')

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("real"), pytest.mark.timeout(300)]


def writes(trace: str, directory: Path) -> list[str]:
    """The lines of a trace that change something below a directory."""
    return [line for line in trace.splitlines() if str(directory) in line and _WRITES.search(line)]


def changes(log: str) -> list[str]:
    """The requests of MLflow's log that were not mere questions."""
    found = []
    for match in _REQUEST.finditer(log):
        asked = match["method"] in {"GET", "HEAD"} or match["path"].endswith(_SEARCHES)
        if not asked:
            found.append(match[0])
    return found


def test_writes_and_changes_are_recognised(tmp_path: Path) -> None:
    place = tmp_path / "lab"
    trace = (
        f'1 openat(AT_FDCWD, "{place}/console.toml", O_RDONLY|O_CLOEXEC) = 3\n'
        f'1 openat(AT_FDCWD, "{place}/audit.jsonl", O_WRONLY|O_CREAT, 0600) = 3\n'
        f'1 unlink("{place}/x") = 0\n'
        '1 openat(AT_FDCWD, "/elsewhere", O_RDWR) = 3\n'
    )
    assert len(writes(trace, place)) == 2
    log = (
        '- "GET /api/2.0/mlflow/runs/get?run_id=1 HTTP/1.1" 200\n'
        '- "POST /api/2.0/mlflow/runs/search HTTP/1.1" 200\n'
        '- "POST /api/2.0/mlflow/runs/delete HTTP/1.1" 200\n'
    )
    assert changes(log) == ['"POST /api/2.0/mlflow/runs/delete HTTP/']


def test_every_area_read_only_under_strace(real_deployment: Deployment, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        unavailable("strace is not installed")
    log = real_deployment.paths.logs / "tracking.log"
    before = log.stat().st_size
    users = real_deployment.paths.users.read_bytes()
    trace = tmp_path / "trace"
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "400", "-o", str(trace), "-e",
               "trace=%file", CONSOLE, "--deployment", str(real_deployment.directory),
               "--read-only"]  # fmt: skip
    with Tmux(command, dict(os.environ), 120, 40) as terminal:
        terminal.wait_for("read-only", "● healthy")
        for key, text in (("2", "tracking"), ("3", "alice"), ("4", "Default"), ("5", "walked")):
            terminal.send(key)
            terminal.wait_for(text)
        # What would change something must do nothing here, and say nothing of the kind.
        for area, keys in (("2", "uxn"), ("3", "ad"), ("1", "u")):
            terminal.send(area)
            for key in keys:
                terminal.send(key)
        terminal.send("3")
        shown = terminal.wait_for("alice")
        assert "Add a user" not in shown
        terminal.send("q")
        terminal.wait_for("[ended 0]", seconds=20)
    text = trace.read_text(errors="replace")
    assert str(real_deployment.paths.settings) in text
    assert str(real_deployment.paths.database) in text
    assert writes(text, real_deployment.directory) == []
    with log.open("rb") as lines:
        lines.seek(before)
        asked = lines.read().decode()
    assert "/experiments/search" in asked
    assert changes(asked) == []
    assert real_deployment.paths.users.read_bytes() == users
    assert real_deployment.stack.status().healthy

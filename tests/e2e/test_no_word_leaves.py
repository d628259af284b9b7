"""No process of the console or of its server talks to anybody but loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import unavailable

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))
_INET = re.compile(r'(?:connect|sendto|sendmsg)\(.*(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def elsewhere(trace: Path) -> list[str]:
    """The system calls that addressed anything but loopback, or asked for a name."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        address, port = _INET.search(line), _PORT.search(line)
        if not address:
            continue
        loopback = address[1].startswith("127.") or address[1] in {"::1", "::ffff:127.0.0.1"}
        if not loopback or (port and port[1] == "53"):
            found.append(line)
    return found


def test_the_trace_is_read_rightly(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    inet = "sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr"
    trace.write_text(
        f'7 connect(3, {{{inet.format(443)}("9.9.9.9")}}, 16)\n'
        f'7 connect(3, {{{inet.format(80)}("127.0.0.1")}}, 16)\n'
        f'7 sendto(3, "x", 1, 0, {{{inet.format(53)}("127.0.0.53")}}, 16)\n'
        '7 connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110)\n'
    )
    assert len(elsewhere(trace)) == 2


def _wait_until_healthy(env: dict[str, str]) -> None:
    deadline = time.monotonic() + 120
    while subprocess.run([CONSOLE, "status"], env=env, check=False, capture_output=True).returncode:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.5)


def test_nothing_leaves_the_machine(tmp_path: Path) -> None:
    if not shutil.which("strace"):
        unavailable("strace is not installed")
    assert not {"CI", "GITHUB_ACTIONS", "DO_NOT_TRACK"} & set(os.environ)
    lab = str(tmp_path / "lab")
    env = {**os.environ, "MLFLOW_CONSOLE_DEPLOYMENT": lab}
    subprocess.run([CONSOLE, "init", lab], env=env, check=True, capture_output=True)

    def traced(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "64", "-o", str(tmp_path / name),
             "-e", "trace=connect,sendto,sendmsg,sendmmsg", CONSOLE, *arguments],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    # strace lives as long as the server that `up` leaves behind.
    server = traced("server", "up")
    try:
        # Not by a second `up`: it could come first, and the server would be that one's.
        _wait_until_healthy(env)
        for name, arguments in {
            "demo": ("demo",),
            "runs": ("runs", "list", "Loss curves", "--json"),
            "storage": ("storage", "usage", "--json"),
            "status": ("status",),
        }.items():
            step = traced(name, *arguments)
            _, said = step.communicate(timeout=180)
            assert step.returncode == 0, f"{name}: {said.decode()}"
    finally:
        subprocess.run([CONSOLE, "--yes", "down"], env=env, check=True, capture_output=True)
        server.wait(60)
    traces = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert len(traces) == 5
    assert any("127.0.0.1" in path.read_text(errors="replace") for path in traces)
    assert {path.name: elsewhere(path) for path in traces if elsewhere(path)} == {}

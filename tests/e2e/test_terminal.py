"""A person at a real terminal, over a real sshd, against the real server."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.users import htpasswd
from tests.support import deployments, unavailable
from tests.support.sshd import available, sshd
from tests.support.tmux import Tmux

CONSOLE = str(Path(sys.executable).with_name("mlflow-console"))

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("real"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _tmux_is_there() -> None:
    if not shutil.which("tmux"):
        unavailable("tmux is not installed")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    if not available():
        unavailable("OpenSSH's server and client are not installed")
    with sshd(tmp_path_factory.mktemp("sshd")) as command:
        yield command


def remote(ssh: list[str], *words: str) -> list[str]:
    """The ssh command that runs the console over there as if it were installed."""
    home = os.environ["HOME"]
    machine = os.environ["MLFLOW_CONSOLE_MACHINE_CONFIG"]
    setting = f"HOME={home} MLFLOW_CONSOLE_MACHINE_CONFIG={machine}"
    return [*ssh, "-t", f"env {setting} {CONSOLE} {' '.join(words)}"]


def server_pid(deployment: Deployment) -> int:
    return deployments.processes(deployment.directory)[0]


def test_over_ssh_a_user_is_added_who_logs_a_run_that_is_shown(
    ssh: list[str], real_deployment: Deployment
) -> None:
    before = server_pid(real_deployment)
    command = remote(ssh, "--deployment", str(real_deployment.directory))
    with Tmux(command, {"HOME": os.environ["HOME"]}) as terminal:
        terminal.wait_for("● healthy", "MLflow 3.17.2", "1 Home", "5 Storage")
        terminal.send("2")
        terminal.wait_for("tracking", "Logs")
        terminal.send("3")
        terminal.wait_for("mlflow-console", "alice")
        terminal.send("a")
        terminal.wait_for("Add a user")
        terminal.type("erin")
        terminal.send("Tab")
        terminal.type("a password of hers")
        terminal.send("Tab")
        terminal.type("a password of hers")
        terminal.send("Enter")
        terminal.wait_until_gone("Add a user")
        terminal.wait_for("erin")
        assert "a password of hers" not in terminal.screen()

        logged = subprocess.run(
            ["curl", "-s", "-f", "-K", "-"], capture_output=True, text=True, check=True,
            input=f'url = "{real_deployment.driver.url}/api/2.0/mlflow/runs/create"\n'
            'user = "erin:a password of hers"\nheader = "Content-Type: application/json"\n'
            'data = "{\\"experiment_id\\": \\"0\\", \\"run_name\\": \\"erins run\\"}"',
        )  # fmt: skip
        assert "erins run" in logged.stdout

        terminal.send("4")
        terminal.wait_for("Default")
        terminal.send("r")
        terminal.wait_for("erins run")
        terminal.send("5")
        terminal.wait_for("objects", "walked")
        terminal.send("q")
        terminal.wait_for("[ended 0]", seconds=10)
    assert server_pid(real_deployment) == before
    real_deployment.users.remove(["erin"])


@pytest.mark.parametrize("term", ["xterm", "xterm-256color", "vt100"])
def test_every_area_on_small_terminals_without_colour(
    real_deployment: Deployment, term: str
) -> None:
    command = ["env", f"TERM={term}", "NO_COLOR=1", CONSOLE,
               "--deployment", str(real_deployment.directory)]  # fmt: skip
    with Tmux(command, dict(os.environ)) as terminal:
        terminal.wait_for("● healthy")
        for key, text in (("2", "tracking"), ("3", "alice"), ("4", "Default"), ("5", "walked")):
            terminal.send(key)
            terminal.wait_for(text)
        terminal.send("q")
        terminal.wait_for("[ended 0]", seconds=10)


def test_first_start_to_running_server_to_nothing_left(tmp_path: Path) -> None:
    """In a process space of its own, as on a machine where nobody runs a deployment yet."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        unavailable("a process space of its own needs root and unshare")
    lab = tmp_path / "first"
    port = deployments.free_port()
    script = (
        f'cd {tmp_path}; {CONSOLE}; echo "left $?"; {CONSOLE} status >/dev/null; '
        f'echo "status $?"; {CONSOLE} down --yes; echo "down $?"; '
        "ps -eo args | grep -c '[m]lflow_console_server' | sed 's/^/processes /'"
    )
    # Nor a stack: a test next door may.
    env = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    with Tmux([*unshare, "sh", "-c", script], env, 100, 40) as terminal:
        terminal.wait_for("Set up MLflow", "Where its data goes")
        terminal.send("C-u")
        terminal.send("C-k")
        terminal.type(str(lab))
        terminal.send("Enter")
        terminal.type(str(port))
        terminal.send("C-s")
        shown = terminal.wait_for("MLFLOW_TRACKING_URI", seconds=120)
        assert f"http://127.0.0.1:{port}" in shown
        assert "MLFLOW_TRACKING_PASSWORD" in shown
        terminal.send("Enter")
        terminal.wait_for("● healthy", "first")
        terminal.send("q")
        shown = terminal.wait_for("processes ", seconds=60)
        assert "left 0" in shown
        assert "status 0" in shown
        assert "down 0" in shown
        assert "processes 0" in shown


@pytest.mark.parametrize("trap", ["", "trap '' HUP; "], ids=["killed", "hangup ignored"])
def test_a_lost_terminal_ends_the_console(real_deployment: Deployment, trap: str) -> None:
    pid = server_pid(real_deployment)
    words = f"{trap}{CONSOLE} --deployment {real_deployment.directory}"
    with Tmux(["sh", "-c", words], dict(os.environ)) as terminal:
        terminal.wait_for("● healthy")
        shell = psutil.Process(terminal.pane_pid())
        consoles = [each for each in shell.children(recursive=True) if CONSOLE in each.cmdline()]
        assert consoles
    _, alive = psutil.wait_procs(consoles, timeout=10)
    for process in alive:
        process.kill()
    assert alive == []
    assert server_pid(real_deployment) == pid


def test_a_killed_console_leaves_everything_as_it_was(real_deployment: Deployment) -> None:
    """Done over and over, at another moment each time, while it adds a user."""
    before = server_pid(real_deployment)
    chance = random.Random(7)  # noqa: S311  # moments, no secrets
    command = [CONSOLE, "--deployment", str(real_deployment.directory)]
    for turn in range(6):
        name = f"killed{turn}"
        with Tmux(command, dict(os.environ)) as terminal:
            terminal.wait_for("● healthy")
            terminal.send("3")
            terminal.wait_for("alice")
            terminal.send("a")
            terminal.wait_for("Add a user")
            terminal.type(name)
            terminal.send("Tab")
            terminal.type("steep-horse1")
            terminal.send("Tab")
            terminal.type("steep-horse1")
            terminal.send("Enter")
            time.sleep(chance.uniform(0, 0.6))
            shell = psutil.Process(terminal.pane_pid())
            consoles = [
                each for each in shell.children(recursive=True) if CONSOLE in each.cmdline()
            ]
            assert consoles
            for process in consoles:
                process.send_signal(signal.SIGKILL)
            psutil.wait_procs(consoles, timeout=10)
        assert server_pid(real_deployment) == before
        lines = real_deployment.paths.users.read_bytes().splitlines()
        schemes = [htpasswd.scheme_of(line.partition(b":")[2]).name for line in lines]
        assert schemes == ["bcrypt"] * len(lines)
        again = Deployment.open(str(real_deployment.directory))
        assert again.stack.status().healthy
        if name in {user.name for user in again.users.list()}:
            again.users.passwd(name, Secret("still changeable"))
            again.users.remove([name])

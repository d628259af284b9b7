"""`users handover`: what somebody is sent, and when nothing is."""

from __future__ import annotations

import json

from console.core.deployment import Deployment
from tests.cli.conftest import Cli


def test_the_shell_and_python_have_a_part_each(cli: Cli, deployment: Deployment) -> None:
    port = min(deployment.driver.ports)
    shell, _, python = cli("users", "handover", "alice").out.partition("\n\n")
    assert shell.splitlines() == [
        "In the shell:",
        f"# From another machine, first: ssh -N -L {port}:127.0.0.1:{port} HOST",
        "# (HOST is the machine of the server, as ssh reaches it)",
        f"export MLFLOW_TRACKING_URI=http://127.0.0.1:{port}",
        "export MLFLOW_TRACKING_USERNAME=alice",
        "export MLFLOW_TRACKING_PASSWORD=...",
    ]
    heading, *program = python.splitlines()
    assert heading == "In Python:"
    compile("\n".join(program), "handover", "exec")


def test_a_password_that_is_not_the_users_is_not_handed_over(program: Cli) -> None:
    wrong = program("users", "handover", "alice", "--password-stdin", stdin=b"wonderwall\n")
    assert (wrong.code, wrong.out) == (1, "")
    assert "not the password of alice" in wrong.err
    assert "wonderwall" not in wrong.err
    right = program("users", "handover", "alice", "--password-stdin", stdin=b"wonderland\n")
    assert right.code == 0
    assert "export MLFLOW_TRACKING_PASSWORD=wonderland\n" in right.out


def test_who_is_disabled_is_told_and_the_consoles_own_account_is_nobodys(cli: Cli) -> None:
    assert cli("users", "disable", "alice").code == 0
    assert "# alice is disabled and cannot log in now\n" in cli("users", "handover", "alice").out
    note = json.loads(cli("users", "handover", "alice", "--json").out)["note"]
    assert note == "alice is disabled and cannot log in now"
    own = cli("users", "handover", "mlflow-console")
    assert (own.code, own.out) == (1, "")
    assert "handed over to nobody" in own.err

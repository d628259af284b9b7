"""A command imports nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.core.deployment import Deployment

LATE = {"apprise", "mlflow", "docker", "minio", "pymysql", "textual", "xkcdpass", "zxcvbn"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["users", "list"],
        ["audit"],
        ["status"],
        ["storage", "usage"],
        ["deployments"],
        ["backup", "list"],
    ],
    ids=" ".join,
)
def test_clients_and_console_stay_out(
    deployment: Deployment, database: object, arguments: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # A running stack of somebody else's would be a known deployment, and be looked at.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    script = (
        "import sys\n"
        "from console.cli.main import main\n"
        "main(sys.argv[1:])\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--deployment", str(deployment.directory), *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.rpartition("LOADED")[2].split()}
    assert "typer" in loaded
    assert not loaded & LATE

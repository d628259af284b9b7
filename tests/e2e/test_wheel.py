"""What people install: the wheel alone, in an empty environment, used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
                   cwd=ROOT, check=True, capture_output=True)  # fmt: skip
    return next(folder.glob("*.whl"))


def test_wheel_carries_what_deployments_are_made_of(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        "console/shipped/server/pyproject.toml",
        "console/shipped/server/requirements.lock",
        "console/shipped/server/mlflow_console_server/lock.py",
        "console/tui/app.tcss",
    }
    assert shipped <= names
    assert not [name for name in names if name.startswith(("tests/", "build/")) or ".pyc" in name]


def test_installed_console_sets_a_deployment_up_from_another_folder(
    wheel: Path, tmp_path: Path
) -> None:
    program = uv.find_uv_bin()
    environment = tmp_path / "env"
    subprocess.run([program, "venv", "-q", "--python", sys.executable, str(environment)],
                   check=True)  # fmt: skip
    subprocess.run(
        [program, "pip", "install", "-q", "--python", str(environment / "bin" / "python"),
         "--constraint", str(ROOT / "requirements.lock"), str(wheel)],
        check=True,
    )  # fmt: skip
    console = str(environment / "bin" / "mlflow-console")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([console, *arguments], cwd=elsewhere, env=env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=240,
                              check=False)  # fmt: skip

    made = run("init", "lab")
    assert made.returncode == 0, made.stderr
    try:
        up = run("--deployment", "./lab", "up")
        assert up.returncode == 0, up.stderr
        status = run("status", "--deployment", "./lab", "--json")
        assert status.returncode == 0, status.stdout + status.stderr
        assert '"healthy": true' in status.stdout.replace('":true', '": true')
    finally:
        down = run("--deployment", "./lab", "--yes", "down")
    assert down.returncode == 0, down.stderr

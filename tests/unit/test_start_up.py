"""What is imported before anybody asked for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("apprise", "mlflow", "docker", "minio", "pymysql")


@pytest.mark.parametrize("module", ["console.cli.main", "console.tui.app", "console.core.setup"])
def test_areas_import_their_clients_on_first_use(module: str) -> None:
    script = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    names = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert module in names
    assert not {name.partition(".")[0] for name in names} & set(LATE)


def test_the_core_needs_no_front_end() -> None:
    script = (
        "import pkgutil, importlib, sys, console.core as core\n"
        "for found in pkgutil.walk_packages(core.__path__, 'console.core.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(*sys.modules, sep='\\n')"
    )
    names = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "console.core.deployment" in names
    front_ends = {"textual", "typer", "click", "rich"}
    assert not {name.partition(".")[0] for name in names} & front_ends

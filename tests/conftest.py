"""Hermetic tests: nothing of the caller's account, session or machine reaches them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from console.core import register

_KEPT = ("MLFLOW_CONSOLE_REQUIRE_E2E",)
_DROPPED_PREFIXES = ("XDG_", "SSH_", "SUDO_", "MLFLOW_", "GITHUB_", "GITLAB_", "TMUX")
_DROPPED = (
    "APPVEYOR", "BUILDKITE", "BUILD_ID", "BUILD_NUMBER", "CI", "CIRCLECI", "CODEBUILD_BUILD_ARN",
    "CONTINUOUS_INTEGRATION", "DO_NOT_TRACK", "JENKINS_URL", "TEAMCITY_VERSION", "TF_BUILD",
    "TRAVIS", "COLORTERM", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TEXTUAL",
    "PYTHONPATH", "PYTHONWARNINGS",
)  # fmt: skip
_HOME = pytest.StashKey[Path]()


def _uv_cache() -> str:
    """The caller's cache: from it a server's environment is hard-linked in about a second."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("UV_CACHE_DIR") or os.path.join(base, "uv")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported or made: a home of our own, for every child as well."""
    os.environ["UV_CACHE_DIR"] = _uv_cache()
    for name in list(os.environ):
        foreign = name in _DROPPED or name.startswith(_DROPPED_PREFIXES)
        if foreign and name not in _KEPT:
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="mlflow-console-tests-"))
    config.stash[_HOME] = home
    os.environ |= {"TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    os.environ |= _homes(home)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    home = config.stash.get(_HOME, None)
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)


def _homes(folder: Path) -> dict[str, str]:
    """The variables that make `folder` the only place that a program takes for its own."""
    return {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_DATA_HOME": str(folder / ".local" / "share"),
        "XDG_STATE_HOME": str(folder / ".local" / "state"),
        "MLFLOW_CONSOLE_MACHINE_CONFIG": str(folder / "etc"),
    }


@pytest.fixture(autouse=True)
def home(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home for each test; of the machine's running servers only this test's own are seen.

    The list of running servers is the only thing that no variable can turn elsewhere: without
    this, a server of the developer, or of a test next door, would be a known deployment here.
    """
    folder = tmp_path_factory.mktemp("home")
    for name, value in _homes(folder).items():
        monkeypatch.setenv(name, value)
    everywhere = register._running

    def ours() -> list[Path]:
        return [path for path in everywhere() if tmp_path in path.parents]

    monkeypatch.setattr(register, "_running", ours)
    return folder

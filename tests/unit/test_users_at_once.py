"""Eight processes change one user file while `kill -9` hits them: tests/support/user_storm.py."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(280)


def storm(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    seed = random.randrange(1_000_000)  # noqa: S311  # pytest-randomly says which, so does it
    return subprocess.run(
        [sys.executable, "-m", "tests.support.user_storm", str(folder), str(seed), how],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=260,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["replaced", "alone"])
def test_no_acknowledged_change_is_lost_or_doubled(tmp_path: Path, how: str) -> None:
    done = storm(tmp_path, how)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_lock_it_would_be_noticed(tmp_path: Path) -> None:
    done = storm(tmp_path, "unlocked")
    assert done.returncode == 1, done.stdout
    assert "AssertionError" in done.stderr or "UsageError" in done.stderr

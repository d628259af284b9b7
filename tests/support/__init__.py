"""What several tests need: terminals, servers, machines."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip a test for what this machine lacks; where nothing may be left out, fail.

    Args:
        reason: What is missing, in words.
    """
    if os.environ.get("MLFLOW_CONSOLE_REQUIRE_E2E") == "1":
        pytest.fail(f"{reason}, and MLFLOW_CONSOLE_REQUIRE_E2E=1 lets no test be left out")
    pytest.skip(reason)

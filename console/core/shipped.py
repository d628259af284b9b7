"""What the console ships for deployments: the folder `stack/`, in a checkout or in a wheel."""

from __future__ import annotations

from pathlib import Path

import console

_PACKAGE = Path(console.__file__).parent


def folder() -> Path:
    """The shipped `stack/` folder; read-only for us."""
    installed = _PACKAGE / "shipped"
    return installed if installed.is_dir() else _PACKAGE.parent / "stack"


def server() -> Path:
    """The small distribution that goes into a server's own environment, with its lock file."""
    return folder() / "server"

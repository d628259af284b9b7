"""The environment of the embedded server, made once for every run of the tests."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.images.recipes import REPOSITORY

BUILD = REPOSITORY / "build"
DISTRIBUTION = REPOSITORY / "stack" / "server"


def link_bytecode(environment: Path) -> None:
    """Spare a deployment's environment compiling MLflow anew, which takes 7 s of a core.

    Both were made by uv from the same files with the same times, which is what Python goes by.
    """
    compiled = server_environment()
    for folder in (compiled / "lib").rglob("__pycache__"):
        target = environment / folder.relative_to(compiled)
        if target.parent.is_dir() and not target.exists():
            shutil.copytree(folder, target, copy_function=os.link)


@functools.cache
def server_environment() -> Path:
    """Make, or find again, a Python environment with MLflow and the server distribution.

    It is made by uv from the lock file, as `init` makes it, and kept in ``build`` under a name that
    changes with the lock file and the Python version. Safe to call from several processes.

    Returns:
        The environment's folder; its programs are in ``bin``.
    """
    lock = (DISTRIBUTION / "requirements.lock").read_bytes()
    name = hashlib.sha256(lock + sys.version.encode()).hexdigest()[:16]
    environment = BUILD / f"server-env-{name}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"server-env-{name}.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        python = environment / "bin" / "python"
        complete = environment / "complete"
        if not complete.exists():
            _uv("venv", "--clear", "--python", sys.executable, environment)
            requirements = DISTRIBUTION / "requirements.lock"
            _install(python, "--compile-bytecode", "--require-hashes", "-r", requirements)
            complete.touch()
        stamp = environment / "distribution"
        sources = _digest_of_sources()
        if not stamp.exists() or stamp.read_text() != sources:
            _install(python, "--no-deps", "--offline", "--reinstall", DISTRIBUTION)
            stamp.write_text(sources)
    return environment


def _install(python: Path, *arguments: object) -> None:
    _uv("pip", "install", "--python", python, *arguments)


def _uv(*arguments: object) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    assert uv, "uv is needed to make the server's environment"
    command = [uv, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(DISTRIBUTION.rglob("*")):
        if path.suffix in {".py", ".toml"}:
            digest.update(str(path.relative_to(DISTRIBUTION)).encode() + path.read_bytes())
    return digest.hexdigest()

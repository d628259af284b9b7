"""Text for systemd and cron: words that they take as they are, and the program that they start."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.text import clean

PROGRAM = "mlflow-console"

# What a service needs to see what the person sees who switches it on.
HANDED_ON = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")


@dataclass(frozen=True, slots=True)
class Unit:
    """One file that systemd reads."""

    path: Path
    text: str


def unit_name(name: str) -> str:
    """What the units of a deployment are called, without ".timer"."""
    return f"{PROGRAM}-{name}"


def mark(directory: Path, command: str) -> str:
    """The first line of our files; a file with another one belongs to somebody else."""
    return f"# Written by `{PROGRAM} {command}` for {quoted(os.fsdecode(directory))}"


def command_line(words: Sequence[str]) -> str:
    """What ExecStart= takes: the program of this installation, and these words.

    Raises:
        ConsoleError: This installation has no program that systemd could start.
    """
    started = os.fsdecode(program())
    if re.search("[\x00-\x1f\x7f\"'\\\\]", started):
        raise ConsoleError(
            f"systemd starts no program whose path has quotes in it: {clean(started)}",
            "Install mlflow-console elsewhere.",
        )
    return " ".join([quoted(started), *map(argument, words)])


def environment_lines() -> str:
    """The lines of a service for the variables that it is given."""
    return "".join(f"Environment={quoted(f'{key}={value}')}\n" for key, value in handed_on())


def quoted(text: str) -> str:
    """A word that systemd takes as it is (systemd.syntax(7), systemd.unit(5) on "%").

    What is no printable ASCII is written byte by byte: a path may be no text at all.
    """
    return f'"{"".join(_escaped(os.fsencode(text)))}"'


def argument(text: str) -> str:
    """A word of a command line behind the program; there, "$" means a variable."""
    escaped = quoted(text.replace("$", "$$"))
    return text if re.fullmatch(r"[A-Za-z0-9/._-]+", text) else escaped


def _escaped(data: bytes) -> Iterator[str]:
    for byte in data:
        character = chr(byte)
        if character in '"\\':
            yield f"\\{character}"
        elif character == "%":
            yield "%%"
        else:
            yield character if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def handed_on() -> Iterator[tuple[str, str]]:
    """Variables for the service: everybody may read its file, so none with a password."""
    for name in HANDED_ON:
        value = os.environ.get(name)
        if value and not _PASSWORD.search(value):
            yield name, value


def kept_back() -> list[str]:
    """The variables that hold a password, which the service will not have."""
    return [name for name in HANDED_ON if _PASSWORD.search(os.environ.get(name, ""))]


def program() -> Path:
    """The program of this installation, by a path that holds without any environment.

    Raises:
        ConsoleError: There is none.
    """
    scripts = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    candidates = [Path(sys.argv[0]).absolute(), *(folder / PROGRAM for folder in scripts)]
    for candidate in candidates:
        if candidate.name == PROGRAM and os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    found = shutil.which(PROGRAM)
    if found is None:
        raise ConsoleError(
            f"This installation has no program {PROGRAM} that a timer could start",
            "Install it with pip, pipx or uv.",
        )
    return Path(found).absolute()


def cron_line(at: str, words: Sequence[str]) -> str:
    """A line for `crontab -e` that starts the program of this installation.

    Args:
        at: Its five fields.
        words: What follows the program.
    """
    line = shlex.join([os.fsdecode(program()), *words])
    return f"{at} {line} >/dev/null".replace("%", "\\%")

"""The text of the timer and its service, and of the cron line where there is no systemd."""

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

from console.core.errors import ConsoleError, UsageError
from console.core.text import clean

PROGRAM = "mlflow-console"
SHORTEST, LONGEST = 10, 86_400
USUAL = "5m"
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}

# What the status needs to see what the person sees who switches it on.
HANDED_ON = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")

SERVICE = """\
{mark}
[Unit]
Description={description}

[Service]
Type=oneshot
ExecStart={program} {arguments}
{environment}SuccessExitStatus=3 4
StandardOutput=null
TimeoutStartSec=180
Nice=10
"""
# No Persistent=: it is about OnCalendar alone. The first look is at once, and after a boot.
TIMER = """\
{mark}
[Unit]
Description={description}

[Timer]
OnBootSec={first}
OnUnitActiveSec={every}
RandomizedDelaySec={spread}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """One file that systemd reads."""

    path: Path
    text: str


def interval(text: str) -> int:
    """Seconds of "30s", "5m", "1h".

    Raises:
        UsageError: It is none, or one that nobody can want.
    """
    found = re.fullmatch(r"([0-9]{1,6})(s|min|m|h|d)", text.strip())
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"{text!r} is no interval from {SHORTEST}s to 24h", "Give one like 5m.")
    return seconds


def units(folder: Path, name: str, directory: Path, every: int) -> tuple[Unit, Unit]:
    """The service and the timer of a deployment.

    Args:
        folder: Where systemd looks for them.
        name: Of the deployment.
        directory: Its folder.
        every: Seconds.

    Raises:
        ConsoleError: This installation has no program that systemd could start.
    """
    started = os.fsdecode(program())
    if re.search("[\x00-\x1f\x7f\"'\\\\]", started):
        raise ConsoleError(
            f"systemd starts no program whose path has quotes in it: {clean(started)}",
            "Install mlflow-console elsewhere.",
        )
    description = f"mlflow-console: what is wrong with {name}"
    about = {"mark": mark(directory), "description": description}
    carried = [f"Environment={quoted(f'{key}={value}')}" for key, value in handed_on()]
    words = ["--deployment", os.fsdecode(directory), "status", "--notify", "--quiet"]
    service = SERVICE.format(
        **about,
        program=quoted(started),
        arguments=" ".join(argument(word) for word in words),
        environment="".join(f"{line}\n" for line in carried),
    )
    timer = TIMER.format(
        **about, first=f"{min(every, 60)}s", every=f"{every}s", spread=f"{min(30, every // 10)}s"
    )
    return (
        Unit(folder / f"{unit_name(name)}.service", service),
        Unit(folder / f"{unit_name(name)}.timer", timer),
    )


def unit_name(name: str) -> str:
    """What the units of a deployment are called, without ".timer"."""
    return f"{PROGRAM}-{name}"


def mark(directory: Path) -> str:
    """The first line of our files; a file with another one belongs to somebody else."""
    return f"# Written by `mlflow-console notify on` for {quoted(os.fsdecode(directory))}"


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


def cron_line(directory: Path, every: int) -> str:
    """A line for `crontab -e`, which knows minutes and hours only."""
    minutes, hours = max(1, every // 60), every // 3_600
    at = f"*/{minutes} * * * *" if not hours else f"0 */{hours} * * *"
    at = "0 0 * * *" if hours > 23 else at
    words: Sequence[str] = (
        os.fsdecode(program()), "--deployment", os.fsdecode(directory), "status", "--notify",
        "--quiet",
    )  # fmt: skip
    return f"{at} {shlex.join(words)} >/dev/null".replace("%", "\\%")

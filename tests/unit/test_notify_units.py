"""The text of the units, as systemd itself reads it, and the cron line, as a shell does."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import systemd, systemd_units
from console.core.errors import ConsoleError, UsageError
from console.core.notify import units
from tests.support import unavailable

HARD = (
    "plain", "with space", "per%cent %h", 'quo"te', "apo'strophe", "back\\slash",
    "dollar$HOME ${X}",
    "émoji 😀", "semi;colon", "new\nline", "# hash", "-dash", "no-text-\udcff",
)  # fmt: skip


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program whose path is as hard as can be; it writes its arguments beside itself."""
    folder = tmp_path / "bin $HOME %n é"
    folder.mkdir()
    made = folder / "mlflow-console"
    made.write_text("#!/bin/sh\nexit 0\n")
    made.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(made)])
    for name in systemd_units.HANDED_ON:
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def hard(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    directory = tmp_path / request.param
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)  # pytest cannot print every name


@pytest.mark.parametrize("hard", HARD, indirect=True, ids=range(len(HARD)))
def test_systemd_finds_nothing_wrong(
    hard: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not shutil.which("systemd-analyze"):
        unavailable("systemd-analyze is missing")
    monkeypatch.setenv("DOCKER_HOST", 'unix:///run/%t/a "b" $c\\d.sock')
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in units.units(folder, "lab", hard, 300):
        unit.path.write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", folder / "mlflow-console-lab.timer",
         folder / "mlflow-console-lab.service"],
        capture_output=True, text=True, check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "mlflow-console" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", ['quo"te', "apo'strophe", "back\\slash", "new\nline"])
def test_a_program_that_systemd_would_not_start(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    shutil.copytree(installed.parent, folder)
    monkeypatch.setattr("sys.argv", [str(folder / "mlflow-console")])
    with pytest.raises(ConsoleError, match="whose path has quotes"):
        units.units(tmp_path, "lab", tmp_path, 300)


def test_a_mark_is_one_line_of_ascii(tmp_path: Path) -> None:
    for name in HARD:
        mark = units.mark(tmp_path / name)
        assert mark.isascii()
        assert mark.isprintable()
    assert len({units.mark(tmp_path / name) for name in HARD}) == len(HARD)


def test_no_password_of_a_proxy_in_a_file_that_all_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    service, _ = units.units(tmp_path, "lab", tmp_path, 300)
    assert 'Environment="NO_PROXY=localhost"' in service.text
    assert "secret" not in service.text
    assert systemd_units.kept_back() == ["HTTPS_PROXY"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("5m", 300), ("5min", 300), ("2h", 7200), ("1d", 86_400)]
)
def test_intervals(text: str, seconds: int) -> None:
    assert units.interval(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "9s", "25h", "5 m", "1e3s", "999999d", "\u0665m"])
def test_no_intervals(text: str) -> None:
    with pytest.raises(UsageError):
        units.interval(text)


@pytest.mark.parametrize(
    ("every", "at"),
    [(10, "*/1 * * * *"), (300, "*/5 * * * *"), (3600, "0 */1 * * *"), (86_400, "0 0 * * *")],
)
def test_a_line_for_cron(installed: Path, every: int, at: str) -> None:
    directory = Path("/srv/50% o'clock")
    line = units.cron_line(directory, every)
    assert line.startswith(f"{at} ")
    words = shlex.split(line.removeprefix(f"{at} ").replace("\\%", "%"))
    assert words == [
        str(installed), "--deployment", str(directory), "status", "--notify", "--quiet",
        ">/dev/null",
    ]  # fmt: skip
    assert "%" not in line.replace("\\%", "")


def test_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConsoleError, match="no program mlflow-console"):
        systemd_units.program()


def test_what_systemctl_prints() -> None:
    moment = systemd._moment("Wed 2026-11-25 07:00:36 UTC")
    assert moment is not None
    assert moment.isoformat() == "2026-11-25T07:00:36+00:00"
    assert systemd._moment("") is None
    assert systemd._moment("n/a") is None
    assert systemd._from_now("infinity") is None
    assert systemd._from_now("") is None
    soon = systemd._from_now("500y 1month 2w 3d 4h 12min 3.456789s 7ms 8us")
    assert soon is not None
    assert soon.year > 2500

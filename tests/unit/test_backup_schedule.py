"""Snapshots by a timer: what can be typed, and what systemd and cron read."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from console.core import systemd
from console.core.backup import schedule
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, NotOursError, UsageError
from tests.support import places, unavailable

HARD = (
    "plain",
    "with space",
    "per%cent %h",
    'quo"te',
    "back\\slash",
    "dollar$HOME",
    "é",
    "new\nline",
)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "bin" / "mlflow-console"
    made.parent.mkdir()
    made.write_text("#!/bin/sh\nexit 0\n")
    made.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(made)])
    return made


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return places.placed(tmp_path)


def with_systemd() -> None:
    if not shutil.which("systemd-analyze"):
        unavailable("systemd-analyze is missing")


@pytest.mark.parametrize(
    ("at", "calendar"),
    [("03:00", "*-*-* 03:00:00"), ("8:05", "*-*-* 08:05:00"), (" 23:59 ", "*-*-* 23:59:00")],
)
def test_once_a_day(at: str, calendar: str) -> None:
    read = schedule.read(at)
    assert (read.text, read.longest_seconds) == (calendar, 86_400)
    assert read.words == at.strip().rjust(5, "0")


@pytest.mark.parametrize(
    ("at", "calendar", "hours"),
    [("hourly", "*-*-* *:00:00", 1), ("Mon..Fri 06,18:00", "Mon..Fri *-*-* 06,18:00:00", 60),
     ("*-*-* 03:00:00", "*-*-* 03:00:00", 24), ("Sun 02:30", "Sun *-*-* 02:30:00", 168)],
)  # fmt: skip
def test_as_systemd_has_it(at: str, calendar: str, hours: int) -> None:
    with_systemd()
    read = schedule.read(at)
    assert (read.text, read.longest_seconds) == (calendar, hours * 3600)


@pytest.mark.parametrize(
    ("at", "why"),
    [("nonsense", "is no time"), ("24:00", "is no time"), ("2020-01-01", "again and again"),
     ("2031-01-01", "again and again"), ("minutely", "comes every 60 s"), ("*:0/5", "every 300 s"),
     ("--help", "is no time"), ("-H x", "is no time"), ("a\nb", "is no time"), ("%h", "is no time"),
     ("03:00\nExecStart=/bin/x", "is no time"), ("\u0660\u0663:00", "is no time")],
)  # fmt: skip
def test_what_nobody_can_want(at: str, why: str) -> None:
    with_systemd()
    with pytest.raises(UsageError, match=why):
        schedule.read(at)


def test_without_systemd_once_a_day_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert schedule.read("03:00").text == "*-*-* 03:00:00"
    with pytest.raises(UsageError, match="no systemd that knows others"):
        schedule.read("hourly")


@pytest.mark.parametrize("name", HARD, ids=range(len(HARD)))
def test_systemd_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    with_systemd()
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in schedule.units(folder, "lab", tmp_path / name, schedule.read("03:00")):
        unit.path.write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *folder.iterdir()],
        capture_output=True, text=True, check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "mlflow-console" in line]
    assert (done.returncode, ours) == (0, [])


def test_what_the_service_does(tmp_path: Path, installed: Path) -> None:
    service, timer = schedule.units(tmp_path, "lab", Path("/srv/lab"), schedule.read("03:00"))
    line = f'ExecStart="{installed}" --deployment /srv/lab backup create --scheduled --quiet'
    assert line in service.text.splitlines()
    assert timer.path.name == "mlflow-console-backup@lab.timer"
    wanted = {"OnCalendar=*-*-* 03:00:00", "Persistent=true", "RandomizedDelaySec=300"}
    assert wanted <= set(timer.text.splitlines())


def test_a_line_for_cron_where_there_is_no_systemd(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: Path
) -> None:
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "no")
    monkeypatch.setattr(systemd, "MACHINE", tmp_path / "machine")
    with pytest.raises(ConsoleError, match="systemd does not run this machine") as caught:
        deployment.backup.schedule("03:07")
    line = caught.value.hint.partition("crontab -e`: ")[2]
    assert shlex.split(line) == [
        "7", "3", "*", "*", "*", str(installed), "--deployment", str(deployment.directory),
        "backup", "create", "--scheduled", "--quiet", ">/dev/null",
    ]  # fmt: skip
    assert not (tmp_path / "machine").exists()
    now = deployment.backup.scheduled()
    assert (now.installed, now.at) == (False, "")
    assert "systemd does not run" in now.note
    assert shlex.split(now.cron)[:6] == ["0", "3", "*", "*", "*", str(installed)]
    assert not deployment.backup.schedule("").installed


def test_first_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "no")
    with pytest.raises(ConsoleError, match="No place was chosen"):
        places.bare(tmp_path / "lab").backup.schedule("03:00")


SYSTEMCTL = """\
#!/bin/sh
echo "$@" >>"{log}"
case "$*" in
*show*.timer) echo ActiveState=active; echo UnitFileState=enabled
  echo "LastTriggerUSec=Wed 2026-11-25 03:00:36 UTC"
  echo "NextElapseUSecRealtime=Thu 2026-11-26 03:02:11 UTC"; echo NextElapseUSecMonotonic=infinity;;
*show*.service) echo "ExecMainExitTimestamp=Wed 2026-11-25 03:04:00 UTC"; echo ExecMainStatus=1;;
esac
"""


@pytest.fixture
def manager(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked."""
    log = tmp_path / "asked"
    made = installed.parent / "systemctl"
    made.write_text(SYSTEMCTL.format(log=log))
    made.chmod(0o755)
    monkeypatch.setenv("PATH", f"{installed.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    monkeypatch.setattr(systemd, "MACHINE", tmp_path / "units")
    monkeypatch.setattr(systemd.Timer, "folder", tmp_path / "units")
    return log


def test_written_shown_changed_and_removed(
    deployment: Deployment, manager: Path, tmp_path: Path
) -> None:
    now = deployment.backup.schedule("3:00")
    assert (now.at, now.longest_seconds, now.installed, now.active, now.enabled) == (
        "03:00", 86_400, True, True, True,
    )  # fmt: skip
    assert (now.unit, now.cron) == ("mlflow-console-backup@lab.timer", "")
    assert now.next_run is not None
    assert now.next_run.isoformat() == "2026-11-26T03:02:11+00:00"
    assert now.last_run is not None
    assert (now.last_run.hour, now.last_exit_code) == (3, 1)
    files = sorted((tmp_path / "units").iterdir())
    assert [path.name for path in files] == [
        "mlflow-console-backup@lab.service", "mlflow-console-backup@lab.timer",
    ]  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    asked = manager.read_text().splitlines()
    assert [line.removeprefix("--user ") for line in asked[:4]] == [
        "show-environment", "daemon-reload", "enable mlflow-console-backup@lab.timer",
        "restart mlflow-console-backup@lab.timer",
    ]  # fmt: skip
    assert deployment.backup.schedule("04:30").at == "04:30"
    assert schedule.longest_seconds(deployment) == 86_400
    gone = deployment.backup.schedule("")
    assert (gone.installed, gone.at) == (False, "")
    assert not list((tmp_path / "units").iterdir())
    assert schedule.longest_seconds(deployment) is None


def test_one_of_somebody_else_is_left_alone(
    deployment: Deployment, manager: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "units" / "mlflow-console-backup@lab.timer"
    theirs.parent.mkdir()
    theirs.write_text("# Written by hand\n")
    for at in ("03:00", ""):
        with pytest.raises(NotOursError, match="was not made for this deployment"):
            deployment.backup.schedule(at)
    assert "not ours" in deployment.backup.scheduled().note
    assert theirs.read_text() == "# Written by hand\n"

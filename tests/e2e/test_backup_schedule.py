"""Snapshots while nobody looks: a real timer of a real systemd, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from console.core.deployment import Deployment
from tests.support import deployments, systemd
from tests.support.engine import wait_until
from tests.support.systemd import PROGRAM, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("backup-schedule")]

UNITS = ("mlflow-console-backup@lab.service", "mlflow-console-backup@lab.timer")
PLACE = "/var/backups/lab"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded deployment that was never started."""
    directory = tmp_path_factory.mktemp("schedule") / "lab"
    with deployments.ended(directory):
        yield deployments.create(directory)


@pytest.fixture(scope="module")
def machine(made: Deployment) -> Iterator[Machine]:
    with systemd.machine() as there:
        there.copy(made.directory)
        yield there


def test_a_timer_makes_snapshots_and_says_when(machine: Machine, made: Deployment) -> None:
    call = (PROGRAM, "--deployment", made.directory)
    units = [f"/etc/systemd/system/{name}" for name in UNITS]
    refused = machine.run(*call, "backup", "schedule", "03:00")
    assert (refused.code, "No place was chosen" in refused.err) == (1, True), refused.err

    machine.must(*call, "up")
    machine.must(*call, "backup", "create", "--to", PLACE)
    machine.must(*call, "backup", "schedule", "Mon..Fri 06,18:00")
    verified = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (verified.code, verified.err) == (0, "")

    def shown() -> dict[str, Any]:
        found = json.loads(machine.must(*call, "backup", "schedule", "--json"))
        assert isinstance(found, dict)
        return found

    now = shown()
    assert (now["at"], now["longest_seconds"]) == ("Mon..Fri *-*-* 06,18:00:00", 60 * 3600)
    assert (now["installed"], now["active"], now["enabled"], now["note"]) == (True, True, True, "")
    assert now["next_run"] is not None
    assert (now["last_run"], now["last_exit_code"]) == (None, None)
    machine.must(*call, "backup", "schedule", "3:00")
    assert shown()["at"] == "03:00"

    # What it does when its moment has come; it waits for the worker, which has its own session.
    machine.must("systemctl", "start", UNITS[0])
    listed = json.loads(machine.must(*call, "backup", "list", "--json"))
    assert [each["reason"] for each in listed] == ["scheduled", "asked"]
    assert shown()["last_exit_code"] == 0
    assert machine.must("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""

    # The disk is gone: it fails, the status tells, and nothing is written where it was.
    machine.shell(f"mv {PLACE} {PLACE}.gone; mkdir {PLACE}")
    assert machine.run("systemctl", "start", UNITS[0]).code != 0
    assert shown()["last_exit_code"] == 1
    assert machine.shell(f"ls -A {PLACE}") == ""
    findings = json.loads(machine.run(*call, "status", "--json").out)["findings"]
    assert "place-missing" in [each["id"] for each in findings]
    machine.shell(f"rmdir {PLACE}; mv {PLACE}.gone {PLACE}")

    # Stopped in the middle, its worker leaves off as well, and nothing is left locked.
    machine.shell(f"systemctl start --no-block {UNITS[0]}; sleep 1; systemctl stop {UNITS[0]}")
    machine.must("systemctl", "start", UNITS[0])
    wait_until(lambda: shown()["last_exit_code"] == 0, 30, "the next one is made")

    machine.must(*call, "backup", "schedule", "off")
    assert machine.shell("find /etc/systemd /run/systemd -name 'mlflow-console*'") == ""
    assert (shown()["installed"], shown()["at"]) == (False, "")
    assert '"backup.schedule"' in machine.must("cat", made.paths.audit)

"""doctor: one list, its exit code, and nothing that hurts a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from console.core.doctor.service import Diagnosis, DoctorService
from console.core.stack.driver import Finding, Severity
from tests.cli.conftest import Cli

NOW = datetime(2026, 11, 25, 14, 2, 11, tzinfo=UTC)
ERROR = Finding(
    "store-published", Severity.ERROR, "store", "store: it can be reached \x1b[31m[/x]",
    "every address\nport 9000", "take ports out",
)  # fmt: skip
WARNING = Finding("logs-unlimited", Severity.WARNING, "", "The logs grow without a limit")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the doctor finds; a test puts findings in."""
    findings: list[Finding] = []

    def doctor(self: DoctorService) -> Diagnosis:
        code = 3 if any(each.severity is Severity.ERROR for each in findings) else 0
        return Diagnosis(tuple(findings), ("services", "ports"), NOW, code)

    monkeypatch.setattr(DoctorService, "doctor", doctor)
    return findings


def test_nothing_to_mend(cli: Cli, found: list[Finding]) -> None:
    result = cli("doctor")
    assert result.out == "✓ Nothing to mend. Looked at 14:02:11: services, ports.\n"
    assert (result.code, result.err) == (0, "")


def test_findings_and_what_to_do(cli: Cli, found: list[Finding]) -> None:
    found += [ERROR, WARNING]
    result = cli("doctor")
    assert result.out == (
        "✗ store: it can be reached [/x]\n"
        "  seen: every address↵port 9000\n"
        "  fix: take ports out\n"
        "\n"
        "! The logs grow without a limit\n"
        "\n"
        "1 error, 1 warning. Looked at 14:02:11: services, ports.\n"
    )
    assert result.code == 3


def test_warnings_alone_are_no_failure(cli: Cli, found: list[Finding]) -> None:
    found.append(WARNING)
    assert cli("doctor").code == 0


def test_as_json(cli: Cli, found: list[Finding]) -> None:
    found.append(ERROR)
    result = cli("doctor", "--json")
    document = json.loads(result.out)
    assert document["findings"] == [{
        "id": "store-published", "severity": "error", "service": "store", "title": ERROR.title,
        "detail": ERROR.detail, "fix": "take ports out",
    }]  # fmt: skip
    assert document["looked_at"] == ["services", "ports"]
    assert document["checked_at"] == "2026-11-25T14:02:11Z"
    assert result.code == 3


def test_a_server_that_never_ran(cli: Cli) -> None:
    """The real one, of an embedded deployment: stopped, and nothing else to find."""
    result = cli("doctor", "--json")
    assert result.code == 4
    assert [each["id"] for each in json.loads(result.out)["findings"]] == ["stopped"]

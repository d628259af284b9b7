"""Containers as services, from what Docker's API says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from console.core.stack import containers
from console.core.stack.driver import Health, Role, Service, State

STARTED = "2026-11-25T01:02:03.123456789Z"
NEVER = "0001-01-01T00:00:00Z"
PASSED = {"ExitCode": 0, "Output": "200"}
CHECK = {"ExitCode": 1, "Output": " b\x1b[31m\n"}


def service(role: str = "store", oom: datetime | None = None, **state: Any) -> Service:
    now = {"Status": "running", "ExitCode": 0, "StartedAt": STARTED, "FinishedAt": NEVER, **state}
    labels = {"mlflow-console.role": role}
    attributes = {
        "State": now, "RestartCount": 2, "HostConfig": {"Memory": 0},
        "Config": {"Image": "an/image:1", "Labels": labels},
        "NetworkSettings": {"Ports": {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000"},
                       {"HostIp": "127.0.0.1", "HostPort": "5000"}],
            "9000/tcp": None, "443/tcp": [{"HostIp": "", "HostPort": "5443"}],
        }},
    }  # fmt: skip
    container = SimpleNamespace(attrs=attributes, labels=labels)
    return containers.service("x", cast("Any", container), None, oom)


def test_a_healthy_one() -> None:
    now = service(Health={"Status": "healthy", "Log": []})
    assert (now.role, now.state, now.health, now.reason) == (
        Role.STORE, State.RUNNING, Health.HEALTHY, "",
    )  # fmt: skip
    assert now.started_at == datetime(2026, 11, 25, 1, 2, 3, 123456, tzinfo=UTC)
    assert (now.restarts, now.image, now.exit_code) == (2, "an/image:1", None)
    assert now.ports == ("0.0.0.0:5443", "127.0.0.1:5000")


@pytest.mark.parametrize(
    ("role", "state", "expected"),
    [
        ("store", {}, (State.RUNNING, Health.UNKNOWN, "")),
        ("store", {"Health": {"Status": "starting"}}, (State.RUNNING, Health.STARTING, "")),
        ("store", {"Health": {"Status": "unhealthy", "Log": [PASSED, CHECK]}},
         (State.RUNNING, Health.UNHEALTHY, "its health check says: b")),
        ("store", {"Health": {"Status": "unhealthy", "Log": [CHECK, PASSED]}},
         (State.RUNNING, Health.UNHEALTHY,
          "its last health check passed; it takes more than one to be called healthy again")),
        ("store", {"Health": {"Status": "unhealthy", "Log": None}},
         (State.RUNNING, Health.UNHEALTHY, "")),
        ("store", {"Status": "exited", "ExitCode": 0},
         (State.STOPPED, Health.UNHEALTHY, "stopped")),
        ("store", {"Status": "exited", "ExitCode": 143},
         (State.STOPPED, Health.UNHEALTHY, "stopped")),
        ("store", {"Status": "exited", "ExitCode": 1},
         (State.EXITED, Health.UNHEALTHY, "it ended with code 1")),
        ("store", {"Status": "exited", "ExitCode": 137, "OOMKilled": True},
         (State.EXITED, Health.UNHEALTHY, "it was killed because memory ran out")),
        ("store", {"Status": "exited", "ExitCode": 137},
         (State.EXITED, Health.UNHEALTHY, "it ended with code 137 (killed)")),
        ("store", {"Status": "exited", "ExitCode": 127, "Error": "exec: not found"},
         (State.EXITED, Health.UNHEALTHY, "exec: not found")),
        ("store", {"Status": "restarting", "ExitCode": 1},
         (State.RESTARTING, Health.UNHEALTHY, "it ended with code 1 and starts again")),
        ("store", {"Status": "created", "StartedAt": NEVER},
         (State.STOPPED, Health.UNHEALTHY, "made, but never started")),
        ("store", {"Status": "paused"}, (State.STOPPED, Health.UNHEALTHY, "paused")),
        ("job", {"Status": "exited", "ExitCode": 0}, (State.EXITED, Health.HEALTHY, "done")),
        ("job", {"Status": "exited", "ExitCode": 1},
         (State.EXITED, Health.UNHEALTHY, "it ended with code 1")),
        ("job", {}, (State.RUNNING, Health.STARTING, "")),
        ("of its own", {}, (State.RUNNING, Health.UNKNOWN, "")),
    ],
)  # fmt: skip
def test_states_in_words(
    role: str, state: dict[str, Any], expected: tuple[State, Health, str]
) -> None:
    now = service(role, **state)
    assert (now.state, now.health, now.reason) == expected


@pytest.mark.parametrize(
    ("text", "year"), [(STARTED, 2026), ("2026-11-25T01:02:03Z", 2026), (NEVER, None), ("", None),
                       (None, None), ("nonsense", None)],
)  # fmt: skip
def test_times(text: str | None, year: int | None) -> None:
    found = containers.moment(text)
    assert (found.year if found else None) == year


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "code 1"), (126, "code 126 (its program cannot be run)"), (139, "code 139 (it crashed)"),
     (143, "code 143 (asked to end)"), (134, "code 134 (ABRT)"), (255, "code 255"),
     (-1, "code -1")],
)  # fmt: skip
def test_exit_codes(code: int, words: str) -> None:
    assert containers.exit_words(code) == words


def test_who_was_killed_for_memory_says_so_until_it_is_well_again() -> None:
    before, after = (datetime(2026, 11, 25, 1, minute, tzinfo=UTC) for minute in (1, 3))
    starting: dict[str, Any] = {"Health": {"Status": "starting"}}
    assert service(oom=before, **starting).reason == (
        "memory ran out and it was killed, it has been started again"
    )
    assert service(oom=after, **starting).reason == "memory ran out and it was killed"
    well = service(oom=before, Health={"Status": "healthy"})
    assert (well.reason, well.oom_killed_at) == ("", before)

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
CHECK = {"Output": " b\x1b[31m\n"}


def service(role: str = "store", **state: Any) -> Service:
    now = {"Status": "running", "ExitCode": 0, "StartedAt": STARTED, "FinishedAt": NEVER, **state}
    labels = {"mlflow-console.role": role}
    attributes = {
        "State": now, "RestartCount": 2, "Config": {"Image": "an/image:1", "Labels": labels},
        "NetworkSettings": {"Ports": {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000"},
                       {"HostIp": "127.0.0.1", "HostPort": "5000"}],
            "9000/tcp": None, "443/tcp": [{"HostIp": "", "HostPort": "5443"}],
        }},
    }  # fmt: skip
    container = SimpleNamespace(attrs=attributes, labels=labels)
    return containers.service("x", cast("Any", container), None)


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
        ("store", {"Health": {"Status": "unhealthy", "Log": [{"Output": "a"}, CHECK]}},
         (State.RUNNING, Health.UNHEALTHY, "its health check says: b")),
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


class Counting:
    """An API whose figures go up as a container's would."""

    def __init__(self, *figures: dict[str, Any]) -> None:
        self.figures = list(figures)

    def stats(self, key: str, stream: bool, one_shot: bool) -> dict[str, Any]:
        return self.figures.pop(0) if len(self.figures) > 1 else self.figures[0]


def figures(cpu: int, usage: int, **stats: int) -> dict[str, Any]:
    return {
        "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
        "memory_stats": {"usage": usage, "stats": stats},
    }


@pytest.mark.parametrize("cache", ["inactive_file", "total_inactive_file"])
def test_usage_is_what_docker_stats_shows(cache: str) -> None:
    api = Counting(figures(0, 100, **{cache: 40}), figures(50_000_000, 100, **{cache: 40}))
    container = SimpleNamespace(
        id="a", client=SimpleNamespace(api=api), attrs={"HostConfig": {"Memory": 0}}
    )
    used = containers.Meter().read(cast("Any", container))
    assert used is not None
    assert used.memory_bytes == 60
    assert used.memory_limit_bytes is None
    assert used.cpu_percent is not None
    assert 5 < used.cpu_percent <= 50  # 50 ms within a tenth of a second, or a little more


def test_a_container_that_ended_meanwhile_has_no_figures() -> None:
    api = Counting({"cpu_stats": {"cpu_usage": {}}})
    container = SimpleNamespace(
        id="a", client=SimpleNamespace(api=api), attrs={"HostConfig": {"Memory": 0}}
    )
    assert containers.Meter().read(cast("Any", container)) is None

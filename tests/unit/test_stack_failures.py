"""What Compose and containers say, as one sentence with a remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.core.errors import ConsoleError, DiskFullError, NotOursError, UnreachableError
from console.core.stack.driver import Health, Role, Service, State
from console.core.stack.failures import Ended, UnhealthyError, explain, is_broken

TRACKING = Service("tracking", Role.TRACKING, State.RESTARTING, Health.UNHEALTHY, "it ended")
DATABASE = Service(
    "database", Role.DATABASE, State.EXITED, Health.UNHEALTHY, "it ended with code 1"
)


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("failed to register layer: write /usr/x: no space left on device", DiskFullError,
         "The disk of the Docker engine is full"),
        ("Error response from daemon: driver failed programming external connectivity on endpoint "
         "lab-proxy-1: Bind for 127.0.0.1:5000 failed: port is already allocated", NotOursError,
         "Port 5000 was taken meanwhile"),
        ("Error response from daemon: pull access denied for nope/nope, repository does not exist",
         UnreachableError, "The image nope/nope cannot be fetched: no registry has it"),
        ("Error response from daemon: manifest for mysql:99 not found: manifest unknown",
         UnreachableError, "The image mysql:99 cannot be fetched: no registry has it"),
        (" Image a/b:1 Error Get \"https://registry.invalid/v2/\": dial tcp: no such host",
         UnreachableError, "The image a/b:1 cannot be fetched: the registry cannot be reached"),
        ("compose build requires buildx 0.17.0 or later", UnreachableError,
         "The image of the tracking server cannot be built: Docker's buildx is missing"),
        ("something new \x1b[31mfailed", ConsoleError,
         "Docker Compose failed: something new failed"),
        ("", ConsoleError, "Docker Compose failed: it gave no reason"),
    ],
)  # fmt: skip
def test_what_compose_says(said: str, kind: type[ConsoleError], message: str) -> None:
    error = explain(f"Container x Starting\n{said}" if said else "", [])
    assert type(error) is kind
    assert error.message == message
    assert error.hint


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["pymysql.err.OperationalError: (1050, \"Table 'experiment_tags' already exists\")"],
         "The database was left half migrated: MySQL cannot take a broken migration back"),
        (["(1419, 'You do not have the SUPER privilege and binary logging is enabled')"],
         "The database was left half migrated: MySQL cannot take a broken migration back"),
        (["alembic.util.exc.CommandError: Can't locate revision identified by 'abc123'"],
         "The database was migrated by a newer MLflow (its revision abc123 is unknown)"),
        (["Detected out-of-date database schema (found version aa, but expected bb). Take a"],
         "The database has the schema of another MLflow (revision aa, this one wants bb)"),
        (["OSError: [Errno 28] No space left on device"], "tracking: its disk is full"),
        (["Traceback", "ValueError: an error", "  at x"],
         "tracking: it ended: ValueError: an error"),
        ([], "tracking: it ended"),
    ],
)  # fmt: skip
def test_what_the_tracking_server_says(lines: list[str], message: str) -> None:
    assert explain("dependency failed", [Ended(TRACKING, lines)]).message == message


def test_only_who_runs_and_was_not_well_may_recover() -> None:
    said = "container lab-tracking-1 is unhealthy"
    waiting = Service("tracking", Role.TRACKING, State.RUNNING, Health.UNHEALTHY, "times out")
    assert isinstance(explain(said, [Ended(waiting, [])]), UnhealthyError)
    assert not isinstance(explain(said, [Ended(TRACKING, [])]), UnhealthyError)
    assert not isinstance(explain("No such image: a/b", []), UnhealthyError)


def test_an_older_line_of_the_log_is_no_reason_of_what_was_killed() -> None:
    lines = [
        "ERROR: the database is away",
        "(Background on this error at: https://sqlalche.me/e/1)",
    ]
    killed = Service("tracking", Role.TRACKING, State.EXITED, Health.UNHEALTHY,
                     "it ended with code 137 (killed)", exit_code=137)  # fmt: skip
    assert (
        explain("", [Ended(killed, lines)]).message == "tracking: it ended with code 137 (killed)"
    )
    ended = replace(killed, reason="it ended with code 1", exit_code=1)
    assert explain("", [Ended(ended, lines)]).message == (
        "tracking: it ended with code 1: ERROR: the database is away"
    )


def test_a_build_without_a_registry_is_not_blamed_on_buildx() -> None:
    said = "buildx not found: falling back\nGet https://registry.invalid/v2/: no such host"
    assert "buildx is missing" not in explain(said, []).message
    assert "buildx is missing" in explain("compose build requires buildx 0.17 or later", []).message


def test_the_cause_comes_before_its_consequence() -> None:
    both = [Ended(TRACKING, ["(2003, cannot connect: error)"]), Ended(DATABASE, ["Fatal error: x"])]
    error = explain("container lab-tracking-1 is unhealthy", both)
    assert error.message == "database: it ended with code 1: Fatal error: x"
    assert "mlflow-console logs database" in error.hint


@pytest.mark.parametrize(
    ("role", "state", "health", "restarts", "broken"),
    [
        (Role.JOB, State.EXITED, Health.HEALTHY, 0, False),
        (Role.JOB, State.EXITED, Health.UNHEALTHY, 0, True),
        (Role.STORE, State.RUNNING, Health.HEALTHY, 3, False),
        (Role.STORE, State.RUNNING, Health.STARTING, 0, False),
        (Role.STORE, State.RUNNING, Health.STARTING, 1, True),
        (Role.STORE, State.RUNNING, Health.UNHEALTHY, 0, True),
        (Role.STORE, State.STOPPED, Health.UNHEALTHY, 0, False),
        (Role.STORE, State.EXITED, Health.UNHEALTHY, 0, True),
        (Role.STORE, State.RESTARTING, Health.UNHEALTHY, 0, True),
    ],
)
def test_what_counts_as_broken(
    role: Role, state: State, health: Health, restarts: int, broken: bool
) -> None:
    assert is_broken(Service("x", role, state, health, restarts=restarts)) is broken

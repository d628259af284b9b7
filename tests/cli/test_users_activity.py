"""users activity: a real log, a real database, and what a script gets of it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.users import access_log
from tests.cli.conftest import Cli
from tests.unit.test_access_log import API, RUN, line

DAY = 86_400
NASTY = "ev\x1b[31m il\n😀"


@pytest.fixture
def now() -> float:
    return time.time()


@pytest.fixture
def log(deployment: Deployment) -> Callable[..., None]:
    """Writes lines into the access log of the server."""

    def write(*lines: bytes) -> None:
        with deployment.paths.access_log.open("ab") as file:
            file.write(b"".join(each + b"\n" for each in lines))

    return write


@pytest.fixture
def lived(log: Callable[..., None], now: float, deployment: Deployment) -> None:
    """Forty days: alice works at two machines, somebody tries names, bob is in no file any more."""
    with deployment.paths.users.open("a") as file:
        file.write("älice:$2y$04$" + "a" * 53 + "\n")
    nasty = access_log.escape(NASTY.encode())
    log(
        line(now - 40 * DAY, b"bob"),
        line(now - 35 * DAY, address=b"10.0.0.2", client=b"old/1"),
        *[line(now - 60 - n, seconds=b"0.100", upstream=b"0.090") for n in range(20)],
        line(now - 50, status=401), line(now - 45, b"\\xC3\\xA4lice", path=API + b"/runs/search"),
        line(now - 40, nasty, status=401, address=b"203.0.113.9"),
        line(now - 30, b"mlflow-console"),
        line(now - 20, path=API + b"/runs/delete"),
        line(now - 10, b"bob", path=b"/api/2.0/mlflow-artifacts/artifacts/7/" + RUN,
             method=b"DELETE", status=403),
    )  # fmt: skip


@pytest.mark.usefixtures("lived")
def test_who_was_here(cli: Cli) -> None:
    result = cli("users", "activity")
    assert result.code == 0
    head, alice, umlaut, bob = result.out.splitlines()
    assert head.split()[:4] == ["NAME", "LAST", "SEEN", "FIRST"]
    assert alice.split()[0] == "alice"
    assert "2, last 10.0.0.1" in alice
    assert "mlflow-python-client/3.17.2" in alice
    assert umlaut.startswith("älice ")
    assert bob.startswith("(bob)")  # in no file any more
    assert "mlflow-console" not in result.out
    assert result.err == "The logs cover all 30 days.\n"


@pytest.mark.usefixtures("lived")
def test_a_name_that_nothing_knows_is_an_error(cli: Cli) -> None:
    for option in ((), ("--slow",), ("--json",)):
        result = cli("users", "activity", "nobody", *option)
        assert (result.code, result.out) == (2, "")
        assert "There is no user nobody, and the logs know of none" in result.err
    assert cli("users", "activity", "bob", "--unseen", "1").code == 0  # in no file any more
    assert cli("users", "activity", NASTY).code == 0  # was tried
    own = cli("users", "activity", "mlflow-console")
    assert (own.code, own.out) == (0, "")
    assert own.err.startswith("mlflow-console is the console's own account: its checks are not ")


@pytest.mark.usefixtures("lived")
def test_one_of_them(cli: Cli) -> None:
    result = cli("users", "activity", "alice")
    assert result.code == 0
    words = " ".join(result.out.split())
    assert "21 requests, 10 kB received, 5.2 kB sent" in words
    assert "failed log-ins 1 in 30 days" in words
    facts, _, addresses = result.out.partition("\n\n")
    assert "last seen" in facts
    assert [each.split()[0] for each in addresses.splitlines()] == [
        "ADDRESS", "10.0.0.1", "10.0.0.2",
    ]  # fmt: skip
    assert "bob" not in result.out
    assert cli("users", "activity", "bob").out  # known of the log alone


@pytest.mark.usefixtures("lived")
def test_the_shape_that_scripts_rely_on(cli: Cli) -> None:
    found = json.loads(cli("users", "activity", "--json").out)
    assert list(found) == [
        "covers", "coverage", "days", "people", "tried", "slow", "deletions", "note",
    ]  # fmt: skip
    assert found["covers"] == "logs cover all 30 days"
    assert list(found["coverage"]) == ["since", "until", "spans"]
    assert found["days"] == 90
    alice, umlaut, bob = found["people"]
    assert list(alice) == [
        "name", "host", "first_seen", "last_seen", "today", "month", "addresses",
        "more_addresses", "client", "series",
    ]  # fmt: skip
    assert (alice["name"], alice["host"], bob["host"]) == ("alice", "default", "")
    assert alice["month"] == {
        "requests": 21, "unproven": 0, "refused": 1, "received": 21 * 500, "sent": 21 * 250,
    }  # fmt: skip
    assert list(alice["addresses"][0]) == ["address", "first", "last", "requests", "client"]
    assert len(alice["series"]) == 24
    assert umlaut["name"] == "älice"
    [tried] = found["tried"]
    assert list(tried) == ["host", "name", "address", "first", "last", "attempts", "unknown"]
    assert tried["name"] == NASTY
    assert list(found["slow"][0]) == [
        "user", "endpoint", "requests", "median", "p95", "upstream_median", "upstream_p95",
    ]  # fmt: skip
    assert {"alice", "älice"} <= {each["user"] for each in found["slow"]}
    assert list(found["deletions"][0]) == [
        "at", "host", "user", "address", "method", "path", "run_id", "experiment_id", "status",
        "client",
    ]  # fmt: skip
    one = json.loads(cli("users", "activity", "alice", "--json").out)
    assert [each["name"] for each in one["people"]] == ["alice"]
    assert {each["user"] for each in (*one["slow"], *one["deletions"])} == {"alice"}
    assert [each["name"] for each in one["tried"]] == ["alice"]  # the log-in that failed


@pytest.mark.usefixtures("lived")
def test_nobody_is_called_away_beyond_what_the_logs_cover(cli: Cli, deployment: Deployment) -> None:
    deployment.users.add("away", Secret("of somebody who left"))
    away = cli("users", "activity", "--unseen", "30")
    assert [each.split()[0] for each in away.out.splitlines()[1:]] == ["away"]
    assert away.err == "The logs cover all 30 days.\n"
    longer = cli("users", "activity", "--unseen", "90")
    assert (longer.code, longer.out) == (0, "")
    assert longer.err == "Nobody, as far as the logs prove it.\nThe logs cover 40 of 90 days.\n"
    for days in ("0", "-1", "x", "4000"):
        assert cli("users", "activity", "--unseen", days).code == 2


@pytest.mark.usefixtures("lived")
def test_names_that_were_tried_steer_no_terminal(cli: Cli) -> None:
    result = cli("users", "activity", "--tried")
    head, one = result.out.splitlines()
    assert head.split() == ["NAME", "ADDRESS", "TIMES", "LAST", "HOST"]
    assert "\x1b" not in one
    assert "203.0.113.9" in one
    assert result.err == "The logs cover 40 of 90 days.\n"


@pytest.mark.usefixtures("lived")
def test_what_is_slow_and_why(cli: Cli) -> None:
    result = cli("users", "activity", "--slow")
    head, first, *_ = result.out.splitlines()
    assert head.split() == [
        "USER",
        "ENDPOINT",
        "REQUESTS",
        "MEDIAN",
        "95",
        "%",
        "MLFLOW",
        "95",
        "%",
    ]
    assert first.split()[:3] == ["alice", "/api/2.0/mlflow/runs/log-metric", "20"]
    assert first.split()[3:5] in (["100", "ms"], ["98", "ms"], ["102", "ms"])
    sentence, covers = result.err.splitlines()
    assert sentence.startswith("MLflow (with its database and store) takes ")
    assert covers == "The logs cover all 7 days."
    only = cli("users", "activity", "älice", "--slow").out.splitlines()
    assert [each.split()[0] for each in only[1:]] == ["älice"]


@pytest.mark.usefixtures("lived")
def test_who_deleted_what(cli: Cli) -> None:
    result = cli("users", "activity", "--deletions")
    _, newest, older = result.out.splitlines()
    assert newest.split()[2:5] == ["bob", "10.0.0.1", "403"]
    assert newest.endswith(f"DELETE /api/2.0/mlflow-artifacts/artifacts/7/{RUN.decode()}")
    assert older.endswith("POST /api/2.0/mlflow/runs/delete")
    assert result.err == "The logs cover 40 of 90 days.\n"
    assert len(cli("users", "activity", "alice", "--deletions").out.splitlines()) == 2


@pytest.mark.parametrize(
    "options", [("--tried", "--slow"), ("--slow", "--deletions"), ("--unseen", "9", "--tried")]
)
def test_two_tables_at_once_are_refused(cli: Cli, options: tuple[str, ...]) -> None:
    result = cli("users", "activity", *options)
    assert (result.code, result.out) == (2, "")
    assert "cannot be had together" in result.err


def test_an_unknown_file_of_users(cli: Cli) -> None:
    result = cli("users", "activity", "--host", "elsewhere.lab")
    assert (result.code, result.out) == (2, "")


def test_before_the_first_request(cli: Cli) -> None:
    result = cli("users", "activity")
    assert result.out.splitlines()[1].split()[:3] == ["alice", "-", "-"]
    assert result.err == "The logs cover less than an hour of 30 days.\n"
    for option in ("--tried", "--slow", "--deletions"):
        assert cli("users", "activity", option).out == ""


def test_fewer_days_are_remembered(cli: Cli, deployment: Deployment) -> None:
    path = deployment.paths.settings
    path.write_text(path.read_text().replace("activity_days = 90", "activity_days = 10"))
    assert cli("users", "activity").err == "The logs cover less than an hour of 10 days.\n"


def _tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("lived")
def test_read_only_nothing_is_written(
    cli: Cli, deployment: Deployment, log: Callable[..., None], now: float
) -> None:
    assert cli("users", "activity", "--read-only").err == (
        "Warning: Read-only: the log was never read\nThe logs cover less than an hour of 30 days.\n"
    )
    assert not deployment.paths.activity.exists()
    assert cli("users", "activity").code == 0
    log(line(now, b"somebody-new"))
    before = _tree(deployment.directory)
    result = cli("--read-only", "users", "activity")
    assert "alice" in result.out
    assert "somebody-new" not in result.out
    assert "Read-only: the log was last read 20" in result.err
    assert cli("--read-only", "users", "list", "--json").code == 0
    assert _tree(deployment.directory) == before


@pytest.mark.usefixtures("lived")
def test_a_log_that_cannot_be_read_leaves_what_is_known(cli: Cli, deployment: Deployment) -> None:
    assert cli("users", "activity").code == 0
    deployment.paths.access_log.unlink()
    deployment.paths.access_log.mkdir()
    result = cli("users", "activity")
    assert (result.code, "alice" in result.out) == (0, True)
    assert "The newest lines could not be read" in result.err


def test_a_newer_database_spoils_no_list_of_users(cli: Cli, deployment: Deployment) -> None:
    with sqlite3.connect(deployment.paths.activity) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert cli("users", "list").code == 0
    result = cli("users", "activity")
    assert result.code == 1
    assert "format 99" in result.err


@pytest.mark.usefixtures("lived")
def test_the_list_of_users_knows_it_too(cli: Cli) -> None:
    cli("users", "activity")
    found = {each["name"]: each for each in json.loads(cli("users", "list", "--json").out)}
    assert (found["alice"]["requests"], found["alice"]["failures"]) == (21, 1)
    assert found["alice"]["last_seen"].endswith("Z")

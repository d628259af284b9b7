"""What the real proxy's log says of users, also over the end of its container."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from console.core import http
from console.core.deployment import Deployment
from console.core.http import Credentials
from console.core.secrets import Secret
from console.core.stack.driver import Role
from tests.support import deployments, stacks
from tests.support.engine import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-activity"), pytest.mark.timeout(300)]

ALICE = Credentials("alice", Secret("correct horse battery"))
CALL = "/api/2.0/mlflow/experiments/get?experiment_id=0"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running stack with alice."""
    with stacks.stack(
        tmp_path_factory.mktemp("activity") / f"activity-{os.getpid()}",
        (ALICE.name, ALICE.password),
    ) as made:
        deployments.up(made)
        yield made


def collected(stack: Deployment, user: str, wanted: int) -> int:
    """Collect until a user has so many requests; the proxy writes every second."""
    activity = stack.activity
    deadline = time.monotonic() + 20
    while True:
        activity.collect(stack.driver.access_log())
        person = activity.people().get(user)
        found = 0 if person is None else person.month.requests
        if found >= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_who_was_here_is_known_and_counted_once(stack: Deployment) -> None:
    began = datetime.now(UTC)
    url = stack.driver.own_url + CALL
    before = collected(stack, "alice", 0)
    for _ in range(30):
        assert http.get(url, credentials=ALICE).status == 200
    # A name that would write a line of its own into the error log, which does not escape it.
    forged = Credentials(
        "x\n1795600000.000\t200\tGET\ta\tb\tmallory\t0\t0\t1\t1\t/\tc", ALICE.password
    )
    for wrong in (Credentials("alice", Secret("wrong")), Credentials("bob", Secret("x")), forged):
        assert http.get(url, credentials=wrong).status == 401
    assert collected(stack, "alice", before + 30) == before + 30
    activity = stack.activity
    wait_until(
        lambda: (
            collected(stack, "alice", 0)
            and activity.people()["alice"].month.refused
            and any(each.name == "bob" for each in activity.tried(known={"alice"}))
        ),
        20,
    )
    assert collected(stack, "alice", before + 30) == before + 30
    people = activity.people()
    assert "mallory" not in people
    assert "mlflow-console" not in people
    alice = people["alice"]
    assert alice.last_seen is not None
    assert abs((alice.last_seen - began).total_seconds()) < 60
    assert alice.month.refused == 1
    assert [
        each.name for each in activity.tried(known={"alice"}) if "mallory" not in each.name
    ] == ["bob"]
    [slow] = [each for each in activity.slow(user="alice") if each.endpoint.endswith("/get")]
    assert 0 < (slow.upstream_median or 0) <= slow.median < 5


def test_a_new_container_is_read_from_its_beginning(stack: Deployment) -> None:
    assert http.get(stack.driver.own_url + CALL, credentials=ALICE).status == 200
    before = collected(stack, "alice", 1)
    spans = len(stack.activity.coverage(1).spans)
    [name] = [each.name for each in stack.driver.services() if each.role is Role.PROXY]
    for _ in stack.stack.recreate([name], cancel=threading.Event()):
        pass
    for _ in range(5):
        assert http.get(stack.driver.own_url + CALL, credentials=ALICE).status == 200
    assert collected(stack, "alice", before + 5) == before + 5
    # What the former container wrote at its end, nobody knows.
    assert len(stack.activity.coverage(1).spans) == spans + 1

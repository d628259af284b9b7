"""What the proxy remembers of passwords: for how long, and with many clients at once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import urllib3

from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.support import deployments, stacks

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-verdicts"), pytest.mark.timeout(300)]

ALICE = ("alice", Secret("correct horse battery"))
# More than the proxy checks of one address at once, which is 20.
CLIENTS = 40
# How long a verdict counts, and how long anything of it does. Time is what these tests are about,
# so they sleep.
FRESH_SECONDS, REMEMBERED_SECONDS = 18, 30


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running stack with alice."""
    with stacks.stack(
        tmp_path_factory.mktemp("verdicts") / f"verdicts-{os.getpid()}", ALICE
    ) as made:
        deployments.up(made)
        yield made


def search(
    stack: Deployment, connection: HTTPConnection | None = None, user: str = ALICE[0]
) -> int:
    """The status of a call that has a body; everybody has the same password."""
    headers = urllib3.make_headers(basic_auth=f"{user}:{ALICE[1].reveal()}")
    headers |= {"Content-Type": "application/json"}
    at = urlsplit(stack.driver.own_url)
    asking = connection or HTTPConnection(at.hostname or "", at.port, timeout=30)
    asking.request("POST", "/api/2.0/mlflow/experiments/search", '{"max_results": 1}', headers)
    answer = asking.getresponse()
    answer.read()
    if connection is None:
        asking.close()
    return answer.status


def all_at_once(stack: Deployment) -> Counter[int]:
    """The answers to many clients that come together."""
    together = threading.Barrier(CLIENTS)
    assert stack.driver.own_url  # asked of Compose once and not by every client

    def client(_: int) -> int:
        together.wait()
        return search(stack)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return Counter(pool.map(client, range(CLIENTS)))


def test_many_clients_of_one_password_are_one_log_in(stack: Deployment) -> None:
    assert all_at_once(stack) == {200: CLIENTS}  # nobody knows the password as yet
    for _ in range(2):  # and once what was remembered has grown old
        time.sleep(FRESH_SECONDS + 3)
        assert all_at_once(stack) == {200: CLIENTS}


def test_an_edit_by_hand_counts_soon_for_who_never_stops_asking(stack: Deployment) -> None:
    at = urlsplit(stack.driver.own_url)
    path = str(stack.directory / "htpasswd" / "default")
    stack.users.add("bob", ALICE[1])  # the other test needs alice as she is
    last_in = 0.0
    refused = threading.Event()

    def client(_: int) -> None:
        nonlocal last_in
        with closing(HTTPConnection(at.hostname or "", at.port, timeout=30)) as connection:
            while not refused.wait(0.02):
                if search(stack, connection, "bob") == 200:
                    last_in = time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        clients = pool.map(client, range(8))
        time.sleep(1)
        subprocess.run(["htpasswd", "-iB", "-C", "12", path, "bob"], input="another one",
                       text=True, check=True, capture_output=True)  # fmt: skip
        edited = time.monotonic()
        time.sleep(REMEMBERED_SECONDS + 5)
        refused.set()
        list(clients)
    assert last_in - edited < REMEMBERED_SECONDS
    assert search(stack, user="bob") in (401, 429)

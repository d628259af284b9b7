"""Who gets in at the real proxy: every scheme, and out means out."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import urlsplit

import pytest
import urllib3

from console.core import http
from console.core.deployment import Deployment
from console.core.http import Credentials
from console.core.secrets import Secret
from console.core.users.verify import Verdict
from tests.support import deployments, engine, stacks
from tests.support.guesses import guessing

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-users"), pytest.mark.timeout(300)]

ALICE = ("alice", Secret("correct horse battery"))
OTHER = Secret("staple of another horse")
CONNECTIONS = 8
# Alone on a machine it is under one; each says its figure. Here others work as well.
LATEST_SECONDS = 2
# As htpasswd calls them: bcrypt, apr1, SHA, crypt, SHA-256 and SHA-512. What `-p` writes is taken
# for a hash by nginx, so nobody gets in by it.
SCHEMES = {
    "-B": "bcrypt", "-m": "apr1", "-s": "sha", "-d": "des-crypt", "-2": "sha256-crypt",
    "-5": "sha512-crypt", "-p": "unknown",
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running stack with alice."""
    with stacks.stack(tmp_path_factory.mktemp("users") / f"users-{os.getpid()}", ALICE) as made:
        deployments.up(made)
        yield made


def status(stack: Deployment, name: str, password: Secret = ALICE[1]) -> int:
    """What the proxy answers to a user."""
    return http.get(
        f"{stack.driver.own_url}/version", credentials=Credentials(name, password)
    ).status


def verdict(stack: Deployment, name: str, password: Secret = ALICE[1]) -> int:
    """The same once the password was looked at: the tests before may have tried too many."""
    return engine.wait_until(
        lambda: found if (found := status(stack, name, password)) != 429 else 0
    )


def by_htpasswd(stack: Deployment, *options: str, password: Secret = ALICE[1]) -> int:
    """The exit code of Apache's htpasswd on the user file; the last option is the user."""
    path = str(stack.directory / "htpasswd" / "default")
    *before, name = options
    done = subprocess.run(
        ["htpasswd", "-i", *before, path, name], input=password.reveal(), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode


@pytest.mark.parametrize(("option", "scheme"), SCHEMES.items())
def test_every_scheme_of_htpasswd_is_read_and_verified(
    stack: Deployment, option: str, scheme: str
) -> None:
    name = f"of{option}"
    password = Secret(ALICE[1].reveal()[:8])  # crypt looks at no more
    assert by_htpasswd(stack, option, name, password=password) == 0
    [user] = [each for each in stack.users.list() if each.name == name]
    assert user.scheme == scheme
    opens = scheme != "unknown"
    verdicts = {True: Verdict.RIGHT, False: Verdict.UNKNOWN}
    assert stack.users.check(name, password) is verdicts[opens]
    assert (verdict(stack, name, password) == 200) is opens
    if opens:
        assert stack.users.check(name, OTHER) is Verdict.WRONG
        assert verdict(stack, name, OTHER) == 401


def test_what_is_written_here_is_taken_by_htpasswd_and_the_proxy(stack: Deployment) -> None:
    users = stack.users
    users.add("ümläut 🙂", OTHER)
    users.add("bob", ALICE[1])
    users.rename("bob", "robert")
    users.passwd("robert", OTHER)
    users.disable(["robert"])
    users.enable(["robert"])
    for name in ("robert", "ümläut 🙂"):
        assert by_htpasswd(stack, "-v", name, password=OTHER) == 0
        assert by_htpasswd(stack, "-v", name) == 3
        assert verdict(stack, name, OTHER) == 200
    users.disable(["robert"])
    assert by_htpasswd(stack, "-v", "robert", password=OTHER) == 6
    assert verdict(stack, "robert", OTHER) == 401
    users.undo(users.last())
    assert verdict(stack, "robert", OTHER) == 200
    users.remove(["robert", "ümläut 🙂"])
    assert by_htpasswd(stack, "-v", "robert", password=OTHER) == 6


@dataclass
class Hammer:
    """What eight connections that never stop asking were told.

    Attributes:
        last_in: When one was let in last, in seconds of the monotonic clock.
        answers: How many were answered.
    """

    last_in: float = 0.0
    answers: int = 0
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def hammering(stack: Deployment, name: str) -> Iterator[Hammer]:
    """Eight connections of one user that ask without end."""
    at = urlsplit(stack.driver.own_url)
    headers = urllib3.make_headers(basic_auth=f"{name}:{ALICE[1].reveal()}")
    hammer = Hammer()

    def ask(_: int) -> None:
        with closing(HTTPConnection(at.hostname or "", at.port, timeout=60)) as connection:
            while not hammer.ended.is_set():
                try:
                    connection.request("GET", "/version", headers=headers)
                    answer = connection.getresponse()
                    answer.read()
                except RemoteDisconnected:  # it was idle just too long: any client asks again
                    connection.close()
                    continue
                hammer.answers += 1
                if answer.status == 200:
                    hammer.last_in = time.monotonic()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        clients = pool.map(ask, range(CONNECTIONS))
        try:
            yield hammer
        finally:
            hammer.ended.set()
            list(clients)


OUT: dict[str, Callable[[Deployment, str], object]] = {
    "removed": lambda stack, name: stack.users.remove([name]),
    "disabled": lambda stack, name: stack.users.disable([name]),
    "changed": lambda stack, name: stack.users.passwd(name, OTHER),
}


@dataclass
class Out:
    """How it went for a user who was put out.

    Attributes:
        was_in: Whether the user was let in before.
        late: For how many seconds after the verb returned the user was let in, at most.
    """

    was_in: bool
    late: float


def put_out(
    stack: Deployment, name: str, verb: Callable[[Deployment, str], object], before: float,
    once_in: bool = False,
) -> Out:  # fmt: skip
    """Put a user out who asks on eight connections.

    Args:
        stack: Whose user; is added here.
        name: Of the user.
        verb: What puts the user out.
        before: For how many seconds the user asks before.
        once_in: Counted from when the user was let in first.
    """
    stack.users.add(name, ALICE[1])
    with hammering(stack, name) as hammer:
        if once_in:
            engine.wait_until(lambda: hammer.last_in > 0, 60, f"{name} is let in")
        time.sleep(before)
        was_in = hammer.last_in > 0
        verb(stack, name)
        done, asked = time.monotonic(), hammer.answers
        time.sleep(2)
        # Or nobody would have been refused.
        engine.wait_until(lambda: hammer.answers > asked + CONNECTIONS, 60, f"{name} is refused")
    return Out(was_in, hammer.last_in - done if hammer.last_in else 0.0)


@pytest.mark.parametrize("how", OUT)
def test_out_means_out_for_who_never_stops_asking(stack: Deployment, how: str) -> None:
    out = put_out(stack, f"out-{how}", OUT[how], before=5, once_in=True)
    print(f"{how}: last let in {out.late:.3f} s after the change")
    assert out.was_in
    assert out.late < LATEST_SECONDS


@pytest.mark.parametrize("how", OUT)
def test_out_means_out_while_the_old_password_is_being_verified(
    stack: Deployment, how: str
) -> None:
    every = [put_out(stack, f"flight-{how}-{n}", OUT[how], before=0.25 * n) for n in range(6)]
    late = max(each.late for each in every)
    print(f"{how}: {sum(each.was_in for each in every)} of 6 were in, the last {late:.3f} s after")
    assert late < LATEST_SECONDS


@pytest.mark.alone
@pytest.mark.parametrize("how", OUT)
def test_out_means_out_under_brute_force(stack: Deployment, how: str) -> None:
    with guessing(stack.directory, ALICE[0]) as rates:
        time.sleep(5)
        out = put_out(stack, f"force-{how}", OUT[how], before=5, once_in=True)
        made, answered = rates()
    print(f"{how}: last let in {out.late:.3f} s after the change; {made:.0f} guesses a second, "
          f"{answered:.0f} answered")  # fmt: skip
    assert out.was_in
    assert out.late < LATEST_SECONDS
    assert min(made, answered) > 100


@pytest.mark.alone
def test_who_guesses_slows_nobody_of_the_same_address_who_is_let_in(stack: Deployment) -> None:
    """A forgotten script with an old password runs beside the one that trains."""
    stack.users.add("trainer", ALICE[1])
    assert engine.wait_until(lambda: status(stack, "trainer") == 200)
    answers = []
    with hammering(stack, "nobody"):
        until = time.monotonic() + 50  # longer than a verdict counts, so that it is renewed
        while time.monotonic() < until:
            answers.append(status(stack, "trainer"))
            time.sleep(0.2)
    assert set(answers) == {200}

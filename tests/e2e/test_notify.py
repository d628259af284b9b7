"""While nobody looks: a real timer of a real systemd, and the messages that come of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from console.core.deployment import Deployment
from console.core.stack.embedded_setup import MARKER
from tests.support import deployments, systemd
from tests.support.engine import wait_until
from tests.support.systemd import BIN, PROGRAM, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("notify")]

TOKEN = "T0KEN-that-nobody-may-see"
PORT = 18_990
HARD = "/home/ada/my %h $HOME 'lab'"
KILL = f"""
import sys
from console.core import process
for each in process.marked({MARKER!r}, sys.argv[1]):
    each.kill()
"""
UNITS = ("mlflow-console-lab.service", "mlflow-console-lab.timer")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded deployment that was never started."""
    directory = tmp_path_factory.mktemp("notify") / "lab"
    with deployments.ended(directory):
        yield deployments.create(directory)


@pytest.fixture(scope="module")
def machine(made: Deployment) -> Iterator[Machine]:
    with systemd.machine() as there:
        there.copy(made.directory)
        yield there


def _titles(machine: Machine, file: str) -> list[str]:
    lines = machine.must("cat", file).splitlines()
    return [json.loads(line)["title"] for line in lines]


class Runs:
    """Counts the runs of the service; systemd gives each of them an id."""

    def __init__(self, machine: Machine, manager: str, user: str = "root") -> None:
        self._machine = machine
        self._user = user
        self._show = f"{manager} show --property=InvocationID --value {UNITS[0]}"
        self._seen: set[str] = set()

    def more(self, number: int) -> None:
        """Wait until the timer has had it run so often again."""
        self._look()
        wanted = len(self._seen) + number
        wait_until(lambda: self._look() >= wanted, 90, f"{wanted} runs")

    def _look(self) -> int:
        self._seen.add(self._machine.shell(self._show, self._user).strip())
        return len(self._seen - {""})


def test_it_tells_what_goes_wrong_and_what_ends(machine: Machine, made: Deployment) -> None:
    messages = "/root/messages"
    url = machine.receive(PORT, messages)
    call = (PROGRAM, "--deployment", made.directory)
    units = [f"/etc/systemd/system/{name}" for name in UNITS]
    runs = Runs(machine, "systemctl")

    # A unit of that name that somebody else has made stays as it is.
    machine.shell(f"echo '# mine' >{units[1]}")
    foreign = machine.run(*call, "notify", "on", "--urls-stdin", stdin=f"{url}/{TOKEN}\n")
    assert (foreign.code, machine.must("cat", units[1])) == (1, "# mine\n")
    assert machine.run("test", "-e", made.paths.notify_urls).code == 1
    machine.must("rm", units[1])

    on = machine.run(
        *call, "notify", "on", "--every", "10s", "--urls-stdin", stdin=f"{url}/{TOKEN}\n"
    )
    assert on.code == 0, on.err
    assert [line for line in on.err.splitlines() if line.endswith(": written")] == [
        f"{unit}: written" for unit in units
    ]
    verified = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (verified.code, verified.err) == (0, "")

    # It is stopped: told at once, and by no later run again.
    wait_until(lambda: _titles(machine, messages), 60, "the first message")
    runs.more(2)
    assert _titles(machine, messages) == ["lab: 1 new finding"]
    assert machine.must("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""

    machine.must(*call, "up")
    wait_until(lambda: len(_titles(machine, messages)) > 1, 90, "the end is told")
    runs.more(1)
    assert _titles(machine, messages)[1:] == ["lab: 1 finding ended, healthy"]

    # The whole server is killed while nobody looks.
    machine.must(BIN / "python", "-c", KILL, made.directory)
    wait_until(lambda: len(_titles(machine, messages)) > 2, 60, "the next thing is told")
    runs.more(1)
    assert _titles(machine, messages)[2:] == ["lab: 1 new finding"]

    def timer() -> object:
        shown = json.loads(machine.must(*call, "notify", "show", "--json"))["timer"]
        return {name: shown[name] for name in ("active", "enabled", "every_seconds", "note")} | {
            "last_exit_code": shown["last_exit_code"],
            "ordered": bool(shown["next_run"]) and shown["last_run"] < shown["next_run"],
        }

    wanted = {
        "active": True, "enabled": True, "every_seconds": 10, "note": "", "last_exit_code": 4,
        "ordered": True,
    }  # fmt: skip
    wait_until(lambda: timer() == wanted, 30, "a timer between two runs")

    off = machine.run(*call, "notify", "off")
    assert off.code == 0, off.err
    assert machine.shell("find /etc/systemd /run/systemd -name 'mlflow-console*'") == ""
    assert "could not be found" in machine.run("systemctl", "status", UNITS[1]).err
    assert machine.run("test", "-e", made.paths.notify_urls).code == 1
    audit = machine.must("cat", made.paths.audit)
    assert '"notify.on"' in audit
    for text in (machine.journal(), audit, on.err, off.err):
        assert TOKEN not in text


@pytest.fixture
def home_of_ada(machine: Machine, made: Deployment) -> None:
    """An account without any session, with a copy of the deployment in a folder of hard name."""
    machine.shell(
        "useradd --create-home ada; chmod a+x /root; "  # where this Python may live
        f"cp -r {shlex.quote(str(made.directory))} {shlex.quote(HARD)}; chown -R ada: /home/ada"
    )


@pytest.mark.usefixtures("home_of_ada")
def test_an_account_has_a_timer_of_its_own(machine: Machine) -> None:
    messages = "/home/ada/messages"
    url = machine.receive(PORT + 1, messages)
    call = (PROGRAM, "--deployment", HARD)
    on = ("notify", "on", "--every", "10s")

    nobody = machine.run(*call, *on, "--urls-stdin", user="ada", stdin=f"{url}/{TOKEN}\n")
    assert nobody.code == 1
    assert "loginctl enable-linger ada" in nobody.err
    assert (
        machine.shell("find /home/ada/.config -name 'mlflow-console-*' 2>/dev/null || true") == ""
    )

    machine.must("loginctl", "enable-linger", "ada")
    wait_until(lambda: machine.run("test", "-S", "/run/user/1000/systemd/private").code == 0)
    done = machine.run(*call, *on, user="ada")
    assert done.code == 0, done.err
    wait_until(lambda: _titles(machine, messages), 60, "the first message")
    Runs(machine, "XDG_RUNTIME_DIR=/run/user/1000 systemctl --user", "ada").more(1)
    assert _titles(machine, messages) == ["lab: 1 new finding"]
    where = json.loads(machine.must("cat", messages))["message"].rpartition(", ")[2]
    assert where == HARD

    off = machine.run(*call, "notify", "off", "--keep-urls", user="ada")
    assert off.code == 0, off.err
    assert machine.shell("find /home/ada/.config/systemd -name 'mlflow-console*'") == ""
    assert machine.run("test", "-s", f"{HARD}/secrets/notify-urls").code == 0

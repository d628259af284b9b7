"""User files that lie elsewhere than in their folder: mounted alone, baked in, written at start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import http
from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.http import Credentials
from console.core.secrets import Secret
from console.core.stack.driver import Role
from tests.support import deployments, engine, stacks

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("stack-user-files"),
    pytest.mark.timeout(300),
]

ALICE = ("alice", Secret("correct horse battery"))
OTHER = Secret("staple of another horse")
INSIDE = "/etc/nginx/htpasswd/default"
SINGLY = f"./htpasswd/default:{INSIDE}:ro"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack with alice; each test says how its proxy is made."""
    directory = tmp_path_factory.mktemp("user-files") / f"files-{os.getpid()}"
    with stacks.stack(directory, ALICE) as deployment:
        yield deployment


@pytest.fixture
def stack(made: Deployment) -> Iterator[Deployment]:
    """It, without what another test has changed in its files."""
    override = made.directory / "compose.override.yaml"
    override.unlink(missing_ok=True)
    yield Deployment.open(str(made.directory))
    override.unlink(missing_ok=True)


def change(stack: Deployment, text: str) -> list[str]:
    """Change services by an override; gives what is said beside the changes of users."""
    (stack.directory / "compose.override.yaml").write_text(f"services:\n{text}")
    said: list[str] = []
    stack.warn = said.append
    return said


def volumes(stack: Deployment, *mounts: str) -> str:
    """The proxy with these mounts for users instead of the folder."""
    every = ("./nginx:/etc/mlflow-proxy:ro", "./certs:/etc/nginx/certs:ro",
             "tracking:/run/tracking", *mounts)  # fmt: skip
    return "  proxy:\n    volumes: !override\n" + "".join(f"      - {each}\n" for each in every)


def status(stack: Deployment, name: str, password: Secret) -> int:
    answer = http.get(f"{stack.driver.own_url}/version", credentials=Credentials(name, password))
    return answer.status


def inside(stack: Deployment) -> bytes:
    """The user file as the proxy reads it."""
    return "".join(
        f"{line}\n" for line in stacks.run_in(stack, Role.PROXY, ["cat", INSIDE])
    ).encode()


def changed_in_place(stack: Deployment) -> None:
    """Users who are added, changed and taken back are in the very file that the proxy holds."""
    path = stack.paths.users
    inode = path.stat().st_ino
    stack.users.add("carol", OTHER)
    assert path.stat().st_ino == inode
    assert inside(stack) == path.read_bytes()
    assert status(stack, "carol", OTHER) == 200
    stack.users.remove(["carol"])
    assert path.stat().st_ino == inode
    assert inside(stack) == path.read_bytes()
    assert any("is rewritten in place" in note for note in stack.users.notes())


def test_a_file_mounted_over_the_folder_counts_at_once(stack: Deployment) -> None:
    said = change(stack, f"  proxy:\n    volumes: ['{SINGLY}']\n")
    deployments.up(stack)
    changed_in_place(stack)
    assert status(stack, "carol", OTHER) == 401
    assert said == []


def test_a_file_mounted_alone_counts_within_thirty_seconds(stack: Deployment) -> None:
    said = change(stack, volumes(stack, SINGLY))
    deployments.up(stack)
    changed_in_place(stack)
    assert [each.split(":")[0] for each in said] == ["That counts within 30 s"] * 2
    engine.wait_until(lambda: status(stack, "carol", OTHER) == 401, seconds=40)


def test_what_runs_counts_until_it_is_made_anew(stack: Deployment) -> None:
    change(stack, volumes(stack, SINGLY))
    deployments.up(stack)
    (stack.directory / "compose.override.yaml").unlink()
    changed_in_place(stack)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "in its image, or is written when it starts"),
        ("users:/etc/nginx/htpasswd", "what it reads lies in users"),
        ("/srv/elsewhere:/etc/nginx/htpasswd:ro", "what it reads lies in /srv/elsewhere"),
    ],
)
def test_a_file_of_the_image_or_elsewhere_is_named_before_the_edit(
    stack: Deployment, text: str, why: str
) -> None:
    change(stack, volumes(stack, *([text] if text else [])))
    if text.startswith("users"):
        with (stack.directory / "compose.override.yaml").open("a") as file:
            file.write("volumes: {users: {}}\n")
    refused(stack, why)


def refused(stack: Deployment, why: str) -> None:
    before = stack.paths.users.read_bytes()
    assert why in stack.users.notes()[0]
    with pytest.raises(ConsoleError, match=why) as caught:
        stack.users.add("carol", OTHER)
    assert caught.value.hint.endswith("then mlflow-console up.")
    assert stack.paths.users.read_bytes() == before


def test_a_file_that_is_written_at_start_is_named_before_the_edit(stack: Deployment) -> None:
    command = f"htpasswd -bc {INSIDE} alice x; exec sh /etc/mlflow-proxy/start.sh"
    change(stack, f"  proxy:\n    command: [sh, -c, '{command}']\n")
    refused(stack, "writes its user file when it starts")


def test_variables_that_an_image_may_make_it_of_are_a_doubt(stack: Deployment) -> None:
    said = change(stack, "  proxy:\n    environment: {BASIC_AUTH_USERS: 'alice:geheim'}\n")
    stack.users.passwd(*ALICE)
    assert "BASIC_AUTH_USERS is set for proxy" in said[0]
    assert "geheim" not in said[0]


def test_mlflows_own_login_is_said_as_it_runs(stack: Deployment) -> None:
    change(stack, "  tracking:\n    command: [mlflow, server, --app-name, basic-auth]\n")
    assert any("a log-in of its own" in note for note in stack.users.notes())


def test_an_edit_by_hand_is_said_and_counts_within_thirty_seconds(stack: Deployment) -> None:
    deployments.up(stack)
    stack.users.add("carol", OTHER)
    assert status(stack, "carol", OTHER) == 200
    path: Path = stack.paths.users
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"carol:")))
    assert any("outside of the console just now" in note for note in stack.users.notes())
    engine.wait_until(lambda: status(stack, "carol", OTHER) == 401, seconds=40)


def test_an_edit_while_the_engine_cannot_be_asked_counts_at_once(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees the generation itself; it needs no engine for that, nor does the console."""
    deployments.up(stack)
    stack.users.add("dora", OTHER)
    assert status(stack, "dora", OTHER) == 200
    url = stack.driver.own_url
    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        alone = Deployment.open(str(stack.directory))
        alone.users.remove(["dora"])
    answer = http.get(f"{url}/version", credentials=Credentials("dora", OTHER))
    assert answer.status == 401

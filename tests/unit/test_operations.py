"""What every change shares: read-only refuses it, and the audit trail says how it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import audit, files
from console.core.audit import Entry
from console.core.deployment import Deployment
from console.core.errors import CancelledError, ConsoleError, ReadOnlyError, UsageError
from console.core.operations import OPERATIONS, Risk, operation
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings, dump

SETTINGS = Settings(
    format=1, name="lab", driver="embedded", server=ServerSettings(port=5999, mlflow="3.17.2")
)


class Area:
    """An area with one verb of each kind."""

    def __init__(self, deployment: Deployment, then: BaseException | None = None) -> None:
        self.deployment = deployment
        self.then = then
        self.calls: list[str] = []

    @operation("users.list")
    def look(self) -> str:
        self.calls.append("look")
        return "seen"

    @operation("users.add", target=lambda name, password: name)
    def add(self, name: str, password: Secret) -> str:
        self.calls.append(name)
        if self.then:
            raise self.then
        return f"{name} added"

    @operation("stack.up", target=lambda *services: " ".join(services))
    def up(self, *services: str) -> Iterator[Progress]:
        self.calls.append("up")
        yield Progress("one")
        if self.then:
            raise self.then
        yield Progress("two")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path, SETTINGS)


def trail(deployment: Deployment) -> list[Entry]:
    return list(audit.read(deployment.paths.audit))


def test_a_change_that_worked(deployment: Deployment) -> None:
    assert Area(deployment).add("alice", Secret("hunter2")) == "alice added"
    [entry] = trail(deployment)
    assert (entry.operation, entry.target, entry.outcome, entry.error) == (
        "users.add", "alice", "done", None,
    )  # fmt: skip
    assert (entry.deployment, entry.directory) == ("lab", str(deployment.directory))


def test_looking_is_no_change(deployment: Deployment) -> None:
    assert Area(deployment).look() == "seen"
    assert not deployment.paths.audit.exists()


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (UsageError("taken", "hint"), "failed", "taken"),
        (CancelledError("stopped"), "cancelled", None),
        (KeyboardInterrupt(), "cancelled", None),
        (ZeroDivisionError("a secret may stand here"), "failed", "ZeroDivisionError"),
        (SystemExit(3), "failed", "SystemExit"),
    ],
)
def test_a_change_that_did_not(
    deployment: Deployment, error: BaseException, outcome: str, words: str | None
) -> None:
    area = Area(deployment, error)
    with pytest.raises(type(error)):
        area.add("alice", Secret("hunter2"))
    with pytest.raises(type(error)):
        list(area.up("tracking"))
    entries = trail(deployment)
    assert [(each.operation, each.target) for each in entries] == [
        ("users.add", "alice"), ("stack.up", "tracking"),
    ]  # fmt: skip
    assert {(each.outcome, each.error) for each in entries} == {(outcome, words)}
    assert "secret" not in deployment.paths.audit.read_text()


def test_a_generator_is_done_when_it_ended_and_cancelled_when_it_was_left(
    deployment: Deployment,
) -> None:
    steps = Area(deployment).up("a", "b")
    assert not deployment.paths.audit.exists()
    assert [step.label for step in steps] == ["one", "two"]
    left = Area(deployment).up()
    next(left)
    assert len(trail(deployment)) == 1
    left.close()  # type: ignore[attr-defined]  # a generator is what it is
    never = Area(deployment).up()
    never.close()  # type: ignore[attr-defined]  # as above
    assert [(each.target, each.outcome) for each in trail(deployment)] == [
        ("a b", "done"), ("", "cancelled"),
    ]  # fmt: skip


def test_read_only_refuses_everything_but_looking(deployment: Deployment) -> None:
    closed = Deployment(deployment.directory, SETTINGS, read_only="--read-only")
    area = Area(closed)
    assert area.look() == "seen"
    with pytest.raises(ReadOnlyError) as caught:
        area.add("alice", Secret("x"))
    assert caught.value.message == (
        "Give somebody a password: refused, this is read-only (--read-only)"
    )
    with pytest.raises(ReadOnlyError):
        next(area.up())
    assert area.calls == ["look"]
    assert list(deployment.directory.iterdir()) == []
    for each in OPERATIONS.values():
        if each.risk is Risk.READ:
            closed.refuse_when_read_only(each)
        else:
            with pytest.raises(ReadOnlyError):
                closed.refuse_when_read_only(each)


def test_where_read_only_comes_from(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "console.toml"
    path.write_bytes(dump(SETTINGS))
    wanted = str(tmp_path)
    assert Deployment.open(wanted).read_only == ""
    assert Deployment.open(wanted, read_only=True).read_only == "--read-only"
    person = home / ".config" / "mlflow-console" / "settings.toml"
    person.parent.mkdir(parents=True)
    person.write_text("read_only = true\n")
    assert Deployment.open(wanted).read_only == f"read_only in {person}"
    path.write_bytes(path.read_bytes().replace(b"read_only = false", b"read_only = true"))
    assert Deployment.open(wanted).read_only == f"read_only in {path}"
    monkeypatch.setenv("MLFLOW_CONSOLE_READ_ONLY", "1")
    assert Deployment.open(wanted).read_only == "MLFLOW_CONSOLE_READ_ONLY"


def test_without_a_trail_the_change_still_happens_and_somebody_is_told(
    deployment: Deployment,
) -> None:
    deployment.paths.audit.mkdir()
    said: list[str] = []
    deployment.warn = said.append
    assert Area(deployment).add("alice", Secret("x")) == "alice added"
    assert said == [f"The audit trail {deployment.paths.audit} lacks this: Is a directory"]
    with pytest.raises(ConsoleError, match="first"):
        Area(deployment, ConsoleError("first")).add("alice", Secret("x"))
    assert len(said) == 2


def test_the_real_users_area_never_writes_a_secret(deployment: Deployment) -> None:
    password, other = Secret("hunter2-hunter2"), Secret("x" * 100)
    deployment.users.add("alice", password)
    deployment.users.passwd("alice", password)
    for name, secret in (("alice", password), ("bob", other), ("a:b", password)):
        with pytest.raises(UsageError):
            deployment.users.add(name, secret)
    deployment.users.remove(["alice"])
    text = deployment.paths.audit.read_text()
    assert len(text.splitlines()) == 6
    for secret in (password, other):
        assert secret.reveal() not in text
    assert "$2" not in text


def test_every_verb_has_a_row_of_its_own() -> None:
    assert all(key == each.id == f"{each.area}.{each.verb}" for key, each in OPERATIONS.items())
    assert OPERATIONS["stack.down"].risk is Risk.INTERRUPT
    assert OPERATIONS["stack.restart"].risk is Risk.INTERRUPT
    assert OPERATIONS["users.remove"].risk is Risk.DESTROY


def test_changes_of_many_threads_are_all_in_the_trail(deployment: Deployment) -> None:
    area = Area(deployment)

    def work(name: str) -> None:
        for _ in range(25):
            area.add(name, Secret("x"))

    threads = [threading.Thread(target=work, args=(str(each),)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trail(deployment)) == 100
    files.sweep(deployment.paths.audit)

"""A disk that is full to the brim: the old files stay, one sentence says why, the code is 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret, read_secret, write_secret
from console.core.settings import ServerSettings, Settings, UsersSettings, dump
from console.core.stack.driver import Guard
from console.core.stack.embedded import EmbeddedDriver
from tests.cli.conftest import Cli
from tests.support import machine


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """One whose disk has no byte left."""
    with machine.small_disk(tmp_path / "disk", "1m") as disk:
        directory = disk / "lab"
        directory.mkdir(mode=0o700)
        settings = Settings(
            format=1, name="lab", driver="embedded",
            server=ServerSettings(port=29_518, mlflow="3.17.2"),
            users=UsersSettings(bcrypt_cost=4),
        )  # fmt: skip
        (directory / "console.toml").write_bytes(dump(settings))
        made = Deployment.open(str(directory))
        made.users.add("alice", Secret("wonderland"))
        made.users.add("mlflow-console", Secret("of the service user"))
        made.paths.service_secret.parent.mkdir()
        write_secret(made.paths.service_secret, Secret("of the service user"))
        machine.fill(disk)
        yield made


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("add", "bob", "--generate"), ("passwd", "alice", "--generate"), ("rename", "alice", "al"),
        ("disable", "alice"), ("remove", "alice", "--yes"), ("renew",), ("undo",),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_the_old_file_stays(
    deployment: Deployment, cli: Cli, monkeypatch: pytest.MonkeyPatch, alone: bool,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    if alone:
        monkeypatch.setattr(EmbeddedDriver, "guard", lambda _: Guard(alone=frozenset({"default"})))
    paths = deployment.paths
    before = paths.users.read_bytes()
    result = cli("users", *words)
    assert (result.code, result.out) == (1, "")
    assert f"The disk that holds {deployment.directory}" in result.err
    assert "Free some space there, then do it again." in result.err
    assert "Traceback" not in result.err
    assert paths.users.read_bytes() == before
    assert read_secret(paths.service_secret).reveal() == "of the service user"
    assert [each.name for each in paths.users.parent.iterdir()] == ["default"]
    left = [each.name for each in paths.root.rglob(".*.tmp")]
    assert left == []

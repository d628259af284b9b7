"""init, forget, deployments, audit, and everything a console.toml can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.core import register, systemd
from console.core.backup import schedule
from console.core.deployment import Deployment
from tests.cli.conftest import Cli
from tests.support import machine


def test_dry_run_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    wanted = tmp_path / "new"
    result = cli("init", str(wanted), "--dry-run", "--port", "29518", "--host", "a.lab, b.lab")
    assert result.code == 0
    assert f"make the folder {wanted}" in result.out
    assert "29518" in result.out
    assert not wanted.exists()
    assert not register.known()


def test_dry_run_is_allowed_read_only_and_init_is_not(cli: Cli, tmp_path: Path) -> None:
    wanted = str(tmp_path / "new")
    assert cli("--read-only", "init", wanted, "--dry-run").code == 0
    result = cli("--read-only", "init", wanted)
    assert result.code == 1
    assert "refused, this is read-only (--read-only)" in result.err
    assert not Path(wanted).exists()


def test_read_only_by_variable_and_by_the_persons_settings(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = str(tmp_path / "new")
    monkeypatch.setenv("MLFLOW_CONSOLE_READ_ONLY", "1")
    assert "MLFLOW_CONSOLE_READ_ONLY" in cli("init", wanted).err
    assert "MLFLOW_CONSOLE_READ_ONLY" in cli("up").err
    monkeypatch.delenv("MLFLOW_CONSOLE_READ_ONLY")
    folder = register.person_folder()
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("read_only = true\n")
    for arguments in (["init", wanted], ["users", "add", "bob", "--generate"]):
        result = cli(*arguments)
        assert result.code == 1
        assert "settings.toml" in result.err
        assert result.out == ""
    assert not Path(wanted).exists()


def test_init_where_something_is(cli: Cli, deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    result = cli("init", str(tmp_path / "full"))
    assert result.code == 1
    assert "thesis.tex" in result.err
    assert cli("init", str(tmp_path / "full" / "thesis.tex")).code == 1
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--driver", "podman"], ["--port", "0"], ["--port", "many"], ["--host", "no host"],
        ["--generate"], ["--password-stdin"], ["--user", "a:b", "--generate"],
        ["--user", "mlflow-console", "--generate"], ["--words", "6"], ["--weak"],
        ["--user", "bob", "--words", "6"], ["--user", "bob", "--generate", "--length", "5"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_init_with_nonsense(cli: Cli, tmp_path: Path, arguments: list[str]) -> None:
    result = cli("init", str(tmp_path / "new"), *arguments)
    assert result.code == 2
    assert not (tmp_path / "new").exists()


def test_the_first_user_gets_no_weak_password(program: Cli, tmp_path: Path) -> None:
    new = tmp_path / "gpulab"
    for password in (b"hunter2\n", b"gpulab2024\n", b"brzezinska81\n", b"wqzkhost77\n"):
        result = program(
            "init", str(new), "--user", "brzezinska", "--host", "wqzkhost.example",
            "--password-stdin", stdin=password,
        )  # fmt: skip
        assert result.code == 2
        assert "--weak" in result.err
        assert password.decode().strip() not in result.err
        assert not new.exists()


def test_deployments(cli: Cli, deployment: Deployment, tmp_path: Path) -> None:
    register.add("lab", deployment.directory)
    register.add("gone", tmp_path / "gone")
    result = cli("deployments")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "DIRECTORY", "KNOWN", "TO", "WHY"]
    assert lines[1].split()[:3] == ["lab", "stopped", str(deployment.directory)]
    assert "unusable" in lines[2]
    found = json.loads(cli("deployments", "--json").out)
    assert found[0] | {"source": ""} == {
        "name": "lab", "directory": str(deployment.directory), "source": "", "state": "stopped",
        "error": "",
    }  # fmt: skip
    assert found[1]["state"] == "unusable"


def test_no_deployments(cli: Cli) -> None:
    result = cli("deployments")
    assert (result.code, result.out) == (0, "")
    assert "mlflow-console init DIR" in result.err
    assert cli("deployments", "--json").out == "[]\n"


def test_forget_keeps_the_files(cli: Cli, deployment: Deployment, tmp_path: Path) -> None:
    register.add("lab", deployment.directory)
    register.add("gone", tmp_path / "gone")
    assert cli("--read-only", "forget", "lab").code == 1
    assert cli("forget", "lab").code == 0
    assert [each.name for each in register.known()] == ["gone"]
    assert deployment.paths.users.exists()
    assert "deployment.forget" in deployment.paths.audit.read_text()
    assert cli("forget", "gone").code == 0  # nothing is there to be opened any more
    assert register.known() == []
    assert cli("forget", "lab").code == 2


def test_forget_names_the_timer_that_goes_on(
    cli: Cli, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "MACHINE", tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    looks = deployment.notify.plan(600)
    folder, daily = looks[0].path.parent, schedule.read("03:00")
    snapshots = schedule.units(folder, deployment.name, deployment.directory, daily)
    for unit in (*looks, *snapshots):
        unit.path.parent.mkdir(parents=True, exist_ok=True)
        unit.path.write_text(unit.text)
    register.add("lab", deployment.directory)
    said = cli("forget", "lab").err
    call = f"`mlflow-console --deployment {deployment.directory}"
    assert f"{call} notify off` removes it." in said
    assert f"{call} backup schedule off` removes it." in said
    register.add("lab", deployment.directory)
    for unit in (*looks, *snapshots):
        unit.path.unlink()
    assert "removes it" not in cli("forget", "lab").err


def test_audit(cli: Cli, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing was changed yet." in cli("audit").err
    monkeypatch.setenv("SUDO_USER", "carol")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    password = cli("users", "add", "bob", "--generate").out.strip()
    assert cli("users", "add", "bob", "--generate").code == 2
    with deployment.paths.audit.open("a") as file:
        file.write('{"at": "cut sho\n')
    result = cli("audit")
    titles, done, failed = result.out.splitlines()
    assert titles.split() == ["AT", "WHO", "WHAT", "TARGET", "OUTCOME", "ERROR"]
    assert "(sudo by carol) from 192.0.2.7" in done
    assert "users.add  bob" in done
    assert " done" in done
    assert " failed " in failed
    assert "exists already" in failed
    assert password not in result.out + deployment.paths.audit.read_text()
    entries = [json.loads(line) for line in cli("audit", "--jsonl").out.splitlines()]
    assert entries == json.loads(cli("audit", "--json").out)
    assert entries[0]["sudo_user"] == "carol"
    assert entries[0]["format"] == 1


def test_a_change_without_trail_still_happens(cli: Cli, deployment: Deployment) -> None:
    deployment.paths.audit.mkdir()
    result = cli("users", "add", "bob", "--generate")
    assert result.code == 0
    assert "audit" in result.err
    assert "bob" in [user.name for user in deployment.users.list()]


def test_unknown_deployment(cli: Cli) -> None:
    result = cli("--deployment", "nosuch", "status")
    assert (result.code, result.out) == (2, "")
    assert "mlflow-console deployments" in result.err


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_deployment_is_understood_anywhere(cli: Cli, deployment: Deployment, place: int) -> None:
    arguments = ["users", "list", "--json"]
    arguments[place:place] = ["--deployment", str(deployment.directory)]
    assert json.loads(cli(*arguments).out)
    arguments[place : place + 2] = ["--deployment=/nowhere/at/all"]
    assert cli(*arguments).code == 1


def test_no_deployment_at_all(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_CONSOLE_DEPLOYMENT")
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["status"], ["users", "list"]):
        result = cli(*arguments)
        assert (result.code, result.out) == (1, "")
        assert "mlflow-console init" in result.err


BROKEN = {
    "truncated": ("[server", "not valid TOML"),
    "empty": ("", "format"),
    "newer": ("format = 99\n", "newer"),
    "unknown key": ("colour = 'red'\n", "colour"),
    "impossible port": ("port = 70000\n", "port"),
    "binary": ("\x00\x01", "not valid TOML"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_settings(cli: Cli, deployment: Deployment, case: str) -> None:
    path = deployment.paths.settings
    whole = path.read_text()
    text, sentence = BROKEN[case]
    broken = {
        "unknown key": text + whole,
        "impossible port": whole.replace("port = 29517\n", text),
    }.get(case, text)
    assert broken != whole
    path.write_text(broken)
    for arguments in (["status"], ["users", "list", "--json"], ["down"], ["audit"]):
        result = cli(*arguments)
        assert (result.code, result.out) == (1, "")
        assert sentence in result.err
        assert str(path) in result.err
        assert "Traceback" not in result.err
    assert path.read_text() == broken


def test_a_deployment_of_somebody_else(cli: Cli, deployment: Deployment) -> None:
    assert cli("status").code == 4  # imports what the other account may not be able to read
    with machine.common_folder() as folder:
        lab = folder / "lab"
        lab.mkdir(mode=0o700)
        (lab / "console.toml").write_bytes(deployment.paths.settings.read_bytes())
        result = machine.as_nobody(lambda: cli("--deployment", str(lab), "status"))
    assert result.code == 1
    assert f"This account may not use {lab}" in result.err
    assert "which belongs to root" in result.err
    assert "sudo" in result.err

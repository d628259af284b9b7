"""Which deployments are found, by whom, and which one is meant."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock  # noqa: F401  # before another account, which cannot read the checkout, needs it
import pytest

from console.core import register, settings
from console.core.deployment import Deployment
from console.core.errors import AccessError, NoDeploymentError, SettingsError, UsageError
from console.core.settings import ServerSettings, Settings
from tests.support import machine, unavailable


def deployment(directory: Path) -> Path:
    directory.mkdir(parents=True)
    text = settings.dump(
        Settings(
            format=1, name=directory.name, driver="embedded",
            server=ServerSettings(port=5999, mlflow="3.17.2"),
        )
    )  # fmt: skip
    (directory / "console.toml").write_bytes(text)
    return directory


def machine_file() -> Path:
    return Path(os.environ["MLFLOW_CONSOLE_MACHINE_CONFIG"]) / register.FILE


@contextmanager
def supervisor(*options: str) -> Iterator[None]:
    """A process with the command line of a supervisor."""
    words = ["mlflow_console_server", "--directory", *options]
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])
    try:
        yield
    finally:
        child.kill()
        child.wait()


@pytest.fixture(autouse=True)
def elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_nothing_is_known_at_first() -> None:
    assert register.known() == []
    with pytest.raises(NoDeploymentError) as caught:
        register.choose(None)
    assert caught.value.message == "There is no deployment yet"
    assert "mlflow-console init" in caught.value.hint


def test_the_only_one_is_meant_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    first, second = deployment(tmp_path / "one"), deployment(tmp_path / "two")
    register.add("one", first)
    assert register.choose(None) == first
    register.add("two", second)
    with pytest.raises(NoDeploymentError) as caught:
        register.choose(None)
    assert str(first) in caught.value.message
    assert str(second) in caught.value.message
    assert register.choose("two") == second


def test_a_named_one_a_variable_and_the_current_directory_come_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, named, variable = (deployment(tmp_path / name) for name in ("here", "named", "variable"))
    for each in (here, named, variable):
        register.add(each.name, each)
    monkeypatch.chdir(here)
    assert register.choose(None) == here
    monkeypatch.setenv("MLFLOW_CONSOLE_DEPLOYMENT", "variable")
    assert register.choose(None) == variable
    assert register.choose("named") == named
    assert register.choose(str(named)) == named
    monkeypatch.chdir(tmp_path)
    assert register.choose("./named") == named
    monkeypatch.setenv("MLFLOW_CONSOLE_DEPLOYMENT", "")
    monkeypatch.chdir(here)
    assert register.choose(None) == here


@pytest.mark.parametrize("wanted", ["nowhere", "~nobody-of-this-name"])
def test_an_unknown_name_is_a_wrong_command_line(wanted: str) -> None:
    with pytest.raises(UsageError, match=f"No deployment is called {wanted}") as caught:
        register.choose(wanted)
    assert caught.value.exit_code == 2


def test_an_unknown_directory_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoDeploymentError) as caught:
        Deployment.open(str(tmp_path / "lab"))
    assert caught.value.message == f"{tmp_path}/lab holds no deployment"
    assert f"init {tmp_path}/lab" in caught.value.hint


def test_two_of_one_name_must_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a", "b"):
        register.add("lab", deployment(tmp_path / place / "lab"))
    with pytest.raises(UsageError, match="Several deployments are called lab"):
        register.choose("lab")
    monkeypatch.chdir(tmp_path / "b")
    assert register.choose("lab") == tmp_path / "b" / "lab"


def test_a_working_directory_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.add("lab", deployment(tmp_path / "lab"))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert register.choose(None) == tmp_path / "lab"


def test_links_lead_to_one_deployment_and_not_to_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = deployment(tmp_path / "disk" / "lab")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    register.add("lab", tmp_path / "link" / "lab")
    register.add("lab", real)
    with supervisor(str(real)):
        assert [each.name for each in register.known()] == ["lab"]
        assert register.choose("lab").samefile(real)
    assert register.choose(str(tmp_path / "link" / "lab")) == real


def test_a_running_one_is_found_by_its_supervisor(tmp_path: Path) -> None:
    lab, other = deployment(tmp_path / "lab"), deployment(tmp_path / "other")
    with supervisor(str(lab)), supervisor(str(other)):
        register.add("mine", other)
        found = {each.directory: (each.name, each.source) for each in register.known()}
        source = "machine" if os.geteuid() == 0 else "yours"
        assert found == {lab: ("lab", "running"), other: ("mine", source)}
        register.forget(other)
    assert register.known() == []
    with supervisor(str(lab), "--", "mlflow"):
        assert register.choose(None) == lab


def test_a_strangers_process_is_never_taken_unasked(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        unavailable("only root can make another account's folder")
    theirs = deployment(tmp_path / "theirs")
    os.chown(theirs, machine.NOBODY, machine.NOBODY)
    with supervisor(str(theirs)):
        with pytest.raises(NoDeploymentError) as caught:
            register.choose(None)
        assert caught.value.message == f"Only deployments of others are known: theirs ({theirs})"
        assert register.choose("theirs") == theirs
        with pytest.raises(AccessError, match="root does not act in somebody else's folder"):
            Deployment.open("theirs")


def test_a_process_that_ends_in_the_option_hurts_nobody() -> None:
    with supervisor():
        assert register.known() == []


def test_forgetting_leaves_the_files(tmp_path: Path) -> None:
    lab = deployment(tmp_path / "lab")
    register.add("lab", lab)
    register.add("lab", lab)
    assert len(register.known()) == 1
    assert register.forget(lab)
    assert not register.forget(lab)
    assert register.known() == []
    assert (lab / "console.toml").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployments = [", "not valid TOML"),
        ("\x00", "not valid TOML"),
        ("colour = 1", "unknown field `colour`"),
        ('[[deployments]]\nname = "a"\n', "missing required field `directory`"),
        ("format = 2\nnew = 1\n", "has format 2"),
    ],
)
def test_a_broken_list_is_one_sentence_and_is_not_overwritten(
    tmp_path: Path, text: str, words: str
) -> None:
    for path in (register.person_folder() / register.FILE, machine_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for call in (register.known, lambda: register.choose("lab")):
            with pytest.raises(SettingsError) as caught:
                call()
            assert str(path) in caught.value.message
            assert words in caught.value.message
            assert "remove that file" in caught.value.hint
        assert path.read_text() == text
        path.unlink()
    path = machine_file() if os.geteuid() == 0 else register.person_folder() / register.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(SettingsError):
        register.add("lab", tmp_path)
    assert path.read_text() == text


def test_additions_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom console.core import register\n"
        "for number in range(20):\n"
        "    register.add(sys.argv[1], Path('/nowhere') / sys.argv[1] / str(number))\n"
    )
    children = [machine.python(script, str(name)) for name in range(3)]
    for child in children:
        assert child.communicate(timeout=60)[0] == ""
    assert len(register.known()) == 60


def test_a_second_administrator_meets_the_machines_deployments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        unavailable("only root can be two accounts")
    with machine.common_folder() as folder:
        monkeypatch.setenv("MLFLOW_CONSOLE_MACHINE_CONFIG", str(folder / "etc"))
        lab = deployment(folder / "lab")
        register.add("lab", lab)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "theirs"))
        (folder / "theirs").mkdir()
        os.chown(folder / "theirs", machine.NOBODY, machine.NOBODY)
        monkeypatch.setattr(register, "_running", list)  # imports psutil's files as that account

        def theirs() -> list[register.Known]:
            register.add("own", Path("/nowhere/own"))
            return register.known()

        found = machine.as_nobody(theirs)
        assert [(each.name, each.source) for each in found] == [
            ("own", "yours"), ("lab", "machine"),
        ]  # fmt: skip
        assert [each.name for each in register.known()] == ["own", "lab"]


def test_sudo_shows_what_the_person_behind_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        unavailable("only root can be two accounts")
    home = tmp_path / "home-of-jo"
    entry = pwd.struct_passwd(("jo", "x", 4321, 4321, "", str(home), "/bin/sh"))
    real = pwd.getpwnam
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry if name == "jo" else real(name))
    path = home / ".config" / register.APP / register.FILE
    path.parent.mkdir(parents=True)
    path.write_text(f'[[deployments]]\nname = "lab"\ndirectory = "{tmp_path}/lab"\n')
    assert register.known() == []
    monkeypatch.setenv("SUDO_USER", "jo")
    known = register.Known("lab", tmp_path / "lab", "of another account")
    assert register.known() == [known]
    assert register.choose("lab") == tmp_path / "lab"
    monkeypatch.setenv("SUDO_USER", "nobody-of-this-name")
    assert register.known() == []

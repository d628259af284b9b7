"""users: list, add, passwd, remove, on a real htpasswd file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from console.core.deployment import Deployment
from tests.cli.conftest import Cli, Terminal


def _accepts(deployment: Deployment, name: str, password: str) -> bool:
    for line in deployment.paths.users.read_bytes().splitlines():
        if line.startswith(name.encode() + b":"):
            return bcrypt.checkpw(password.encode(), line.split(b":")[1])
    return False


def _names(deployment: Deployment) -> list[str]:
    return [user.name for user in deployment.users.list()]


def test_list(cli: Cli, deployment: Deployment) -> None:
    with deployment.paths.users.open("a") as file:
        file.write("old:{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg=\n")
    assert cli("users", "list").out == (
        "NAME            PASSWORD          LOGIN  NOTE\n"
        "mlflow-console  ! bcrypt 4, weak  yes    the console's own checks\n"
        "alice           ! bcrypt 4, weak  yes\n"
        "old             ! sha, weak       yes\n"
    )


def test_list_as_json(cli: Cli) -> None:
    found = json.loads(cli("users", "list", "--json").out)
    assert found[1] == {
        "name": "alice", "host": "default", "scheme": "bcrypt", "cost": 4, "enabled": True,
        "weak": True, "service_user": False, "last_seen": None, "requests": None,
        "failures": None,
    }  # fmt: skip
    lines = cli("users", "list", "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == found


def test_nobody(cli: Cli, deployment: Deployment) -> None:
    deployment.paths.users.write_bytes(b"")
    result = cli("users", "list")
    assert (result.code, result.out) == (0, "")
    assert "mlflow-console users add NAME" in result.err
    assert json.loads(cli("users", "list", "--json").out) == []
    assert cli("users", "list", "--jsonl").out == ""


def test_two_forms_are_refused(cli: Cli) -> None:
    result = cli("users", "list", "--json", "--jsonl")
    assert (result.code, result.out) == (2, "")


def test_one_long_name_makes_no_other_row_long(cli: Cli) -> None:
    name = "b" * 181
    assert cli("users", "add", name, "--generate").code == 0
    assert cli("users", "add", "carol", "--generate").code == 0
    for listing in (("users", "list"), ("audit",)):
        rows = cli(*listing).out.splitlines()
        assert len([row for row in rows if name in row]) == 1
        assert max(len(row) for row in rows if name not in row) < 160
        assert name in cli(*listing, "--json").out


def test_junk_lines_are_named_and_kept(cli: Cli, deployment: Deployment) -> None:
    junk = b"this is no user\n"
    deployment.paths.users.write_bytes(junk + deployment.paths.users.read_bytes())
    result = cli("users", "list")
    assert result.code == 0
    assert "alice" in result.out
    assert "1" in result.err
    assert "this is no user" not in result.err  # it may be a password
    assert cli("users", "add", "bob", "--generate").code == 0
    assert deployment.paths.users.read_bytes().startswith(junk)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_password_from_stdin_loses_its_line_end_only(
    program: Cli, deployment: Deployment, end: bytes
) -> None:
    result = program("users", "add", "bob", "--password-stdin", stdin=b"  spa ced out " + end)
    assert (result.code, result.out) == (0, "")
    assert f"bob can log in at http://127.0.0.1:{min(deployment.driver.ports)}" in result.err
    assert _accepts(deployment, "bob", "  spa ced out ")


@pytest.mark.parametrize("stdin", [b"", b"\n", b"\xff\xfe\n", b"x" * 5000 + b"\n"])
def test_unusable_passwords_from_stdin(program: Cli, deployment: Deployment, stdin: bytes) -> None:
    result = program("users", "add", "bob", "--password-stdin", stdin=stdin)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert "bob" not in _names(deployment)


def test_generated_password_is_the_only_data(program: Cli, deployment: Deployment) -> None:
    result = program("users", "add", "bob", "--generate")
    assert result.code == 0
    assert result.out.count("\n") == 1
    assert result.out.strip() not in result.err
    assert _accepts(deployment, "bob", result.out.strip())


@pytest.mark.parametrize("verb", ["add", "passwd"])
@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ((), r"[a-zA-Z2-9]{20}"), (("--length", "12"), r"[a-zA-Z2-9]{12}"),
        (("--length", "72"), r"[a-zA-Z2-9]{72}"), (("--words", "4"), r"[a-z]+(-[a-z]+){3}"),
        (("--words", "12"), r"[a-z]+(-[a-z]+){11}"),
    ],
)  # fmt: skip
def test_generated_as_it_was_asked_for(
    cli: Cli, deployment: Deployment, verb: str, options: tuple[str, ...], pattern: str
) -> None:
    name = "bob" if verb == "add" else "alice"
    made = cli("users", verb, name, "--generate", *options).out.removesuffix("\n")
    assert re.fullmatch(pattern, made)
    assert _accepts(deployment, name, made)


def test_generated_as_the_deployment_has_them(cli: Cli, deployment: Deployment) -> None:
    path = deployment.paths.settings
    path.write_text(path.read_text().replace("generated_words = 0", "generated_words = 5"))
    assert cli("users", "add", "bob", "--generate").out.count("-") == 4
    assert cli("users", "add", "eve", "--generate", "--words", "7").out.count("-") == 6
    assert len(cli("users", "add", "joe", "--generate", "--length", "30").out) == 31


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--generate", "--length", "11"), "12 to 72 characters, not 11"),
        (("--generate", "--words", "13"), "4 to 12 words, not 13"),
        (("--generate", "--words", "0"), "4 to 12 words, not 0"),
        (("--generate", "--words", "6", "--length", "20"), "cannot be had together"),
        (("--generate", "--password-stdin"), "cannot be had together"),
        (("--words", "6"), "are for --generate"),
        (("--password-stdin", "--length", "20"), "are for --generate"),
        (("--generate", "--words", "six"), "--words"),
    ],
)
def test_what_cannot_be_generated(
    cli: Cli, deployment: Deployment, options: tuple[str, ...], words: str
) -> None:
    result = cli("users", "add", "bob", *options)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert "bob" not in _names(deployment)


def test_a_weak_password_is_refused_with_the_reason(program: Cli, deployment: Deployment) -> None:
    for verb, name in (("add", "bob"), ("passwd", "alice")):
        weak = ("users", verb, name, "--password-stdin")
        result = program(*weak, stdin=b"hunter2\n")
        assert (result.code, result.out) == (2, "")
        assert "this is a very common password" in result.err
        assert "--weak" in result.err
        assert "hunter2" not in result.err
        assert not _accepts(deployment, name, "hunter2")
        assert program(*weak, "--weak", stdin=b"hunter2\n").code == 0
        assert _accepts(deployment, name, "hunter2")
    assert program("users", "passwd", "bob", "--password-stdin", "--weak").code == 2  # an empty one


def test_names_of_user_deployment_and_host_are_weak(program: Cli, deployment: Deployment) -> None:
    path = deployment.paths.settings
    path.write_text(path.read_text().replace("host_names = []", 'host_names = ["wqzkhost.lab"]'))
    for password in (b"brzezinska81\n", b"wqzkhost77\n"):
        result = program("users", "add", "brzezinska", "--password-stdin", stdin=password)
        assert result.code == 2
        assert "a name of the user or of the server" in result.err


def test_what_is_only_rather_weak_is_refused_too(program: Cli, deployment: Deployment) -> None:
    result = program("users", "add", "bob", "--password-stdin", stdin=b"Sommer2024\n")
    assert (result.code, result.out) == (2, "")
    assert "This password is rather weak" in result.err
    assert "Sommer2024" not in result.err
    assert "bob" not in _names(deployment)


def test_a_password_is_in_no_file_and_no_output(program: Cli, deployment: Deployment) -> None:
    told: list[str] = []
    for options in ((), ("--weak",)):
        for verb in ("add", "add", "passwd"):  # the second one fails
            arguments = ("users", verb, "bob", "--password-stdin", *options)
            result = program(*arguments, stdin=b"hunter2\n", env={"MLFLOW_CONSOLE_DEBUG": "1"})
            told += [result.out, result.err]
    made = program("users", "passwd", "bob", "--generate", "--words", "6").out.strip()
    told += [path.read_text() for path in deployment.directory.rglob("*") if path.is_file()]
    trail = deployment.paths.audit.read_text()
    assert trail in told
    assert "users.passwd" in trail
    for password in ("hunter2", made):
        assert not [each for each in told if password in each]


def test_passwd(program: Cli, deployment: Deployment) -> None:
    assert (
        program("users", "passwd", "alice", "--password-stdin", stdin=b"queen of hearts\n").code
        == 0
    )
    assert _accepts(deployment, "alice", "queen of hearts")
    assert not _accepts(deployment, "alice", "wonderland")
    assert (
        program("users", "passwd", "nobody", "--password-stdin", stdin=b"queen of hearts\n").code
        == 2
    )


def test_without_terminal_the_ways_are_named(program: Cli, deployment: Deployment) -> None:
    result = program("users", "add", "bob")
    assert result.code == 2
    assert "--password-stdin" in result.err
    assert "--generate" in result.err
    assert "bob" not in _names(deployment)


def test_a_password_as_argument_is_refused_and_not_repeated(cli: Cli) -> None:
    result = cli("users", "add", "bob", "hunter2")
    assert result.code == 2
    assert "passwords are never arguments" in result.err
    assert "hunter2" not in result.err


def test_prompts_twice_on_a_terminal(
    terminal: Callable[..., Terminal], deployment: Deployment
) -> None:
    there = terminal("users", "add", "bob")
    there.expect("New password of bob: ")
    there.type("correct horse\n")
    there.expect("The same again: ")
    there.type("correct horse\n")
    assert there.close() == 0
    assert "correct horse" not in there.seen
    assert _accepts(deployment, "bob", "correct horse")


def test_different_passwords_change_nothing(
    terminal: Callable[..., Terminal], deployment: Deployment
) -> None:
    there = terminal("users", "passwd", "alice")
    there.expect("New password of alice: ")
    there.type("one\n")
    there.expect("again: ")
    there.type("two\n")
    assert there.close() == 2
    assert "differ" in there.seen
    assert _accepts(deployment, "alice", "wonderland")


def test_ctrl_c_at_the_prompt(terminal: Callable[..., Terminal], deployment: Deployment) -> None:
    there = terminal("users", "add", "bob")
    there.expect("New password of bob: ")
    there.type("\x03")
    assert there.close() == 130
    assert "Traceback" not in there.seen
    assert "bob" not in _names(deployment)


def test_remove_lists_and_asks(terminal: Callable[..., Terminal], deployment: Deployment) -> None:
    there = terminal("users", "remove", "alice")
    there.expect("alice: can no longer log in")
    there.expect("Remove alice? [y/N]")
    there.type("n\n")
    assert there.close() == 130
    assert "alice" in _names(deployment)
    there = terminal("users", "remove", "alice")
    there.expect("[y/N]")
    there.type("y\n")
    assert there.close() == 0
    assert "alice" not in _names(deployment)


def test_remove_without_terminal(program: Cli, deployment: Deployment) -> None:
    result = program("users", "remove", "alice", stdin=b"y\n")
    assert result.code == 2
    assert "--yes" in result.err
    assert "alice" in _names(deployment)
    result = program("users", "remove", "alice", "--yes")
    assert result.code == 0
    assert "alice: can no longer log in" in result.err
    assert _names(deployment) == ["mlflow-console"]


def test_remove_all_or_none(cli: Cli, deployment: Deployment) -> None:
    result = cli("users", "remove", "alice", "nobody", "--yes")
    assert result.code == 2
    assert "nobody" in result.err
    assert "alice" in _names(deployment)


def test_the_service_user_stays(cli: Cli, deployment: Deployment) -> None:
    assert cli("users", "remove", "mlflow-console", "--yes").code == 1
    assert "mlflow-console" in _names(deployment)


def test_hostile_names_are_harmless(cli: Cli, deployment: Deployment) -> None:
    with deployment.paths.users.open("ab") as file:
        file.write(b"\x1b[31mred\x1b]0;title\x07[/b]:{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg=\n")
        file.write("c1\x9b2J\u202e:{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg=\n".encode())
    for arguments in (["users", "list"], ["users", "list", "--json"]):
        result = cli(*arguments)
        assert result.code == 0
        shown = result.out.replace("\n", "") + result.err.replace("\n", "")
        assert not [letter for letter in shown if letter in "\x1b\x07\x9b\u202e"]
        assert "[/b]" in result.out
    names = [user["name"] for user in json.loads(cli("users", "list", "--json").out)]
    assert names == _names(deployment)


def test_disable_enable_rename_and_undo(cli: Cli, deployment: Deployment) -> None:
    before = deployment.paths.users.read_bytes()
    assert cli("users", "disable", "alice").code == 0
    assert "disabled" in cli("users", "list").out
    assert cli("users", "enable", "alice").code == 0
    assert deployment.paths.users.read_bytes() == before
    assert cli("users", "rename", "alice", "alicia").code == 0
    assert _names(deployment) == ["mlflow-console", "alicia"]
    undone = cli("users", "undo")
    assert (undone.code, undone.out) == (0, "")
    assert undone.err == (
        "Taken back: alice renamed to alicia; alicia can log in no more, alice can log in again.\n"
    )
    assert deployment.paths.users.read_bytes() == before
    for verb in ("disable", "rename"):
        words = ("mlflow-console", "x") if verb == "rename" else ("mlflow-console",)
        assert "console's own user" in cli("users", verb, *words).err
    assert cli("users", "disable", "alice", "eve").code == 2
    assert deployment.paths.users.read_bytes() == before


def test_enable_and_disable_say_what_is_true(cli: Cli, deployment: Deployment) -> None:
    def said(verb: str, *names: str) -> str:
        result = cli("users", verb, *names)
        assert (result.code, result.out) == (0, "")
        return result.err

    bob = "bob:{SHA}bjPFCbmcuqkxHxpmQvHNOXUYzhg="
    with deployment.paths.users.open("a") as file:
        file.write(f"{bob}\n# disabled: {bob}\n")
    assert said("enable", "alice") == "alice was enabled already.\n"
    assert said("enable", "bob") == (
        "bob was enabled already; a disabled line of that name counts for nothing.\n"
    )
    once = "Disabled: alice; `mlflow-console users enable` undoes it.\n"
    assert said("disable", "alice", "alice") == once
    assert json.loads(deployment.paths.audit.read_text().splitlines()[-1])["target"] == "alice"
    assert said("disable", "alice") == "alice was disabled already.\n"
    assert said("enable", "bob", "alice").splitlines() == [
        "Enabled: alice; their passwords are the old ones.",
        "bob was enabled already; a disabled line of that name counts for nothing.",
    ]
    assert said("remove", "bob", "bob", "--yes").splitlines() == [
        "  bob: can no longer log in, runs stay", "Removed: bob",
    ]  # fmt: skip


def test_the_change_of_another_account_is_taken_back_after_a_question(
    program: Cli, deployment: Deployment
) -> None:
    assert program("users", "remove", "alice", "--yes", env={"SUDO_USER": "carol"}).code == 0
    asked = program("users", "undo")
    assert asked.code == 2
    assert "alice can log in again" in asked.err
    assert "Take back: alice removed by carol at " in asked.err
    assert "--yes" in asked.err
    assert "alice" not in _names(deployment)
    assert program("users", "undo", "--yes").code == 0
    assert "alice" in _names(deployment)
    assert program("users", "undo").code == 0  # its own taking back is asked about no more
    assert "alice" not in _names(deployment)
    assert "a second time does it again" in program("users", "undo", "--help").out


def test_check_tells_by_its_exit_code(program: Cli) -> None:
    program("users", "passwd", "alice", "--weak", "--password-stdin", stdin=b"pw\n")
    right = program("users", "check", "alice", "--password-stdin", stdin=b"pw\n")
    assert (right.code, right.out) == (0, "")
    wrong = program("users", "check", "alice", "--password-stdin", stdin=b"other\n")
    assert wrong.code == 1
    assert "not the password of alice" in wrong.err
    assert "other" not in wrong.err
    assert program("users", "check", "eve", "--password-stdin", stdin=b"pw\n").code == 2
    assert "--password-stdin" in program("users", "check", "alice").err


def test_import_previews_asks_and_reports(
    cli: Cli, program: Cli, deployment: Deployment, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("bob:{SHA}b=\nalice:{SHA}a=\nbad:x\nhunter2\n")
    before = deployment.paths.users.read_bytes()
    shown = cli("users", "import", str(other), "--dry-run")
    assert shown.out == (
        "bob: new, weak: sha\n"
        "alice: has another password or state here; left alone, --replace changes it, weak: sha\n"
        "line 3, bad: left out, the password is kept in no known scheme\n"
        "line 4: left out, it is no user and no comment\n"
    )
    found = json.loads(cli("users", "import", str(other), "--dry-run", "--json").out)
    assert (found["added"], found["changed"], found["same"]) == (["bob"], ["alice"], [])
    assert found["refused"][1] == {"line": 4, "name": "", "why": "it is no user and no comment"}
    asked = program("users", "import", str(other))
    assert asked.code == 2
    assert "bob: new" in asked.err
    assert deployment.paths.users.read_bytes() == before
    assert cli("--yes", "users", "import", str(other)).code == 0
    assert deployment.paths.users.read_bytes() == before + b"bob:{SHA}b=\n"
    assert "nothing to change" in cli("--yes", "users", "import", str(other)).err
    assert cli("--yes", "users", "import", str(other), "--replace").code == 0
    assert b"alice:{SHA}a=\n" in deployment.paths.users.read_bytes()
    assert cli("users", "import", str(tmp_path / "nothing")).code == 1
    assert "one user file" in cli("users", "list", "--host", "mlflow.lab").err

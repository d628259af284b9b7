"""The users service, on real files, with real processes beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core import audit
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, ReadOnlyError, UsageError
from console.core.files import locked
from console.core.secrets import Secret, read_secret, write_secret
from console.core.settings import ServerSettings, Settings, UsersSettings
from console.core.users.htpasswd import Htpasswd
from console.core.users.service import check_name, check_password

SERVICE = "mlflow-console"


def deployment(directory: Path, cost: int = 4) -> Deployment:
    server = ServerSettings(port=5000, mlflow="3.17.2")
    users = UsersSettings(bcrypt_cost=cost)
    return Deployment(
        directory, Settings(format=1, name="t", driver="embedded", server=server, users=users)
    )


@pytest.fixture
def dep(tmp_path: Path) -> Deployment:
    return deployment(tmp_path)


def names(dep: Deployment) -> list[str]:
    return [user.name for user in dep.users.list()]


def verify(path: Path, name: str, password: str) -> bool:
    """Ask libpass, as the server does."""
    from passlib.apache import HtpasswdFile

    return bool(HtpasswdFile(str(path)).check_password(name, password))


def test_a_missing_file_is_empty_and_said_to_be_missing(dep: Deployment) -> None:
    assert dep.users.list() == []
    assert "nobody can log in" in dep.users.notes()[0]
    assert not dep.paths.users.exists()


def test_an_added_user_is_listed_and_the_password_is_the_one(dep: Deployment) -> None:
    dep.users.add("ada", Secret("pässwörd"))
    (user,) = dep.users.list()
    assert (user.name, user.host, user.scheme, user.cost) == ("ada", "default", "bcrypt", 4)
    assert (user.enabled, user.weak, user.service_user) == (True, True, False)
    assert verify(dep.paths.users, "ada", "pässwörd")
    assert not verify(dep.paths.users, "ada", "other")
    assert dep.paths.users.read_bytes().startswith(b"ada:$2y$04$")


def test_cost_12_is_not_weak(tmp_path: Path) -> None:
    dep = deployment(tmp_path, cost=12)
    dep.users.add("ada", Secret("x"))
    assert [(user.cost, user.weak) for user in dep.users.list()] == [(12, False)]


@pytest.mark.skipif(shutil.which("htpasswd") is None, reason="apache2-utils is not installed")
def test_apache_takes_what_is_written(dep: Deployment) -> None:
    dep.users.add("ada lovelace", Secret("p w/€"))
    for password, code in (("p w/€", 0), ("p w", 3)):
        checked = subprocess.run(
            ["htpasswd", "-v", "-b", str(dep.paths.users), "ada lovelace", password],
            capture_output=True, check=False,
        )  # fmt: skip
        assert checked.returncode == code, checked.stderr


def test_modes_let_a_proxys_worker_read(dep: Deployment) -> None:
    before = os.umask(0o077)
    try:
        dep.users.add("ada", Secret("x"))
    finally:
        os.umask(before)
    assert dep.paths.users.stat().st_mode & 0o777 == 0o644
    assert dep.paths.users.parent.stat().st_mode & 0o777 == 0o755


def test_a_taken_name_is_refused_also_when_disabled(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    content = dep.paths.users.read_bytes() + b"# disabled: bob:$2y$12$" + b"a" * 53 + b"\n"
    dep.paths.users.write_bytes(content)
    assert [(user.name, user.enabled) for user in dep.users.list()] == [
        ("ada", True),
        ("bob", False),
    ]
    for name in ("ada", "bob"):
        with pytest.raises(UsageError, match="exists already"):
            dep.users.add(name, Secret("y"))
    assert dep.paths.users.read_bytes() == content


def test_passwd_changes_one_hash_and_nothing_else(dep: Deployment) -> None:
    before = b"# ours\r\nada:{SHA}x=:the boss\r\n\xff:junk\r\nada:{SHA}dead="
    dep.paths.users.parent.mkdir()
    dep.paths.users.write_bytes(before)
    dep.users.passwd("ada", Secret("new"))
    after = dep.paths.users.read_bytes()
    field = after.split(b"ada:")[1].split(b":")[0]
    assert after == before.replace(b"{SHA}x=", field)
    assert field.startswith(b"$2y$04$")


def test_passwd_of_an_unknown_user_changes_nothing(dep: Deployment) -> None:
    with pytest.raises(UsageError, match="no user nobody"):
        dep.users.passwd("nobody", Secret("x"))
    assert not dep.paths.users.exists()


def test_passwd_of_the_service_user_changes_its_secret_too(dep: Deployment) -> None:
    dep.users.add(SERVICE, Secret("old"))
    dep.paths.service_secret.parent.mkdir()
    write_secret(dep.paths.service_secret, Secret("old"))
    dep.users.passwd(SERVICE, Secret("new"))
    assert read_secret(dep.paths.service_secret).reveal() == "new"
    assert dep.paths.service_secret.stat().st_mode & 0o777 == 0o600
    assert verify(dep.paths.users, SERVICE, "new")


def test_a_failed_passwd_of_the_service_user_leaves_both_files(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dep.users.add(SERVICE, Secret("old"))
    dep.paths.service_secret.parent.mkdir()
    write_secret(dep.paths.service_secret, Secret("old"))
    seen = []

    def full(_file: Htpasswd) -> None:
        seen.append(read_secret(dep.paths.service_secret).reveal())
        raise ConsoleError("The disk is full")

    monkeypatch.setattr(dep.users, "_write", full)
    with pytest.raises(ConsoleError, match="full"):
        dep.users.passwd(SERVICE, Secret("new"))
    assert seen == ["new"], "the secret is the first of the two that is written"
    assert read_secret(dep.paths.service_secret).reveal() == "old"
    assert verify(dep.paths.users, SERVICE, "old")


def test_remove_takes_every_line_of_a_name(dep: Deployment) -> None:
    dep.paths.users.parent.mkdir()
    dep.paths.users.write_bytes(b"ada:{SHA}a=\n# c\nbob:{SHA}b=\nada:{SHA}dup=\n")
    dep.users.remove(["ada"])
    assert dep.paths.users.read_bytes() == b"# c\nbob:{SHA}b=\n"


def test_remove_is_all_or_none(dep: Deployment) -> None:
    for name in ("ada", "bob"):
        dep.users.add(name, Secret("x"))
    with pytest.raises(UsageError, match="eve"):
        dep.users.remove(["ada", "eve"])
    with pytest.raises(UsageError, match="No user"):
        dep.users.remove([])
    assert names(dep) == ["ada", "bob"]
    dep.users.remove(["bob", "ada"])
    assert names(dep) == []


def test_the_service_user_is_marked_and_stays(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    assert "own user mlflow-console is not in the file" in " ".join(dep.users.notes())
    dep.users.add(SERVICE, Secret("x"))
    assert [user.service_user for user in dep.users.list()] == [False, True]
    assert dep.users.notes() == []
    with pytest.raises(ConsoleError, match="cannot be removed"):
        dep.users.remove(["ada", SERVICE])
    assert names(dep) == ["ada", SERVICE]


def test_changes_are_audited_without_the_password(dep: Deployment) -> None:
    dep.users.add("ada", Secret("hunter2"))
    dep.users.passwd("ada", Secret("hunter3"))
    dep.users.remove(["ada"])
    with pytest.raises(UsageError):
        dep.users.add("\udcff", Secret("hunter4"))
    entries = list(audit.read(dep.paths.audit))
    assert [(e.operation, e.target, e.outcome) for e in entries] == [
        ("users.add", "ada", "done"),
        ("users.passwd", "ada", "done"),
        ("users.remove", "ada", "done"),
        ("users.add", r"\udcff", "failed"),
    ]
    assert b"hunter" not in dep.paths.audit.read_bytes()


def test_read_only_refuses_every_change(tmp_path: Path) -> None:
    dep = Deployment(tmp_path, deployment(tmp_path).settings, read_only="--read-only")
    with pytest.raises(ReadOnlyError):
        dep.users.add("ada", Secret("x"))
    assert dep.users.list() == []


@pytest.mark.parametrize(
    "name", ["", "a:b", "#a", " a", "a ", "\ta", "a\nb", "a\x00", "a\x85", "\ud800", "é" * 128]
)
def test_names_that_cannot_be_used(dep: Deployment, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        dep.users.add(name, Secret("x"))
    assert not dep.paths.users.exists()


@pytest.mark.parametrize("password", ["", "a\nb", "a\x00", "\x1b[2J", "é" * 37, "\udcff"])
def test_passwords_that_cannot_be_used(dep: Deployment, password: str) -> None:
    with pytest.raises(UsageError, match="cannot be used") as caught:
        dep.users.add("ada", Secret(password))
    assert not password or password not in caught.value.message


def test_the_longest_password_counts_whole(dep: Deployment) -> None:
    dep.users.add("ada", Secret("é" * 36))
    assert verify(dep.paths.users, "ada", "é" * 36)
    assert not verify(dep.paths.users, "ada", "é" * 35 + "e")
    with pytest.raises(UsageError, match="72"):
        check_password(Secret("a" * 73))


@given(st.text())
def test_no_name_can_break_the_line(name: str) -> None:
    try:
        check_name(name)
    except UsageError:
        return
    file = Htpasswd.parse(b"first:{SHA}x=\n").add(name.encode(), b"$2y$hash")
    again = Htpasswd.parse(bytes(file))
    if name != "first":
        assert [(line.name, line.field) for line in again.users()] == [
            (b"first", b"{SHA}x="),
            (name.encode(), b"$2y$hash"),
        ]
    assert len(again.lines) == 2


@given(st.text(min_size=1))
def test_no_password_reaches_the_line(password: str) -> None:
    import bcrypt

    try:
        check_password(Secret(password))
    except UsageError:
        return
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4))
    assert not set(hashed) & set(b":\r\n# ")


CHURN = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.settings import ServerSettings, Settings, UsersSettings
dep = Deployment(Path(sys.argv[1]), Settings(
    format=1, name="t", driver="embedded", server=ServerSettings(port=5000, mlflow="3.17.2"),
    users=UsersSettings(bcrypt_cost=4)))
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    dep.users.add(f"{sys.argv[2]}-{number}", Secret("x"))
    dep.users.add("gone-" + sys.argv[2], Secret("x"))
    dep.users.remove(["gone-" + sys.argv[2]])
"""


def churn(directory: Path, who: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHURN, str(directory), who, str(count)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )


def test_several_processes_lose_nothing(dep: Deployment) -> None:
    dep.users.add("first", Secret("x"))
    children = [churn(dep.directory, who, 12) for who in ("a", "b", "c")]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    expected = {"first"} | {f"{who}-{number}" for who in "abc" for number in range(12)}
    assert set(names(dep)) == expected
    assert len(names(dep)) == len(expected)


def test_a_kill_leaves_a_whole_file_and_no_lock(dep: Deployment) -> None:
    dep.users.add("first", Secret("x"))
    for round_ in range(4):
        child = churn(dep.directory, f"k{round_}", 100_000)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + round_ * 0.03)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        file = Htpasswd.parse(dep.paths.users.read_bytes())
        assert file.oddities() == []
        assert file.find("first") is not None
        dep.users.add(f"after-{round_}", Secret("x"))
    assert not list(dep.paths.users.parent.glob(".*.tmp"))


def test_the_hash_is_made_before_the_lock_is_taken(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dep.users.add("first", Secret("x"))
    monkeypatch.setattr("console.core.files.LOCK_SECONDS", 0.01)
    hashed: list[Secret] = []
    real = dep.users._hash

    def noted(password: Secret) -> bytes:
        hashed.append(password)
        return real(password)

    monkeypatch.setattr(dep.users, "_hash", noted)
    with (
        locked(dep.paths.run / "users.lock", "the users"),
        pytest.raises(ConsoleError, match="Another process"),
    ):
        dep.users.add("ada", Secret("x"))
    assert hashed

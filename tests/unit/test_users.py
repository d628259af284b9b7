"""The users service, on real files, with real processes beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
from console.core.stack.driver import Guard
from console.core.users.htpasswd import Htpasswd
from console.core.users.names import check_name, check_password
from console.core.users.user_file import UserFile
from console.core.users.verify import Verdict

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


def test_a_lost_file_is_not_made_anew_but_by_renew(dep: Deployment) -> None:
    dep.users.renew()
    dep.users.add("ada", Secret("x"))
    backup = dep.paths.users.rename(dep.directory / "backup")
    plan = dep.users.plan_import(b"bob:{SHA}b=\n")
    changes: list[Callable[[], object]] = [
        lambda: dep.users.add("bob", Secret("y")), lambda: dep.users.remove(["ada"]),
        lambda: dep.users.import_(plan), lambda: dep.users.undo(dep.users.last()),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ConsoleError, match="is missing") as caught:
            change()
        assert "from a backup" in caught.value.hint
        assert "users renew" in caught.value.hint
        assert not dep.paths.users.exists()
    assert "is missing: nobody can log in. Put it back" in dep.users.notes()[0]
    dep.users.renew()
    assert names(dep) == [SERVICE]
    backup.replace(dep.paths.users)
    dep.users.add("bob", Secret("y"))
    assert names(dep) == [SERVICE, "ada", "bob"]


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

    def full(*_: object) -> None:
        seen.append(read_secret(dep.paths.service_secret).reveal())
        raise ConsoleError("The disk is full")

    monkeypatch.setattr(UserFile, "change", full)
    with pytest.raises(ConsoleError, match="full"):
        dep.users.passwd(SERVICE, Secret("new"))
    assert seen == ["new"], "the secret is the first of the two that is written"
    assert read_secret(dep.paths.service_secret).reveal() == "old"
    assert verify(dep.paths.users, SERVICE, "old")


def test_the_service_users_password_is_made_anew_whatever_was_lost(dep: Deployment) -> None:
    user, secret = dep.paths.users, dep.paths.service_secret
    passwords = set()
    for lost in ((user, secret), (), (user,), (secret,)):
        for path in lost:
            path.unlink(missing_ok=True)
        dep.users.renew()
        password = read_secret(secret).reveal()
        assert verify(user, SERVICE, password)
        passwords.add(password)
    assert len(passwords) == 4
    assert [
        (each.operation, each.target, each.outcome) for each in audit.read(dep.paths.audit)
    ] == [("users.renew", "", "done")] * 4


def test_the_service_users_password_is_made_anew_over_a_ruin(dep: Deployment) -> None:
    dep.paths.users.parent.mkdir()
    dep.paths.users.write_bytes(b"ada:{SHA}x=\n# disabled: mlflow-console:{SHA}x=\n")
    dep.paths.service_secret.parent.mkdir()
    dep.paths.service_secret.write_bytes(b"\xff\xfe")
    dep.users.renew()
    assert [(each.name, each.enabled) for each in dep.users.list()] == [
        ("ada", True), (SERVICE, True),
    ]  # fmt: skip
    assert verify(dep.paths.users, SERVICE, read_secret(dep.paths.service_secret).reveal())


def guarded(dep: Deployment, monkeypatch: pytest.MonkeyPatch, guard: Guard) -> list[str]:
    """Let something else ask for passwords; gives what is said beside a change."""
    monkeypatch.setattr(type(dep.driver), "guard", lambda _: guard)
    said: list[str] = []
    dep.warn = said.append
    return said


def test_a_change_that_would_count_for_nothing_is_refused(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dep.users.add(SERVICE, Secret("s"))
    dep.users.add("ada", Secret("x"))
    before = dep.paths.users.read_bytes()
    write_secret_of(dep, "s")
    guard = Guard(void={"default": "It is \x1b[2Jbaked into the image"}, remedy="Mount it.")
    guarded(dep, monkeypatch, guard)
    changes: tuple[Callable[[], object], ...] = (
        lambda: dep.users.add("bob", Secret("y")), lambda: dep.users.passwd("ada", Secret("y")),
        lambda: dep.users.rename("ada", "eve"), lambda: dep.users.disable(["ada"]),
        lambda: dep.users.remove(["ada"]), lambda: dep.users.undo(dep.users.last()),
        dep.users.renew,
        lambda: dep.users.import_(dep.users.plan_import(b"bob:{SHA}x=\n")),
    )  # fmt: skip
    for change in changes:
        with pytest.raises(ConsoleError, match="baked into the image") as caught:
            change()
        assert (caught.value.hint, caught.value.exit_code) == ("Mount it.", 1)
    assert dep.paths.users.read_bytes() == before
    assert read_secret(dep.paths.service_secret).reveal() == "s"
    assert dep.users.notes() == ["It is baked into the image"]
    assert names(dep) == [SERVICE, "ada"]


def write_secret_of(dep: Deployment, password: str) -> None:
    dep.paths.service_secret.parent.mkdir()
    write_secret(dep.paths.service_secret, Secret(password))


def test_what_is_mounted_alone_is_rewritten_in_place(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dep.users.add("ada", Secret("x"))
    inode = dep.paths.users.stat().st_ino
    said = guarded(dep, monkeypatch, Guard(alone=frozenset({"default"}), later="That counts late"))
    dep.users.add("bob", Secret("y"))
    assert said == ["That counts late"]
    assert dep.paths.users.stat().st_ino == inode
    assert names(dep) == ["ada", "bob"]
    dep.users.undo(dep.users.last())
    assert dep.paths.users.stat().st_ino == inode
    assert names(dep) == ["ada"]


def test_what_may_take_a_change_away_is_said_before_it(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = guarded(dep, monkeypatch, Guard(doubts=("BASIC_AUTH is set",), notes=("Another",)))
    with pytest.raises(UsageError):
        dep.users.remove(["nobody"])
    assert said == ["BASIC_AUTH is set"]
    assert dep.users.notes()[:2] == ["BASIC_AUTH is set", "Another"]


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


def test_disabled_users_keep_their_hash_and_come_back(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    dep.users.add("bob", Secret("y"))
    before = dep.paths.users.read_bytes()
    dep.users.disable(["ada"])
    assert [(user.name, user.enabled) for user in dep.users.list()] == [
        ("ada", False), ("bob", True),
    ]  # fmt: skip
    assert dep.users.check("ada", Secret("x")) is Verdict.DISABLED
    assert dep.paths.users.read_bytes() == b"# disabled: " + before
    dep.users.enable(["ada", "bob"])
    assert dep.paths.users.read_bytes() == before
    assert dep.users.check("ada", Secret("x")) is Verdict.RIGHT
    assert dep.users.check("ada", Secret("y")) is Verdict.WRONG


def test_what_could_not_be_enabled_again_is_not_disabled(dep: Deployment) -> None:
    dep.paths.users.parent.mkdir()
    dep.paths.users.write_bytes(b"ada:nonsense\nbob:{SHA}x=\n")
    with pytest.raises(ConsoleError, match="no known scheme"):
        dep.users.disable(["bob", "ada"])
    with pytest.raises(UsageError, match="no user eve"):
        dep.users.disable(["bob", "eve"])
    assert dep.paths.users.read_bytes() == b"ada:nonsense\nbob:{SHA}x=\n"


def test_rename_keeps_the_password(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    dep.users.add("bob", Secret("y"))
    dep.users.rename("ada", "ada lovelace")
    assert names(dep) == ["ada lovelace", "bob"]
    assert verify(dep.paths.users, "ada lovelace", "x")
    for new, why in (("bob", "exists already"), ("a:b", "colon"), ("", "empty")):
        with pytest.raises(UsageError, match=why) as caught:
            dep.users.rename("ada lovelace", new)
        assert "passwd" not in caught.value.hint
    with pytest.raises(UsageError, match="no user ada"):
        dep.users.rename("ada", "eve")


def test_the_last_change_is_taken_back_and_done_again(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="nothing to take back"):
        dep.users.last()
    dep.users.add("ada", Secret("x"))
    dep.users.add("bob", Secret("y"))
    monkeypatch.setenv("SUDO_USER", "carol")
    dep.users.remove(["ada", "ada"])
    monkeypatch.delenv("SUDO_USER")
    removed = dep.users.last()
    assert removed.question.startswith("Take back: ada removed by carol at ")
    assert removed.said == "Taken back: ada removed; ada can log in again"
    assert not removed.mine
    dep.users.undo(removed)
    assert names(dep) == ["ada", "bob"]
    with pytest.raises(UsageError, match="changed since"):  # it is the last change no more
        dep.users.undo(removed)
    back = dep.users.last()
    assert back.mine
    assert back.question.startswith("Do again: ada removed, taken back by ")
    assert back.said == "Done again: ada removed; ada can log in no more"
    dep.users.undo(back)
    assert names(dep) == ["bob"]
    with dep.paths.users.open("ab") as file:
        file.write(b"carol:{SHA}x=\n")
    with pytest.raises(UsageError, match="changed since"):
        dep.users.last()
    assert names(dep) == ["bob", "carol"]
    assert (dep.paths.run / "users-undo").stat().st_mode & 0o777 == 0o600
    lines = list(audit.read(dep.paths.audit))
    assert [each.target for each in lines if each.operation == "users.undo"] == ["ada"] * 3


def test_what_it_means_to_take_a_change_back(dep: Deployment) -> None:
    for name in ("ada", "bob"):
        dep.users.add(name, Secret("x"))

    def means(change: Callable[[], object]) -> tuple[str, ...]:
        change()
        return dep.users.last().means

    def again() -> None:
        dep.users.undo(dep.users.last())

    assert means(lambda: dep.users.passwd("bob", Secret("y"))) == (
        "bob's old password counts again",
    )
    assert means(again) == ("bob's new password counts again",)
    assert means(lambda: dep.users.rename("bob", "eve")) == (
        "eve can log in no more", "bob can log in again",
    )  # fmt: skip
    assert means(lambda: dep.users.disable(["ada", "eve"])) == (
        "ada can log in again", "eve can log in again",
    )  # fmt: skip
    assert means(lambda: dep.users.passwd("ada", Secret("z"))) == (
        "ada's old password counts again when enabled",
    )
    assert means(lambda: dep.users.remove(["ada"])) == ("ada is back, who is disabled",)
    dep.users.add("dan", Secret("x"))
    dep.users.disable(["eve", "dan"])  # eve was disabled already
    assert dep.users.last().said == "Taken back: dan disabled; dan can log in again"
    plan = dep.users.plan_import(b"".join(b"u%d:{SHA}x=\n" % number for number in range(5)))
    dep.users.import_(plan)
    assert dep.users.last().said == (
        "Taken back: u0, u1, u2 and 2 more imported; u0 can log in no more, "
        "u1 can log in no more, u2 can log in no more and 2 more"
    )


def test_a_change_of_a_file_is_seen_from_outside(dep: Deployment) -> None:
    missing = dep.users.state()
    dep.users.add("ada", Secret("x"))
    before = dep.users.state()
    assert before != missing
    assert dep.users.state() == before
    content = dep.paths.users.read_bytes()
    with dep.paths.users.open("r+b") as file:  # in place, of the same size
        file.write(content.replace(b"ada", b"eve"))
    assert dep.users.state() != before


def test_what_changes_nothing_leaves_the_last_change(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    dep.users.enable(["ada"])
    assert dep.users.last().what.done == "added"


def test_import_shows_and_does_exactly_that(dep: Deployment) -> None:
    dep.users.add("ada", Secret("x"))
    dep.users.add("bob", Secret("y"))
    here = dep.paths.users.read_bytes()
    there = (
        here.splitlines()[0] + b"\nbob:{SHA}z=\ncarol:{SHA}c=\n# disabled: dan:{SHA}d=\n"
        b"eve:nonsense\n\xff:{SHA}x=\nmlflow-console:{SHA}m=\n"
    )
    plan = dep.users.plan_import(there)
    assert (plan.added, plan.changed, plan.same) == (("carol", "dan"), ("bob",), ("ada",))
    assert [each.name for each in plan.refused] == ["eve", r"\xff", "mlflow-console"]
    dep.users.import_(plan)
    assert dep.paths.users.read_bytes() == here + b"carol:{SHA}c=\n# disabled: dan:{SHA}d=\n"
    dep.users.import_(dep.users.plan_import(there), replace=True)
    assert b"\nbob:{SHA}z=\n" in dep.paths.users.read_bytes()
    with pytest.raises(UsageError, match="no user in that file"):
        dep.users.plan_import(b"# nothing\n")


def test_no_line_of_an_import_is_dropped_without_a_word(dep: Deployment) -> None:
    there = (
        b"# a comment\n\nhunter2\n:{SHA}hunter2=\n"
        b"# disabled: ada:{SHA}a=\nada:{SHA}b=\nada:{SHA}c=\n"
        b"bob:$2y$12$" + b"a" * 53 + b"\nlong:$argon2id$" + b"a" * 300 + b"\n"
    )
    plan = dep.users.plan_import(there)
    assert plan.preview("") == [
        "ada: new, weak: sha",
        "bob: new",
        "line 3: left out, it is no user and no comment",
        "line 4: left out, the name is empty",
        "line 5, ada: left out, line 6 of this name counts",
        "line 7, ada: left out, line 6 of this name counts",
        "line 9, long: left out, the line would be too long for Apache's htpasswd",
    ]
    assert plan.shape["weak"] == ["ada"]
    dep.users.import_(plan)
    assert dep.paths.users.read_bytes() == b"ada:{SHA}b=\nbob:$2y$12$" + b"a" * 53 + b"\n"


@pytest.mark.parametrize(
    "content", [b"", b"hunter2\n", b"a: yaml\nb: file\n", b"\x7fELF\0ada:{SHA}x=\n", b":{SHA}x=\n"]
)
def test_what_is_no_file_of_users_is_not_imported(dep: Deployment, content: bytes) -> None:
    with pytest.raises(UsageError, match="no user in that file") as caught:
        dep.users.plan_import(content)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_host_name_with_a_file_of_its_own(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = type(dep.driver)
    monkeypatch.setattr(driver, "own_user_files", property(lambda _: True))
    monkeypatch.setattr(driver, "host_names", property(lambda _: ("mlflow.lab", "other")))
    dep.users.add(SERVICE, Secret("s"))
    dep.users.add("ada", Secret("x"))
    with pytest.raises(UsageError, match="no host name of this deployment"):
        dep.users.add("bob", Secret("y"), host="elsewhere")
    with pytest.raises(UsageError, match="no user file of its own"):
        dep.users.add("bob", Secret("y"), host="mlflow.lab")
    plan = dep.users.plan_import(b"bob:{SHA}b=\n", host="mlflow.lab")
    dep.users.import_(plan, host="mlflow.lab")
    assert dep.users.hosts() == ["default", "mlflow.lab"]
    assert [(user.name, user.host) for user in dep.users.list()] == [
        (SERVICE, "default"), ("ada", "default"), (SERVICE, "mlflow.lab"), ("bob", "mlflow.lab"),
    ]  # fmt: skip
    assert [user.name for user in dep.users.list("mlflow.lab")] == [SERVICE, "bob"]
    dep.users.remove(["bob"], host="mlflow.lab")
    with pytest.raises(UsageError, match="no user bob"):
        dep.users.remove(["bob"], host="mlflow.lab")
    assert dep.users.notes() == []


def test_a_stack_that_is_not_written_yet_has_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # `init` adds them before there is anything to ask Compose about
    dep = Deployment(
        tmp_path,
        Settings(format=1, name="t", driver="compose", users=UsersSettings(bcrypt_cost=4)),
    )
    dep.users.add("ada", Secret("x"))
    dep.users.renew()
    assert names(dep) == ["ada", SERVICE]
    assert dep.users.notes() == []


def test_one_file_for_all_names_is_said(dep: Deployment) -> None:
    with pytest.raises(UsageError, match="one user file for all"):
        dep.users.list("mlflow.lab")


@pytest.mark.skipif(shutil.which("htpasswd") is None, reason="apache2-utils is not installed")
@pytest.mark.parametrize("option", ["-m", "-B", "-2", "-5", "-d", "-s"])
def test_every_scheme_of_apaches_htpasswd_is_verified(dep: Deployment, option: str) -> None:
    dep.paths.users.parent.mkdir()
    made = ["htpasswd", "-c", "-b", option, str(dep.paths.users), "ada", "p w/x"]
    subprocess.run(made, check=True, capture_output=True)
    assert dep.users.check("ada", Secret("p w/x")) is Verdict.RIGHT
    assert dep.users.check("ada", Secret("p w/y")) is Verdict.WRONG


@pytest.mark.parametrize(
    "field",
    [
        "{PLAIN}pw", "{SSHA}/ZTxhKwm5BpcFZ2ZnWZ8oc6QY0VhYmNk",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    ],
)  # fmt: skip
def test_other_schemes_are_told_right_from_wrong(dep: Deployment, field: str) -> None:
    dep.paths.users.parent.mkdir()
    dep.paths.users.write_text(f"ada:{field}\n")
    assert dep.users.check("ada", Secret("no such password")) is Verdict.WRONG


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
    "name",
    ["", "a:b", "#a", " a", "a ", "\ta", "a\nb", "a\x00", "a\x85", "\ud800", "é" * 91, "ada\u200b",
     "a\u200dda", "\u202eada", "ada\u2066", "\ufeffada", "a\u00adda", "\U000e0041a"],
)  # fmt: skip
def test_names_that_cannot_be_used(dep: Deployment, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        dep.users.add(name, Secret("x"))
    assert not dep.paths.users.exists()


@pytest.mark.skipif(shutil.which("htpasswd") is None, reason="apache2-utils is not installed")
def test_apache_takes_the_longest_name_also_disabled(dep: Deployment) -> None:
    name = "é" * 90 + "a"
    dep.users.add(name, Secret("x"))
    dep.users.add("bob", Secret("y"))
    with pytest.raises(UsageError, match=r"181 bytes, and .* Apache's htpasswd could not read"):
        dep.users.rename("bob", name + "a")
    for asked in (name, "bob"):
        checked = ["htpasswd", "-vb", str(dep.paths.users), asked, "x" if asked == name else "y"]
        subprocess.run(checked, capture_output=True, check=True)
        dep.users.disable([name])
    assert dep.users.notes()[:-1] == []  # the last one is about the console's own account


def test_names_that_nobody_would_get_now_go_on(dep: Deployment) -> None:
    dep.paths.users.parent.mkdir()
    hidden, long = "ada\u200b", "b" * 254
    dep.paths.users.write_text(f"{hidden}:{{SHA}}x=\n{long}:{{SHA}}x=\n")
    for name in (hidden, long):
        dep.users.passwd(name, Secret("new"))
        assert dep.users.check(name, Secret("new")) is Verdict.RIGHT
        dep.users.disable([name])
        dep.users.enable([name])
    assert dep.users.notes()[0].startswith("Line 2 is longer than 254 bytes: Apache")
    plan = dep.users.plan_import(
        f"cy\u200b:{{SHA}}x=\nok:{{SHA}}x=\n{'c' * 182}:{{SHA}}x=\n".encode()
    )
    assert plan.added == ("ok",)
    assert ["invisible" in each.why or "Apache" in each.why for each in plan.refused] == [
        True, True,
    ]  # fmt: skip


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
from console.core.stack.driver import Guard
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

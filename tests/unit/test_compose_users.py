"""What a Compose project says of how its proxy gets at the user files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from console.core import engine
from console.core.deployment import Paths
from console.core.stack import compose_users, generation
from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver import Guard
from console.core.stack.project import Project

START = ["sh", "/etc/mlflow-proxy/start.sh"]


class Lab:
    """A project, as Compose resolves it, in a real folder; a test changes what it wants."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.users = root / "htpasswd"
        self.users.mkdir(parents=True)
        (self.users / "default").write_bytes(b"ada:{SHA}x=\n")
        generation.advance(self.users)
        self.proxy: dict[str, Any] = {
            "labels": {"mlflow-console.role": "proxy"}, "command": START,
            "environment": {"VIRTUAL_HOST": "mlflow.lab,localhost", "TZ": "UTC"},
            "volumes": [self.bind("nginx", "/etc/mlflow-proxy"),
                        self.bind("htpasswd", "/etc/nginx/htpasswd")],
        }  # fmt: skip
        self.tracking: dict[str, Any] = {"labels": {"mlflow-console.role": "tracking"}}

    def bind(self, source: str, target: str) -> dict[str, str]:
        return {"type": "bind", "source": str(self.root / source), "target": target}

    def guard(self) -> Guard:
        services = {"proxy": self.proxy, "tracking": self.tracking}
        resolved = msgspec.convert({"name": "lab", "services": services}, Project)
        project = SimpleNamespace(
            paths=Paths(self.root), resolved=resolved, name_of=resolved.name_of,
            engine=SimpleNamespace(address="unix:///nowhere"),
        )  # fmt: skip
        return compose_users.guard(cast("ComposeProject", project))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


def running(lab: Lab, monkeypatch: pytest.MonkeyPatch, service: str, **changes: Any) -> None:
    row = {
        "Labels": {engine.SERVICE: service, engine.DIRECTORY: str(lab.root)}, "Command": "",
        "Mounts": [],
    }  # fmt: skip
    monkeypatch.setattr(engine, "listed", lambda *_: [row | changes])


def test_the_shipped_project_needs_nothing(lab: Lab) -> None:
    found = lab.guard()
    assert (found.alone, found.void, found.later) == (frozenset(), {}, "")
    assert (found.doubts, found.notes) == ((), ())


def test_a_file_that_is_mounted_over_the_folder_is_rewritten_in_place(lab: Lab) -> None:
    lab.proxy["volumes"].append(lab.bind("htpasswd/default", "/etc/nginx/htpasswd/default"))
    found = lab.guard()
    assert (found.alone, found.void, found.later) == (frozenset({"default"}), {}, "")
    assert "rewritten in place" in found.notes[0]


def test_without_the_folder_the_generation_is_not_seen(lab: Lab) -> None:
    lab.proxy["volumes"][1] = lab.bind("htpasswd/default", "/etc/nginx/htpasswd/default")
    found = lab.guard()
    assert found.alone == frozenset({"default"})
    assert found.later.startswith("That counts within 30 s: proxy does not see the folder ")
    assert set(found.void) == {"mlflow.lab", "localhost"}


def test_what_runs_counts_as_well_as_the_files(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = {"Type": "bind", "Source": str(lab.users / "default"),
             "Destination": "/etc/nginx/htpasswd/default"}  # fmt: skip
    running(lab, monkeypatch, "proxy", Mounts=[mount])
    found = lab.guard()
    assert found.alone == frozenset({"default"})
    assert found.later
    assert found.void == {}


def test_another_project_of_that_name_is_none_of_ours(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {engine.SERVICE: "proxy", engine.DIRECTORY: "/elsewhere"}
    running(lab, monkeypatch, "proxy", Labels=labels)
    assert lab.guard().later == ""


def test_a_link_on_the_way_is_the_same_file(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lab.root)
    lab.proxy["volumes"][1]["source"] = str(tmp_path / "link" / "htpasswd")
    assert lab.guard().void == {}


@pytest.mark.parametrize(
    ("volumes", "where"),
    [
        ([], "in its image, or is written when it starts"),
        ([("volume", "users")], "lies in users"),
        ([("bind", "/srv/htpasswd")], "lies in /srv/htpasswd"),
        ([("tmpfs", "")], "lies in memory"),
    ],
)
def test_a_file_of_the_image_or_elsewhere_is_not_what_is_edited(
    lab: Lab, volumes: list[tuple[str, str]], where: str
) -> None:
    lab.proxy["volumes"][1:] = [
        {"type": kind, "source": source, "target": "/etc/nginx/htpasswd"}
        for kind, source in volumes
    ]
    found = lab.guard()
    assert set(found.void) == {"default", "mlflow.lab", "localhost"}
    assert found.void["default"].startswith(f"{lab.users / 'default'} is not what proxy reads: ")
    assert where in found.void["default"]
    assert "./htpasswd:/etc/nginx/htpasswd:ro" in found.remedy


def test_a_mount_over_ours_hides_it(lab: Lab) -> None:
    lab.proxy["volumes"].append({
        "type": "bind", "source": "/srv/default", "target": "/etc/nginx/htpasswd/default",
    })  # fmt: skip
    assert set(lab.guard().void) == {"default"}
    lab.proxy["volumes"].pop()
    lab.proxy["tmpfs"] = ["/etc/nginx:size=1m"]
    assert lab.guard().void == {}  # ours lies over that one


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (["sh", "-c", "htpasswd -bc /etc/nginx/htpasswd/default a $$P && nginx"], True),
        (["sh", "-c", "/usr/bin/htpasswd -B -C 12 -c -b /x a b; nginx"], True),
        (["sh", "-c", "echo $$LINE > /etc/nginx/htpasswd/default; exec nginx"], True),
        (["sh", "-c", "echo $$LINE >>/etc/nginx/htpasswd/default; exec nginx"], False),
        (["sh", "-c", "htpasswd -b /etc/nginx/htpasswd/default ci $$P; exec nginx -c /x "], False),
        (["sh", "/etc/nginx/htpasswd/start.sh", "-c"], False),
        (["nginx", "-c", "/etc/mlflow-proxy/nginx.conf"], False),
    ],
)
def test_a_file_that_is_made_at_each_start(lab: Lab, command: list[str], written: bool) -> None:
    lab.proxy |= {"command": None, "entrypoint": command}
    found = lab.guard()
    assert bool(found.void) is written
    if written:
        assert "writes its user file when it starts" in found.void["default"]
        assert "command of proxy" in found.remedy


@pytest.mark.parametrize(
    ("name", "value", "doubt"),
    [
        ("BASIC_AUTH_USERS", "geheim", True), ("HTPASSWD", "geheim", True),
        ("NGINX_BASIC_AUTH_PASSWORD", "geheim", True), ("BASIC_AUTH_USERS", "", False),
        ("BASIC_AUTH_USERS", None, False), ("HTPASSWD_FILE", "/etc/x", False),
        ("BASIC_AUTH_REALM", "MLflow", False), ("VIRTUAL_PORT", "80", False),
    ],
)  # fmt: skip
def test_variables_that_some_images_make_it_of(
    lab: Lab, name: str, value: str | None, doubt: bool
) -> None:
    lab.proxy["environment"][name] = value
    found = lab.guard()
    assert [each.split(" ")[0] for each in found.doubts] == ([name] if doubt else [])
    assert found.void == {}
    assert "geheim" not in " ".join(found.doubts)


@pytest.mark.parametrize(
    "part",
    [
        {"command": ["mlflow", "server", "--app-name", "basic-auth"]},
        {"entrypoint": ["sh", "-c", "exec mlflow server --app-name='basic-auth' --host x"]},
        {"environment": {"MLFLOW_AUTH_CONFIG_PATH": "/etc/auth.ini"}},
    ],
)
def test_mlflows_own_login_is_said(lab: Lab, part: dict[str, Any]) -> None:
    lab.tracking |= part
    [note] = lab.guard().notes
    assert "a log-in of its own" in note
    assert "not what guards it" in note


def test_mlflows_own_login_in_the_image_is_seen_while_it_runs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(lab, monkeypatch, "tracking", Command="mlflow server --app-name basic-auth")
    assert len(lab.guard().notes) == 1


def test_an_edit_by_hand_is_said_until_it_counts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_the_clock() -> None:
        probe = lab.users / "probe"
        began = (lab.users / "default").stat().st_ctime
        probe.touch()
        while probe.stat().st_ctime <= began:
            time.sleep(0.001)
            probe.touch()

    wait_for_the_clock()
    other = lab.users / "moved"
    other.write_bytes(b"bob:{SHA}x=\n")
    os.utime(other, (1, 1))  # an old file that is put in its place is an edit as well
    other.rename(lab.users / "default")
    [note] = lab.guard().notes
    assert note == (
        f"{lab.users / 'default'} was edited outside of the console just now: that counts "
        "within 30 s"
    )
    later = time.time() + 31
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: later)
        assert lab.guard().notes == ()
    wait_for_the_clock()
    generation.advance(lab.users)
    assert lab.guard().notes == ()

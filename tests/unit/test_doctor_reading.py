"""What the doctor reads: nginx's configuration, policies of buckets, what the engine describes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.doctor import nginx
from console.core.doctor.bucket import allows
from console.core.errors import ConsoleError
from console.core.stack import compose_anatomy
from console.core.stack.anatomy import Kind, Published
from console.core.stack.driver import Role
from console.core.stack.project import Part, Port, Volume


def handing(text: str, **more: str) -> nginx.Handing:
    files = {"/etc/nginx/nginx.conf": text} | {f"/etc/nginx/{k}.conf": v for k, v in more.items()}
    [only] = nginx.handings(nginx.parse(files, "/etc/nginx/nginx.conf"))
    return only


# nginx


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("http { a 1; server { location / { proxy_pass http://x; } } }", "1"),
        ("http { a 1; server { a 2; location / { proxy_pass http://x; } } }", "2"),
        ("http { a 1; server { a 2; location / { a 3; proxy_pass http://x; } } }", "3"),
        ("http { server { location / { location /b { a 4; proxy_pass http://x; } } } }", "4"),
        ("http { server { location / { proxy_pass http://x; } } }", ""),
        ('http { # a 9;\n map $b $c { "~^(?<d>x{2})[;]" "a 9; }"; }\n a "5 6"; server {'
         " location / { proxy_pass http://${e}; } } }", "5 6"),
        ("http { server { a '7\\'8'; location / { proxy_pass http://x; } } }", "7\\'8"),
    ],
)  # fmt: skip
def test_a_directive_is_inherited(text: str, value: str) -> None:
    assert handing(text).value("a") == value


def test_includes_are_followed_and_the_file_is_known() -> None:
    main = "http { include sites*.conf; }"
    found = handing(main, sites1="server { server_name a b; include shared.conf; }",
                    shared="size 1; location / { proxy_pass http://x; }")  # fmt: skip
    assert (found.names, found.value("size")) == (("a", "b"), "1")
    assert found.chain[-1].file == "/etc/nginx/shared.conf"


@pytest.mark.parametrize(
    "text",
    [
        "http { server { listen unix:/run/x.sock; location / { proxy_pass http://x; } } }",
        "http { server { location = /health { proxy_pass http://x; } } }",
        "http { server { location /in { internal; proxy_pass http://x; } } }",
        "http { server { return 444; } } stream { server { location / { proxy_pass x; } } }",
    ],
)
def test_what_no_person_goes_through_is_left_out(text: str) -> None:
    assert nginx.handings(nginx.parse({"m": text}, "m")) == []


@pytest.mark.parametrize("text", ["a 'open", "}", "http { a 1; } }", 'b "'])
def test_what_is_no_configuration_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|too many"):
        nginx.parse({"m": text}, "m")


def test_files_that_include_each_other_come_to_an_end() -> None:
    with pytest.raises(ValueError, match="without an end"):
        nginx.parse({"/etc/nginx/a": "include a;"}, "/etc/nginx/a")


@given(st.text(alphabet="ab {};'\"#\\$\n", max_size=60))
def test_nothing_else_than_a_value_error_comes_out(text: str) -> None:
    with contextlib.suppress(ValueError):
        nginx.parse({"m": text}, "m")


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("5g", 5 << 30), ("100M", 100 << 20), ("8k", 8192), ("0", 0), ("12", 12), ("x", None)],
)
def test_sizes(text: str, bytes_: int | None) -> None:
    assert nginx.size(text) == bytes_


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("1h30m", 5400), ("90", 90), ("500ms", 0.5), ("2d", 172800), ("", None),
     ("1x", None)],
)  # fmt: skip
def test_times(text: str, seconds: float | None) -> None:
    assert nginx.seconds(text) == seconds


# Policies


def policy(**changes: Any) -> bytes:
    statement = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"],
                 "Resource": ["arn:aws:s3:::mlflow/*"]}  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | changes]}).encode()


@pytest.mark.parametrize(
    ("document", "can"),
    [
        (b"", set()),
        (policy(), {"read"}),
        (policy(Principal="*", Action="s3:*"), {"list", "read", "write"}),
        (policy(Action=["s3:Put*", "s3:ListBucket"]), {"write", "list"}),
        (policy(Principal={"AWS": ["arn:aws:iam::1:user/x"]}), set()),
        (policy(Effect="Deny"), set()),
        (policy(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), set()),
        (policy(Action="s3:GetBucketLocation"), set()),
        (b"[]", set()),
        (b'{"Statement": "x"}', set()),
    ],
)
def test_what_a_policy_allows_to_everybody(document: bytes, can: set[str]) -> None:
    assert allows(document) == can


def test_a_policy_that_cannot_be_read_is_said() -> None:
    with pytest.raises(ConsoleError, match="policy"):
        allows(b"<xml>\xff")


# Containers, as the engine describes them


EVERYWHERE = "0.0.0.0"  # noqa: S104  # what the engine says of a port; nothing listens here


def container(**changes: Any) -> dict[str, Any]:
    base = {"HostConfig": {"PortBindings": {}}, "NetworkSettings": {"Ports": {}}, "Mounts": []}
    return base | changes


@pytest.mark.parametrize(
    ("mount", "kind"),
    [
        ({"Type": "volume", "Name": "lab_store", "Destination": "/data"}, Kind.VOLUME),
        ({"Type": "volume", "Name": "0a" * 32, "Destination": "/data"}, Kind.ANONYMOUS),
        ({"Type": "bind", "Source": "/srv", "Destination": "/data"}, Kind.FOLDER),
        ({"Type": "tmpfs", "Destination": "/data"}, Kind.MEMORY),
        ({"Type": "bind", "Source": "/srv", "Destination": "/"}, Kind.FOLDER),
        ({"Type": "bind", "Source": "/srv", "Destination": "/database"}, Kind.LAYER),
    ],
)
def test_what_lies_under_the_data(mount: dict[str, Any], kind: Kind) -> None:
    assert compose_anatomy._now(container(Mounts=[mount]), "/data").kind is kind


def test_memory_that_is_mounted_over_a_volume_counts() -> None:
    volume = {"Type": "volume", "Name": "lab_store", "Destination": "/data"}
    host = {"Tmpfs": {"/data/disk": ""}}
    assert compose_anatomy._now(container(Mounts=[volume], HostConfig=host),
                                "/data/disk").kind is Kind.MEMORY  # fmt: skip


@pytest.mark.parametrize(
    ("planned", "kind"),
    [
        (Part(volumes=(Volume("volume", "/data", "store"),)), Kind.VOLUME),
        (Part(volumes=(Volume("volume", "/data"),)), Kind.ANONYMOUS),
        (Part(volumes=(Volume("bind", "/data", "/srv"),)), Kind.FOLDER),
        (Part(tmpfs=("/data:size=1g",)), Kind.MEMORY),
        (Part(), Kind.LAYER),
    ],
)
def test_what_will_lie_under_the_data(planned: Part, kind: Kind) -> None:
    assert compose_anatomy._next(planned, "/data").kind is kind


@pytest.mark.parametrize(
    ("role", "planned", "where"),
    [
        (Role.STORE, Part(command=("server", "/disks/a", "--console-address", ":1")), "/disks/a"),
        (Role.STORE, Part(command=("server", "/d/{1...4}")), "/d"),
        (Role.STORE, Part(), "/data"),
        (Role.DATABASE, Part(), "/var/lib/mysql"),
        (Role.DATABASE, Part(environment={"PGDATA": "/pg/"}), "/pg"),
        (Role.PROXY, Part(), ""),
    ],
)
def test_where_the_data_is(role: Role, planned: Part, where: str) -> None:
    assert compose_anatomy._data_folder(role, planned) == where


def test_ports_that_are_published() -> None:
    bound = {"80/tcp": [{"HostIp": EVERYWHERE, "HostPort": "5000"}],
             "81/udp": [{"HostIp": "", "HostPort": "81"}]}  # fmt: skip
    now = {"80/tcp": [{"HostIp": EVERYWHERE, "HostPort": "5000"},
                      {"HostIp": "::", "HostPort": "5000"}], "443/tcp": None}  # fmt: skip
    stopped = container(HostConfig={"PortBindings": bound})
    running = container(HostConfig={"PortBindings": bound}, NetworkSettings={"Ports": now})
    for each in (stopped, running):
        assert list(compose_anatomy._ports(each)) == [Published("", 5000, 80)]
    host = container(HostConfig={"NetworkMode": "host"})
    assert [str(each) for each in compose_anatomy._ports(host)] == ["every address, all ports"]


def test_ports_that_will_be_published() -> None:
    planned = Part(ports=(Port(80, "5000", "127.0.0.1"), Port(81, "", ""), Port(82, "82")))
    found = list(compose_anatomy._planned_ports(planned))
    assert found == [Published("127.0.0.1", 5000, 80), Published("", 82, 82)]
    assert [each.loopback for each in found] == [True, False]


@pytest.mark.parametrize(
    ("driver", "options", "limited"),
    [
        ("json-file", {}, False), ("", {}, False), ("json-file", {"max-size": "10m"}, True),
        ("json-file", {"max-size": "-1"}, False), ("local", {}, True), ("journald", {}, True),
        ("json-file", None, True),  # Podman does not say
    ],
)  # fmt: skip
def test_which_logs_have_an_end(driver: str, options: dict[str, str] | None, limited: bool) -> None:
    assert compose_anatomy._log(driver, options, "").limited is limited


def test_another_file_for_compose_is_mentioned(tmp_path: Path) -> None:
    assert compose_anatomy._compose_file(tmp_path) == str(tmp_path / "compose.override.yaml")
    (tmp_path / ".env").write_text("#COMPOSE_FILE=x\nCOMPOSE_FILE=compose.yaml:published.yaml\n")
    assert "COMPOSE_FILE of .env" in compose_anatomy._compose_file(tmp_path)

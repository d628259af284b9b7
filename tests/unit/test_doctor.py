"""Each finding of the doctor: what makes it appear, and that mending it makes it go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from console.core.deployment import Deployment
from console.core.doctor import checks, support
from console.core.doctor.certificates import covers
from console.core.doctor.service import DoctorService, Examination, diagnosis
from console.core.errors import ConsoleError, UnreachableError
from console.core.secrets import Secret
from console.core.stack.anatomy import (
    Anatomy,
    Certificate,
    Kind,
    Log,
    Mount,
    Part,
    Password,
    ProxyConfig,
    Published,
    Unseen,
)
from console.core.stack.driver import Finding, Role, Severity
from console.core.stack.places import SqliteFile
from console.core.stack.status import Status
from tests.support import certificates
from tests.tui import fake

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SHIPPED = Path(__file__).parents[2] / "stack" / "nginx"
LOOPBACK = Published("127.0.0.1", 5000, 80)


def part(role: Role, image: str, data: str = "", **changes: object) -> Part:
    mount = Mount(data, Kind.VOLUME, f"lab_{role}") if data else None
    base = Part(
        role.value, role, image, True, f"{role.upper()}_IMAGE in /srv/lab/.env", data, mount, mount,
        log=Log("json-file", True),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def certificate(days: float = 60, name: str = "mlflow.lab") -> Certificate:
    pem, _ = certificates.certificate("mlflow.lab", days, [name], NOW)
    return Certificate("mlflow.lab", "/srv/lab/certs/mlflow.lab.crt", pem)


def proxy_config(changed: Callable[[str], str] = str) -> ProxyConfig:
    files = {f"/etc/mlflow-proxy/{path.name}": path.read_text() for path in SHIPPED.glob("*.conf")}
    server = "/etc/mlflow-proxy/server.conf"
    files[server] = changed(files[server])
    files["/run/mlflow-proxy/servers.conf"] = (
        f"server {{ listen 80; server_name mlflow.lab localhost; include {server}; }}"
    )
    outside = {path: path.replace("/etc/mlflow-proxy", "/srv/lab/nginx") for path in files}
    return ProxyConfig("proxy", "/etc/mlflow-proxy/nginx.conf", files, outside, "reload it")


DATABASE = part(Role.DATABASE, "mysql:9.7", "/var/lib/mysql", version="9.7.4")
STORE = part(Role.STORE, "pgsty/silo:RELEASE.2026-09-16T00-00-00Z", "/data")
TRACKING = part(Role.TRACKING, "mlflow-console/mlflow:3.17.2")
PROXY = part(Role.PROXY, "nginx:1.30", published=(LOOPBACK,))
JOB = part(Role.JOB, "mlflow-console/mlflow:3.17.2")


def anatomy(*changed: Part, **changes: object) -> Anatomy:
    """The shipped stack in good order, but for the parts and fields that are given."""
    parts = {each.name: each for each in (JOB, DATABASE, STORE, TRACKING, PROXY, *changed)}
    base = Anatomy(
        command="docker compose --project-directory /srv/lab", settings="/srv/lab/.env",
        compose_file="/srv/lab/compose.override.yaml",
        address_setting="BIND_ADDRESS in /srv/lab/.env", parts=tuple(parts.values()),
        proxy=proxy_config(), host_names=("mlflow.lab", "localhost"),
        certificate_folder="/srv/lab/certs", certificates=(certificate(),),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def found(what: Anatomy, now: datetime = NOW) -> list[Finding]:
    return checks.findings(what, now)


def test_a_stack_in_good_order_has_no_finding() -> None:
    assert found(anatomy()) == []


def without(name: str) -> Callable[[str], str]:
    """The shipped file without the lines of a directive."""

    def change(text: str) -> str:
        return "\n".join(line for line in text.splitlines() if not line.startswith(name))

    return change


EVERYWHERE = Published("", 3306, 3306)
LAYER, MEMORY = Mount("/var/lib/mysql", Kind.LAYER), Mount("/data", Kind.MEMORY)
ANONYMOUS = Mount("/data", Kind.ANONYMOUS, "0" * 64)
PUBLIC = replace(PROXY, published=(Published("", 5000, 80),))


def password(value: str | None, role: Role = Role.STORE, name: str = "STORE_SECRET_KEY") -> Anatomy:
    secret = None if value is None else Secret(value)
    return anatomy(passwords=(Password(role.value, role, name, "/srv/lab/.env", secret),))


BROKEN: list[tuple[str, Severity, str, Anatomy]] = [
    ("data-without-volume", Severity.ERROR, "database", anatomy(replace(DATABASE, now=LAYER))),
    ("data-without-volume", Severity.ERROR, "store", anatomy(replace(STORE, now=ANONYMOUS))),
    ("data-without-volume", Severity.ERROR, "store", anatomy(replace(STORE, now=MEMORY))),
    ("data-without-volume", Severity.ERROR, "store", anatomy(replace(STORE, next=ANONYMOUS))),
    ("image-not-pinned", Severity.WARNING, "database",
     anatomy(replace(DATABASE, image="mysql:latest"))),
    ("image-not-pinned", Severity.WARNING, "database",
     anatomy(replace(DATABASE, image="registry:5000/lab/mysql"))),
    ("image-not-pinned", Severity.WARNING, "tracking",
     anatomy(replace(TRACKING, image="mlflow-console/mlflow:Latest"))),
    ("database-published", Severity.ERROR, "database",
     anatomy(replace(DATABASE, published=(EVERYWHERE,)))),
    ("database-published", Severity.ERROR, "database",
     anatomy(replace(DATABASE, published=(Published("10.1.2.3", 3306, 3306),)))),
    ("store-published", Severity.ERROR, "store",
     anatomy(replace(STORE, published=(Published("", 0, 0),)))),
    ("tracking-published", Severity.ERROR, "tracking",
     anatomy(replace(TRACKING, published=(Published("::", 5000, 5000),)))),
    ("logs-unlimited", Severity.WARNING, "store",
     anatomy(replace(STORE, log=Log("json-file", False, 3_200_000_000)))),
    ("password-default", Severity.ERROR, "store", password("MinioAdmin")),
    ("password-default", Severity.ERROR, "store", password("", name="MINIO_ROOT_PASSWORD")),
    ("password-default", Severity.ERROR, "database",
     password("root", Role.DATABASE, "DATABASE_ROOT_PASSWORD")),
    ("password-default", Severity.ERROR, "database",
     password(None, Role.DATABASE, "MYSQL_ALLOW_EMPTY_PASSWORD")),
    ("version-unsupported", Severity.WARNING, "database",
     anatomy(replace(DATABASE, version="8.0.36"))),
    ("version-unsupported", Severity.WARNING, "store",
     anatomy(replace(STORE, image="quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"))),
    ("certificate-near-its-end", Severity.WARNING, "proxy",
     anatomy(certificates=(certificate(days=5),))),
    ("certificate-near-its-end", Severity.WARNING, "proxy",
     anatomy(certificates=(certificate(days=0.5),))),
    ("certificate-ended", Severity.ERROR, "proxy",
     anatomy(certificates=(certificate(days=-1),))),
    ("certificate-of-another-name", Severity.WARNING, "proxy",
     anatomy(certificates=(certificate(name="other.lab"),))),
    ("certificate-unreadable", Severity.ERROR, "proxy",
     anatomy(certificates=(Certificate("mlflow.lab", "/srv/lab/certs/mlflow.lab.crt", b"none"),))),
    ("plain-http-public", Severity.ERROR, "proxy", anatomy(PUBLIC, certificates=())),
    ("plain-http-public", Severity.ERROR, "proxy",
     anatomy(PUBLIC, host_names=("mlflow.lab", "bare.lab", "localhost"))),
    ("plain-http-public", Severity.ERROR, "proxy",
     anatomy(PUBLIC, host_names=("localhost",), certificates=())),
    ("proxy-body-size", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(without("client_max_body_size")))),
    ("proxy-body-size", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(lambda text: text.replace("size 5g", "size 512k")))),
    ("proxy-body-unlimited", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(lambda text: text.replace("size 5g", "size 0")))),
    ("proxy-timeout", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(without("proxy_read_timeout")))),
    ("proxy-timeout", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(lambda text: text.replace("read_timeout 1h", "read_timeout 30s")))),
    ("proxy-config-broken", Severity.ERROR, "proxy",
     anatomy(proxy=ProxyConfig("proxy", error="[emerg] unknown directive"))),
    ("could-not-look", Severity.WARNING, "proxy",
     anatomy(proxy=proxy_config(lambda text: text + '"'))),
    ("could-not-look", Severity.WARNING, "",
     anatomy(unseen=(Unseen("the bucket", "it does not run", "up"),))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "severity", "service", "broken"), BROKEN,
    ids=[f"{each[0]}-{index}" for index, each in enumerate(BROKEN)],
)  # fmt: skip
def test_what_makes_a_finding_appear(
    kind: str, severity: Severity, service: str, broken: Anatomy
) -> None:
    """Exactly this one, whole; that it goes is that the same stack in good order has none."""
    [finding] = found(broken)
    assert (finding.id, finding.severity, finding.service) == (kind, severity, service)
    assert finding.title.endswith((")", ".")) or "\n" not in finding.title
    assert finding.fix or kind == "could-not-look"


def test_what_is_only_for_this_machine_is_fine() -> None:
    for address in ("127.0.0.1", "127.8.9.10", "::1", "localhost"):
        here = replace(DATABASE, published=(Published(address, 53306, 3306),))
        assert found(anatomy(here)) == []
    assert found(anatomy(PROXY, certificates=())) == []  # loopback needs no certificate


def test_a_folder_of_ones_own_and_a_digest_are_fine() -> None:
    folder = Mount("/var/lib/mysql", Kind.FOLDER, "/srv/lab/data")
    pinned = replace(DATABASE, now=folder, next=folder, image="mysql@sha256:0123")
    assert found(anatomy(pinned)) == []


def test_nothing_is_made_as_yet() -> None:
    """Before the first `up` the files alone are judged."""
    planned = replace(DATABASE, running=False, now=None)
    assert found(anatomy(planned)) == []
    [finding] = found(anatomy(replace(planned, next=LAYER)))
    assert finding.id == "data-without-volume"


def test_logs_are_one_finding_for_all_and_jobs_are_none() -> None:
    endless = Log("json-file", False, 2_000_000)
    broken = anatomy(*(replace(each, log=endless) for each in (JOB, DATABASE, STORE, PROXY)))
    [finding] = found(broken)
    assert finding.title == "The logs of database, store and proxy grow without a limit"
    assert "database 2.0 MB" in finding.detail
    assert "recreate database store proxy" in finding.fix
    assert finding.service == ""


def test_no_password_is_ever_said() -> None:
    [finding] = found(password("rootpassword", Role.DATABASE, "DATABASE_PASSWORD"))
    whole = finding.title + finding.detail + finding.fix
    assert "rootpassword" not in whole
    assert "DATABASE_PASSWORD in /srv/lab/.env" in finding.fix
    assert "ALTER USER 'mlflow'@'%'" in finding.fix  # the setting alone would lock MLflow out
    assert found(password("Zk4w9oFqGx")) == []


def test_what_to_do_is_meant_for_this_deployment() -> None:
    [body] = found(anatomy(proxy=proxy_config(without("client_max_body_size"))))
    assert body.fix == (
        "write `client_max_body_size 5g;` into /srv/lab/nginx/server.conf; then reload it"
    )
    assert body.detail == "client_max_body_size is not set for mlflow.lab, localhost"
    [plain] = found(anatomy(PUBLIC, certificates=()))
    assert "mlflow.lab.crt and mlflow.lab.key into /srv/lab/certs" in plain.fix
    assert "BIND_ADDRESS in /srv/lab/.env to 127.0.0.1" in plain.fix


def test_errors_stand_before_warnings() -> None:
    both = anatomy(replace(STORE, log=Log("json-file", False)), PUBLIC, certificates=())
    assert [each.severity for each in found(both)] == [Severity.ERROR, Severity.WARNING]


def test_what_could_not_be_seen_for_one_reason_is_one_line() -> None:
    away = [Unseen(what, "the engine is away", "start it") for what in ("containers", "bucket")]
    found_now = checks.unseen([*away, Unseen("proxy", "it is no nginx")])
    assert [each.title for each in found_now] == [
        "Could not look at containers and bucket: the engine is away",
        "Could not look at proxy: it is no nginx",
    ]


# Support


@pytest.mark.parametrize(
    ("image", "version", "day", "ended"),
    [
        ("mysql:5.7", "", date(2023, 10, 31), None),
        ("mysql:5.7", "", date(2023, 11, 1), "MySQL 5.7"),
        ("x/y:z", "8.0.36", date(2026, 5, 1), "MySQL 8.0"),
        ("mysql:8.0", "8.4.3", date(2026, 11, 25), None),  # the server's own word counts
        ("x/y:z", "8.0.36-0ubuntu0.22.04.1", date(2026, 11, 25), None),  # Ubuntu mends it
        ("x/y:z", "10.5.8-MariaDB-1:10.5.8+maria~focal", date(2026, 1, 1), "MariaDB 10.5"),
        ("mariadb:11.4", "", date(2026, 11, 25), None),
        ("postgres:13-alpine", "", date(2026, 11, 25), "PostgreSQL 13"),
        ("postgres:18", "", date(2026, 11, 25), None),
        ("nginx:1.28", "", date(2026, 4, 14), None),
        ("nginx:1.28.3-alpine", "", date(2026, 11, 25), "nginx 1.28"),
        ("nginx:1.30", "", date(2026, 11, 25), None),
        ("nginx:12ab34cd", "", date(2026, 11, 25), None),
        ("mysql:99.1", "", date(2026, 11, 25), None),  # newer than the table
        ("minio/minio:latest", "", date(2026, 4, 1), None),
        ("localhost:5000/minio/minio@sha256:00", "", date(2026, 11, 25), "MinIO"),
        ("pgsty/minio:RELEASE.2026-03-01", "", date(2026, 11, 25), None),
        ("", "", date(2026, 11, 25), None),
    ],
)
def test_until_when_a_version_is_supported(
    image: str, version: str, day: date, ended: str | None
) -> None:
    one = Part("it", Role.DATABASE if "nginx" not in image else Role.PROXY, image, version=version)
    titles = [each.title for each in support.findings(Anatomy(parts=(one,)), day)]
    assert bool(titles) == bool(ended)
    if ended:
        assert titles[0].startswith(f"it: {ended} has had no fixes since ")


@pytest.mark.parametrize(
    ("pattern", "host", "means"),
    [
        ("mlflow.lab", "MLflow.lab", True), ("*.lab", "mlflow.lab", True), ("*.lab", "lab", False),
        ("*.lab", "a.b.lab", False), ("other.lab", "mlflow.lab", False),
    ],
)  # fmt: skip
def test_which_names_a_certificate_covers(pattern: str, host: str, means: bool) -> None:
    assert covers(pattern, host) is means


# The service


class Driver:
    """A driver that has an anatomy, or a reason why not."""

    def __init__(self, made: Anatomy | ConsoleError) -> None:
        self.made = made

    def anatomy(self) -> Anatomy:
        if isinstance(self.made, ConsoleError):
            raise self.made
        return self.made

    def backend_store(self) -> SqliteFile:
        return SqliteFile(Path("/nowhere"))

    def artifact_store(self) -> None:
        raise UnreachableError("The store does not run", "up")


def service(made: Anatomy | ConsoleError, now: Status | None = None) -> DoctorService:
    parts = SimpleNamespace(driver=Driver(made), stack=fake.FakeStack(now=now or fake.status()))
    return DoctorService(cast("Deployment", parts))


def test_what_nobody_can_see_is_a_finding() -> None:
    seen = service(ConsoleError("Compose cannot read it", "mend it")).examine(NOW)
    [finding] = seen.findings
    assert finding.title == "Could not look at how it is put together: Compose cannot read it"
    assert (finding.fix, seen.looked_at) == ("mend it", ())


def test_a_store_that_does_not_run_is_said() -> None:
    seen = service(anatomy(looked_at=("ports",))).examine(NOW)
    assert [each.title for each in seen.findings] == [
        "Could not look at the bucket: The store does not run"
    ]
    assert seen.looked_at == ("ports",)


def test_an_embedded_deployment_has_its_disk_alone() -> None:
    assert service(Anatomy()).doctor(NOW).looked_at == ("services", "disks")
    assert service(Anatomy()).doctor(NOW).findings == ()


WARNING = Finding("disk-nearly-full", Severity.WARNING, "store", "store: 90% of its disk are used")
ERROR = Finding("api-error", Severity.ERROR, "tracking", "MLflow answers 500")
OWN = Finding("store-published", Severity.ERROR, "store", "store: it can be reached")


@pytest.mark.parametrize(
    ("now", "own", "code", "order"),
    [
        (fake.status(), (), 0, []),
        (fake.status(findings=[WARNING]), (), 0, [WARNING.id]),
        (fake.status(findings=[WARNING]), (OWN,), 3, [OWN.id, WARNING.id]),
        (fake.status(findings=[ERROR, WARNING], ok=False), (OWN,), 3,
         [ERROR.id, OWN.id, WARNING.id]),
        (fake.stopped(), (OWN,), 4, ["stopped", OWN.id]),
    ],
)  # fmt: skip
def test_the_exit_code_and_the_order(
    now: Status, own: tuple[Finding, ...], code: int, order: list[str]
) -> None:
    whole = diagnosis(now, Examination(own, (), NOW))
    assert whole.exit_code == code
    assert [each.id for each in whole.findings] == order

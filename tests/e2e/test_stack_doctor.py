"""What the doctor finds in a real stack that is put together badly; mended, it goes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from console.core.deployment import Deployment
from console.core.doctor.service import Diagnosis
from console.core.secrets import Secret
from console.core.stack.driver import Finding, Role
from console.core.stack.places import Bucket
from tests.support import deployments, engine, stacks
from tests.support.certificates import make_certificate
from tests.support.deployments import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-doctor"), pytest.mark.timeout(420)]

CLI = [sys.executable, "-c", "from console.cli.main import run; run()"]
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the fault that is looked for
FLOATING = "mlflow-console-test/doctor-mysql"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("doctor") / "lab-doctor"
    user = ("alice", Secret("correct horse battery"))
    with stacks.stack(directory, user, ["mlflow.lab"]) as deployment:
        yield deployment


@pytest.fixture
def running(made: Deployment) -> Deployment:
    """It, running and in good order; opened anew, as another console would."""
    deployments.up(made)
    opened = Deployment.open(str(made.directory))
    assert ids(opened.doctor.doctor()) == []
    return opened


@pytest.fixture
def changed(made: Deployment) -> Iterator[Path]:
    """Its folder; the files that a test changes are put back, and the stack made of them again."""
    folder = made.directory
    paths = [folder / ".env", folder / "nginx" / "server.conf"]
    before = {path: path.read_bytes() for path in paths}
    yield folder
    for path, content in before.items():
        path.write_bytes(content)
    for path in (folder / "compose.override.yaml", *(folder / "certs").iterdir()):
        path.unlink(missing_ok=True)
    reload = ("exec", "-T", "proxy", "sh", "/etc/mlflow-proxy/reload.sh")
    stacks.compose(folder, *reload, check=False)  # where it runs


def ids(found: Diagnosis) -> list[str]:
    return [each.id for each in found.findings]


def the(found: Diagnosis, kind: str) -> Finding:
    [only] = [each for each in found.findings if each.id == kind]
    return only


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def shell(command: str) -> None:
    """Do what a remedy says, word for word."""
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)


def told(deployment: Deployment, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, "--deployment", str(deployment.directory), "doctor", *options],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_shipped_stack_is_in_good_order(running: Deployment) -> None:
    done = told(running)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("✓ Nothing to mend. Looked at ")
    assert "volumes, images, ports, passwords, logs, host names" in done.stdout
    assert "proxy, bucket." in done.stdout
    found = json.loads(told(running, "--json").stdout)
    assert found["findings"] == []


def test_the_proxy_of_artifacts(running: Deployment, changed: Path) -> None:
    """As nginx itself reads its files; the remedy takes the mended ones into use."""
    server = changed / "nginx" / "server.conf"
    edit(server, "client_max_body_size 5g;", "")
    edit(server, "proxy_read_timeout 1h;", "proxy_read_timeout 60s;")
    found = running.doctor.doctor()
    assert ids(found) == ["proxy-body-size", "proxy-timeout"]
    assert found.exit_code == 0  # warnings alone
    body, times = found.findings
    assert body.detail == (
        "client_max_body_size is not set for proxy.internal, mlflow.lab, localhost"
    )
    assert f"`client_max_body_size 5g;` into {server};" in body.fix
    assert "`proxy_read_timeout 60s;`" in times.fix
    server.write_text(server.read_text() + "client_max_body_size 0;\n")
    assert ids(running.doctor.doctor()) == ["proxy-body-unlimited", "proxy-timeout"]
    edit(server, "client_max_body_size 0;", "client_max_body_size 5g;")
    edit(server, "proxy_read_timeout 60s;", "proxy_read_timeout 1h;")
    shell(times.fix.rpartition("then ")[2])
    assert ids(running.doctor.doctor()) == []


def test_a_configuration_that_nginx_refuses(running: Deployment, changed: Path) -> None:
    server = changed / "nginx" / "server.conf"
    server.write_text(server.read_text() + "no_such_directive 1;\n")
    found = running.doctor.doctor()
    assert (ids(found), found.exit_code) == (["proxy-config-broken"], 3)
    assert 'unknown directive "no_such_directive"' in found.findings[0].detail
    assert f"mend {server};" in found.findings[0].fix
    edit(server, "no_such_directive 1;\n", "")
    assert ids(running.doctor.doctor()) == []


def test_a_public_bucket(running: Deployment) -> None:
    """Asked without a key, and closed by the remedy as it is printed."""
    place = running.driver.artifact_store()
    assert isinstance(place, Bucket)
    client = Minio(
        place.endpoint.removeprefix("http://"), place.access_key, place.secret_key.reveal(),
        secure=False,
    )  # fmt: skip
    client.put_object(place.name, "a b/model +.bin", io.BytesIO(b"x" * 2_000_000), 2_000_000)
    for kind, words in (
        ("download", "list and read"), ("upload", "write"), ("public", "list, read and write"),
    ):  # fmt: skip
        anonymous(running, place.name, kind)
        found = running.doctor.doctor()
        assert (ids(found), found.exit_code) == (["bucket-public"], 3)
        assert found.findings[0].title.endswith(f"whoever reaches the store may {words} artifacts")
        assert ("without a key it answers" in found.findings[0].detail) == (kind != "upload")
    assert place.secret_key.reveal() not in str(found)
    shell(found.findings[0].fix)
    assert ids(running.doctor.doctor()) == []


def anonymous(deployment: Deployment, bucket: str, kind: str) -> None:
    keys = "$(cat /run/stack-secrets/store-access-key):$(cat /run/stack-secrets/store-secret-key)"
    command = f"MC_HOST_it=http://{keys}@127.0.0.1:9000 mc anonymous set {kind} it/{bucket}"
    stacks.run_in(deployment, Role.STORE, ["sh", "-c", command])


def test_a_stack_that_is_put_together_badly(running: Deployment, changed: Path) -> None:
    """One `up` with everything wrong at once, one with everything as it was shipped."""
    port = free_port()
    engine.docker("tag", engine.images()["DATABASE_IMAGE"], f"{FLOATING}:latest")
    (changed / "compose.override.yaml").write_text(f"""
services:
  database:
    logging: !reset {{}}
    ports: ["{EVERYWHERE}:{port}:3306"]
    networks: [inside, outside]
    environment: {{ APP_PASSWORD: Root }}
  store:
    tmpfs: [/data]
    volumes: !override ["secrets:/run/stack-secrets:ro"]
""")
    with (changed / ".env").open("a") as file:
        file.write(f"BIND_ADDRESS={EVERYWHERE}\nVIRTUAL_HOST=mlflow.lab,bare.lab,localhost\n"
                   f"DATABASE_IMAGE={FLOATING}\n")  # fmt: skip
    make_certificate(changed / "certs", "mlflow.lab", days=5, names=["other.lab"])
    try:
        deployments.up(running)
        found = running.doctor.doctor()
    finally:
        engine.docker("rmi", f"{FLOATING}:latest")
    assert sorted(ids(found)) == [
        "certificate-near-its-end", "certificate-of-another-name", "data-without-volume",
        "database-published", "image-not-pinned", "logs-unlimited", "password-default",
        "plain-http-public",
    ]  # fmt: skip
    assert found.exit_code == 3
    assert the(found, "data-without-volume").service == "store"
    assert the(found, "data-without-volume").detail == "/data lies in memory"
    assert f"every address, port {port}" in the(found, "database-published").title
    assert "bare.lab is served without a certificate" in the(found, "plain-http-public").title
    assert "9.7" in the(found, "image-not-pinned").detail  # as the server itself says
    assert the(found, "logs-unlimited").service == "database"
    assert "Root" not in the(found, "password-default").title.partition(":")[2]
    done = told(running)
    assert done.returncode == 3
    assert all(f"{each.title}\n" in done.stdout for each in found.findings)
    assert "Root" not in done.stdout
    for path in (changed / "certs").iterdir():
        path.unlink()
    (changed / "compose.override.yaml").unlink()
    settings = (changed / ".env").read_text().splitlines(keepends=True)[:-3]
    (changed / ".env").write_text("".join(settings))
    deployments.up(running)
    assert ids(running.doctor.doctor()) == []


def test_certificates_at_their_end(running: Deployment, changed: Path) -> None:
    make_certificate(changed / "certs", "mlflow.lab", days=-1)
    found = running.doctor.doctor()
    assert (ids(found), found.exit_code) == (["certificate-ended"], 3)
    make_certificate(changed / "certs", "mlflow.lab", days=90)
    shell(found.findings[0].fix.rpartition("then ")[2])
    assert ids(running.doctor.doctor()) == []


def test_a_password_that_everybody_knows(running: Deployment, changed: Path) -> None:
    """Seen in the settings alone; an empty one is made up and is fine."""
    with (changed / ".env").open("a") as file:
        file.write("STORE_SECRET_KEY='minioadmin'\n")
    found = running.doctor.examine()
    [finding] = [each for each in found.findings if each.id == "password-default"]
    assert finding.service == "store"
    assert "minioadmin" not in str(found)


def test_what_can_be_said_of_a_stack_that_is_stopped(running: Deployment, changed: Path) -> None:
    """From its files; that its bucket cannot be asked is said."""
    deployments.down(running)
    edit(changed / "nginx" / "server.conf", "proxy_read_timeout 1h;", "")
    found = running.doctor.doctor()
    assert ids(found) == ["stopped", "proxy-timeout", "could-not-look"]
    assert found.exit_code == 4
    assert the(found, "could-not-look").title == (
        "Could not look at the bucket: The store does not run"
    )
    assert "disks" not in found.looked_at


def test_an_engine_that_is_away(
    running: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    away = Deployment.open(str(running.directory))
    found = away.doctor.doctor()
    assert (ids(found), found.exit_code) == (["engine-unreachable", "could-not-look"], 4)
    assert found.findings[1].title.startswith(
        "Could not look at the containers (only at the files) and the bucket: The Docker engine"
    )
    done = told(away)
    assert (done.returncode, done.stderr) == (4, "")

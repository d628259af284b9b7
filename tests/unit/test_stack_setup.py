"""Planning a stack on Docker Compose, and the files that it is made of."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from console.core import setup, shipped
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.secrets import Secret
from console.core.stack import compose_setup
from tests.support import engine
from tests.support.deployments import free_port

pytestmark = pytest.mark.e2e  # a plan asks the engine


def plan(directory: Path, **asked: object) -> setup.Plan:
    engine.require_engine()
    asked = {"port": free_port(), "tls_port": free_port(), **asked}
    return setup.plan(directory, "compose", **asked)  # type: ignore[arg-type]  # as given


def refused(call: Callable[[], object]) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        call()
    assert caught.value.hint
    return caught.value


def pair(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"),
         "-out", str(folder / f"{name}.crt")],
        check=True, capture_output=True,
    )  # fmt: skip


def values(directory: Path) -> dict[str, str]:
    lines = (directory / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def create(chosen: setup.Plan) -> Deployment:
    for _ in setup.create(chosen, ("alice", Secret("geheim")), threading.Event()):
        pass
    return Deployment.open(str(chosen.directory))


def test_a_plan_changes_nothing_and_says_what_it_would_do(tmp_path: Path) -> None:
    chosen = plan(tmp_path / "lab", host_names=["MLflow.lab"], size="standard")
    assert list(tmp_path.iterdir()) == []
    text = "\n".join(chosen.steps)
    for word in (f"ports {chosen.port} and ", "mlflow.lab, localhost", "size standard", "0600"):
        assert word in text
    assert chosen.planned.readable == ""


def test_what_is_written(tmp_path: Path) -> None:
    made = create(plan(tmp_path / "lab", host_names=["mlflow.lab"], size="standard"))
    found = values(made.directory)
    assert found["VIRTUAL_HOST"] == "mlflow.lab,localhost"
    assert (found["BIND_ADDRESS"], found["STACK_SIZE"]) == ("127.0.0.1", "standard")
    secrets = [found[name] for name in ("DATABASE_PASSWORD", "DATABASE_ROOT_PASSWORD",
                                        "STORE_ACCESS_KEY", "STORE_SECRET_KEY")]  # fmt: skip
    assert len(set(secrets)) == 4
    assert min(map(len, secrets)) >= 20
    stamp = json.loads((made.directory / "stack.json").read_text())
    for name in stamp["files"]:
        assert (made.directory / name).read_bytes() == (shipped.folder() / name).read_bytes()
    assert {"compose.yaml", "nginx/server.conf", "mlflow/Dockerfile", ".dockerignore"} <= set(
        stamp["files"]
    )
    assert made.driver.host_names == ("mlflow.lab",)
    assert made.driver.url == f"http://localhost:{found['HTTP_PORT']}"
    assert made.driver.ports == {int(found["HTTP_PORT"]), int(found["HTTPS_PORT"])}
    assert [service.name for service in made.driver.services()] == sorted(
        ["bucket", "database", "proxy", "secrets", "store", "tracking"]
    )
    assert made.stack.status().exit_code == 4


def test_public_without_certificates_wants_a_yes(tmp_path: Path) -> None:
    asked = {"public": True, "host_names": ["mlflow.lab"]}
    assert plan(tmp_path / "lab", **asked).planned.readable == (
        "mlflow.lab will be served without a certificate, to every address: passwords travel "
        "readable"
    )
    assert "this machine" in plan(tmp_path / "lab", public=True).planned.readable
    pair(tmp_path / "tls", "mlflow.lab")
    chosen = plan(tmp_path / "lab", certificates=tmp_path / "tls", **asked)
    assert chosen.planned.readable == ""
    made = create(chosen)
    assert values(made.directory)["BIND_ADDRESS"] == "0.0.0.0"  # noqa: S104  # asked for
    assert made.driver.url == f"https://mlflow.lab:{values(made.directory)['HTTPS_PORT']}"
    key = made.directory / "certs" / "mlflow.lab.key"
    assert key.read_bytes() == (tmp_path / "tls" / key.name).read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600


def test_certificates_that_cannot_be_meant(tmp_path: Path) -> None:
    pair(tmp_path / "tls", "other.lab")
    asked = {"certificates": tmp_path / "tls", "host_names": ["mlflow.lab"]}
    error = refused(lambda: plan(tmp_path / "lab", **asked))
    assert error.message.endswith("holds no certificate of mlflow.lab, localhost")
    (tmp_path / "tls" / "mlflow.lab.crt").write_text("certificate")
    error = refused(lambda: plan(tmp_path / "lab", **asked))
    assert error.message.endswith("mlflow.lab.crt is there, and mlflow.lab.key is not")
    (tmp_path / "tls" / "mlflow.lab.key").write_bytes(
        (tmp_path / "tls" / "other.lab.key").read_bytes()
    )
    error = refused(lambda: plan(tmp_path / "lab", **asked))
    assert "mlflow.lab.crt and mlflow.lab.key cannot be used together" in error.message
    error = refused(lambda: plan(tmp_path / "lab", certificates=tmp_path / "none"))
    assert error.message == f"There is no folder {tmp_path / 'none'}"


def test_values_that_cannot_be_meant(tmp_path: Path) -> None:
    port = free_port()
    for asked in ({"size": "huge"}, {"port": port, "tls_port": port}, {"host_names": ["a b"]}):
        error = refused(lambda asked=asked: plan(tmp_path / "lab", **asked))  # type: ignore[misc]
        assert isinstance(error, UsageError)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError):
        setup.plan(tmp_path / "lab", "embedded", public=True)
    with pytest.raises(UsageError):
        setup.plan(tmp_path / "lab", "embedded", size="standard")
    with pytest.raises(UsageError):
        setup.plan(tmp_path / "lab", "podman")


def test_what_env_says_must_be_meant(tmp_path: Path) -> None:
    made = create(plan(tmp_path / "lab"))
    path = made.directory / ".env"
    before = path.read_text()
    for line, word in (("VIRTUAL_HOST=mlflow lab,localhost", "'mlflow lab' in VIRTUAL_HOST"),
                       ("STACK_SIZE=smal", "STACK_SIZE in ")):  # fmt: skip
        path.write_text(f"{before}{line}\n")
        assert word in refused(made.driver.check_start).message
    path.unlink()
    assert "is missing: it holds the passwords" in refused(made.stack.status).message


def test_every_setting_of_the_example_is_used_by_the_stack() -> None:
    text = (shipped.folder() / ".env.example").read_text()
    files = [shipped.folder() / name for name in ("compose.yaml", "published.yaml")]
    used = "".join(path.read_text() for path in files)
    for line in text.splitlines():
        match = compose_setup._SETTING.match(line)
        if match and match[1] not in ("COMPOSE_FILE",):
            assert f"${{{match[1]}:" in used, match[1]

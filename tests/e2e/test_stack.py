"""The shipped stack on real parts: who gets in, by which name, and where the data lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pymysql  # before another account, which cannot read the checkout, needs it
import pytest
import urllib3

from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.secrets import Secret
from console.core.stack.driver import Health, Role, State
from tests.support import deployments, engine, machine, stacks
from tests.support.deployments import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

ALICE = ("alice", Secret("correct horse battery"))
BOB = ("bob", "on the other host")
TLS_NAME = "secure.example"
CALL = "/api/2.0/mlflow/experiments/search?max_results=1"

# The second guide's script, with the address and the password where they belong.
SCRIPT = """
import mlflow
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

data = load_iris()
train, test, wanted, right = train_test_split(data["data"], data["target"], test_size=0.2,
                                              random_state=42)
name = "RF Tree Numbers"
found = mlflow.get_experiment_by_name(name)
experiment = found.experiment_id if found else mlflow.create_experiment(name)
for trees in (1, 2, 3):
    with mlflow.start_run(experiment_id=experiment):
        forest = RandomForestClassifier(trees).fit(train, wanted)
        mlflow.log_param("n_est", trees)
        mlflow.log_metric("accuracy", forest.score(test, right))
        # MLflow's new default form refuses the guide's forests.
        mlflow.sklearn.log_model(forest, name="sklearn-model", serialization_format="cloudpickle")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running stack: alice in the shared file, bob in that of example.com, one name with TLS."""
    directory = tmp_path_factory.mktemp("stack") / "lab-stack"
    names = ("example.com", "shared.example", TLS_NAME)
    certificates = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={TLS_NAME}", "-addext", f"subjectAltName=DNS:{TLS_NAME}",
         "-keyout", str(certificates / f"{TLS_NAME}.key"),
         "-out", str(certificates / f"{TLS_NAME}.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    with stacks.stack(directory, ALICE, names, certificates=certificates) as made:
        subprocess.run(
            ["htpasswd", "-ciB", "-C", "10", str(directory / "htpasswd" / "example.com"), BOB[0]],
            input=BOB[1], text=True, check=True, capture_output=True,
        )  # fmt: skip
        deployments.up(made)
        yield made


def port(stack: Deployment) -> int:
    return urlsplit(stack.driver.own_url).port or 80


def ask(
    stack: Deployment, user: tuple[str, str] | None, host: str = "localhost", path: str = CALL
) -> tuple[int, str]:
    """Status and body of one request through the proxy; 0 where it hangs up without an answer.

    Where too many passwords were tried it waits, as MLflow's client does.
    """
    headers = {"Host": host}
    if user:
        headers |= urllib3.make_headers(basic_auth=":".join(user))
    url = f"http://127.0.0.1:{port(stack)}{path}"
    patient = urllib3.Retry(
        60, connect=False, read=False, other=False, status_forcelist=[429], raise_on_status=False
    )
    with urllib3.PoolManager(retries=patient, timeout=20) as pool:
        try:
            answer = pool.request("GET", url, headers=headers, redirect=False)
        except urllib3.exceptions.ProtocolError:
            return 0, ""
    return answer.status, answer.data.decode()


ALICES = (ALICE[0], ALICE[1].reveal())


def test_every_service_is_healthy(stack: Deployment) -> None:
    status = stack.stack.status()
    assert (status.healthy, status.exit_code, status.findings) == (True, 0, ())
    roles = {each.name: (each.role, each.state, each.health) for each in status.services}
    running = (State.RUNNING, Health.HEALTHY)
    assert roles == {
        "secrets": (Role.JOB, State.EXITED, Health.HEALTHY),
        "bucket": (Role.JOB, State.EXITED, Health.HEALTHY),
        "database": (Role.DATABASE, *running),
        "store": (Role.STORE, *running),
        "tracking": (Role.TRACKING, *running),
        "proxy": (Role.PROXY, *running),
    }
    assert status.api.version == "3.17.2"
    for each in status.services:
        assert each.role is Role.JOB or (each.memory_bytes and each.cpu_percent is not None), each


def test_no_and_wrong_passwords_are_refused_everywhere(stack: Deployment) -> None:
    for path in ("/", CALL, "/version", "/graphql", "/api/2.0/mlflow-artifacts/artifacts/1/x"):
        for user in (None, ("alice", "wrong"), ("mallory", "x"), ("alice", "")):
            assert ask(stack, user, path=path)[0] == 401, (path, user)
    assert ask(stack, None, path="/health") == (200, "OK")
    assert ask(stack, ALICES)[0] == 200


def test_each_name_has_its_users_and_an_unknown_one_has_nothing(stack: Deployment) -> None:
    for _ in range(2):  # also right after a success on the other name
        assert ask(stack, ALICES, "localhost")[0] == 200
        assert ask(stack, ALICES, "shared.example")[0] == 200
        assert ask(stack, ALICES, "example.com")[0] == 401
        assert ask(stack, BOB, "example.com")[0] == 200
        assert ask(stack, BOB, "EXAMPLE.com:80")[0] == 200
        assert ask(stack, BOB, "localhost")[0] == 401
    for unknown in ("other.example", "127.0.0.1", "example.com.evil", ""):
        assert ask(stack, ALICES, unknown) in ((0, ""), (400, ask(stack, ALICES, unknown)[1]))


def curl(stack: Deployment, scheme: str, name: str, number: int, *more: str) -> tuple[int, str]:
    """Exit code and output of curl; the certificate is checked against the one of `TLS_NAME`."""
    done = subprocess.run(
        ["curl", "-sS", "-m", "20", "--resolve", f"{name}:{number}:127.0.0.1",
         "--cacert", str(stack.directory / "certs" / f"{TLS_NAME}.crt"),
         "-w", "\n%{http_code} %{http_version} %{redirect_url}", *more,
         f"{scheme}://{name}:{number}{CALL}"],
        input=f'user = "{ALICES[0]}:{ALICES[1]}"\n', capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_name_with_a_certificate_is_served_by_https_alone(stack: Deployment) -> None:
    assert stack.driver.url.startswith(f"https://{TLS_NAME}:")
    number = urlsplit(stack.driver.url).port or 443
    login = ("-K", "-")
    code, said = curl(stack, "https", TLS_NAME, number, *login)
    assert (code, said.splitlines()[-1].strip()) == (0, "200 2")
    assert '"experiments"' in said
    assert curl(stack, "https", TLS_NAME, number)[1].splitlines()[-1].startswith("401")
    code, said = curl(stack, "http", TLS_NAME, port(stack))
    assert said.splitlines()[-1] == f"308 1.1 https://{TLS_NAME}:{number}{CALL}"
    code, said = curl(stack, "https", "example.com", number, *login)  # has no certificate
    assert code == 35, said
    key = stack.directory / "certs" / f"{TLS_NAME}.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_new_certificate_is_taken_without_a_restart(stack: Deployment) -> None:
    for kind in ("crt", "key"):
        old = stack.directory / "certs" / f"{TLS_NAME}.{kind}"
        shutil.copy(old, old.with_name(f"shared.example.{kind}"))
    try:
        stacks.run_in(stack, Role.PROXY, ["sh", "/etc/mlflow-proxy/reload.sh"])
        engine.wait_until(lambda: ask(stack, None, "shared.example")[0] == 308)
    finally:
        for kind in ("crt", "key"):
            (stack.directory / "certs" / f"shared.example.{kind}").unlink()
        stacks.run_in(stack, Role.PROXY, ["sh", "/etc/mlflow-proxy/reload.sh"])
    engine.wait_until(lambda: ask(stack, ALICES, "shared.example")[0] == 200)


def test_half_a_certificate_is_no_reason_to_serve_readable(stack: Deployment) -> None:
    half = stack.directory / "certs" / "shared.example.key"
    half.write_text("half")
    try:
        with pytest.raises(ConsoleError, match="half a certificate"):
            stacks.run_in(stack, Role.PROXY, ["sh", "/etc/mlflow-proxy/reload.sh"])
    finally:
        half.unlink()


def test_a_database_that_was_stopped_is_named_and_comes_back(stack: Deployment) -> None:
    stacks.compose(stack.directory, "stop", "database")
    # Until its own check has failed, which is what Compose would judge it by.
    engine.wait_until(
        lambda: any(each.role is Role.TRACKING and each.health is Health.UNHEALTHY
                    for each in stack.driver.services()), 120,
    )  # fmt: skip
    status = stack.stack.status()
    assert not status.healthy
    assert status.findings[0].title == "database: stopped"
    deployments.up(stack)
    assert stack.stack.status().healthy


def test_the_assistant_is_shut_in_every_spelling(stack: Deployment) -> None:
    for path in (
        "/ajax-api/3.0/mlflow/assistant/config", "/api/2.0/mlflow/assistant/config",
        "//ajax-api//3.0/mlflow/assistant/config", "/x/../ajax-api/3.0/mlflow/assistant/config",
        "/ajax-api/3.0/mlflow/%61ssistant/config", "/AJAX-API/3.0/mlflow/assistant/config",
    ):  # fmt: skip
        assert ask(stack, ALICES, path=path)[0] == 403, path


def test_a_change_of_a_password_counts_at_once(stack: Deployment) -> None:
    stack.users.add("carol", Secret("first"))
    assert ask(stack, ("carol", "first"))[0] == 200  # from now on the proxy remembers her
    stack.users.passwd("carol", Secret("second"))
    assert ask(stack, ("carol", "first"))[0] == 401
    assert ask(stack, ("carol", "second"))[0] == 200
    stack.users.remove(["carol"])
    assert ask(stack, ("carol", "second"))[0] == 401


def test_a_name_in_the_log_breaks_no_line(stack: Deployment) -> None:
    ask(stack, ("ma\tl\nlory", "x"), path="/?a=%0A%09b")

    def written() -> list[str]:  # every second
        lines = [line.text for line in stack.stack.logs(["proxy"], tail=20)]
        return [line for line in lines if "%0A%09b" in line]

    [mine] = engine.wait_until(written, 10)
    assert "ma\\x09l\\x0Alory" in mine


def test_the_guides_script_runs_and_its_models_lie_in_the_bucket(
    stack: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "example.py").write_text(SCRIPT)
    (tmp_path / "env").write_text(
        f"MLFLOW_TRACKING_URI=http://localhost:{port(stack)}\n"
        f"MLFLOW_TRACKING_USERNAME={ALICES[0]}\nMLFLOW_TRACKING_PASSWORD={ALICES[1]}\n"
        "MLFLOW_DISABLE_TELEMETRY=true\n"
    )
    said = subprocess.run(
        ["docker", "run", "--rm", "--network=host", "--user=0", f"--volume={tmp_path}:/guide:ro",
         f"--env-file={tmp_path / 'env'}", engine.images()["MLFLOW_IMAGE"],
         "python", "/guide/example.py"],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    [found] = [each for each in stack.experiments.list() if each.name == "RF Tree Numbers"]
    assert found.runs == 3
    runs = list(stack.runs.list("RF Tree Numbers"))
    assert {run.params["n_est"] for run in runs} == {"1", "2", "3"}
    assert all(0.5 < run.metrics["accuracy"] <= 1 for run in runs)
    script = (
        "import boto3, sys\nsys.path.insert(0, '/opt/stack')\nfrom tracking import environment\n"
        "e = environment()\n"
        "s = boto3.client('s3', endpoint_url=e['MLFLOW_S3_ENDPOINT_URL'],"
        " aws_access_key_id=e['AWS_ACCESS_KEY_ID'],"
        " aws_secret_access_key=e['AWS_SECRET_ACCESS_KEY'])\n"
        "print(*(o['Key'] for o in s.list_objects_v2(Bucket='mlflow')['Contents']), sep='\\n')\n"
    )
    keys = stacks.run_in(stack, Role.TRACKING, ["python", "-c", script])
    models = [key for key in keys if key.endswith("/model.skops") or key.endswith("/model.pkl")]
    assert len(models) == 3, keys
    assert all(key.startswith(f"{found.experiment_id}/models/m-") for key in models)


def addresses(stack: Deployment) -> dict[str, list[str]]:
    """The addresses of the containers, by service."""
    found: dict[str, list[str]] = {}
    ids = stacks.compose(stack.directory, "ps", "--quiet").split()
    for each in json.loads(engine.docker("inspect", *ids)):
        networks = each["NetworkSettings"]["Networks"].values()
        name = each["Config"]["Labels"]["com.docker.compose.service"]
        found[name] = [network["IPAddress"] for network in networks if network["IPAddress"]]
    return found


def status_of(pool: urllib3.PoolManager, url: str, **headers: str) -> int:
    """The status of an answer; 0 where nothing listens."""
    try:
        return pool.request("GET", url, headers=headers).status
    except urllib3.exceptions.HTTPError:
        return 0


def logged_in(host: str, user: str) -> int:
    """MySQL's error at a log-in without a password; 0 where it let us in."""
    try:
        pymysql.connect(host=host, user=user, connect_timeout=3).close()
    except pymysql.OperationalError as error:
        return int(error.args[0])
    return 0


def test_another_account_gets_nothing_without_a_password(stack: Deployment) -> None:
    where = addresses(stack)
    here = f"http://127.0.0.1:{port(stack)}{CALL}"

    def outside() -> dict[str, object]:
        pool = urllib3.PoolManager(retries=False, timeout=3)
        inner = {"Host": "proxy.internal", "X-User-File": "nothing"}
        return {
            "tracking": {status_of(pool, f"http://{where['tracking'][0]}:{number}/")
                         for number in (80, 5000, 8000, 8080)},
            "store": status_of(pool, f"http://{where['store'][0]}:9000/mlflow?list-type=2"),
            "database": {logged_in(where["database"][0], user) for user in ("root", "mlflow", "")},
            "proxy": {status_of(pool, f"http://{each}{CALL}", **inner) for each in where["proxy"]},
            "here": status_of(pool, here, Host="localhost"),
            "volumes": os.access("/var/lib/docker/volumes", os.X_OK),
        }  # fmt: skip

    assert machine.as_nobody(outside) == {
        "tracking": {0}, "store": 403, "database": {1045}, "proxy": {401}, "here": 401,
        "volumes": False,
    }  # fmt: skip


def test_no_secret_in_a_command_line_nor_in_a_log(stack: Deployment) -> None:
    secrets = {
        line.partition("=")[2] for line in (stack.directory / ".env").read_text().splitlines()
        if line.split("=")[0].endswith(("PASSWORD", "_KEY"))
    }  # fmt: skip
    assert len(secrets) == 4
    assert all(len(secret) >= 20 for secret in secrets)
    lines = subprocess.run(
        ["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True
    ).stdout
    config = json.loads(stacks.compose(stack.directory, "config", "--format", "json"))
    commands = json.dumps([
        [each.get("command"), each.get("entrypoint"), each.get("healthcheck")]
        for each in config["services"].values()
    ])  # fmt: skip
    logs = stacks.compose(stack.directory, "logs", "--no-color")
    for secret in (*secrets, *ALICES[1:]):
        assert secret not in lines
        assert secret not in commands
        assert secret not in logs


def test_files_are_for_the_proxy_and_secrets_for_nobody_else(stack: Deployment) -> None:
    root = stack.directory
    modes = {
        name: (root / name).stat().st_mode & 0o777
        for name in ("", ".env", "console.toml", "htpasswd", "htpasswd/default", "certs",
                     "secrets/service-user", "htpasswd/.generation")
    }  # fmt: skip
    assert modes == {
        "": 0o700, ".env": 0o600, "console.toml": 0o600, "htpasswd": 0o755,
        "htpasswd/default": 0o644, "certs": 0o755, "secrets/service-user": 0o600,
        "htpasswd/.generation": 0o755,
    }  # fmt: skip


def test_by_hand_in_the_same_folder(stack: Deployment) -> None:
    """Down and up again as a person would; what was there is there."""
    before = [(each.name, each.created_at) for each in stack.experiments.list()]
    stacks.compose(stack.directory, "stop")
    status = stack.stack.status()
    assert (status.exit_code, [each.id for each in status.findings]) == (4, ["stopped"])
    stacks.compose(stack.directory, "down")
    assert stack.stack.status().exit_code == 4
    began = time.monotonic()
    stacks.compose(stack.directory, "up", "--detach", "--wait")
    assert time.monotonic() - began < 200
    assert stack.stack.status().healthy
    assert ask(stack, ALICES)[0] == 200
    assert [(each.name, each.created_at) for each in stack.experiments.list()] == before


def test_by_hand_without_the_console(tmp_path: Path) -> None:
    """`cp .env.example .env && docker compose up -d`, and nothing but htpasswd."""
    from console.core import shipped

    engine.require_engine()
    folder = tmp_path / "by-hand"
    shutil.copytree(shipped.folder(), folder)
    shutil.copy(folder / ".env.example", folder / ".env")
    ports = [free_port(), free_port()]
    with (folder / ".env").open("a") as file:
        file.write(f"COMPOSE_PROJECT_NAME=by-hand-{ports[0]}\n")
        file.write(f"HTTP_PORT={ports[0]}\nHTTPS_PORT={ports[1]}\n")
    stacks.add_images(folder)
    url = f"http://localhost:{ports[0]}{CALL}"
    try:
        stacks.compose(folder, "up", "--detach", "--wait")
        with urllib3.PoolManager(retries=False, timeout=20) as pool:
            headers = urllib3.make_headers(basic_auth="dave:pass word")
            assert pool.request("GET", url).status == 401
            assert pool.request("GET", url, headers=headers).status == 403  # no user file yet
            subprocess.run(
                ["htpasswd", "-cbB", str(folder / "htpasswd" / "default"), "dave", "pass word"],
                check=True, capture_output=True,
            )  # fmt: skip
            assert pool.request("GET", url, headers=headers).status == 200
            assert pool.request("GET", url).status == 401
    finally:
        stacks.remove(folder)

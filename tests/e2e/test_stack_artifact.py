"""A large artifact through the proxy: unchanged, and what nginx and MLflow take meanwhile."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.support import containers, deployments, engine, stacks, unavailable

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack-artifact"), pytest.mark.timeout(300)]

ALICE = ("alice", Secret("correct horse battery"))
MB, MIB = 10**6, 2**20
SIZE = 1024 * MIB
# What both take beside the artifact: remembered verdicts, a cache of Python's.
CRUMBS = 2 * MIB
NGINX_MEMORY, MLFLOW_MEMORY = 64 * MB, 200 * MB


@dataclass(frozen=True)
class Place:
    """A running stack, and a run in it.

    Attributes:
        folder: The URL below which its artifacts lie.
    """

    deployment: Deployment
    run_id: str

    @property
    def folder(self) -> str:
        own = self.deployment.driver.own_url
        return f"{own}/api/2.0/mlflow-artifacts/artifacts/0/{self.run_id}/artifacts"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running stack with alice and a run."""
    if os.geteuid() != 0:
        unavailable("only root can look into containers")
    with stacks.stack(
        tmp_path_factory.mktemp("artifact") / f"artifact-{os.getpid()}", ALICE
    ) as made:
        deployments.up(made)
        with urllib3.PoolManager(retries=False, timeout=60) as pool:
            answer = pool.request(
                "POST", f"{made.driver.own_url}/api/2.0/mlflow/runs/create", headers=headers(),
                json={"experiment_id": "0"},
            )  # fmt: skip
        yield Place(made, answer.json()["run"]["info"]["run_id"])


@dataclass(frozen=True)
class Taken:
    """Bytes: memory that is a program's own, and files, deleted ones that are open included."""

    nginx_memory: int
    nginx_files: int
    mlflow_memory: int
    mlflow_files: int


def taken(place: Place) -> Taken:
    """What both take now."""
    found = containers.ids(place.deployment.directory)
    proxy, tracking = found["proxy"], found["tracking"]
    cache = os.statvfs(containers.root(proxy) / "var/cache/nginx")
    return Taken(
        containers.memory(proxy, "Anonymous"),
        files(proxy) + (cache.f_blocks - cache.f_bfree) * cache.f_frsize,
        containers.memory(tracking, "Anonymous"),
        files(tracking),
    )


def files(container: str) -> int:
    """What a container has written to the disk, its volumes not included."""
    total = int(engine.docker("inspect", "--size", "--format", "{{.SizeRw}}", container))
    for pid in containers.pids(container):
        with suppress(FileNotFoundError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    about = link.stat()
                    if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                        total += about.st_blocks * 512
    return total


@contextmanager
def watched(place: Place) -> Iterator[list[Taken]]:
    """While the block runs, what both take beyond what they took before; the peak is the last."""
    before, more = taken(place), []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            now = zip(astuple(taken(place)), astuple(before), strict=True)
            more.append(Taken(*(after - base for after, base in now)))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield more
        finally:
            done.set()
            watching.result()
    assert len(more) >= 4, "it was too fast to be watched"
    more.append(Taken(*(max(each) for each in zip(*map(astuple, more), strict=True))))


def headers(password: str = ALICE[1].reveal()) -> dict[str, str]:
    return dict(urllib3.make_headers(basic_auth=f"{ALICE[0]}:{password}"))


def put(place: Place, name: str, size: int = SIZE) -> str:
    """Send random bytes; returns their SHA-256."""
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            digest.update(block)
            yield block

    with urllib3.PoolManager(retries=False, timeout=120) as pool:
        answer = pool.request(
            "PUT", f"{place.folder}/{name}", body=body(),
            headers=headers() | {"Content-Length": str(size)},
        )  # fmt: skip
    assert answer.status == 200, answer.data
    return digest.hexdigest()


def get(url: str) -> str:
    """Fetch what was sent; returns its SHA-256."""
    with fetched(url) as answer:
        return rest(answer)


@contextmanager
def fetched(url: str) -> Iterator[urllib3.BaseHTTPResponse]:
    """An answer of which nothing is read yet; it is broken off at the end of the block."""
    with (
        urllib3.PoolManager(retries=False, timeout=120) as pool,
        closing(pool.request("GET", url, headers=headers(), preload_content=False)) as answer,
    ):
        assert answer.status == 200
        yield answer


def rest(answer: urllib3.BaseHTTPResponse) -> str:
    """The SHA-256 of what can still be read."""
    digest = hashlib.sha256()
    for block in answer.stream(MIB):
        digest.update(block)
    return digest.hexdigest()


def test_a_large_artifact_goes_up_and_down_unchanged(place: Place) -> None:
    at_rest = taken(place)
    with watched(place) as up:
        sent = put(place, "big.bin")
    with watched(place) as down:
        assert get(f"{place.folder}/big.bin") == sent
    for way, most in (("up", up[-1]), ("down", down[-1])):
        print(way, most)
        assert most.nginx_memory < NGINX_MEMORY
        assert most.nginx_files < CRUMBS
        assert most.mlflow_memory < MLFLOW_MEMORY
        # MLflow holds the whole of it on its disk, once, before it goes on to the store or to us.
        assert 0.9 * SIZE < most.mlflow_files < SIZE + CRUMBS
    given_back(place, at_rest)


def given_back(place: Place, at_rest: Taken) -> None:
    """Soon nothing of it is on a disk any more."""

    def is_so() -> bool:
        return taken(place).mlflow_files < at_rest.mlflow_files + CRUMBS

    engine.wait_until(is_so, 60, "MLflow's disk is given back")


def test_mlflows_client_fetches_it_through_the_proxy(place: Place, tmp_path: Path) -> None:
    """And not from the store, whose name nobody outside of the stack knows."""
    sent = put(place, "fetched.bin", 20 * MIB)
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": place.deployment.driver.own_url,
        "MLFLOW_TRACKING_USERNAME": ALICE[0], "MLFLOW_TRACKING_PASSWORD": ALICE[1].reveal(),
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }  # fmt: skip
    script = (
        "import sys\nfrom mlflow.artifacts import download_artifacts\n"
        "print(download_artifacts(sys.argv[1], dst_path=sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", script,
         f"mlflow-artifacts:/0/{place.run_id}/artifacts/fetched.bin", str(tmp_path)],
        env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    with (tmp_path / "fetched.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sent


def test_the_web_pages_download_waits_for_who_fetches(place: Place) -> None:
    sent = put(place, "slow.bin")
    at_rest = taken(place)
    with fetched(
        f"{place.deployment.driver.own_url}/get-artifact?path=slow.bin&run_uuid={place.run_id}"
    ) as answer:
        with watched(place) as meanwhile:
            time.sleep(5)  # long enough to read the disk to its end
        assert meanwhile[-1].mlflow_memory < MLFLOW_MEMORY
        assert meanwhile[-1].nginx_memory < NGINX_MEMORY
        assert rest(answer) == sent
    given_back(place, at_rest)


def connect(place: Place) -> socket.socket:
    at = urlsplit(place.folder)
    return socket.create_connection((at.hostname, at.port), timeout=60)


def head(place: Place, name: str, password: str) -> bytes:
    """An upload of a large artifact, up to its body."""
    at = urlsplit(f"{place.folder}/{name}")
    lines = (f"PUT {at.path} HTTP/1.1", f"Host: {at.netloc}", f"Content-Length: {SIZE}",
             f"Authorization: {headers(password)['authorization']}")  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def test_who_breaks_off_leaves_nothing_behind(place: Place) -> None:
    put(place, "whole.bin", SIZE // 4)
    at_rest = taken(place)
    with connect(place) as client:
        client.sendall(head(place, "half.bin", ALICE[1].reveal()) + os.urandom(128 * MIB))
        half = at_rest.mlflow_files + 100 * MIB
        engine.wait_until(lambda: taken(place).mlflow_files > half, what="a part has arrived")
    given_back(place, at_rest)
    with fetched(f"{place.folder}/whole.bin") as answer:
        assert answer.read(MIB)
    given_back(place, at_rest)
    names, where = place.folder.split("/artifacts/", 1)
    with fetched(f"{names}/artifacts?path={where}") as answer:
        kept = {each["path"] for each in answer.json()["files"]}
    assert "whole.bin" in kept
    assert "half.bin" not in kept


def test_a_wrong_password_is_refused_before_the_body(place: Place) -> None:
    at_rest = taken(place)
    with connect(place) as client:
        client.sendall(head(place, "refused.bin", "wrong") + os.urandom(MIB))
        # Most of the body is still here.
        assert re.match(rb"HTTP/1.1 401 ", client.recv(4096))
        now = taken(place)
    assert now.nginx_files < at_rest.nginx_files + CRUMBS
    assert now.mlflow_files < at_rest.mlflow_files + CRUMBS
    log = [line.text for line in place.deployment.stack.logs(["tracking"], tail=20)]
    assert not [line for line in log if "refused.bin" in line]

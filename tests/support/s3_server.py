"""A real S3 server in a container, and a client to fill it with."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from minio import Minio
from minio.commonconfig import SnowballObject

from console.core.secrets import Secret
from console.core.stack.places import Bucket
from tests.support import engine

KEY, SECRET = "tester", "a secret of tests"
PORT = 9000


@dataclass(frozen=True)
class S3Server:
    """A server that runs.

    Attributes:
        container: Its name.
    """

    container: str

    @property
    def address(self) -> str:
        """Where it answers this machine, without the engine's proxy in between."""
        networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return f"{engine.docker('inspect', '--format', networks, self.container).strip()}:{PORT}"

    def bucket(self, name: str, prefix: str = "") -> Bucket:
        """As a driver would describe it."""
        return Bucket(f"http://{self.address}", name, prefix, KEY, Secret(SECRET))

    def client(self) -> Minio:
        """What writes to it."""
        return Minio(self.address, KEY, SECRET, secure=False)

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Write many objects in one request, which the server takes apart."""
        each = [
            SnowballObject(key, data=io.BytesIO(data), length=len(data))
            for key, data in objects.items()
        ]
        self.client().upload_snowball_objects(bucket, each)

    def begin_upload(self, bucket: str, key: str, *parts: bytes) -> str:
        """Begin an upload in parts and leave it there; returns its id."""
        begun = self._call("POST", bucket, key, b"", {"uploads": ""})
        upload_id = begun.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
        for number, data in enumerate(parts, 1):
            query: dict[str, str | list[str] | tuple[str]] = {
                "uploadId": upload_id, "partNumber": str(number),
            }  # fmt: skip
            self._call("PUT", bucket, key, data, query)
        return upload_id

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up."""
        self._call("DELETE", bucket, key, b"", {"uploadId": upload_id})

    def _call(
        self, method: str, bucket: str, key: str, body: bytes,
        query: dict[str, str | list[str] | tuple[str]],
    ) -> bytes:  # fmt: skip
        url = self.client().get_presigned_url(method, bucket, key, extra_query_params=query)
        answer = urllib3.request(method, url, body=body)
        assert answer.status < 300, answer.data
        return answer.data

    def restart(self) -> None:
        """Stop it and start it again."""
        engine.docker("restart", "--time", "5", self.container)
        self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Wait until it takes requests."""
        end = time.monotonic() + seconds
        while not self._is_ready():
            assert time.monotonic() < end, engine.docker("logs", self.container)
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            answer = urllib3.request(
                "GET", f"http://{self.address}/minio/health/cluster", timeout=2, retries=False
            )
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200


@contextmanager
def s3_server(image: str) -> Iterator[S3Server]:
    """Start one; it and everything in it is removed afterwards.

    Args:
        image: What it is made from.
    """
    keys = ["--env", f"MINIO_ROOT_USER={KEY}", "--env", f"MINIO_ROOT_PASSWORD={SECRET}"]
    with engine.container(image, "server", "/data", run=keys) as name:
        server = S3Server(name)
        server.wait()
        yield server

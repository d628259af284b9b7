"""Files into a bucket, several at once, by the minio client."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import urlsplit

from console.core.errors import AccessError, CancelledError, ConsoleError
from console.core.files import explain
from console.core.stack.places import Bucket
from console.core.storage import s3_client, s3_failures
from console.core.storage.crew import crew
from console.core.text import clean

if TYPE_CHECKING:
    from minio import Minio

THREADS = 6
LARGE = 8 << 20  # more is written in parts of this size, each of which is in memory once
LARGE_AT_ONCE = 2
MOST_PARTS = 9_000  # of 10,000
SECONDS = 60.0
RETRIES = 4


def upload(
    bucket: Bucket, wanted: Iterable[tuple[str, Path]], cancel: threading.Event
) -> Iterator[list[str]]:
    """Write files into a bucket; see `Store.put`."""
    client = _client(bucket)
    large = threading.Semaphore(LARGE_AT_ONCE)
    folder = f"{bucket.prefix}/" if bucket.prefix else ""

    def work(task: tuple[str, Path], stop: threading.Event) -> str:
        key, path = task
        with _explained(bucket, key, path), path.open("rb") as file:
            size = path.stat().st_size
            with large if size > LARGE else contextlib.nullcontext():
                client.put_object(
                    bucket.name, folder + key, cast("BinaryIO", _Stoppable(file, stop)), size,
                    part_size=max(LARGE, -(-size // MOST_PARTS)),
                )  # fmt: skip
        return key

    with contextlib.suppress(CancelledError):
        yield from crew(work, wanted, THREADS, cancel)


def _client(bucket: Bucket) -> Minio:
    from minio import Minio  # noqa: PLC0415  # first use
    from urllib3 import PoolManager, Retry, Timeout  # noqa: PLC0415  # as above

    if not (bucket.access_key and bucket.secret_key.reveal()):
        raise AccessError("There is no key for the artifact store, so nothing can be written there")
    parts = urlsplit(bucket.endpoint)
    again = Retry(
        total=RETRIES, backoff_factor=s3_client.BACKOFF_SECONDS, raise_on_status=False,
        status_forcelist=s3_failures.OVERLOADED, respect_retry_after_header=False,
        allowed_methods=None,
    )  # fmt: skip
    pool = PoolManager(
        maxsize=THREADS, retries=again,
        timeout=Timeout(connect=s3_client.CONNECT_SECONDS, read=SECONDS),
    )  # fmt: skip
    return Minio(
        parts.netloc, bucket.access_key, bucket.secret_key.reveal(), region=bucket.region,
        secure=parts.scheme == "https", http_client=pool,
    )  # fmt: skip


@contextlib.contextmanager
def _explained(bucket: Bucket, key: str, path: Path) -> Iterator[None]:
    from minio.error import MinioException, S3Error  # noqa: PLC0415  # first use
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  # as above

    try:
        yield
    except S3Error as error:
        status = getattr(error.response, "status", 0)
        raise s3_failures.refused(
            bucket, status, error.code or "", f"{error.message} ({clean(key, 200)})", "write to"
        ) from error
    except HTTPError as error:
        raise s3_failures.unreachable(bucket, error) from error
    except (MinioException, ValueError) as error:  # UnicodeError too: a key that is no text
        raise ConsoleError(
            f"{s3_failures.store(bucket)} cannot hold {clean(key, 200)}: {clean(str(error), 200)}"
        ) from error
    except OSError as error:
        raise explain(error, path) from error


class _Stoppable(io.RawIOBase):
    """A file that can no longer be read when nobody waits for it."""

    def __init__(self, file: io.BufferedReader, stop: threading.Event) -> None:
        super().__init__()
        self._file = file
        self._stop = stop

    def read(self, size: int = -1, /) -> bytes:
        """As a file does."""
        if self._stop.is_set():
            raise CancelledError("Stopped")
        return self._file.read(size)

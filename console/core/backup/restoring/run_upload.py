"""Artifacts of a snapshot on their way into the live server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from console.core.backup.snapshot import Entry
from console.core.errors import ConsoleError, UsageError
from console.core.experiments.client import Client
from console.core.storage.store import Store

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
UPLOAD_SECONDS = 3600
PIECE = 1 << 16
_LOOK = "`mlflow-console backup verify` shows what else is broken; take it from another snapshot."


class Uploads:
    """Uploads through MLflow's API, and past it what that does not take.

    Args:
        client: Of the live server.
        store: Behind that server.
        snapshot: The folder of the snapshot.
        cancel: Leaves off.
    """

    def __init__(
        self, client: Client, store: Store, snapshot: Path, cancel: threading.Event
    ) -> None:
        self._client = client
        self._store = store
        self._snapshot = snapshot
        self._cancel = cancel

    def bring(self, key: str, entry: Entry) -> None:
        """Upload one, under its key in the store.

        Raises:
            ConsoleError: It is not as it was written, or the server fails.
        """
        as_it_is = not entry.raw and "//" not in key  # else the server writes it elsewhere
        try:
            if not (as_it_is and self._upload(key, entry)):
                self._put(key, entry)
        except OSError as error:
            path = self._snapshot / entry.file
            raise ConsoleError(
                f"{path} cannot be read: {error.strerror or error}", _LOOK
            ) from error

    def _upload(self, key: str, entry: Entry) -> bool:
        """Through the server; False when it does not take the name."""
        from mlflow.utils.rest_utils import (  # noqa: PLC0415  # imported by now
            http_request,
            verify_rest_response,
        )

        endpoint = ARTIFACTS + quote(key)
        path = self._snapshot / entry.file
        try:
            with _Body(path) as body, self._client.calls() as store:
                answer = http_request(
                    store.get_host_creds(), endpoint, "PUT", timeout=UPLOAD_SECONDS,
                    data=body if len(body) else b"", raise_on_status=False,
                )  # fmt: skip
                verify_rest_response(answer, endpoint)
                right = body.digest() == entry.sha256
        except UsageError:
            return False
        if not right:
            raise ConsoleError(f"{path} is not as it was written", _LOOK)
        return True

    def _put(self, key: str, entry: Entry) -> None:
        """Past the server, which takes fewer names than the store has."""
        path = self._snapshot / entry.file
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
        if not right:
            raise ConsoleError(f"{path} is not as it was written", _LOOK)
        for _ in self._store.put([(key, path)], self._cancel):
            pass


class _Body:
    """A file to be sent, whose checksum is taken on the way; a retry reads it from its beginning.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._digest = hashlib.sha256()

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def read(self, amount: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(amount)
        self._digest.update(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(PIECE):
            yield data

    def tell(self) -> int:
        """How far it is read."""
        return self._file.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        """Begin again."""
        self._digest = hashlib.sha256()
        return self._file.seek(position, whence)

    def digest(self) -> str:
        """The SHA-256 of what was read."""
        return self._digest.hexdigest()

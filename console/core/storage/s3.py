"""An artifact store in a bucket of an S3 server."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from console.core.errors import CancelledError, ConsoleError
from console.core.stack.places import Bucket
from console.core.storage import s3_answers
from console.core.storage.s3_client import S3Client, awaited, begin
from console.core.storage.store import Batch, Fetched, Item
from console.core.storage.usage import Amount

PAGE = 1000  # keys, uploads or parts; S3 gives no more at once
MOST_UPLOADS = 1000  # each costs a request of its own
PAGE_SECONDS = 30.0  # for a store with slow disks and cold caches
CHECK_SECONDS = 5.0
RETRIES = 4


class S3Store:
    """A bucket, or a folder in one.

    Sizes are those of the current versions: what a versioned bucket keeps of older ones is in no
    plain listing. Nothing tells how much room the server has left.

    One page is asked for after the other. Asking for the next one while a page is still being read
    was measured and gained nothing: reading takes a twentieth of what the server takes to list.

    Args:
        bucket: Where it is.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._folder = f"{bucket.prefix}/" if bucket.prefix else ""
        self.base = f"s3://{bucket.name}/{bucket.prefix}".rstrip("/")
        self.problems: list[str] = []

    def free_bytes(self) -> int | None:
        """S3 has no such question."""
        return None

    def check(self) -> None:
        """Whether the bucket is there and can be listed, at the cost of one object.

        Raises:
            ConsoleError: It is not, and why; see `S3Client.get`.
        """
        with contextlib.closing(S3Client(self._bucket, CHECK_SECONDS, 0)) as client:
            s3_answers.listing(client.get(self._page("", most=1)))

    def walk(self, cancel: threading.Event) -> Iterator[Batch]:
        """List every object.

        Keys that are no UTF-8 come with surrogate escapes (PEP 383).

        Raises:
            ConsoleError: The listing broke off, and why; see `S3Client.get`.
        """
        self.problems = []
        token = ""
        with contextlib.closing(S3Client(self._bucket, PAGE_SECONDS, RETRIES)) as client:
            while True:
                try:
                    answer = client.get(self._page(token), cancel=cancel)
                except CancelledError:
                    return
                objects, following = s3_answers.listing(answer, len(self._folder))
                yield objects
                if not following or cancel.is_set():
                    return
                if following == token:
                    raise ConsoleError("The artifact store's listing goes round in circles")
                token = following

    def items(self, cancel: threading.Event) -> Iterator[list[Item]]:
        """List every object with its ETag; raises as `walk`.

        The next page is asked for before what is in this one is used, which takes as long.
        """
        self.problems = []
        with contextlib.closing(S3Client(self._bucket, PAGE_SECONDS, RETRIES)) as client:
            token = ""
            asked = begin(functools.partial(client.get, self._page(token)))
            while True:
                try:
                    answer = awaited(asked, cancel)
                except CancelledError:
                    return
                before, token = token, s3_answers.following(answer)
                if token and token == before:
                    raise ConsoleError("The artifact store's listing goes round in circles")
                if token:
                    asked = begin(functools.partial(client.get, self._page(token)))
                yield s3_answers.items(answer, len(self._folder))
                if not token or cancel.is_set():
                    return

    def clock(self) -> int:
        """The store's clock, by the second; raises as `check`."""
        with contextlib.closing(S3Client(self._bucket, CHECK_SECONDS, 0)) as client:
            s3_answers.listing(client.get(self._page("", most=1)))
            try:
                return int(parsedate_to_datetime(client.date).timestamp()) * 1000
            except ValueError as error:
                raise ConsoleError("The artifact store does not say what time it is") from error

    def fetch(
        self, wanted: Iterable[tuple[Item, Path]], parts: Path, cancel: threading.Event
    ) -> Iterator[list[Fetched]]:
        """Read many objects at once into files; see `Store.fetch`."""
        from console.core.storage.s3_fetch import fetch  # noqa: PLC0415  # seldom needed

        return fetch(self._bucket, wanted, parts, self.check, cancel)

    def put(
        self, wanted: Iterable[tuple[str, Path]], cancel: threading.Event
    ) -> Iterator[list[str]]:
        """Write files into the bucket; see `Store.put`."""
        from console.core.storage.s3_upload import upload  # noqa: PLC0415  # seldom needed

        return upload(self._bucket, wanted, cancel)

    def _page(self, token: str, most: int | None = None) -> dict[str, str]:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(most or PAGE)}
        if self._folder:
            query["prefix"] = self._folder
        if token:
            query["continuation-token"] = token
        return query

    def incomplete(self, cancel: threading.Event) -> Amount:
        """What lies in multipart uploads that were begun and never completed.

        This is at least what there is. MinIO tells only of uploads that were begun since it was
        started, and forgets and deletes each after a day; of older ones it tells only whoever
        names the exact key. Therefore the whole bucket is asked, not the folder: MinIO takes that
        for a key. Others may not tell at all, which becomes a problem, as does what is left out
        when there are more than a thousand.
        """
        try:
            with contextlib.closing(S3Client(self._bucket, PAGE_SECONDS, RETRIES)) as client:
                return self._incomplete(client, cancel)
        except CancelledError:
            return Amount()
        except ConsoleError as error:
            self.problems.append(f"Incomplete uploads could not be counted: {error.message}")
            return Amount()

    def _incomplete(self, client: S3Client, cancel: threading.Event) -> Amount:
        size = count = 0
        for key, upload_id in self._uploads(client, cancel):
            if count == MOST_UPLOADS:
                self.problems.append(
                    f"There are more than {MOST_UPLOADS} incomplete uploads; so many were counted"
                )
                break
            size += self._parts(client, key, upload_id, cancel)
            count += 1
        return Amount(size, count)

    def _uploads(self, client: S3Client, cancel: threading.Event) -> Iterator[tuple[str, str]]:
        marker: tuple[str, str] | None = ("", "")
        while marker is not None:
            query = {"uploads": "", "encoding-type": "url", "max-uploads": str(PAGE)}
            if marker[0]:
                query |= {"key-marker": marker[0], "upload-id-marker": marker[1]}
            found, following = s3_answers.uploads(client.get(query, cancel=cancel))
            yield from (each for each in found if each[0].startswith(self._folder))
            if following == marker:
                raise ConsoleError("the store's answer goes round in circles")
            marker = following

    def _parts(self, client: S3Client, key: str, upload_id: str, cancel: threading.Event) -> int:
        """Bytes of an upload; none when it was completed, or given up, meanwhile."""
        size, marker = 0, "0"
        while marker:
            query = {"uploadId": upload_id, "max-parts": str(PAGE), "part-number-marker": marker}
            answer = client.get(query, key, gone="NoSuchUpload", cancel=cancel)
            if not answer:
                return 0
            sizes, following = s3_answers.parts(answer)
            size += sum(sizes)
            if following == marker:
                raise ConsoleError("the store's answer goes round in circles")
            marker = following
        return size

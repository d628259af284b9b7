"""Signed requests for objects (AWS Signature Version 4), many a second.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. The minio client's
signer derives the day's key anew for each request and takes five times as long, which a
server has answered a small object by.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote, urlsplit

from console.core.errors import AccessError
from console.core.stack.places import Bucket

_NOTHING = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


class Signer:
    """Writes requests for the objects of a bucket.

    Args:
        bucket: Where they are, and the keys for it.

    Raises:
        AccessError: There are no keys.
    """

    def __init__(self, bucket: Bucket) -> None:
        if not (bucket.access_key and bucket.secret_key.reveal()):
            raise AccessError("There is no key for the artifact store, so it cannot be asked")
        parts = urlsplit(bucket.endpoint.rstrip("/"))
        self._host = parts.netloc.rpartition("@")[2]
        folder = f"/{bucket.prefix}/" if bucket.prefix else "/"
        self._root = parts.path + _quoted(f"/{bucket.name}{folder}")
        self._bucket = bucket
        self._second = 0
        self._date = self._scope = ""
        self._key = b""

    def get(self, key: str, more: str = "") -> bytes:
        """A request for an object.

        Args:
            key: Relative to the bucket's folder.
            more: Headers that are not signed, each with its line end.
        """
        second = int(time.time())
        if second != self._second:
            self._tick(second)
        path = self._root + _quoted(key)
        canonical = (
            f"GET\n{path}\n\nhost:{self._host}\nx-amz-content-sha256:{_NOTHING}\n"
            f"x-amz-date:{self._date}\n\n{_SIGNED}\n{_NOTHING}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._date}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nx-amz-content-sha256: {_NOTHING}\r\n"
            f"x-amz-date: {self._date}\r\nAuthorization: AWS4-HMAC-SHA256 "
            f"Credential={self._bucket.access_key}/{self._scope}, SignedHeaders={_SIGNED}, "
            f"Signature={signature}\r\n{more}\r\n"
        ).encode()

    def _tick(self, second: int) -> None:
        """Another second; of another day everything is new."""
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        if date[:8] != self._date[:8]:
            region = self._bucket.region
            key = f"AWS4{self._bucket.secret_key.reveal()}".encode()
            for part in (date[:8], region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._scope = key, f"{date[:8]}/{region}/s3/aws4_request"
        self._second, self._date = second, date


def _quoted(text: str) -> str:
    """As a signature wants it: everything but slashes and the unreserved characters."""
    return quote(text, safe="/", errors="surrogateescape")

"""Answers of an S3 server, as MinIO writes them."""

from __future__ import annotations

from urllib.parse import quote_plus
from xml.sax.saxutils import escape

HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def url_encoded(key: str) -> str:
    """As MinIO does it (cmd/api-utils.go), and the others."""
    return quote_plus(key, safe="/*", errors="surrogateescape").replace("~", "%7E")


def page(objects: list[tuple[str, int]], *, url: bool = True, token: str = "") -> bytes:
    """An answer to ListObjectsV2."""
    contents = "".join(
        f"<Contents><Key>{url_encoded(key) if url else escape(key)}</Key>"
        "<LastModified>2026-11-25T01:09:35.274Z</LastModified><ETag>&#34;9&#34;</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, size in objects
    )
    following = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    encoding = "<EncodingType>url</EncodingType>" if url else ""
    text = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
        f"<Prefix></Prefix>{following}<KeyCount>{len(objects)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{contents}{encoding}"
        "</ListBucketResult>"
    )
    return HEAD + text.encode("utf-8", "surrogateescape")


def uploads_page(keys: list[str], truncated: bool) -> bytes:
    """An answer to ListMultipartUploads."""
    items = "".join(
        f"<Upload><Key>{url_encoded(key)}</Key><UploadId>id&amp;{number}</UploadId><Initiator>"
        "<ID></ID></Initiator><Initiated>2026-11-25T01:15:53.135Z</Initiated></Upload>"
        for number, key in enumerate(keys)
    )
    return (
        "<ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker>"
        "</UploadIdMarker><NextKeyMarker>a+b</NextKeyMarker><NextUploadIdMarker>id&amp;9"
        f"</NextUploadIdMarker><EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}"
        f"</IsTruncated>{items}</ListMultipartUploadsResult>"
    ).encode()

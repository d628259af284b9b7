"""What an S3 server says, picked out of the bytes of its answers.

An XML parser takes several times as long as the server needs for the listing itself. The elements
that are looked for occur once an object and never inside of another; see
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html, API_ListMultipartUploads
and API_ListParts beside it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from console.core.errors import ConsoleError
from console.core.storage.store import Batch, Item

_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_SIZE = re.compile(rb"<Size>([0-9]+)</Size>")
_TIME = re.compile(rb"<LastModified>([^<]*)</LastModified>")
_MARK = re.compile(rb'<ETag>(?:&quot;|&#34;|")?([^<&"]*)(?:&quot;|&#34;|")?</ETag>')
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]*)</UploadId>")
_LISTING = b"ListBucketResult"
_URL_ENCODED = b"<EncodingType>url</EncodingType>"
_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class Listing(NamedTuple):
    """One page of a listing.

    Attributes:
        objects: Keys and sizes.
        token: What the next page is asked with; "" when this is the last one.
    """

    objects: Batch
    token: str


class Uploads(NamedTuple):
    """One page of the multipart uploads that nobody has completed.

    Attributes:
        uploads: Keys and upload ids.
        marker: Key and upload id that the next page begins after; None when this is the last one.
    """

    uploads: list[tuple[str, str]]
    marker: tuple[str, str] | None


class Parts(NamedTuple):
    """One page of the parts of an upload.

    Attributes:
        sizes: In bytes.
        marker: Number of the part that the next page begins after; "" when this is the last one.
    """

    sizes: list[int]
    marker: str


def listing(body: bytes, skip: int = 0) -> Listing:
    """Read an answer to ListObjectsV2.

    Args:
        body: The whole answer.
        skip: How many characters of each key are left out: the folder that was asked for.

    Raises:
        ConsoleError: It is no such answer, or not all of it.
    """
    truncated = _is_truncated(body, _LISTING)
    keys, sizes = _keys(body), _SIZE.findall(body)
    if len(keys) != len(sizes):
        raise _not_understood(f"{len(keys)} keys and {len(sizes)} sizes")
    token = _text(body, b"NextContinuationToken") if truncated else ""
    if truncated and not token:
        raise _not_understood("there is more, but it does not say how to ask for it")
    objects = [(key[skip:], int(size)) for key, size in zip(keys, sizes, strict=True)]
    return Listing(objects, token)


def items(body: bytes, skip: int = 0) -> list[Item]:
    """Read an answer to ListObjectsV2, with what it says of each object; raises as `listing`."""
    objects = listing(body, skip).objects
    times = [_milliseconds(each) for each in _TIME.findall(body)]
    marks = [each.decode("utf-8", "replace") for each in _MARK.findall(body)] or [""] * len(objects)
    if not len(objects) == len(times) == len(marks):
        raise _not_understood(f"{len(objects)} keys, {len(times)} times and {len(marks)} marks")
    return [
        Item(key, size, modified, mark)
        for (key, size), modified, mark in zip(objects, times, marks, strict=True)
    ]


def following(body: bytes) -> str:
    """What the page after an answer to ListObjectsV2 is asked with; raises as `listing`."""
    return _text(body, b"NextContinuationToken") if _is_truncated(body, _LISTING) else ""


def uploads(body: bytes) -> Uploads:
    """Read an answer to ListMultipartUploads; raises as `listing`."""
    truncated = _is_truncated(body, b"ListMultipartUploadsResult")
    keys, ids = _keys(body), _UPLOAD_ID.findall(body)
    if len(keys) != len(ids):
        raise _not_understood(f"{len(keys)} keys and {len(ids)} upload ids")
    found = [(key, _from_xml(each)) for key, each in zip(keys, ids, strict=True)]
    if not truncated:
        return Uploads(found, None)
    key = _text(body, b"NextKeyMarker")
    if _URL_ENCODED in body:
        key = _from_url(key.encode("utf-8", "surrogateescape"))
    return Uploads(found, (key, _text(body, b"NextUploadIdMarker")))


def parts(body: bytes) -> Parts:
    """Read an answer to ListParts; raises as `listing`."""
    truncated = _is_truncated(body, b"ListPartsResult")
    sizes = [int(size) for size in _SIZE.findall(body)]
    return Parts(sizes, _text(body, b"NextPartNumberMarker") if truncated else "")


def failure(body: bytes) -> tuple[str, str]:
    """Code and message of an answer that is an error, "" for what it does not have.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    return _text(body, b"Code"), _text(body, b"Message")


def _is_truncated(body: bytes, name: bytes) -> bool:
    """Whether there is a next page.

    A page that was cut off on its way must never pass for the last one.
    """
    if b"<" + name not in body[:1000]:
        raise _not_understood(f"it is no {name.decode()}")
    if not body.rstrip().endswith(b"</" + name + b">"):
        raise _not_understood("its end is missing")
    truncated = _text(body, b"IsTruncated")
    if truncated not in ("true", "false"):
        raise _not_understood("it does not say whether there is more")
    return truncated == "true"


def _not_understood(why: str) -> ConsoleError:
    return ConsoleError(
        f"The store's answer cannot be understood: {why}",
        "Try again; if that does not help, look whether the store's address is of an S3 server.",
    )


def _milliseconds(raw: bytes) -> int:
    try:
        return round(datetime.fromisoformat(raw.decode()).timestamp() * 1000)
    except ValueError as error:
        raise _not_understood("it has a time that is none") from error


def _text(body: bytes, name: bytes) -> str:
    found = re.search(b"<" + name + b">([^<]*)<", body)
    return _from_xml(found[1]) if found else ""


def _keys(body: bytes) -> list[str]:
    """The keys; a server that does not know of `encoding-type=url` writes them as XML does."""
    keys = _KEY.findall(body)
    if _URL_ENCODED not in body:
        return [_from_xml(key) for key in keys]
    # All at once takes a quarter of the time; a line end cannot be in a key unless encoded.
    together = b"\n".join(keys)
    if b"%0A" in together or b"%0a" in together:
        return [_from_url(key) for key in keys]
    return _from_url(together).split("\n") if keys else []


def _from_url(raw: bytes) -> str:
    """Percent-decoded, a space being `+` as in a form; what is no UTF-8 as PEP 383 has it."""
    if b"%" in raw or b"+" in raw:
        raw = unquote_to_bytes(raw.replace(b"+", b" "))
    return raw.decode("utf-8", "surrogateescape")


def _from_xml(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(entity: re.Match[str]) -> str:
    hexadecimal, decimal, name = entity.groups()
    if name:
        return _NAMED[name]
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(number) if number < 0x110000 else entity[0]

"""What an S3 server says, picked out of the bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.errors import ConsoleError
from console.core.storage import s3_answers
from console.core.storage.store import Item
from tests.support.s3_answers import HEAD, page, uploads_page

KEYS = st.text(min_size=1)
OBJECTS = st.lists(st.tuples(KEYS, st.integers(0, 2**63)), max_size=20)


@given(OBJECTS)
def test_any_key_survives(objects: list[tuple[str, int]]) -> None:
    assert s3_answers.listing(page(objects)) == (objects, "")


@given(st.lists(st.binary(min_size=1), max_size=5))
def test_keys_that_are_no_utf8_survive(raw: list[bytes]) -> None:
    objects = [(key.decode("utf-8", "surrogateescape"), 1) for key in raw]
    assert s3_answers.listing(page(objects)).objects == objects


@given(OBJECTS)
def test_a_server_that_knows_no_encoding_is_understood(objects: list[tuple[str, int]]) -> None:
    assert s3_answers.listing(page(objects, url=False)).objects == objects


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"a+b%20c%2Bd%25e%2526", "a b c+d%e%26"),
        (b"%C3%A4%F0%9F%98%80", "ä😀"),
        (b"a%0Ab%0D%09%00", "a\nb\r\t\0"),
        (b"%FF%zz%", "\udcff%zz%"),
    ],
)
def test_percent_encoding(written: bytes, meant: str) -> None:
    answer = page([("KEY", 1)]).replace(b"KEY", written)
    assert s3_answers.listing(answer).objects == [(meant, 1)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"a+b%20c", "a+b%20c"),
        (b"&amp;lt;&lt;&gt;&quot;&apos;&#34;&#x1;&#xE4;&#10;", '&lt;<>"\'"\x01ä\n'),
        (b"&#x110000;&nbsp;&", "&#x110000;&nbsp;&"),
    ],
)
def test_characters_as_xml_writes_them(written: bytes, meant: str) -> None:
    answer = page([("KEY", 1)], url=False).replace(b"KEY", written)
    assert s3_answers.listing(answer).objects == [(meant, 1)]


def test_the_folder_is_left_out() -> None:
    objects = [("ä b/x", 1), ("ä b/y/z", 2), ("ä b/", 0)]
    found = s3_answers.listing(page(objects), len("ä b/")).objects
    assert found == [("x", 1), ("y/z", 2), ("", 0)]


def test_the_token_of_the_next_page() -> None:
    assert s3_answers.listing(page([("a", 1)], token='x&<">')).token == 'x&<">'


@given(st.data())
def test_a_page_that_was_cut_off_never_passes(data: st.DataObject) -> None:
    whole = page([("a", 1), ("b", 2)], token=data.draw(st.sampled_from(["", "t"])))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ConsoleError, match="cannot be understood"):
        s3_answers.listing(whole[:cut])


@pytest.mark.parametrize(
    ("remove", "instead", "why"),
    [
        (b"<IsTruncated>false</IsTruncated>", b"", "whether there is more"),
        (b"<IsTruncated>false<", b"<IsTruncated>perhaps<", "whether there is more"),
        (b"<IsTruncated>false<", b"<IsTruncated>true<", "how to ask"),
        (b"<Size>1</Size>", b"", "1 keys and 0 sizes"),
        (b"<Size>1</Size>", b"<Size>-1</Size>", "1 keys and 0 sizes"),
        (b"ListBucketResult", b"html", "no ListBucketResult"),
    ],
)
def test_what_is_no_listing_is_said(remove: bytes, instead: bytes, why: str) -> None:
    answer = page([("a", 1)])
    assert remove in answer
    with pytest.raises(ConsoleError, match=why) as caught:
        s3_answers.listing(answer.replace(remove, instead))
    assert caught.value.hint


@given(st.binary(max_size=200))
def test_any_other_bytes_are_a_sentence(answer: bytes) -> None:
    for read in (s3_answers.listing, s3_answers.uploads, s3_answers.parts):
        with pytest.raises(ConsoleError):
            read(answer)
    s3_answers.failure(answer)


@given(st.lists(KEYS, max_size=5))
def test_uploads(keys: list[str]) -> None:
    expected = [(key, f"id&{number}") for number, key in enumerate(keys)]
    assert s3_answers.uploads(uploads_page(keys, truncated=False)) == (expected, None)
    found = s3_answers.uploads(uploads_page(keys, truncated=True))
    assert found == (expected, ("a b", "id&9"))


def test_uploads_that_do_not_fit_are_said() -> None:
    answer = uploads_page(["a"], truncated=False).replace(b"<Key>a</Key>", b"")
    with pytest.raises(ConsoleError, match="0 keys and 1 upload ids"):
        s3_answers.uploads(answer)


@pytest.mark.parametrize(("truncated", "marker"), [("true", "2"), ("false", "")])
def test_parts(truncated: str, marker: str) -> None:
    answer = (
        "<ListPartsResult><PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>2"
        f"</NextPartNumberMarker><IsTruncated>{truncated}</IsTruncated>"
        "<Part><PartNumber>1</PartNumber><Size>5</Size></Part>"
        "<Part><PartNumber>2</PartNumber><Size>7</Size></Part></ListPartsResult>\n"
    )
    assert s3_answers.parts(answer.encode()) == ([5, 7], marker)


def test_failures() -> None:
    answer = HEAD + b"<Error><Code>NoSuchBucket</Code><Message>It&apos;s gone</Message></Error>"
    assert s3_answers.failure(answer) == ("NoSuchBucket", "It's gone")
    assert s3_answers.failure(b"<html>") == ("", "")


def test_items_have_their_mark_and_their_time() -> None:
    times = iter(["2026-11-25T01:09:35.274Z", "2026-11-25T01:09:35.000Z", "2026-11-25T01:09:35Z"])
    marks = iter(["&#34;a-2&#34;", "&quot;b&quot;", '"c"'])
    body = page([("x/1", 1), ("x/ä 2", 2), ("x/3\n", 3)]).decode()
    body = re.sub("(?<=<LastModified>)[^<]*", lambda _: next(times), body)
    body = re.sub("(?<=<ETag>)[^<]*", lambda _: next(marks), body)
    assert s3_answers.items(body.encode(), 2) == [
        Item("1", 1, 1795568975274, "a-2"), Item("ä 2", 2, 1795568975000, "b"),
        Item("3\n", 3, 1795568975000, "c"),
    ]  # fmt: skip
    without = re.sub("<ETag>.*?</ETag>", "", body).encode()
    assert [each.mark for each in s3_answers.items(without)] == ["", "", ""]


@pytest.mark.parametrize(
    ("said", "instead"),
    [(b"<LastModified>2026-11-25T01:09:35.274Z</LastModified>", b""),
     (b"2026-11-25T01:09:35.274Z", b"yesterday"),
     (b"<ETag>&#34;9&#34;</ETag>", b"")],
)  # fmt: skip
def test_items_that_lack_something(said: bytes, instead: bytes) -> None:
    body = page([("a", 1), ("b", 2)]).replace(said, instead, 1)
    with pytest.raises(ConsoleError, match="cannot be understood"):
        s3_answers.items(body)


def test_what_follows_is_known_before_the_rest_is_read() -> None:
    assert s3_answers.following(page([("a", 1)], token="t&")) == "t&"
    assert s3_answers.following(page([("a", 1)])) == ""

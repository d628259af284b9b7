"""Whatever comes from outside: nothing of it steers the terminal."""

from __future__ import annotations

import tracemalloc
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.core.text import clean

BIDI = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Mostly what hurts: escapes, controls, marks, lone surrogates, and what escapes are made of.
PIECES = [
    *"\x1b\x9b[];?0123456789mHJ\x07\\\r\n\t\x00\x7f\x85\u2028\u2029\ufeff\ud800\udfff",
    *sorted(BIDI), "\x1b[", "\x1b]0;", "\x1b[31m", "\x1bM", "x" * 50,
]  # fmt: skip
# Whole pieces: an alphabet of characters would be all of Unicode, and these few never come up.
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60).map("".join)


def unsafe(text: str) -> list[str]:
    return [
        each
        for each in text
        if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") or each in BIDI | {"\ufeff"}
    ]


@given(HOSTILE, st.integers(1, 300))
@example("\x1b" * 100 + "[0m", 50)
@example("\x1b\x1b[0m[31mred", 80)
@example("\x9b31m", 10)
@example("x" * 264 + "\x1b[31m", 50)
@example("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", 50)
def test_nothing_unsafe_is_left_and_nothing_is_too_long(text: str, limit: int) -> None:
    result = clean(text, limit)
    assert unsafe(result) == []
    assert len(result) <= limit
    assert clean(result, limit) == result


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=200))
@example("RF Tree Numbers [b] 木 🙂 ñ é")
def test_harmless_text_is_left_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("ada\u200b\u2060", "ada��"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("a\nb\tc\r", "a↵b c↵"),
        ("\x00\x07", "␀␇"),
        ("gro\u202eexe.txt", "gro�exe.txt"),
        ("\x7f\x85\ud800", "���"),
        ("x" * 201, "x" * 199 + "…"),
        ("x" * 200, "x" * 200),
        ("", ""),
    ],
)
def test_what_becomes_of(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_ten_megabytes_cost_nothing() -> None:
    text = "\x1b[31m" * 2_000_000
    tracemalloc.start()
    clean(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000, "it was not cut before it was looked at"

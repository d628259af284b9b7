"""Passwords of people: made up within bounds, and judged before they are taken."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn import zxcvbn

from console.core.errors import SettingsError, UsageError
from console.core.secrets import ALPHABET, Secret
from console.core.users.names import check_password
from console.core.users.passwords import LENGTHS, WORDS, familiar, generate, strength


@pytest.mark.parametrize("length", [None, *LENGTHS])
def test_by_length(length: int | None) -> None:
    made = generate(length=length).reveal()
    assert len(made) == (length or 20)
    assert set(made) <= set(ALPHABET)


@pytest.mark.parametrize("count", WORDS)
def test_of_words_bcrypt_sees_every_one(count: int) -> None:
    for _ in range(20):
        made = generate(words=count)
        check_password(made)  # at most 72 bytes
        words = made.reveal().split("-")
        assert len(words) == count
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_no_two_are_the_same() -> None:
    for made in ([generate() for _ in range(50)], [generate(words=4) for _ in range(50)]):
        assert len({each.reveal() for each in made}) == 50


@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"length": 11}, "12 to 72 characters, not 11"), ({"length": 73}, "not 73"),
     ({"length": 0}, "not 0"), ({"words": 3}, "4 to 12 words, not 3"), ({"words": 13}, "not 13"),
     ({"words": 0}, "not 0")],
)  # fmt: skip
def test_out_of_bounds(wanted: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        generate(**wanted)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("password", "weak", "because"),
    [
        ("hunter2", True, "this is a very common password"),
        ("queen", True, "a word by itself is easy to guess"),
        ("x" * 72, True, 'repeats like "aaa" are easy to guess'),
        ("wonderland", True, "add another word or two"),
        ("Sommer2024", True, "this is similar to a commonly used password"),
        ("Passw0rd!2026", True, "this is similar to a commonly used password"),
        ("mlflow2026!", True, "it holds a name of the user or of the server"),
        ("correct horse battery", False, ""),
        ("ümläut schön größe", False, ""),
    ],
)
def test_strength(password: str, weak: bool, because: str) -> None:
    found = strength(Secret(password))
    assert (found.weak, found.because) == (weak, because)
    assert found.rating.endswith(f"; whoever has the user file needs {found.takes}")
    assert password not in repr(found) + found.sentence


def test_what_is_generated_is_strong() -> None:
    for made in (generate(length=12), generate(words=4)):
        assert not strength(made).weak


@pytest.mark.parametrize(
    "password",
    ["brzezinska81", "gpulab2024", "wqzkhost77", "Brzezinska!", "brzezinska-Brzezinska1",
     "gpulab-brzezinska-1", "GPULABgpulab", "localhost1234", "mlflow-brzezinska",
     "brzezinska-2026-pw", "wqzkhost.example.wqzkhost"],
)  # fmt: skip
def test_names_of_the_user_and_the_server_count_for_nothing(password: str) -> None:
    found = strength(Secret(password), ("ada brzezinska", "gpulab", "wqzkhost.example"))
    assert (found.weak, found.because) == (True, "it holds a name of the user or of the server")


def test_what_is_left_without_the_names_counts() -> None:
    names = ("ada", "gpulab")
    assert strength(Secret("gpulab"), names).score == 0
    assert strength(Secret("ada correct horse battery"), names).score == 4
    assert strength(Secret("gpulab-wqzk"), names).score == strength(Secret("-wqzk"), names).score


def test_a_name_of_two_letters_is_no_name() -> None:
    assert strength(Secret("correct horse or"), ("or", "c")).takes == (
        strength(Secret("correct horse or"), ("or",)).takes
    )
    assert not strength(Secret("correct horse"), ("co", "ho", "rs", "e")).weak


def test_names_of_one_call_are_forgotten_in_the_next() -> None:
    password = Secret("brzezinska81")
    alone = strength(password)
    assert strength(password, ("brzezinska",)).score < alone.score
    assert strength(password) == alone


def test_calls_at_once_do_not_mix_their_names_up(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []
    most: list[int] = []

    def slow(password: str, user_inputs: list[str], max_length: int) -> Any:
        inside.append(password)
        most.append(len(inside))
        threading.Event().wait(0.05)
        inside.remove(password)
        return zxcvbn(password, user_inputs, max_length)

    monkeypatch.setattr("zxcvbn.zxcvbn", slow)
    threads = [threading.Thread(target=strength, args=(Secret(word),)) for word in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1]


@pytest.mark.parametrize("password", ["", "é" * 37, "a\nb", "\udcff"])
def test_what_cannot_be_used_is_not_judged(password: str) -> None:
    with pytest.raises(UsageError, match="cannot be used") as caught:
        strength(Secret(password))
    assert not password or password not in caught.value.message


@given(st.text(max_size=40), st.lists(st.text(max_size=10), max_size=3))
def test_every_text_is_judged_or_refused(text: str, names: list[str]) -> None:
    try:
        found = strength(Secret(text), names)
    except UsageError:
        return
    assert found.score in range(5)
    assert bool(found.because) == (found.score < 3)


def test_the_names_of_a_deployment_do_not_have_to_be_readable() -> None:
    class Driver:
        @property
        def host_names(self) -> tuple[str, ...]:
            raise SettingsError(".env is missing", "Bring it back.")

    broken: Any = SimpleNamespace(name="lab", driver=Driver())
    assert familiar(broken) == ("lab",)
    whole: Any = SimpleNamespace(name="lab", driver=SimpleNamespace(host_names=("mlflow.lab",)))
    assert familiar(whole) == ("lab", "mlflow.lab")


def test_the_libraries_wait_for_their_first_use() -> None:
    code = (
        "import sys; from console.core.users.passwords import generate; generate();"
        "print(sorted({'zxcvbn', 'xkcdpass'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"

"""Passwords for people: made up by length or of words, and how long a typed one would hold."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.core import secrets
from console.core.errors import ConsoleError, UsageError
from console.core.secrets import Secret
from console.core.users.names import LONGEST_PASSWORD, check_password

if TYPE_CHECKING:
    from console.core.deployment import Deployment

LENGTHS = range(12, LONGEST_PASSWORD + 1)
WORDS = range(4, 13)
USUAL_LENGTH = 20  # 116 bits
USUAL_WORDS = 6  # 77 bits

RATINGS = ("very weak", "weak", "rather weak", "good", "strong")
GOOD = 3
NAMED = "It holds a name of the user or of the server."
# Tries a second of somebody who has the user file: bcrypt on a few graphics cards.
ATTACK = "offline_slow_hashing_1e4_per_second"

# zxcvbn keeps the familiar words of a call in a table that all calls share.
_one_at_a_time = threading.Lock()


def generate(*, length: int | None = None, words: int | None = None) -> Secret:
    """A random password, by its length unless a number of words is given.

    Raises:
        UsageError: It would be too weak, or longer than what bcrypt looks at.
    """
    if words is not None:
        return _of_words(words)
    if length is None:
        length = USUAL_LENGTH
    if length not in LENGTHS:
        raise UsageError(
            f"A generated password has {LENGTHS[0]} to {LENGTHS[-1]} characters, not {length}"
        )
    return secrets.generate(length)


def _of_words(count: int) -> Secret:
    """Words of EFF's long list; of many only short ones, so that bcrypt sees all of them."""
    if count not in WORDS:
        raise UsageError(f"A generated password has {WORDS[0]} to {WORDS[-1]} words, not {count}")
    from xkcdpass import xkcd_password  # noqa: PLC0415  # first use

    longest = (LONGEST_PASSWORD + 1) // count - 1  # the hyphen takes one
    known = xkcd_password.generate_wordlist(
        min_length=3, max_length=min(longest, 9), valid_chars="[a-z]"
    )
    return Secret("-".join(xkcd_password.choose_words(known, count)))


@dataclass(frozen=True, slots=True)
class Strength:
    """How hard a password is to guess; nothing in it tells the password.

    Attributes:
        score: From 0 to 4.
        takes: How long guessing takes whoever has the user file: "3 hours".
        why: What makes it easy to guess, or harder; one sentence, "" from score 3 on.
    """

    score: int
    takes: str
    why: str

    @property
    def weak(self) -> bool:
        """Whether it should not be taken."""
        return self.score < GOOD

    @property
    def rating(self) -> str:
        """It in one line."""
        return f"{RATINGS[self.score]}; {self._needs}"

    @property
    def because(self) -> str:
        """Why it should be another one, to go on a sentence with."""
        return self.why[:1].lower() + self.why[1:].rstrip(".")

    @property
    def sentence(self) -> str:
        """All of it, without a full stop."""
        return f"This password is {RATINGS[self.score]}, {self._needs}: {self.because}"

    @property
    def _needs(self) -> str:
        return f"whoever has the user file needs {self.takes}"


def strength(password: Secret, familiar: Iterable[str] = ()) -> Strength:
    """How hard a password is to guess. Takes some milliseconds, the first time 30.

    Names count for nothing: they are taken out, and what is left is judged.

    Args:
        password: A typed one.
        familiar: What whoever guesses thinks of first: the user's name, those of the server.

    Raises:
        UsageError: It cannot be used at all.
    """
    check_password(password)
    from zxcvbn import zxcvbn  # noqa: PLC0415  # first use

    known = [*familiar, "mlflow", "localhost"]
    known += [part for name in known for part in re.split(r"[\W_]+", name)]
    known = sorted({name for name in known if len(name) > 2}, key=len, reverse=True)
    rest = re.sub("|".join(map(re.escape, known)), "", password.reveal(), flags=re.IGNORECASE)
    with _one_at_a_time:
        # Of nothing zxcvbn has no opinion; one letter is as easy.
        found = zxcvbn(rest or "a", known, max_length=LONGEST_PASSWORD)
    why = NAMED if rest != password.reveal() and found["score"] < GOOD else _why(found)
    return Strength(found["score"], found["crack_times_display"][ATTACK], why)


def _why(found: Mapping[str, Any]) -> str:
    said = found["feedback"]
    if said["warning"] or not said["suggestions"]:
        return str(said["warning"])
    if any(match.get("dictionary_name") == "user_inputs" for match in found["sequence"]):
        return NAMED
    return str(said["suggestions"][0]).partition(". ")[0]


def familiar(deployment: Deployment) -> tuple[str, ...]:
    """The names of a deployment that a password should not be made of."""
    hosts: tuple[str, ...] = ()
    with contextlib.suppress(ConsoleError):  # what has them cannot be read: then without
        hosts = deployment.driver.host_names
    return deployment.name, *hosts

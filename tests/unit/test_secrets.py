"""Secrets do not show themselves, and their files are their owner's alone."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path

import pytest

from console.core import secrets
from console.core.errors import AccessError, ConsoleError
from console.core.secrets import Secret
from tests.support import machine


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>30}", f"{[secret]} {(secret,)}"]
    shown.append("%s %r" % (secret, secret))  # noqa: UP031  # that way must not show it either
    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert pickle.loads(pickle.dumps(secret)) == secret  # noqa: S301  # our own


def test_random_passwords_differ_and_can_be_read_aloud() -> None:
    made = {secrets.generate().reveal() for _ in range(500)}
    assert len(made) == 500
    assert {len(each) for each in made} == {20}
    assert set("".join(made)) == set(secrets.ALPHABET)
    assert not set("l1IO0o") & set(secrets.ALPHABET) - {"o"}


def test_a_secret_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secrets.write_secret(path, Secret("pässwort"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.read_secret(path) == Secret("pässwort")


def test_files_that_hold_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConsoleError, match="No such file"):
        secrets.read_secret(path)
    for content, sentence in ((b" \n", "is empty"), (b"\xff\xfe\x00", "holds no text")):
        path.write_bytes(content)
        with pytest.raises(ConsoleError, match=sentence):
            secrets.read_secret(path)
    with machine.common_folder() as folder:
        path = folder / "secret"
        secrets.write_secret(path, Secret("x"))
        with pytest.raises(AccessError):
            machine.as_nobody(lambda: secrets.read_secret(path))

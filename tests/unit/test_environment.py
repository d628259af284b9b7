"""The server's Python environment, made by the real uv; what can stop it, and going on."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from console.core import files
from console.core.errors import (
    BusyError,
    CancelledError,
    ConsoleError,
    DiskFullError,
    UnreachableError,
)
from console.core.stack import environment
from console.core.stack.environment import Environment
from tests.support import machine

pytestmark = pytest.mark.timeout(120)


def make(made: Environment, cancel: threading.Event | None = None) -> list[str]:
    return [step.label for step in made.make(cancel or threading.Event())]


def test_made_once_and_known_to_be_complete(tmp_path: Path) -> None:
    made = Environment(tmp_path / "server")
    assert not made.complete
    labels = make(made)
    assert labels[0] == "MLflow server: making an empty environment"
    assert made.complete
    assert make(Environment(tmp_path / "server")) == []
    said = subprocess.run(
        [str(made.bin / "python"), "-m", "mlflow_console_server", "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "--directory" in said
    stamp = tmp_path / "server" / "environment.json"
    for text in (b"", b"{", b'{"format": 1, "made_from": "an older version"}'):
        stamp.write_bytes(text)
        assert not made.complete
    make(made)
    assert made.complete


@pytest.mark.parametrize("stop_at", ["making", "fetching", "Installed", "adding"])
def test_cancelled_in_the_middle_and_made_again(tmp_path: Path, stop_at: str) -> None:
    made = Environment(tmp_path / "server")
    cancel = threading.Event()

    def until() -> None:
        for step in made.make(cancel):
            if stop_at in step.label:
                cancel.set()

    with pytest.raises(CancelledError) as caught:
        until()
    assert caught.value.message == "Cancelled while the server's environment was made"
    assert "go on" in caught.value.hint
    assert caught.value.exit_code == 130
    assert not made.complete
    make(made)
    assert made.complete


def test_a_generator_that_is_left_ends_uv_and_frees_the_lock(tmp_path: Path) -> None:
    made = Environment(tmp_path / "server")
    steps = made.make(threading.Event())
    for step in steps:
        if "fetching" in step.label:
            break
    steps.close()  # type: ignore[attr-defined]  # a generator is what it is
    began = time.monotonic()
    make(made)
    assert made.complete
    assert time.monotonic() - began < 60


def test_two_at_once_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 120)  # as long as a busy machine may need
    labels: list[list[str]] = []

    def work() -> None:
        labels.append(make(Environment(tmp_path / "server")))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bool(each) for each in labels) == [False, True]


def test_somebody_else_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Environment(tmp_path / "server")
    files.make_folder(made.folder)
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.2)
    with (
        files.locked(made.folder / "environment.lock", "it"),
        pytest.raises(BusyError, match="the server's environment"),
    ):
        make(made)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "2")
    made = Environment(tmp_path / "server")
    for index in ("http://127.0.0.1:9/simple", "http://no-such-index.invalid/simple"):
        monkeypatch.setenv("UV_DEFAULT_INDEX", index)
        with pytest.raises(UnreachableError) as caught:
            make(made)
        assert caught.value.exit_code == 4
        assert "no network, or no package index" in caught.value.message
    # What was configured for pip counts where nothing is for uv.
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UnreachableError):
        make(made)
    assert not made.complete


def test_a_disk_that_is_too_small_is_refused_at_once(tmp_path: Path) -> None:
    with machine.small_disk(tmp_path / "disk", "50m") as disk:
        made = Environment(disk / "server")
        with pytest.raises(DiskFullError, match=r"needs 1\.0 GB"):
            make(made)
        assert [entry.name for entry in made.folder.iterdir()] == ["environment.lock"]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("error: No space left on device (os error 28)", DiskFullError, "became full"),
        ("error: Request failed\n  Caused by: dns error", UnreachableError, "no network"),
        ("error: Connection refused", UnreachableError, "no network"),
        ("x\nerror: Hash mismatch for `mlflow`", ConsoleError, "made: error: Hash mismatch for"),
        ("", ConsoleError, "no reason given"),
    ],
)  # fmt: skip
def test_what_uv_says_becomes_one_sentence(said: str, kind: type[ConsoleError], words: str) -> None:
    error = environment._failure(said)
    assert type(error) is kind
    assert words in error.message

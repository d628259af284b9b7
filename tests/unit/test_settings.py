"""Settings that cannot be used: one sentence each, with the place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.core import deployment as core
from console.core import settings
from console.core.errors import AccessError, ConsoleError, SettingsError
from console.core.settings import PersonSettings, ServerSettings, Settings
from tests.support import machine

GOOD = Settings(
    format=1, name="lab", driver="embedded",
    server=ServerSettings(port=5000, mlflow="3.17.2", host_names=("mlflow.lab",)),
)  # fmt: skip

HEAD = 'format = 1\nname = "lab"\ndriver = "embedded"\n'
SERVER = '[server]\nport = 5000\nmlflow = "3.17.2"\n'


def refused(tmp_path: Path, text: str | bytes) -> SettingsError:
    path = tmp_path / "console.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SettingsError) as caught:
        settings.load(path, Settings)
    error = caught.value
    assert error.message.startswith(str(path))
    assert "\n" not in error.message
    assert error.hint.endswith(".")
    assert error.exit_code == 1
    return error


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "console.toml"
    path.write_bytes(settings.dump(GOOD))
    assert settings.load(path, Settings) == GOOD
    assert settings.load(path, Settings).users.bcrypt_cost == 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["missing required field `format`"]),
        (HEAD, ["missing required field `server`"]),
        (HEAD + '[server]\nmlflow = "3"\n', ["missing required field `port`", "`server`"]),
        (HEAD + SERVER + "prot = 1\n", ["unknown field `prot`", "`server`"]),
        ("colour = 1\n" + HEAD + SERVER, ["unknown field `colour`"]),
        (HEAD + SERVER.replace("5000", '"5000"'), ["`server.port`", "`int`", "`str`"]),
        (HEAD + SERVER.replace("5000", "70000"), ["`server.port`", "65535"]),
        (
            HEAD + SERVER + 'host_names = ["a b"]\n',
            ["letters, digits, dots and dashes", "`server.host_names"],
        ),
        (HEAD.replace("embedded", "swarm") + SERVER, ["`driver`", "'swarm'"]),
        (
            HEAD.replace('"lab"', '"../lab"') + SERVER,
            ["letters, digits, dots and dashes", "`name`"],
        ),
        (HEAD + "read_only = 1\n" + SERVER, ["`read_only`", "`bool`"]),
        (HEAD.replace("1", '"1"', 1) + SERVER, ["`format`", "`int`"]),
    ],
)
def test_each_wrong_value_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    error = refused(tmp_path, text)
    assert [word for word in words if word not in error.message] == []
    assert "$" not in error.message
    assert error.hint == "Mend that line by hand."


@pytest.mark.parametrize("length", range(1, len(settings.dump(GOOD)), 7))
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path: Path, length: int) -> None:
    path = tmp_path / "console.toml"
    text = settings.dump(GOOD)
    path.write_bytes(text[:length])
    try:
        loaded = settings.load(path, Settings)
    except SettingsError as error:
        assert error.message.startswith(str(path))  # noqa: PT017  # either outcome may be right
    else:
        # Cut at a line's end behind everything that is required: then it is whole.
        assert loaded.server is not None
        assert loaded.server.port == 5000
        assert text[:length].count(b"mlflow = ") == 1


def test_no_toml_and_no_text_say_what_happened(tmp_path: Path) -> None:
    for text in (b'format = 1\nname = "la', b"\xff\xfe\x00", b"\x00\x00\x00", b"[server"):
        error = refused(tmp_path, text)
        assert "is not valid TOML" in error.message
        assert "cut short" in error.hint


@pytest.mark.parametrize("number", [2, 99])
def test_a_newer_format_asks_for_an_upgrade_whatever_else_is_in_it(
    tmp_path: Path, number: int
) -> None:
    error = refused(tmp_path, f'format = {number}\nnew = "thing"\n')
    assert error.message.endswith(f"has format {number}, this version knows formats up to 1")
    assert "upgrade" in error.hint


def test_a_file_that_is_not_for_us_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="No such file"):
        settings.load(tmp_path / "console.toml", Settings)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConsoleError, match="Is a directory"):
        settings.load(tmp_path / "folder", Settings)
    with machine.common_folder() as folder:
        path = folder / "console.toml"
        path.write_bytes(settings.dump(GOOD))
        path.chmod(0o600)
        with pytest.raises(AccessError, match="belongs to root"):
            machine.as_nobody(lambda: settings.load(path, Settings))


def test_a_persons_settings(home: Path) -> None:
    assert core.person() == PersonSettings()
    path = core.person_file()
    assert home in path.parents
    path.parent.mkdir(parents=True)
    path.write_text('theme = "paper"\n[keys]\n"users.add" = "ctrl+n"\n')
    assert core.person() == PersonSettings(theme="paper", keys={"users.add": "ctrl+n"})
    path.write_text("format = 7\n")
    with pytest.raises(SettingsError, match="format 7"):
        core.person()


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("true", True), ("YES", True), ("", False), ("0", False), (" False ", False),
     ("no", False), ("off", False)],
)  # fmt: skip
def test_a_flag_of_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, on: bool) -> None:
    monkeypatch.setenv("MLFLOW_CONSOLE_READ_ONLY", value)
    assert settings.environment_flag("MLFLOW_CONSOLE_READ_ONLY") is on

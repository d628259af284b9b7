"""The typed settings of a deployment (console.toml) and of a person."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from console.core.errors import SettingsError
from console.core.files import explained, write_atomic

FORMAT = 1

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
HostName = Annotated[str, msgspec.Meta(pattern=HOST_NAME)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a settings file; an unknown key is refused and not ignored."""


class ServerSettings(Table, frozen=True):
    """[server]: the tracking server.

    Attributes:
        port: Where it listens on loopback.
        mlflow: The version of MLflow it runs.
        host_names: Further names it may be called by, for instance behind a proxy of yours.
    """

    port: Port
    mlflow: str
    host_names: tuple[HostName, ...] = ()


class UsersSettings(Table, frozen=True):
    """[users]: how passwords are kept.

    Attributes:
        bcrypt_cost: The base-2 logarithm of bcrypt's rounds for new passwords.
        service_user: The account of the console's own checks.
        activity_days: For how long what the access logs say of users is remembered.
        generated_words: Of how many words a generated password is; 0 makes 20 characters.
    """

    bcrypt_cost: Annotated[int, msgspec.Meta(ge=4, le=17)] = 12
    service_user: str = "mlflow-console"
    activity_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 90
    generated_words: Literal[0, 4, 5, 6, 7, 8, 9, 10, 11, 12] = 0


class BackupSettings(Table, frozen=True):
    """[backup]: where snapshots go and which are kept.

    Attributes:
        place: The folder of the snapshots, absolute; "" until the first one is made.
        keep_last: So many of the newest ones.
        keep_daily, keep_weekly, keep_monthly: The newest one of each of so many days, weeks and
            months that have one.
        drill_days: A scheduled snapshot is drilled when the last drill is older; 0 for never.
    """

    place: str = ""
    keep_last: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 3
    keep_daily: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 7
    keep_weekly: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    keep_monthly: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 12
    drill_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 7


class Settings(Table, frozen=True):
    """console.toml, whole.

    Attributes:
        format: The number of this file's format.
        name: What the deployment is called.
        driver: What runs it.
        server: An embedded server's; a Compose project has a .env.
        read_only: Every verb that changes something is refused.
    """

    format: int
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    driver: Literal["embedded", "compose"]
    server: ServerSettings | None = None
    users: UsersSettings = UsersSettings()
    backup: BackupSettings = BackupSettings()
    read_only: bool = False

    def __post_init__(self) -> None:
        """Hold driver and tables together; msgspec makes a ValidationError of it."""
        if (self.driver == "embedded") != (self.server is not None):
            raise ValueError(
                "missing required field `server`" if self.server is None
                else "the table `server` is for the driver embedded alone"
            )  # fmt: skip


class PersonSettings(Table, frozen=True):
    """The settings of one person, for every deployment.

    Attributes:
        theme: One of the console's themes.
        keys: Other keys for a binding, by its id: {"users.add": "ctrl+n"}.
        read_only: Every verb that changes something is refused.
    """

    format: int = FORMAT
    theme: str | None = None
    keys: dict[str, str] = {}
    read_only: bool = False


S = TypeVar("S", bound=Table)


def load(path: Path, kind: type[S]) -> S:
    """Read a settings file.

    Raises:
        SettingsError: It is no TOML, has a missing, unknown or impossible value, or is newer.
        AccessError: It is not for this account.
    """
    with explained(path):
        text = path.read_bytes()
    return load_text(text, path, kind)


def load_text(text: bytes, path: Path, kind: type[S]) -> S:
    """What the text of the file `path` says; raises SettingsError as `load` does."""
    try:
        raw = msgspec.toml.decode(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}",
            "It may have been cut short; mend it by hand, nothing else was touched.",
        ) from error
    number = raw.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise SettingsError(
            f"{path} has format {number}, this version knows formats up to {FORMAT}",
            "It was written by a newer mlflow-console: upgrade this one.",
        )
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_plain(error)}", "Mend that line by hand.") from error


def _plain(error: msgspec.ValidationError) -> str:
    """The message of msgspec with `$.server.port` and patterns written as a person would."""
    said = str(error).replace("`$.", "`").replace(" - at `$`", "")
    return re.sub(
        r"Expected `str` matching regex '.*'", "Expected letters, digits, dots and dashes", said
    )


def dump(settings: Settings) -> bytes:
    """The text of a new console.toml."""
    return b"# Settings of this deployment; `mlflow-console --help` explains them.\n" + (
        msgspec.toml.encode(
            {
                key: value
                for key, value in msgspec.to_builtins(settings).items()
                if value is not None
            }
        )
    )


def edit(path: Path, table: str, values: Mapping[str, str | int]) -> None:
    """Change some values of a settings file; everything else of it stays, comments too.

    Raises:
        SettingsError: It is no TOML.
        AccessError: This account may not write there.
    """
    import tomlkit  # noqa: PLC0415  # first use, not start-up
    from tomlkit.exceptions import ParseError  # noqa: PLC0415  # as above

    with explained(path):
        try:
            document = tomlkit.parse(path.read_bytes().decode())
        except (ParseError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}", "Mend it by hand.") from error
    if table not in document:
        document.add(table, tomlkit.table())
    document[table].update(values)
    write_atomic(path, tomlkit.dumps(document).encode(), mode=0o600)


def environment_flag(name: str) -> bool:
    """Whether a variable of the environment switches something on."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")

"""Where messages go: apprise's URLs, which hold tokens and are shown to nobody."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.errors import ConsoleError, UsageError
from console.core.secrets import Secret, read_secret, write_secret
from console.core.text import clean

if TYPE_CHECKING:
    from apprise import NotifyBase

    from console.core.notify.message import Message

# A receiver that takes longer than this counts as one that refused, and is told again; apprise
# itself waits for 4 s.
ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Address:
    """One address.

    Attributes:
        url: As apprise takes it (https://appriseit.com/services/).
        shown: What may be shown of it: the service and a host that the library has masked.
    """

    url: Secret
    shown: str

    @property
    def key(self) -> str:
        """A name for it that says nothing of it."""
        return hashlib.sha256(self.url.reveal().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was not accepted.

    Attributes:
        address: What may be shown of it.
        why: In words, without anything that the other side said.
    """

    address: str
    why: str


def parse(text: str) -> list[Address]:
    """The addresses in a text, one a line; empty lines and those that begin with "#" are none.

    Raises:
        UsageError: A line is no address; it is named by its number, for it may hold a token.
    """
    found: dict[str, Address] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        plugin = _plugin(Secret(line))
        if plugin is None:
            raise UsageError(
                f"Line {number} is no address that apprise knows",
                "One a line, as https://appriseit.com/services/ lists them; nothing was changed.",
            )
        found[line] = Address(Secret(line), _shown(plugin))
    return list(found.values())


def load(path: Path) -> list[Address]:
    """The addresses that a deployment keeps; none when there is no file.

    Raises:
        ConsoleError: The file cannot be used.
    """
    if not path.exists():
        return []
    try:
        return parse(read_secret(path).reveal())
    except UsageError as error:
        raise ConsoleError(
            f"{path}: {error.message[0].lower()}{error.message[1:]}",
            "`mlflow-console notify on` asks for them anew.",
        ) from None


def save(path: Path, addresses: Sequence[Address]) -> None:
    """Keep the addresses, for the owner alone."""
    files.make_folder(path.parent)
    write_secret(path, Secret("\n".join(address.url.reveal() for address in addresses)))


def send(address: Address, message: Message) -> str:
    """Send a message to one address.

    Returns:
        Why it was refused; "" when it was accepted.
    """
    import apprise  # noqa: PLC0415  # first use, not start-up

    plugin = _plugin(address.url)
    if plugin is None:
        return "apprise does not know it any more"
    plugin.socket_read_timeout = ANSWER_SECONDS
    sender = apprise.Apprise()
    sender.add(plugin)
    with _listening() as said:
        try:
            accepted = sender.notify(
                body=message.body, title=message.title, notify_type=message.kind.value,
                body_format=apprise.NotifyFormat.TEXT.value,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  # a hundred services, each raises what it likes
            return f"apprise failed: {type(error).__name__}"
    return "" if accepted else _why(said)


def _plugin(url: Secret) -> NotifyBase | None:
    """What apprise makes of an address; None when it is none."""
    import apprise  # noqa: PLC0415  # first use, not start-up

    with _listening():
        made: NotifyBase | None = apprise.Apprise.instantiate(
            url.reveal(), suppress_exceptions=True
        )
    return made


def _shown(plugin: NotifyBase) -> str:
    """Service and host. The library masks tokens, but not the path or the headers of a webhook."""
    masked = str(plugin.url(privacy=True))  # type: ignore[no-untyped-call]  # the library's
    scheme, _, rest = masked.partition("://")
    place = rest.partition("?")[0]
    host, _, more = place.partition("/")
    return clean(f"{scheme}://{host.rpartition('@')[2]}" + ("/…" if more.strip("/") else ""), 80)


class _Kept(logging.Handler):
    """Keeps what is logged: it may hold an address, and Python would print it on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """What the library logs meanwhile, which goes nowhere else."""
    logger, kept = logging.getLogger("apprise"), _Kept()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(kept)
    try:
        yield kept.said
    finally:
        logger.removeHandler(kept)
        logger.propagate = before


def _why(said: Sequence[str]) -> str:
    """Why a message was refused, by the one figure in the library's words that is harmless."""
    for line in said:
        status = re.search(r"error=(\d{3})\b", line)
        if status:
            return f"it answered {status[1]}"
    if any("onnection error" in line for line in said):
        return f"it cannot be reached, or took longer than {ANSWER_SECONDS:.0f} s"
    return "it did not accept the message"

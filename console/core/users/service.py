"""The users area: who can log in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.core.deployment import Deployment
from console.core.operations import operation
from console.core.secrets import Secret


@dataclass(frozen=True, slots=True)
class User:
    """One user; the JSON shape of `users list`.

    Attributes:
        host: The host name whose file holds it; "default" for the shared file.
        scheme: How the password is kept, for instance "bcrypt".
        cost: The base-2 logarithm of bcrypt's rounds; None for other schemes.
        enabled: Can log in.
        weak: The scheme can be broken by trying, or cannot be verified at all.
        service_user: The console's own account.
        last_seen, requests, failures: None, nobody counts them yet.
    """

    name: str
    host: str
    scheme: str
    cost: int | None
    enabled: bool
    weak: bool
    service_user: bool
    last_seen: datetime | None = None
    requests: int | None = None
    failures: int | None = None


class UsersService:
    """The htpasswd file of the deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("users.list")
    def list(self) -> list[User]:
        """The users in the order of the file; the first of several lines of a name is in force."""

    @operation("users.add", target=lambda name, _password: name)
    def add(self, name: str, password: Secret) -> None:
        """Add a user.

        Raises:
            UsageError: The name or password cannot be used, or the name is taken.
        """

    @operation("users.passwd", target=lambda name, _password: name)
    def passwd(self, name: str, password: Secret) -> None:
        """Change a user's password; for the service user its secret file as well."""

    @operation("users.remove", target=lambda names: " ".join(names))
    def remove(self, names: Sequence[str]) -> None:
        """Remove exactly these users; all of them or, when one is unknown, none."""

    def notes(self) -> list[str]:
        """What is odd about the file, one sentence each, for instance a junk line's number."""


def check_name(name: str) -> None:
    """Raise UsageError when a name cannot stand in a htpasswd file (colon, control characters...)."""


def check_password(password: Secret) -> None:
    """Raise UsageError when a password cannot be used (empty, control characters, over 72 bytes)."""

"""One user as a list shows it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from console.core.users.activity_answers import Person
from console.core.users.htpasswd import UNKNOWN, Line, display, scheme_of


class User(msgspec.Struct, frozen=True, gc=False):
    """One user; the JSON shape of `users list`. Why it is a struct, `activity_answers` says.

    Attributes:
        host: The host name whose file holds it; "default" for the shared file.
        scheme: How the password is kept, for instance "bcrypt".
        cost: The base-2 logarithm of bcrypt's rounds; None for other schemes.
        enabled: Can log in.
        weak: The scheme can be broken by trying, or cannot be verified at all.
        service_user: The console's own account.
        last_seen: The last request that was let in; None when none is remembered.
        requests: Those that were let in in 30 days; None while no log was read.
        failures: Log-ins that failed in 30 days; as above.
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


def of_line(line: Line, host: str, service_user: str, seen: Person | None) -> User:
    """A user.

    Args:
        line: Of the file, in force.
        host: Whose file it is.
        service_user: The name of the console's own account.
        seen: What the access log says.
    """
    scheme = scheme_of(line.field)
    name = display(line.name)
    return User(
        name=name,
        host=host,
        scheme=scheme.name,
        cost=scheme.cost,
        enabled=line.enabled and scheme.name != UNKNOWN,
        weak=scheme.weak,
        service_user=name == service_user,
        last_seen=seen.last_seen if seen else None,
        requests=seen.month.requests if seen else None,
        failures=seen.month.refused if seen else None,
    )

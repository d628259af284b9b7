"""What is summed up of an access log; hosts and users in the spelling of `access_log.key`."""

from __future__ import annotations

from dataclasses import dataclass

from console.core.users.durations import Histogram


@dataclass(slots=True)
class Hour:
    """What one user did at one host in one hour; sizes are bytes.

    Attributes:
        requests: Those that were let in.
        unproven: Those with another answer, which may have come before the password was looked at.
        refused: Answered 401: somebody claimed that name.
        received: Of requests that were let in.
        sent: As above.
    """

    requests: int = 0
    unproven: int = 0
    refused: int = 0
    received: int = 0
    sent: int = 0


@dataclass(slots=True)
class Face:
    """One user at one address; times are seconds since 1970.

    Attributes:
        client: The User-Agent of the last request.
    """

    first: float
    last: float
    requests: int
    client: str


@dataclass(slots=True)
class Attempt:
    """Log-ins with one name from one address that were refused; times are seconds since 1970.

    Attributes:
        refused: Requests answered 401.
        told: Lines of the error log about them.
        unknown: The error log said that there is no such user; None when it said nothing.
    """

    first: float
    last: float
    refused: int = 0
    told: int = 0
    unknown: bool | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """One call that deletes.

    Attributes:
        at: Seconds since 1970.
        path: With its query; MLflow's clients mostly name the run in the body, which no log has.
        run_id: Of the path; "" for none.
        experiment_id: As above.
    """

    at: float
    host: str
    user: str
    address: str
    method: str
    path: str
    run_id: str
    experiment_id: str
    status: int
    client: str


@dataclass(slots=True)
class Times:
    """How long requests took: in all, and in MLflow."""

    request: Histogram
    upstream: Histogram

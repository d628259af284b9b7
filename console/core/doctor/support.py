"""Until when versions are supported by those who make them.

Sources, read in November 2026:
MySQL: Oracle Lifetime Support Policy for Technology Products (extended support), and
    https://dev.mysql.com/doc/refman/9.7/en/mysql-releases.html: an innovation release is supported
    until the next release.
MariaDB: https://mariadb.org/about/#maintenance-policy (community releases).
PostgreSQL: https://www.postgresql.org/support/versioning/
nginx: https://nginx.org/en/download.html: what it lists as legacy gets no fixes any more; a branch
    becomes that when the next stable (even) or mainline (odd) one appears.
MinIO: https://github.com/minio/minio was archived on 2026-04-25; pgsty/silo is its maintained fork
    and keeps format and settings.

What is not in the table is not judged: a branch that is newer than this file, another program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from console.core.stack.anatomy import Anatomy, Part
from console.core.stack.driver import Finding, Role, Severity
from console.core.text import clean

ENDS: dict[str, dict[str, date]] = {
    "MySQL": {
        "5.6": date(2021, 2, 28), "5.7": date(2023, 10, 31), "8.0": date(2026, 4, 30),
        "8.1": date(2023, 10, 25), "8.2": date(2023, 12, 14), "8.3": date(2024, 4, 30),
        "8.4": date(2032, 4, 30), "9.0": date(2024, 10, 15), "9.1": date(2025, 1, 21),
        "9.2": date(2025, 4, 15), "9.3": date(2025, 7, 22), "9.4": date(2025, 10, 21),
        "9.5": date(2026, 1, 20), "9.6": date(2026, 4, 21), "9.7": date(2034, 4, 30),
    },
    "MariaDB": {
        "10.4": date(2024, 6, 18), "10.5": date(2025, 6, 24), "10.6": date(2026, 7, 6),
        "10.11": date(2028, 2, 16), "11.4": date(2029, 5, 29), "11.8": date(2028, 6, 4),
    },
    "PostgreSQL": {
        "11": date(2023, 11, 9), "12": date(2024, 11, 21), "13": date(2025, 11, 13),
        "14": date(2026, 11, 12), "15": date(2027, 11, 11), "16": date(2028, 11, 9),
        "17": date(2029, 11, 8), "18": date(2030, 11, 14),
    },
    "nginx": {
        "1.22": date(2023, 4, 11), "1.24": date(2024, 4, 23), "1.25": date(2024, 5, 28),
        "1.26": date(2025, 4, 23), "1.27": date(2025, 6, 24), "1.28": date(2026, 4, 14),
        "1.29": date(2026, 5, 13),
    },
    "MinIO": {"": date(2026, 4, 25)},
}  # fmt: skip
INSTEAD = {
    "MySQL": "mysql:9.7 or mysql:8.4 (5.7 goes to 8.0 first, 8.0 to 8.4); dump the data before",
    "MariaDB": "mariadb:11.8; dump the data before",
    "PostgreSQL": "postgres:18, into which a dump of the old one is loaded",
    "nginx": "nginx:1.30, the stable branch",
    "MinIO": "a release of pgsty/silo, the maintained fork: it takes the data and settings over",
}
# The last part of an image's name, where that says what is in it.
PROGRAMS = {
    "mysql": "MySQL", "mysql-server": "MySQL", "mariadb": "MariaDB", "postgres": "PostgreSQL",
    "postgresql": "PostgreSQL", "minio": "MinIO", "nginx": "nginx",
}  # fmt: skip
# Their own branches are kept alive by whoever packages them, with numbers that say nothing.
_PACKAGED = re.compile(r"ubuntu|debian|deb\d|\.el\d|\+deb", re.I)
_OF_A_FORK = re.compile(r"pgsty/")
_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?(?!\w)")


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, as far as anybody can tell.

    Attributes:
        branch: The part of the version that support goes by; "" where there is none.
    """

    name: str
    branch: str

    def __str__(self) -> str:
        return f"{self.name} {self.branch}".rstrip()


def split_image(image: str) -> tuple[str, str, bool]:
    """Name, tag and whether a digest pins it: "registry:5000/mysql:9.7@sha256:…"."""
    named, _, digest = image.partition("@")
    head, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        return named, "", bool(digest)
    return head, tag, bool(digest)


def program(part: Part) -> Program | None:
    """What a service runs; None where neither server nor image tells.

    Args:
        part: The service. The server's own word counts before the image's tag.
    """
    name, tag, _ = split_image(part.image)
    if part.version and part.role is Role.DATABASE:
        known = "MariaDB" if "mariadb" in part.version.lower() else "MySQL"
        return _branch(known, part.version)
    words = name.split("/")
    kind = PROGRAMS.get(words[-1], "")
    if not kind or _OF_A_FORK.search(name):
        return None
    return _branch(kind, tag)


def _branch(kind: str, version: str) -> Program | None:
    if kind == "MinIO":
        return Program(kind, "")
    match = _NUMBERS.match(version)
    if match is None or _PACKAGED.search(version):
        return None
    if kind == "PostgreSQL":
        return Program(kind, match[1])
    return Program(kind, f"{match[1]}.{match[2]}") if match[2] else None


def findings(anatomy: Anatomy, today: date) -> list[Finding]:
    """Which services run what nobody mends any more."""
    found = []
    for part in anatomy.parts:
        which = program(part) if part.role is not Role.JOB else None
        end = ENDS.get(which.name, {}).get(which.branch) if which else None
        if which is None or end is None or today <= end:
            continue
        seen = f"version {part.version}, image {part.image}" if part.version else part.image
        found.append(Finding(
            "version-unsupported", Severity.WARNING, part.name,
            f"{part.name}: {which} has had no fixes since {end:%Y-%m-%d}", clean(seen, 300),
            f"set {part.image_setting} to {INSTEAD[which.name]}; then mlflow-console up",
        ))  # fmt: skip
    return found

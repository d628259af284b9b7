"""Where the data behind a tracking server lives, as its driver tells it.

Storage, database and backup ask their deployment's driver for these and never an engine, so that
they work for servers with and without containers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from console.core.secrets import Secret


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A backend store in a SQLite file."""

    path: Path


@dataclass(frozen=True, slots=True)
class MysqlServer:
    """A backend store in a MySQL database.

    Attributes:
        host, port: Where it answers this machine.
        name: Of the database.
        user, password: MLflow's own account there.
    """

    host: str
    port: int
    name: str
    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Folder:
    """An artifact store in a folder of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """An artifact store in a bucket of an S3 server.

    Attributes:
        endpoint: Its URL, for instance "http://172.18.0.3:9000".
        name: Of the bucket.
        prefix: The folder in it that MLflow writes to, without slashes around it; "" for all.
        region: As the server names it.
    """

    endpoint: str
    name: str
    prefix: str
    access_key: str
    secret_key: Secret
    region: str = "us-east-1"


BackendStore = SqliteFile | MysqlServer
ArtifactStore = Folder | Bucket

"""A real MySQL in a container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pymysql

from console.core.secrets import Secret
from console.core.stack.places import MysqlServer
from tests.support import engine

NAME, USER, PASSWORD, ROOT = "mlflow", "mlflow", "a password of tests", "root of tests"
PORT = 3306


@dataclass(frozen=True)
class Mysql:
    """A server that runs, with an empty database and an account for it.

    Attributes:
        container: Its name.
    """

    container: str

    @property
    def address(self) -> str:
        """Where it answers this machine, without the engine's proxy in between."""
        networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return engine.docker("inspect", "--format", networks, self.container).strip()

    @property
    def place(self) -> MysqlServer:
        """As a driver would describe it."""
        return MysqlServer(self.address, PORT, NAME, USER, Secret(PASSWORD))

    def connect(self, user: str = "root", password: str = ROOT) -> pymysql.Connection:
        """A connection, of root by default."""
        return pymysql.connect(
            host=self.address, user=user, password=password.encode(), database=NAME,
            charset="utf8mb4", autocommit=True,
        )  # fmt: skip

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as root, who does not wait for locks; returns the last one's rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 1")
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def wait(self) -> None:
        """Wait until it takes connections."""
        engine.wait_until(self._is_ready, 180, f"docker logs {self.container}")

    def _is_ready(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True


@contextmanager
def mysql_server(image: str, in_memory: bool = False) -> Iterator[Mysql]:
    """Start one; it and everything in it is removed afterwards.

    Args:
        image: What it is made from.
        in_memory: Keep nothing on a disk: making and dropping tables is faster by far.
    """
    variables = {
        "MYSQL_ROOT_PASSWORD": ROOT,
        "MYSQL_DATABASE": NAME,
        "MYSQL_USER": USER,
        "MYSQL_PASSWORD": PASSWORD,
    }
    options = [each for pair in variables.items() for each in ("--env", "=".join(pair))]
    if in_memory:
        options += ["--tmpfs", "/var/lib/mysql:rw,size=1g,mode=1777"]
    # MLflow's migrations make triggers, which MySQL refuses with a binary log.
    with engine.container(image, "mysqld", "--disable-log-bin", run=options) as name:
        server = Mysql(name)
        server.wait()
        yield server

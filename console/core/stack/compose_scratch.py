"""Scratch parts in containers: the images of the running services, in a network of their own.

The database's container has no network, and MLflow's joins that: they reach each other on its
loopback, and nobody else reaches them. Nothing of the live stack is mounted.
"""

from __future__ import annotations

import contextlib
import secrets
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core import engine, files
from console.core.backup import gzipped
from console.core.backup.dumping import dump_mysql
from console.core.errors import ConsoleError, DiskFullError, UnreachableError
from console.core.format import size
from console.core.progress import Progress
from console.core.stack import container_rooms
from console.core.stack import scratch as common
from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver import Role
from console.core.stack.planning import SIZES
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

    from console.core.backup.snapshot import Dump

LABEL = "mlflow-console.scratch"
"""On each of them, with the folder of its deployment."""
MEGABYTE = 1 << 20
# By the stack's size: what database and MLflow may use, and the database's own cache. A small one
# was seen to take 230 MB, and MLflow's server and client together 380.
DATABASE_BYTES = {"small": 450 * MEGABYTE, "standard": 1000 * MEGABYTE}
CACHE_BYTES = {"small": 96 * MEGABYTE, "standard": 512 * MEGABYTE}
TRACKING_BYTES = 750 * MEGABYTE
# Tables and indexes take several times of what a packed dump does; and the sample of artifacts.
DISK_FACTOR, DISK_BYTES = 12, 2_000_000_000
LONGEST = "6h"  # whatever becomes of who started them
ARTIFACTS = "/srv/artifacts"
LOG = "/tmp/server.log"  # noqa: S108  # in a container of its own
READY = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{common.PORT}/health', timeout=2)"
BLOCK = tarfile.BLOCKSIZE
USER = NAME = "mlflow"


@contextlib.contextmanager
def scratch(
    project: ComposeProject, folder: Path, cancel: threading.Event
) -> Iterator[ComposeScratch]:
    """See `BackupDriver.scratch`."""
    remove(project)  # of one that was killed
    found = project.resolved.value(project.name_of(Role.TRACKING), "STACK_SIZE")
    chosen = found if found in SIZES else SIZES[0]
    common.refuse_without_memory(
        DATABASE_BYTES[chosen] + TRACKING_BYTES, _free_memory(project), "the engine's machine"
    )
    made = ComposeScratch(project, folder, chosen, cancel)
    try:
        yield made
    finally:
        remove(project)


def remove(project: ComposeProject) -> None:
    """Remove every scratch container of the deployment, with its data."""
    from docker.errors import NotFound  # noqa: PLC0415  # first use

    label = f"{LABEL}={project.paths.root}"
    with project.engine.calls() as client:
        found = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        # What joined the network of another one goes first.
        for each in sorted(found, key=lambda it: it.labels.get(f"{LABEL}.part") == "database"):
            with contextlib.suppress(NotFound):
                each.remove(force=True, v=True)


def _free_memory(project: ComposeProject) -> int:
    """What is free on the engine's machine, which need not be this one."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    here = psutil.virtual_memory().available
    for container in project.containers().values():
        if container.status == "running":
            _, said = project.engine.run_in(str(container.id), ["grep", "Avail", "/proc/meminfo"])
            words = said.split()
            if len(words) == 3 and words[1].isdigit():
                there = int(words[1]) * 1024
                return min(here, there) if project.engine.shares_network else there
    return here


class ComposeScratch:
    """See `Scratch`; the two containers are made at the first use.

    Args:
        project: Whose images.
        folder: Where its commands run.
        size: Of the stack.
        cancel: Ends what is under way.
    """

    def __init__(
        self, project: ComposeProject, folder: Path, size: str, cancel: threading.Event
    ) -> None:
        self._project = project
        self._folder = folder
        self._size = size
        self._cancel = cancel
        self._password = secrets.token_urlsafe(24)
        self._made: dict[str, Container] = {}

    # Making them

    def _container(self, part: str) -> Container:
        if part not in self._made:
            making = {"database": self._make_database, "tracking": self._make_tracking}[part]
            self._made[part] = making()
        return self._made[part]

    def _image(self, role: Role) -> str:
        """That of the running service; where it does not run, what its files say."""
        name = self._project.name_of(role)
        running = self._project.containers().get(name)
        return str(
            running.attrs["Image"] if running else self._project.resolved.services[name].image
        )

    def _make_database(self) -> Container:
        image = self._image(Role.DATABASE)
        with self._project.engine.calls() as client:
            about = client.images.get(image).attrs["Config"]
        program = [*(about.get("Entrypoint") or ()), *(about.get("Cmd") or ["mysqld"])[:1]]
        options = [
            "--disable-log-bin", "--performance-schema=OFF", "--skip-name-resolve",
            "--loose-mysqlx=OFF", "--bind-address=127.0.0.1", "--max-connections=20",
            f"--innodb-buffer-pool-size={CACHE_BYTES[self._size]}",
            "--loose-innodb-redo-log-capacity=128M", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF", "--max-allowed-packet=1G",
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci",
        ]  # fmt: skip
        return self._start("database", image, [*program, *options], {
            "MYSQL_DATABASE": NAME, "MYSQL_USER": USER, "MYSQL_PASSWORD": self._password,
            "MYSQL_ROOT_PASSWORD": secrets.token_urlsafe(24),
        }, network="none", memory=DATABASE_BYTES[self._size])  # fmt: skip

    def _make_tracking(self) -> Container:
        address = f"mysql+pymysql://{USER}:{self._password}@127.0.0.1:3306/{NAME}?charset=utf8mb4"
        return self._start(
            "tracking", self._image(Role.TRACKING), ["sleep", "infinity"],
            {**common.MLFLOW, "MLFLOW_BACKEND_STORE_URI": address,
             "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{common.PORT}", "HOME": "/tmp"},  # noqa: S108
            network=f"container:{self._container('database').id}", memory=TRACKING_BYTES,
        )  # fmt: skip

    def _start(
        self, part: str, image: str, command: Sequence[str], environment: Mapping[str, str], *,
        network: str, memory: int,
    ) -> Container:  # fmt: skip
        from docker.types import LogConfig  # noqa: PLC0415  # first use

        with self._project.engine.calls() as client:
            container = client.containers.create(
                image, ["-k", "10", LONGEST, *command], entrypoint=["timeout"],
                environment=dict(environment), network_mode=network, init=True,
                mem_limit=memory, memswap_limit=memory, oom_score_adj=500, cpu_shares=256,
                pids_limit=1000, security_opt=["no-new-privileges:true"],
                healthcheck={"test": ["NONE"]},
                labels={LABEL: str(self._project.paths.root), f"{LABEL}.part": part},
                log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
            )  # fmt: skip
            container.start()
            return container

    # What is asked of them

    def load(self, dump: Dump, file: Path) -> Iterator[Progress]:
        """See `Scratch`; by the database's own client, from its stdin."""
        if dump.kind != "mysql":
            raise ConsoleError("The dump is not of MySQL, which this deployment keeps its runs in")
        yield Progress("starting a scratch database")
        self._wait_for_database()
        self._need_room(file)
        label, total, word = "loading the dump", file.stat().st_size, b""
        yield Progress(label, 0, total, "bytes")
        command = dump_mysql.load_command(USER, NAME)
        feed = dump_mysql.script(file, {}, self._cancel)
        for line in gzipped.lines(self._pipe("database", command, feed)):
            word = line.strip()
            if word.isdigit():
                yield Progress(label, int(word), total, "bytes")
        if word != b"whole":
            raise ConsoleError("The dump was not loaded to its end")
        yield Progress(label, total, total, "bytes")

    def _need_room(self, file: Path) -> None:
        """See that the engine's disk, which may be the live database's as well, does not fill."""
        needed = DISK_FACTOR * file.stat().st_size + DISK_BYTES
        container = self._container("database")
        room = container_rooms.room(
            self._project.engine, "the scratch database", container, "/var/lib/mysql"
        )
        if room is not None and room.free_bytes < needed:
            raise DiskFullError(
                f"A drill of this snapshot needs about {size(needed)} on the engine's disk, and "
                f"{size(room.free_bytes)} are free",
                "Free some space there, or drill on another machine.",
            )

    def _wait_for_database(self) -> None:
        container = self._container("database")
        # By TCP: the temporary server of the first start has a socket only.
        ping = "ping --silent --protocol=tcp --host=127.0.0.1 --user=ping"
        argv = ["sh", "-c", f"mysqladmin {ping} || mariadb-admin {ping}"]
        deadline = time.monotonic() + common.START_SECONDS
        while True:
            self._require_running("database")
            code, said = self._project.engine.run_in(str(container.id), argv)
            if code == 0:
                return
            if time.monotonic() > deadline:
                raise ConsoleError(f"The scratch database does not answer: {said}")
            common.pause(self._cancel)

    def start(self, artifacts: common.Artifacts) -> None:
        """See `Scratch`; the artifacts are copied in, and MLflow's account may only read them."""
        container = self._container("tracking")
        with self._project.engine.calls() as client:
            client.api.put_archive(str(container.id), "/srv", _archive(artifacts))
            words = " ".join(common.server(ARTIFACTS, common.PORT))
            made: dict[str, Any] = client.api.exec_create(
                str(container.id), ["sh", "-c", f"exec {words} > {LOG} 2>&1"]
            )
            client.api.exec_start(made["Id"], detach=True)
        deadline = time.monotonic() + common.START_SECONDS
        while True:
            with self._project.engine.calls() as client:
                running = client.api.exec_inspect(made["Id"])["Running"]
            code, _ = self._project.engine.run_in(str(container.id), ["python", "-c", READY])
            if code == 0:
                return
            if not running or time.monotonic() > deadline:
                raise ConsoleError(f"The scratch MLflow server does not start: {self._log()}")
            common.pause(self._cancel)

    def ask(self, question: bytes) -> bytes:
        """See `Scratch`."""
        return b"".join(self._pipe("tracking", ("python", "-"), [common.program(question)]))

    def _pipe(self, part: str, command: Sequence[str], feed: Any) -> Iterator[bytes]:
        container = self._container(part)
        environment = {dump_mysql.PASSWORD: self._password} if part == "database" else {}
        names = [word for name in environment for word in ("--env", name)]
        argv = ["exec", "--interactive", *names, str(container.id), *command]
        try:
            yield from engine.pipe(
                argv, self._folder, environment, feed, self._cancel, named=command[0]
            )
        except UnreachableError:
            raise
        except ConsoleError as error:
            self._require_running(part)
            raise error

    def _require_running(self, part: str) -> None:
        container = self._made[part]
        with self._project.engine.calls():
            container.reload()
            said = container.logs(tail=20).decode(errors="replace").strip().splitlines()
        state = container.attrs["State"]
        if state.get("OOMKilled"):
            limit = container.attrs["HostConfig"]["Memory"] // MEGABYTE
            raise ConsoleError(f"The memory of the scratch {part} ran out ({limit} MB)")
        if not state.get("Running"):
            last = clean(said[-1], 300) if said else f"code {state.get('ExitCode')}"
            raise ConsoleError(f"The scratch {part} ended: {last}")

    def _log(self) -> str:
        container = self._container("tracking")
        self._require_running("tracking")
        _, said, _ = self._project.engine.output_of(str(container.id), ["tail", "-n", "200", LOG])
        return common.reason(said)


def _archive(artifacts: common.Artifacts) -> Iterator[bytes]:
    """A tar of the artifacts, which everybody may read and only root may change."""
    yield _header("artifacts", 0o755, tarfile.DIRTYPE)
    folders: set[str] = set()
    for key, path in artifacts.items():
        parts = f"artifacts/{key}".split("/")
        for end in range(2, len(parts)):
            folder = "/".join(parts[:end])
            if folder not in folders:
                folders.add(folder)
                yield _header(folder, 0o755, tarfile.DIRTYPE)
        with files.explained(path), path.open("rb") as file:
            left = length = path.stat().st_size
            yield _header("/".join(parts), 0o444, tarfile.REGTYPE, length)
            while left:
                piece = file.read(min(left, 1 << 20))
                if not piece:
                    raise ConsoleError(f"{path} became shorter while it was read")
                left -= len(piece)
                yield piece
        yield bytes(-length % BLOCK)
    yield bytes(2 * BLOCK)


def _header(name: str, mode: int, kind: bytes, length: int = 0) -> bytes:
    about = tarfile.TarInfo(name)
    about.mode, about.type, about.size = mode, kind, length
    return about.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

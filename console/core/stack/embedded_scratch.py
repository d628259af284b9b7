"""Scratch parts without containers: a server of the same environment, behind a lock of its own.

It listens on loopback with a random password that only this process knows. Its data are in a folder
that only this account may enter. Each of its processes may have so much memory (RLIMIT_DATA) and is
the first to go when the machine has none left; all of them end with this process.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files, http, pipes, process
from console.core.backup.dumping import dump_sqlite
from console.core.errors import ConsoleError, UnreachableError
from console.core.http import Credentials
from console.core.progress import Progress
from console.core.secrets import Secret
from console.core.stack import scratch as common

if TYPE_CHECKING:
    from console.core.backup.snapshot import Dump
    from console.core.deployment import Paths
    from console.core.stack.environment import Environment

MARK = "MLFLOW_CONSOLE_SCRATCH"
"""In the environment of each process, with the folder of its deployment."""
SAMPLE_BYTES = 1_000_000_000
# Server and worker take 0.27 GB each and the client 0.25, on a small database.
LIMIT_BYTES, NEEDED_BYTES = 1 << 30, 1_200_000_000
STOP_SECONDS = 15.0
USER = "drill"
# The server ends when its stdin does: that is, also when whoever started it is killed.
GUARDED = """\
ulimit -d "$1"; shift
echo 500 2>/dev/null >/proc/self/oom_score_adj
exec 3<&0
(read _ <&3; kill -s TERM 0) >/dev/null 2>&1 &
exec 2>&1
nice -n 10 "$@" </dev/null 3<&-
"""
LIMITED = 'ulimit -d "$1"; shift; echo 500 2>/dev/null >/proc/self/oom_score_adj; exec "$@"'


@contextmanager
def scratch(
    paths: Paths, environment: Environment, folder: Path, cancel: threading.Event
) -> Iterator[EmbeddedScratch]:
    """See `BackupDriver.scratch`."""
    import psutil  # noqa: PLC0415  # first use, not start-up

    remove(paths)  # of one that was killed
    common.refuse_without_memory(NEEDED_BYTES, psutil.virtual_memory().available, "this machine")
    made = EmbeddedScratch(paths, environment, folder, cancel)
    try:
        yield made
    finally:
        made.stop()


def remove(paths: Paths) -> None:
    """End every scratch process of the deployment."""
    process.terminate(process.marked(MARK, str(paths.root)), STOP_SECONDS)


class EmbeddedScratch:
    """See `Scratch`.

    Args:
        paths: Of the deployment.
        environment: Of its server.
        folder: For the data.
        cancel: Ends what is under way.
    """

    def __init__(
        self, paths: Paths, environment: Environment, folder: Path, cancel: threading.Event
    ) -> None:
        self._paths = paths
        self._environment = environment
        self._folder = folder
        self._cancel = cancel
        self._database = folder / "mlflow.db"
        self._log = folder / "server.log"
        self._password = Secret(secrets.token_urlsafe(24))
        self._port = 0
        self._over, self._ended = threading.Event(), threading.Event()
        self._server: threading.Thread | None = None

    def _variables(self) -> dict[str, str]:
        return process.environment({
            **common.MLFLOW, MARK: str(self._paths.root),
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._database}",
            "MLFLOW_CONSOLE_HTPASSWD": str(self._folder / "htpasswd"),
            "MLFLOW_TRACKING_URI": f"http://{process.LOOPBACK}:{self._port}",
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self._password.reveal(),
            "TMPDIR": str(self._folder),
        })  # fmt: skip

    def load(self, dump: Dump, file: Path) -> Iterator[Progress]:
        """See `Scratch`."""
        if dump.kind != "sqlite":
            raise ConsoleError("The dump is not of SQLite, which this deployment keeps its runs in")
        # A SQLite file is packed to a fifth or less; and there will be the sample of artifacts.
        files.need_room(self._folder, 8 * dump.bytes + SAMPLE_BYTES, "A drill of this snapshot")
        yield from dump_sqlite.unpack(file, self._database, self._cancel)
        dump_sqlite.require_as_dumped(self._database, dump)

    def start(self, artifacts: common.Artifacts) -> None:
        """See `Scratch`."""
        root = self._folder / "artifacts"
        files.make_folder(root)
        for key, path in artifacts.items():
            target = root / key
            files.make_folder(target.parent)
            with files.explained(target):
                shutil.copyfile(path, target)
                target.chmod(0o400)
        self._lock()
        self._port = process.free_port(20_000 + secrets.randbelow(10_000))
        self._server = threading.Thread(target=self._serve, name="scratch-server", daemon=True)
        self._server.start()
        self._wait()

    def _lock(self) -> None:
        import bcrypt  # noqa: PLC0415  # first use

        # A password of 192 random bits needs no slow hash.
        hashed = bcrypt.hashpw(self._password.reveal().encode(), bcrypt.gensalt(4))
        files.write_atomic(self._folder / "htpasswd", f"{USER}:".encode() + hashed + b"\n")

    def _serve(self) -> None:
        argv = common.server(str(self._folder / "artifacts"), self._port)
        program = [str(self._environment.bin / argv[0]), *argv[1:], "--app-name", "mlflow-console"]
        command = ["sh", "-c", GUARDED, "sh", str(LIMIT_BYTES // 1024), *program]
        try:
            with suppress(ConsoleError), self._log.open("wb") as log:
                for piece in pipes.stream(
                    command, self._variables(), self._until_over(), threading.Event(),
                    directory=self._folder,
                ):  # fmt: skip
                    log.write(piece)
                    log.flush()
        finally:
            self._ended.set()

    def _until_over(self) -> Iterable[bytes]:
        while not self._over.wait(0.5):
            yield b""

    def _wait(self) -> None:
        deadline = time.monotonic() + common.START_SECONDS
        ours = Credentials(USER, self._password)
        while True:
            listening = process.listening(process.marked(MARK, str(self._paths.root)))
            if self._port in listening:
                with suppress(UnreachableError):
                    url = f"http://{process.LOOPBACK}:{self._port}/version"
                    if http.get(url, ours).status == 200:
                        return
            if self._ended.is_set() or time.monotonic() > deadline:
                raise ConsoleError(f"The scratch MLflow server does not start: {self._said()}")
            common.pause(self._cancel)

    def _said(self) -> str:
        with files.explained(self._log):
            return common.reason(self._log.read_text(errors="replace"))

    def ask(self, question: bytes) -> bytes:
        """See `Scratch`."""
        python = [str(self._environment.bin / "python"), "-"]
        command = ["sh", "-c", LIMITED, "sh", str(LIMIT_BYTES // 1024), *python]
        return b"".join(pipes.stream(
            command, self._variables(), [common.program(question)], self._cancel,
            directory=self._folder, named="the rehearsal",
        ))  # fmt: skip

    def stop(self) -> None:
        """End everything; a second call does nothing."""
        self._over.set()
        if self._server is not None:
            self._server.join(STOP_SECONDS)
        remove(self._paths)

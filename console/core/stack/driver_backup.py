"""What every driver gives for backups: the other half of its contract."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from console.core.progress import Progress

if TYPE_CHECKING:
    from console.core.backup.snapshot import Dump
    from console.core.stack.driver import Role


class Scratch(Protocol):
    """A database and an MLflow server that nobody else can reach, thrown away in the end."""

    def load(self, dump: Dump, file: Path) -> Iterator[Progress]:
        """Load a dump into the database.

        Args:
            dump: What it is.
            file: Where it lies.

        Raises:
            ConsoleError: It cannot be loaded, and why.
        """

    def start(self, artifacts: Mapping[str, Path]) -> None:
        """Start the MLflow server on the database, and wait until its API answers.

        Args:
            artifacts: Files, by the keys that it shall serve them under; they are copied.

        Raises:
            ConsoleError: It does not start, and why.
        """

    def ask(self, question: bytes) -> bytes:
        """Run core/backup/drilling/rehearsal.py with MLflow's client beside the server.

        Args:
            question: JSON, for its stdin.

        Returns:
            JSON, from its stdout.

        Raises:
            ConsoleError: It failed, and why.
        """


class BackupDriver(Protocol):
    """What the backups ask of a driver."""

    def pipe(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str],
        feed: Iterable[bytes] | None, cancel: threading.Event,
    ) -> Iterator[bytes]:  # fmt: skip
        """Run a program where a service runs, and yield what it writes in pieces.

        It is ended when it is cancelled, and when nobody reads to its end.

        Args:
            role: The service's.
            argv: Program and arguments; no secret.
            env: Variables for it; secrets go here.
            feed: What it reads from its stdin; None for nothing.
            cancel: Ends it.

        Raises:
            UnreachableError: The service does not run.
            ConsoleError: It ended with another code than 0; the message holds the last line that
                it wrote to stderr.
        """

    def migrate(self, cancel: threading.Event) -> Iterator[Progress]:
        """Bring the schema of the backend store to the server's version, while it is stopped.

        Raises:
            ConsoleError: It cannot be, and why.
        """

    def maintenance(self, on: bool) -> None:
        """Turn everybody away with an answer that says why, or let them in again.

        Where there is no proxy that could answer, nothing is done: the server is stopped then.
        """

    def versions(self) -> dict[str, str]:
        """The versions of what runs, by service, as far as they are known."""

    def images(self) -> dict[str, str]:
        """What identifies the images of the services; nothing without containers."""

    def data_folders(self) -> Sequence[Path]:
        """Folders in the deployment's own whose content is no file to keep.

        It comes by the dump and the artifacts, or is made anew.
        """

    def scratch(self, folder: Path, cancel: threading.Event) -> AbstractContextManager[Scratch]:
        """A database and an MLflow server for a rehearsal, beside the live ones.

        Args:
            folder: An empty one that they may write to.
            cancel: Ends what is under way.

        Raises:
            ConsoleError: This machine is too small for it, said before anything is started.
        """

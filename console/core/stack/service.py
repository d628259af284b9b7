"""The stack area: status, logs and the verbs that start and stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

from console.core import actions, setup
from console.core.actions import Action
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UnreachableError
from console.core.format import plural
from console.core.operations import OPERATIONS, operation
from console.core.progress import Progress
from console.core.stack import status, watch
from console.core.stack.driver import Inspection, Program, Sample, Verb, Volume
from console.core.stack.log_stream import LogStream
from console.core.stack.status import Status
from console.core.streams import Stream
from console.core.text import clean

SHOWN_AT_WORK = 10
LATELY_SECONDS = 60.0


def _names(services: Sequence[str] = (), **_: object) -> str:
    return " ".join(services)


class StackService:
    """What runs, how it is, and how to start and stop it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("stack.status")
    def status(self) -> Status:
        """Look at every service and make authenticated calls of the API."""
        return status.look(self.deployment)

    def watch(self) -> Stream[Status]:
        """The status again and again, at once when a service changes; it never fails."""
        return watch.stream(self.deployment)

    def statistics(self) -> Stream[list[Sample]]:
        """What the running services use, every two seconds."""
        return self.deployment.driver.statistics()

    def inspect(self, service: str) -> Inspection:
        """Look closer at one service."""
        return self.deployment.driver.inspect(service)

    @operation("stack.logs")
    def logs(
        self, services: Sequence[str] = (), tail: int | None = 200, follow: bool = False,
        since: datetime | None = None,
    ) -> LogStream:  # fmt: skip
        """The last lines of the logs, and with `follow` the new ones as they come.

        Args:
            services: Which ones; all of them when empty.
            tail: How many lines, of all of them together; None for all that are kept.
            follow: Go on until the stream is closed.
            since: None of those that are older.
        """
        return self.deployment.driver.logs(services, tail, follow, since)

    # Starting and stopping

    def perform(
        self, operation_id: str, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Do one of the verbs below in a process of its own, which outlives this one.

        When the same is being done already, it is followed and not begun again.

        Args:
            operation_id: "stack.up" and so on.
            services: Which ones; all of them when empty.
            cancel: Asks that process to leave off.

        Raises:
            BusyError: Something else is being done.
            ConsoleError: As the verb.
        """
        self.deployment.refuse_when_read_only(OPERATIONS[operation_id])
        yield from actions.follow(
            self.deployment, actions.begin(self.deployment, operation_id, services), cancel
        )

    def current(self) -> Action | None:
        """What is being done to the stack now, by whomever."""
        return actions.current(self.deployment)

    def follow(self, action: Action, cancel: threading.Event) -> Iterator[Progress]:
        """What an action that somebody has begun reports, from its beginning."""
        yield from actions.follow(self.deployment, action, cancel)

    @operation("stack.up", target=_names)
    def up(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Start what does not run and wait until the API answers.

        Raises:
            ConsoleError: It did not start, or the API refuses the service user.
        """
        self._give_up_restore()
        yield from setup.complete(self.deployment, cancel)
        yield from self._act(Verb.UP, services, cancel)
        now = status.look(self.deployment, measure=False)
        if not now.api.ok:
            fix = now.findings[0].fix if now.findings else ""
            kind = UnreachableError if now.api.http_status is None else ConsoleError
            raise kind(now.api.error, fix)
        yield Progress(f"healthy at {now.url}")

    @operation("stack.down", target=_names)
    def down(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Stop everything, or the named services; no data is removed."""
        yield from self._act(Verb.DOWN, services, cancel)

    @operation("stack.stop", target=_names)
    def stop(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Stop, and keep what was made to run it."""
        yield from self._act(Verb.STOP, services, cancel)

    @operation("stack.start", target=_names)
    def start(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Start what was stopped, as it was."""
        self._give_up_restore()
        yield from self._act(Verb.START, services, cancel)

    @operation("stack.restart", target=_names)
    def restart(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Stop and start again; what was changed in the settings takes effect."""
        self._give_up_restore()
        self.deployment.driver.check_start()
        yield from setup.complete(self.deployment, cancel)
        yield from self._act(Verb.RESTART, services, cancel)

    @operation("stack.recreate", target=_names)
    def recreate(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Make the containers anew; the data stays."""
        self._give_up_restore()
        yield from self._act(Verb.RECREATE, services, cancel)

    @operation("stack.pull", target=_names)
    def pull(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Fetch the images; what runs is not touched."""
        yield from self._act(Verb.PULL, services, cancel)

    @operation("stack.build", target=_names)
    def build(self, services: Sequence[str] = (), *, cancel: threading.Event) -> Iterator[Progress]:
        """Build the images that are built here; what runs is not touched."""
        yield from self._act(Verb.BUILD, services, cancel)

    @operation("stack.destroy")
    def destroy(
        self, services: Sequence[str] = (), *, cancel: threading.Event
    ) -> Iterator[Progress]:
        """Stop everything and remove its volumes: every run, artifact and password in them."""
        yield from self._act(Verb.DESTROY, services, cancel)

    def volumes(self) -> list[Volume]:
        """What `destroy` would remove."""
        return self.deployment.driver.volumes()

    @operation("stack.shell", target=lambda service, client=False: service)
    def shell(self, service: str, client: bool = False) -> Program:
        """A shell in a service, or with `client` the database's own client; the caller runs it."""
        return self.deployment.driver.program(service, client)

    def _give_up_restore(self) -> None:
        from console.core.backup.restoring import (  # noqa: PLC0415  # seldom needed
            restore_journal,
        )

        restore_journal.give_up(self.deployment)

    def _act(
        self, verb: Verb, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        lacking = self.deployment.driver.capabilities.missing.get(f"stack.{verb}")
        if lacking is not None:
            raise ConsoleError(f"This deployment has no {verb}: {lacking.reason}")
        yield from self.deployment.driver.act(verb, services, cancel)

    def at_work(self) -> list[str]:
        """Who would be interrupted now, one line each: runs that are RUNNING, and clients."""
        try:
            runs = self.deployment.database.running(limit=SHOWN_AT_WORK)
        except ConsoleError:
            runs = []  # no database yet, or one that cannot be read: nobody writes to it either
        lines = [
            clean(
                f"run {run.name} of {run.user or 'somebody'} in {run.experiment} is RUNNING "
                + (f"since {run.started_at:%Y-%m-%d %H:%M} UTC" if run.started_at else "")
            )
            for run in runs
        ]
        try:
            clients = self.deployment.driver.clients(LATELY_SECONDS)
        except ConsoleError:
            clients = None
        return [*lines, f"{plural(clients, 'client')} in the last minute"] if clients else lines

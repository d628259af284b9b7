"""Bringing a snapshot back into the deployment that is there.

First the proxy shows a maintenance page and the tracking server is stopped, so that no client
writes any more. Then comes a safety snapshot of what is there. A journal (`run/restore.json`) says
how far it is: each step can be done again, so that a killed call is gone on with, and a step that
fails brings the safety snapshot back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import audit, setup
from console.core.backup import create
from console.core.backup.artifacts import putting
from console.core.backup.dumping import dumps
from console.core.backup.place import Place
from console.core.backup.records import load_snapshot
from console.core.backup.restoring import restore_check, restore_journal, restore_plan
from console.core.backup.restoring.restore_journal import Journal
from console.core.backup.snapshot import PARTS, Part, Snapshot
from console.core.errors import BusyError, CancelledError, ConsoleError
from console.core.format import plural
from console.core.progress import Progress
from console.core.stack.driver import Role, Verb
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment

# In this order; which of them are done is in the journal.
STEPS = ("made", "closed", "safety", "database", "artifacts", "users", "started")
# Whoever goes on does them again: somebody may have started the server meanwhile.
AGAIN = ("closed", "started")


def run(
    deployment: Deployment, wanted: str, parts: Sequence[Part] | None, cancel: threading.Event
) -> Iterator[Progress]:
    """Bring a snapshot back; see `BackupService.restore`."""
    begun = restore_journal.read(deployment.paths)
    if begun is None or not restore_plan.goes_on(deployment, begun, wanted):
        begun = _journal(deployment, wanted, parts, begun)
    yield from _Restoring(deployment, begun, cancel).run()


def _journal(
    deployment: Deployment, wanted: str, parts: Sequence[Part] | None, begun: Journal | None
) -> Journal:
    """Of a restore that begins, or of one that takes the place of one that broke off."""
    if begun is not None and begun.fresh:  # settings and passwords are those of its snapshot
        raise BusyError(f"Into this directory {begun.words}", begun.ways_on)
    snapshot, chosen = restore_plan.instead(deployment, wanted, parts, begun)
    safety = begun.safety if begun else ""
    if not safety:
        restore_plan.refuse_too_little_room(deployment)
    return Journal(
        snapshot=str(snapshot.path), parts=chosen, by=audit.account(),
        started_at=datetime.now(UTC), safety=safety,
    )  # fmt: skip


class _Restoring:
    """A restore that goes forward, or back."""

    def __init__(self, deployment: Deployment, begun: Journal, cancel: threading.Event) -> None:
        self._deployment = deployment
        self._journal = begun
        self._cancel = cancel
        self._lost = 0

    def run(self) -> Iterator[Progress]:
        """Do what is left of it.

        Raises:
            ConsoleError: It failed; says whether everything is as it was.
        """
        if self._journal.fresh:
            yield from self._forward()
            return
        with Place.of(self._deployment).lock.holding(f"restore of {self._deployment.name}"):
            restore_journal.write(self._deployment.paths, self._journal)
            if self._journal.back:
                yield from self._back(ConsoleError(self._journal.back))
                return
            try:
                yield from self._forward()
            except ConsoleError as error:
                self._note(back=error.message, done="")
                yield from self._back(error)

    def _forward(self) -> Iterator[Progress]:
        snapshot = load_snapshot(Path(self._journal.snapshot))
        yield from self._steps(snapshot, self._cancel)
        yield Progress("looking whether everything is there")
        restore_check.check(self._deployment, snapshot, self._journal.parts, self._cancel)
        yield from self._open()
        restore_journal.end(self._deployment.paths)
        before = Path(self._journal.safety).name
        said = f"; {before} is what was there" if before not in ("", snapshot.id) else ""
        but = f", but for {plural(self._lost, 'broken artifact')}" if self._lost else ""
        yield Progress(f"{snapshot.id} is back{but}{said}")

    def _back(self, why: ConsoleError) -> Iterator[Progress]:
        """Bring the safety snapshot back; before there is one, nothing was changed."""
        yield Progress(f"bringing back what was there before: {clean(why.message)}")
        never = threading.Event()  # this is the way out: it is not left half way
        safety = self._journal.safety
        try:
            if safety:
                yield from self._steps(load_snapshot(Path(safety)), never)
            else:
                yield from self._deployment.driver.act(Verb.UP, (), never)
            yield from self._open()
        except ConsoleError as error:
            raise ConsoleError(
                f"Restoring failed ({why.message}), and so did bringing back what was there "
                f"before: {error.message}",
                f"Nothing is lost{f': it is in {safety}' if safety else ''}. Put that right, then "
                f"`mlflow-console backup restore {Path(self._journal.snapshot).name}` goes on "
                "bringing that back; until then clients see the maintenance page.",
            ) from error
        restore_journal.end(self._deployment.paths)
        kind = CancelledError if isinstance(why, CancelledError) else ConsoleError
        raise kind(f"{why.message}. Everything is as it was before", why.hint) from why

    # The steps: each can be done again

    def _steps(self, snapshot: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        done = STEPS.index(self._journal.done) if self._journal.done else -1
        for number, name in enumerate(STEPS):
            if number <= done and name not in AGAIN:
                continue
            if self._asked(name):
                yield from getattr(self, f"_{name}")(snapshot, cancel)
            if cancel.is_set():
                raise CancelledError("Stopped")
            if number > done:
                self._note(done=name)

    def _asked(self, step: str) -> bool:
        match step:
            case "made":
                return self._journal.fresh
            case "safety":
                return not (self._journal.fresh or self._journal.safety)
            case "closed" | "started":
                return True
        return step in self._journal.parts

    def _made(self, _: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        """In a new directory: what `init` makes; a database and a store that were made once."""
        driver = self._deployment.driver
        yield from setup.complete(self._deployment, cancel)
        driver.maintenance(True)
        if any(each.role is Role.DATABASE for each in driver.services(measure=False)):
            yield from driver.act(Verb.UP, (), cancel)

    def _closed(self, _: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        """Let no client write any more."""
        driver = self._deployment.driver
        driver.maintenance(True)
        services = driver.services(measure=False)
        yield from driver.act(
            Verb.STOP, [each.name for each in services if each.role is Role.TRACKING], cancel
        )
        needed = [each.name for each in services if each.role in (Role.DATABASE, Role.STORE)]
        if needed:
            yield from driver.act(Verb.UP, needed, cancel)

    def _safety(self, _: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        """What is there now; nobody adds to it any more."""
        yield Progress("a safety snapshot of what is there now")
        try:
            made = yield from create.snapshot(self._deployment, PARTS, "", "safety", cancel)
        except CancelledError as error:
            raise CancelledError("Stopped") from error  # nobody wants the safety snapshot alone
        self._note(safety=str(Place.of(self._deployment).path / made.id))

    def _database(self, snapshot: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        dump = snapshot.manifest.database if snapshot.manifest else None
        if dump is None:
            raise ConsoleError(f"{snapshot.id} holds no database")
        yield from dumps.load(self._deployment, snapshot.path, dump, cancel)
        if not self._journal.back:  # what was there before comes back as it was
            yield from self._deployment.driver.migrate(cancel)

    def _artifacts(self, snapshot: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        store = self._deployment.storage.store
        self._lost = yield from putting.put_back(store, snapshot, cancel)

    def _users(self, snapshot: Snapshot, _: threading.Event) -> Iterator[Progress]:
        for path in restore_plan.user_files(self._deployment, snapshot):
            self._deployment.users.put_back(path.name, path.read_bytes())
        yield Progress("users are back")

    def _started(self, _: Snapshot, cancel: threading.Event) -> Iterator[Progress]:
        yield from self._deployment.driver.act(Verb.UP, (), cancel)

    def _open(self) -> Iterator[Progress]:
        """Let clients in again, and see that they get in."""
        self._deployment.driver.maintenance(False)
        api = self._deployment.stack.status().api
        if not api.ok:
            raise ConsoleError(f"the API does not work: {api.error}")
        yield Progress("clients are let in again")

    def _note(self, **changed: str) -> None:
        self._journal = msgspec.structs.replace(self._journal, **changed)
        restore_journal.write(self._deployment.paths, self._journal)

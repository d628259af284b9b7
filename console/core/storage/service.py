"""The storage area: what the artifact store holds and for whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from console.core.deployment import Deployment
from console.core.errors import CancelledError
from console.core.operations import operation
from console.core.stack.places import Folder
from console.core.storage.attribution import Attribution, Catalog
from console.core.storage.store import Store
from console.core.storage.tally import Figures, Tally
from console.core.storage.usage import Amount, ExperimentUsage, RunUsage, Usage

__all__ = ["Amount", "ExperimentUsage", "RunUsage", "StorageService", "Usage"]

INTERVAL_SECONDS = 0.5
# Adding up a hundred thousand runs takes a while: at most a tenth of the walk goes into reports.
REPORTS_SHARE = 10


class StorageService:
    """The artifact store."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @operation("storage.usage")
    def usage(self, *, cancel: threading.Event) -> Iterator[Usage]:
        """Walk the store; yields the figures so far about twice a second, the last one complete.

        The database is asked before the walk, for the figures so far, and again after it, for
        the last ones: MLflow creates a run, model or trace before its first artifact, so what
        the database does not know then is no upload that is under way.

        Raises:
            CancelledError: `cancel` was set.
            AccessError: The store's root cannot be read, or the store does not accept our keys.
            UnreachableError: The database or the store does not answer.
        """
        store = self.store
        walk = _Walk(store, Attribution(Catalog.read(self.deployment.database), store.base))
        pause, due = INTERVAL_SECONDS, time.monotonic() + INTERVAL_SECONDS
        for batch in store.walk(cancel):
            if cancel.is_set():
                break
            walk.tally.count(batch)
            before = time.monotonic()
            if before >= due:
                figures = walk.figures()
                pause = max(INTERVAL_SECONDS, REPORTS_SHARE * (time.monotonic() - before))
                yield figures
                due = time.monotonic() + pause
        walk.incomplete(cancel)
        if cancel.is_set():
            raise CancelledError("The walk of the storage was cancelled", "Nothing was changed.")
        yield walk.figures(Catalog.read(self.deployment.database))

    @property
    def store(self) -> Store:
        """The store where it is now, as the driver says: a restart can move it."""
        place = self.deployment.driver.artifact_store()
        if isinstance(place, Folder):
            from console.core.storage.filesystem import FilesystemStore  # noqa: PLC0415  # first use

            return FilesystemStore(place.path)
        from console.core.storage.s3 import S3Store  # noqa: PLC0415  # first use

        return S3Store(place)


class _Walk:
    """One walk: what it found, since when, and how to report that."""

    def __init__(self, store: Store, attribution: Attribution) -> None:
        self._store = store
        self._attribution = attribution
        self.tally = Tally(attribution)
        self._scanned_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._incomplete = Amount()

    def incomplete(self, cancel: threading.Event) -> None:
        """Count what was begun and not completed, unless the walk was cancelled."""
        if not cancel.is_set():
            self._incomplete = self._store.incomplete(cancel)

    def figures(self, final: Catalog | None = None) -> Usage:
        """The figures so far; with the database as it is after the walk, the complete ones."""
        attribution = Attribution(final, self._store.base) if final else self._attribution
        figures = Figures(self.tally.places, attribution, certain=final is not None)
        return Usage(
            scanned_at=self._scanned_at,
            complete=final is not None,
            seconds=time.monotonic() - self._began,
            bytes=figures.total.bytes,
            objects=figures.total.objects,
            experiments=figures.experiments(),
            trash=figures.trash.amount(),
            orphans=figures.orphans.amount(),
            unknown=figures.unknown.amount(),
            incomplete_uploads=self._incomplete,
            free_bytes=self._store.free_bytes(),
            problems=tuple(self._store.problems),
        )

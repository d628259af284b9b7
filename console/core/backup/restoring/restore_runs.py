"""Single runs of a snapshot come back into the live server, as new runs.

MLflow gives every run an id of its own; so a run that comes back is another one, with a tag that
says where it comes from. By that tag it is found when the same is asked for again: there is no
second copy then. A run that was left half made is thrown away and made anew.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.backup import catalog
from console.core.backup.dumping import dumps
from console.core.backup.place import find
from console.core.backup.restoring import restore_journal, run_values
from console.core.backup.restoring.run_making import (
    ORIGIN,
    PARENT,
    UNFINISHED,
    Making,
    chunks,
    experiment_for,
)
from console.core.backup.restoring.run_upload import Uploads
from console.core.backup.restoring.run_values import Held
from console.core.backup.snapshot import Dump, Experiment, Run
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.experiments.client import Client
from console.core.files import locked
from console.core.format import plural
from console.core.progress import Progress
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment

AT_ONCE = 100  # runs of which the values are kept ready at a time
LEAST_ID = 4


def run(
    deployment: Deployment, wanted: str, run_ids: Sequence[str], cancel: threading.Event,
    again: bool = False,
) -> Iterator[Progress]:  # fmt: skip
    """Bring runs back; the reports' labels name the new ones.

    Params, tags, the history of all metrics, times, status, datasets, artifacts, and the logged
    models that the run has made come back; traces do not.

    Args:
        deployment: Whose server they go to.
        wanted: The snapshot, as in `BackupService.show`.
        run_ids: The ids there, or the beginning of one.
        cancel: Leaves off; what is complete stays.
        again: Make another copy of those that were brought back already.

    Raises:
        UsageError: There is no such run in the snapshot.
        UnreachableError: The server is stopped.
        ConsoleError: It failed, and what there is of it.
    """
    restore_journal.refuse_half_restored(deployment.paths)
    snapshot = find(deployment, wanted)
    dump = snapshot.manifest.database if snapshot.manifest else None
    if dump is None:
        raise ConsoleError(
            f"{snapshot.id} holds no dump of the database"
            + (f": {snapshot.problem}" if snapshot.problem else "")
        )
    chosen = _chosen(snapshot.path, run_ids)
    with locked(deployment.paths.run / "restore-runs.lock", "which runs come back"):
        back = _Back(deployment, snapshot.path, dump, again, cancel)
        yield from back.run(chosen)


def _chosen(snapshot: Path, run_ids: Sequence[str]) -> list[Run]:
    """The runs that are meant, each once."""
    asked = list(dict.fromkeys(each.strip() for each in run_ids))
    found: dict[str, list[Run]] = {each: [] for each in asked}
    for each in catalog.runs(snapshot):
        for begun in asked:
            if each.run_id == begun or (len(begun) >= LEAST_ID and each.run_id.startswith(begun)):
                found[begun].append(each)
    chosen: dict[str, Run] = {}
    for begun, runs in found.items():
        exact = [each for each in runs if each.run_id == begun] or runs
        if len(exact) != 1:
            raise UsageError(
                f"{snapshot.name} holds {plural(len(exact), 'run') if exact else 'no run'} whose "
                f"id begins with {clean(begun) or 'nothing'}",
                f"`mlflow-console backup show {snapshot.name} --runs` shows them.",
            )
        chosen[exact[0].run_id] = exact[0]
    return list(chosen.values())


class _Back:
    def __init__(
        self, deployment: Deployment, snapshot: Path, dump: Dump, again: bool,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._client = Client(deployment)
        store = deployment.storage.store
        self._base = store.base
        self._uploads = Uploads(self._client, store, snapshot, cancel)
        self._snapshot = snapshot
        self._dump = dump
        self._again = again
        self._cancel = cancel
        self._experiments = {
            each.experiment_id: each for each in catalog.experiments(snapshot)
        }  # fmt: skip
        self._live: dict[str, str] = {}  # experiments: then, now
        self._back: dict[str, str] = {}  # runs: then, now

    def run(self, chosen: Sequence[Run]) -> Iterator[Progress]:
        missing = []
        for run in chosen:
            yield from self._experiment(run.experiment_id)
            earlier = yield from self._earlier(run)
            if earlier is None:
                missing.append(run)
            else:
                self._back[run.run_id] = earlier
                yield Progress(f"{_name(run)}: is there already, as {earlier}")
        for some in chunks(missing, AT_ONCE):
            yield Progress(f"reading {plural(len(some), 'run')} in the dump")
            with run_values.read(self._snapshot, self._dump, some, self._base) as held:
                for each in run_values.families(held, PARENT):
                    yield from self._make(each)

    def _experiment(self, then: str) -> Iterator[Progress]:
        if then in self._live:
            return
        experiment = self._experiments.get(then) or Experiment(then, f"restored {then}", "", "")
        found, made = experiment_for(
            self._client, self._snapshot, experiment, lambda: self._experiment_tags(then)
        )
        self._live[then] = found
        if made:
            yield Progress(f"the experiment {clean(experiment.name)} is made anew")

    def _experiment_tags(self, then: str) -> Mapping[str, str]:
        rows = dumps.rows(self._snapshot, self._dump, ("experiment_tags",))
        return {
            str(row["key"]): str(row["value"])
            for _, row in rows
            if str(row["experiment_id"]) == then
        }

    def _earlier(self, run: Run) -> Generator[Progress, None, str | None]:
        """The live run that this one was brought back as; throws half made ones away.

        A generator whose return value is its id.
        """
        earlier: str | None = None
        for found in self._copies(run.run_id):
            if UNFINISHED in found.data.tags:
                self._throw_away(found.info.experiment_id, found.info.run_id)
                yield Progress(f"{found.info.run_id}, which was left half made, is thrown away")
            elif earlier is None:
                earlier = found.info.run_id
        return None if self._again else earlier

    def _copies(self, run_id: str) -> list[Any]:
        """The live runs that were made of it, newest first."""
        experiments = sorted(set(self._live.values()))
        query = f"tags.`{ORIGIN}` LIKE '%/{run_id}'"
        with self._client.calls() as store:
            return list(store.search_runs(
                experiments, query, 1, 100, ["attributes.start_time DESC"], None
            ))  # fmt: skip

    def _throw_away(self, experiment_id: str, run_id: str) -> None:
        with self._client.calls() as store:
            for model in store.search_logged_models(
                [experiment_id], f"source_run_id = '{run_id}'", None, 50, None, None
            ):
                store.delete_logged_model(model.model_id)
            store.delete_run(run_id)

    def _make(self, held: Held) -> Iterator[Progress]:
        making = Making(self._client, self._uploads, self._snapshot, held, self._cancel)
        parent = self._parent(held)
        try:
            making.create(self._live[held.run.experiment_id])
            yield from making.fill(parent)
        except BaseException as error:
            with contextlib.suppress(ConsoleError):
                making.fail()
            if isinstance(error, ConsoleError) and making.run_id:
                raise _half_made(error, making) from error
            raise
        self._back[held.run.run_id] = making.run_id
        notes = "".join(f"; {note}" for note in making.notes)
        yield Progress(f"{making.name}: is back as {making.run_id}{notes}")

    def _parent(self, held: Held) -> str | None:
        """The id of its parent in the live server; None when it has none there."""
        then = held.tags.get(PARENT, "")
        if not then:
            return None
        if then in self._back:
            return self._back[then]
        copies = [each for each in self._copies(then) if UNFINISHED not in each.data.tags]
        if copies:
            return str(copies[0].info.run_id)
        try:
            with self._client.calls() as store:
                return str(store.get_run(then).info.run_id)
        except UsageError:
            return None


def _name(run: Run) -> str:
    return clean(run.name or run.run_id, 60)


def _half_made(error: ConsoleError, making: Making) -> ConsoleError:
    kind = CancelledError if isinstance(error, CancelledError) else ConsoleError
    return kind(
        f"{making.name}: {error.message}. The new run {making.run_id} is half made and marked as "
        "FAILED",
        error.hint or "The same command throws it away and makes it anew.",
    )

"""Counting while the store is walked, and the figures of that as a `Usage`."""

from __future__ import annotations

from dataclasses import dataclass, field

from console.core.storage.attribution import Attribution, Kind, Owner
from console.core.storage.store import Batch
from console.core.storage.usage import Amount, ExperimentUsage, RunUsage

MOST_REMEMBERED = 50_000  # folders whose place is kept at hand


class Sum:
    """A running sum: bytes and objects."""

    __slots__ = ("bytes", "objects")

    def __init__(self) -> None:
        self.bytes = 0
        self.objects = 0

    def add(self, other: Sum) -> None:
        """Add another sum to this one."""
        self.bytes += other.bytes
        self.objects += other.objects

    def amount(self) -> Amount:
        """The sum so far."""
        return Amount(self.bytes, self.objects)


class Tally:
    """What was found so far, by place; see `Attribution.place`.

    Args:
        attribution: Decides what a place is.
    """

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution
        self._by_folder: dict[str, tuple[str | None, Sum]] = {}
        self._last: tuple[str | None, Sum] = (None, Sum())
        self.places: dict[str, Sum] = {}

    def count(self, batch: Batch) -> None:
        """Add a batch of objects.

        Stores list what is of one run, model or trace in one go, so that one comparison and two
        sums are all that is done for most objects.
        """
        prefix, found = self._last
        for key, size in batch:
            if prefix is None or not key.startswith(prefix):
                prefix, found = self._find(key.rpartition("/")[0])
            found.bytes += size
            found.objects += 1
        self._last = prefix, found

    def _find(self, folder: str) -> tuple[str | None, Sum]:
        """What a folder's objects are added to, and what the keys of all that is too begin with."""
        found = self._by_folder.get(folder)
        if found is None:
            if len(self._by_folder) >= MOST_REMEMBERED:
                self._by_folder.clear()
            place = self._attribution.place(folder)
            prefix = f"{place}/" if self._attribution.is_whole(place) else None
            found = prefix, self.places.setdefault(place, Sum())
            self._by_folder[folder] = found
        return found


@dataclass(slots=True)
class _Experiment:
    total: Sum = field(default_factory=Sum)
    models: Sum = field(default_factory=Sum)
    traces: Sum = field(default_factory=Sum)
    runs: dict[str, Sum] = field(default_factory=dict)


class Figures:
    """Places added up by owner.

    Args:
        places: What each place holds.
        attribution: Says whose a place is.
        certain: The database was asked after the walk. Before that, an id that it does not know
            may be of a run that began meanwhile, so it counts as unknown and not as an orphan.
    """

    def __init__(self, places: dict[str, Sum], attribution: Attribution, certain: bool) -> None:
        self._catalog = attribution.catalog
        self._experiments: dict[str, _Experiment] = {
            root.experiment_id: _Experiment() for root in self._catalog.roots
        }
        self.total, self.trash, self.orphans, self.unknown = Sum(), Sum(), Sum(), Sum()
        for place, found in places.items():
            self.total.add(found)
            owner = attribution.owner(place)
            if owner.kind is Kind.ORPHAN and certain:
                self.orphans.add(found)
            elif not self._add(owner, found):
                self.unknown.add(found)

    def _add(self, owner: Owner, found: Sum) -> bool:
        experiment = self._experiments.get(owner.experiment_id)
        if experiment is None:
            return False
        experiment.total.add(found)
        if owner.trash:
            self.trash.add(found)
        if owner.kind is Kind.MODEL:
            experiment.models.add(found)
        elif owner.kind is Kind.TRACE:
            experiment.traces.add(found)
        else:
            experiment.runs.setdefault(owner.id, Sum()).add(found)
        return True

    def experiments(self) -> tuple[ExperimentUsage, ...]:
        """Every experiment, the largest first; those that hold nothing too."""
        usages = (
            self._experiment(root.experiment_id, root.name, root.lifecycle_stage)
            for root in self._catalog.roots
        )
        return tuple(sorted(usages, key=_largest_first))

    def _experiment(self, experiment_id: str, name: str, stage: str) -> ExperimentUsage:
        found = self._experiments[experiment_id]
        return ExperimentUsage(
            experiment_id=experiment_id,
            name=name,
            lifecycle_stage=stage,
            bytes=found.total.bytes,
            objects=found.total.objects,
            runs=self._runs(found.runs),
            models=found.models.amount(),
            traces=found.traces.amount(),
        )

    def _runs(self, runs: dict[str, Sum]) -> tuple[RunUsage, ...]:
        known = self._catalog.runs
        usages = (
            RunUsage(run_id, found.bytes, found.objects, row.name, row.lifecycle_stage)
            for run_id, found in runs.items()
            for row in (known[run_id],)
        )
        return tuple(sorted(usages, key=lambda usage: (-usage.bytes, usage.run_id)))


def _largest_first(usage: ExperimentUsage) -> tuple[int, int, str]:
    # Ids are numbers as text: the shorter one is the smaller one.
    return -usage.bytes, len(usage.experiment_id), usage.experiment_id

"""What changed between two snapshots, and which snapshots hold a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec

from console.core.backup import catalog, merging
from console.core.backup.artifacts import index
from console.core.backup.snapshot import DEPLOYMENT, Experiment, Manifest, Run, Snapshot
from console.core.errors import ConsoleError, UsageError
from console.core.format import size
from console.core.users.htpasswd import Htpasswd, Line, display

MOST_NAMED = 300
"""How many of each kind are named; all of them are counted."""

USERS = Path(DEPLOYMENT) / "htpasswd"


class Item(msgspec.Struct, frozen=True):
    """Something that came, went or changed.

    Attributes:
        id: Of the experiment or run; the key of an artifact; the name of a user or a service.
        name: Of an experiment or run; of a user the file, where it is not the shared one.
        detail: What is another now, in words; "" when nothing has to be said.
    """

    what: Literal["came", "went", "changed"]
    id: str
    name: str = ""
    detail: str = ""


class Changes(msgspec.Struct, frozen=True):
    """What came, went and changed of one kind.

    Attributes:
        came_bytes, went_bytes, changed_bytes: Of artifacts, those that changed as they are now.
        items: At most MOST_NAMED of them.
    """

    came: int = 0
    went: int = 0
    changed: int = 0
    came_bytes: int = 0
    went_bytes: int = 0
    changed_bytes: int = 0
    items: tuple[Item, ...] = ()

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.came + self.went + self.changed

    @property
    def unnamed(self) -> int:
        """How many are counted and not named."""
        return self.total - len(self.items)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from one snapshot to another; None for what not both of them hold.

    Attributes:
        older, newer: Their ids.
        versions: Of the parts, by service.
        revision: Of MLflow's schema, before and after; None where it is the same.
        notes: What could not be compared and why, one sentence each.
    """

    older: str
    newer: str
    experiments: Changes | None = None
    runs: Changes | None = None
    artifacts: Changes | None = None
    users: Changes | None = None
    versions: Changes = Changes()
    revision: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that holds a run.

    Attributes:
        snapshot: Its id.
        run: As it was then; None where the snapshot could not be looked through.
        experiment: The name of the run's experiment.
        problem: Why it could not be looked through; "" when it could.
    """

    snapshot: str
    label: str = ""
    created_at: datetime | None = None
    run: Run | None = None
    experiment: str = ""
    problem: str = ""


def difference(older: Snapshot, newer: Snapshot) -> Difference:
    """What came, went and changed from one snapshot to another.

    Raises:
        ConsoleError: One of them cannot be read.
    """
    before, after = _manifest(older), _manifest(newer)
    both = set(before.parts) & set(after.parts)
    notes = tuple(
        f"{snapshot.id} was taken without {part}"
        for snapshot, manifest in ((older, before), (newer, after))
        for part in ("database", "artifacts", "users")
        if part not in manifest.parts
    )
    database = "database" in both
    return Difference(
        older=older.id, newer=newer.id,
        experiments=_experiments(older.path, newer.path) if database else None,
        runs=_runs(older.path, newer.path) if database else None,
        artifacts=_artifacts(older.path, newer.path) if "artifacts" in both else None,
        users=_users(older.path, newer.path) if "users" in both else None,
        versions=_versions(before.versions, after.versions),
        revision=_revision(before, after), notes=notes,
    )  # fmt: skip


def _manifest(snapshot: Snapshot) -> Manifest:
    if snapshot.manifest is None:
        raise ConsoleError(f"{snapshot.id} cannot be compared: {snapshot.problem}")
    return snapshot.manifest


class _Tally:
    """Counts, and names the first few of each sort: not one crowds the others out."""

    def __init__(self) -> None:
        self._counts = {"came": 0, "went": 0, "changed": 0}
        self._bytes = {"came": 0, "went": 0, "changed": 0}
        self._items: dict[str, list[Item]] = {"came": [], "went": [], "changed": []}

    def add(self, item: Item, amount: int = 0) -> None:
        """Count one."""
        self._counts[item.what] += 1
        self._bytes[item.what] += amount
        if len(self._items[item.what]) < MOST_NAMED:
            self._items[item.what].append(item)

    def changes(self) -> Changes:
        """What was counted."""
        counts, amounts = self._counts, self._bytes
        return Changes(
            came=counts["came"], went=counts["went"], changed=counts["changed"],
            came_bytes=amounts["came"], went_bytes=amounts["went"],
            changed_bytes=amounts["changed"], items=tuple(self._chosen()),
        )  # fmt: skip

    def _chosen(self) -> list[Item]:
        """A fair share for each sort, and what one does not need for the next."""
        chosen: list[Item] = []
        left = MOST_NAMED
        by_length = sorted(self._items.values(), key=len)
        for number, items in enumerate(by_length):
            taken = items[: left // (len(by_length) - number)]
            left -= len(taken)
            chosen += taken
        order = list(self._items)
        return sorted(chosen, key=lambda item: order.index(item.what))


def _experiments(older: Path, newer: Path) -> Changes:
    def words(one: Experiment, other: Experiment) -> str:
        return _changed(
            ("name", one.name, other.name), ("", one.lifecycle_stage, other.lifecycle_stage)
        )

    tally = _Tally()
    before = {each.experiment_id: each for each in catalog.experiments(older)}
    after = {each.experiment_id: each for each in catalog.experiments(newer)}
    for number in before | after:
        one, other = before.get(number), after.get(number)
        _add(tally, one, other, number, words)
    return tally.changes()


def _runs(older: Path, newer: Path) -> Changes:
    def key(run: Run) -> bytes:
        return run.run_id.encode()

    def words(one: Run, other: Run) -> str:
        return _changed(
            ("name", one.name, other.name), ("", one.status, other.status),
            ("", one.lifecycle_stage, other.lifecycle_stage),
            ("experiment", one.experiment_id, other.experiment_id),
        )  # fmt: skip

    tally = _Tally()
    before = merging.in_order(lambda: catalog.runs(older), key)
    after = merging.in_order(lambda: catalog.runs(newer), key)
    for one, other in merging.side_by_side(before, after, key):
        run = other or one
        _add(tally, one, other, run.run_id if run else "", words)
    return tally.changes()


def _add(
    tally: _Tally, one: Experiment | Run | None, other: Experiment | Run | None, number: str,
    words: Callable[..., str],
) -> None:  # fmt: skip
    if one is None and other is not None:
        tally.add(Item("came", number, other.name))
    elif other is None and one is not None:
        tally.add(Item("went", number, one.name))
    elif one is not None and other is not None and (said := words(one, other)):
        tally.add(Item("changed", number, other.name, said))


def _changed(*values: tuple[str, str, str]) -> str:
    """What is another now: "RUNNING → FINISHED"; what has a name is said with it."""
    return ", ".join(
        f"{name} {before or '-'} → {after or '-'}".strip()
        for name, before, after in values
        if before != after
    )


def _artifacts(older: Path, newer: Path) -> Changes:
    tally, key = _Tally(), attrgetter("key_bytes")
    before = merging.in_order(lambda: index.read(older), key)
    after = merging.in_order(lambda: index.read(newer), key)
    for one, other in merging.side_by_side(before, after, key):
        if one is None and other is not None:
            tally.add(Item("came", other.key, detail=size(other.size)), other.size)
        elif other is None and one is not None:
            tally.add(Item("went", one.key, detail=size(one.size)), one.size)
        elif one is not None and other is not None and one.sha256 != other.sha256:
            said = f"{size(one.size)} → {size(other.size)}"
            tally.add(Item("changed", other.key, detail=said), other.size)
    return tally.changes()


def _users(older: Path, newer: Path) -> Changes:
    before, after = dict(_user_lines(older)), dict(_user_lines(newer))
    tally = _Tally()
    for file, name in sorted(before.keys() | after.keys()):
        one, other = before.get((file, name)), after.get((file, name))
        where = "" if file == "default" else file
        if one is None:
            tally.add(Item("came", name, where))
        elif other is None:
            tally.add(Item("went", name, where))
        else:
            said = [
                word for changed, word in (
                    (one.field != other.field, "another password"),
                    (one.enabled and not other.enabled, "switched off"),
                    (other.enabled and not one.enabled, "switched on"),
                ) if changed
            ]  # fmt: skip
            if said:
                tally.add(Item("changed", name, where, ", ".join(said)))
    return tally.changes()


def _user_lines(folder: Path) -> Iterator[tuple[tuple[str, str], Line]]:
    """The users of a snapshot: file and name, and the line that counts."""
    try:
        for path in sorted((folder / USERS).iterdir()):
            if path.is_file() and not path.name.startswith("."):
                for line in Htpasswd.parse(path.read_bytes()).users():
                    yield (path.name, display(line.name)), line
    except FileNotFoundError:
        return  # nobody was let in then
    except OSError as error:
        raise ConsoleError(f"{folder / USERS} cannot be read: {error.strerror}") from error


def _versions(before: dict[str, str], after: dict[str, str]) -> Changes:
    tally = _Tally()
    for service in sorted(before | after):
        one, other = before.get(service, ""), after.get(service, "")
        if one != other:
            what: Literal["came", "went", "changed"] = (
                "came" if not one else "went" if not other else "changed"
            )
            detail = f"{one} → {other}" if one and other else one or other
            tally.add(Item(what, service, detail=detail))
    return tally.changes()


def _revision(before: Manifest, after: Manifest) -> tuple[str, str] | None:
    if before.database is None or after.database is None:
        return None
    one, other = before.database.revision or "-", after.database.revision or "-"
    return None if one == other else (one, other)


def holding(snapshots: Iterable[Snapshot], run: str) -> Iterator[Holding]:
    """Which snapshots hold a run; of each the runs that are meant, deleted ones too.

    Args:
        snapshots: Where to look; those that were taken without the database are passed over.
        run: Its id, the beginning of one, or its name.

    Raises:
        UsageError: No run is named.
    """
    wanted = run.strip()
    if not wanted:
        raise UsageError("No run is named", "Give its id, the beginning of one, or its name.")
    for snapshot in snapshots:
        yield from _held(snapshot, wanted)


def _held(snapshot: Snapshot, wanted: str) -> Iterator[Holding]:
    manifest = snapshot.manifest
    if manifest is None:
        yield Holding(snapshot=snapshot.id, problem=snapshot.problem)
        return
    names: dict[str, str] = {}
    try:
        for each in catalog.read(snapshot.path):
            if isinstance(each, Experiment):
                names[each.experiment_id] = each.name
            elif each.run_id.startswith(wanted) or each.name == wanted:
                yield Holding(
                    snapshot=snapshot.id, label=manifest.label, created_at=manifest.created_at,
                    run=each, experiment=names.get(each.experiment_id, ""),
                )  # fmt: skip
    except ConsoleError as error:
        yield Holding(
            snapshot=snapshot.id, label=manifest.label, created_at=manifest.created_at,
            problem=error.message,
        )  # fmt: skip

"""What restoring a snapshot would change, before anything is changed."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.backup import catalog, create, sums, verify
from console.core.backup.artifacts import putting
from console.core.backup.dumping import dumps
from console.core.backup.place import Place, find
from console.core.backup.records import load_snapshot
from console.core.backup.restoring import restore_journal
from console.core.backup.restoring.restore_journal import Journal
from console.core.backup.snapshot import (
    ARTIFACTS,
    DATABASE,
    DEPLOYMENT,
    ODD,
    PARTS,
    Dump,
    Part,
    Snapshot,
)
from console.core.database.database import RunRow
from console.core.errors import ConsoleError, UsageError
from console.core.format import plural, size
from console.core.stack.driver import Role
from console.core.text import clean
from console.core.users.htpasswd import Htpasswd, display
from console.core.users.user_files import SHARED

if TYPE_CHECKING:
    from console.core.deployment import Deployment

RESTORABLE: tuple[Part, ...] = ("database", "artifacts", "users")


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What would change.

    Attributes:
        parts: What comes back.
        lines: What would change, one sentence each; text from outside is cleaned already.
        warnings: What a person should know first, one sentence each.
        needed_bytes: Of the place, for the safety snapshot.
        free_bytes: There.
    """

    snapshot: Snapshot
    parts: tuple[Part, ...]
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    needed_bytes: int
    free_bytes: int


def plan(deployment: Deployment, wanted: str, parts: Sequence[Part] | None) -> RestorePlan:
    """Compare a snapshot with what is there; see `BackupService.restore_plan`."""
    begun = restore_journal.read(deployment.paths)
    if begun is not None and goes_on(deployment, begun, wanted):
        snapshot, chosen = load_snapshot(Path(begun.snapshot)), begun.parts
    else:
        snapshot, chosen = instead(deployment, wanted, parts, begun)
    lines: list[str] = []
    warnings = [*_of_others(deployment, snapshot), *doubts(snapshot)]
    if begun is not None:
        warnings.insert(0, _broken_off(begun, snapshot))
    for part, look in (("database", _database), ("artifacts", _artifacts), ("users", _users)):
        if part in chosen:
            try:
                lines += look(deployment, snapshot)
            except ConsoleError as error:
                warnings.append(f"What would change of the {part} cannot be told: {error.message}")
    needed, free = 0, files.free_bytes(Place.of(deployment).path)
    if begun is not None and begun.safety:
        before = clean(Path(begun.safety).name)
        lines.insert(0, f"{before} is what was there before; should a step fail, that is brought "
                     "back")  # fmt: skip
        return RestorePlan(snapshot, chosen, tuple(lines), tuple(warnings), needed, free)
    try:
        needed = create.needs(deployment).needed_bytes
    except ConsoleError as error:
        warnings.append(f"The safety snapshot may not be possible: {error.message}")
    lines.insert(0, "a safety snapshot of everything as it is now comes first; should a step fail, "
                 "that is brought back")  # fmt: skip
    return RestorePlan(snapshot, chosen, tuple(lines), tuple(warnings), needed, free)


def goes_on(deployment: Deployment, begun: Journal, wanted: str) -> bool:
    """Whether somebody who wants a snapshot back goes on with a restore that broke off."""
    try:
        return begun.means(wanted) or str(find(deployment, wanted).path) == begun.snapshot
    except ConsoleError:
        return False  # whoever begins another one is told


def _of_others(deployment: Deployment, snapshot: Snapshot) -> Iterator[str]:
    """That it is no snapshot of this deployment."""
    made = snapshot.manifest
    if made is None or snapshot.path.parent == Place.of(deployment).path:
        return
    if (made.deployment, made.directory) != (deployment.name, str(deployment.directory)):
        yield f"it is a snapshot of {clean(made.deployment)}, which was in {clean(made.directory)}"


def _broken_off(begun: Journal, snapshot: Snapshot) -> str:
    """What becomes of a restore that broke off."""
    if str(snapshot.path) != begun.snapshot:
        return f"{begun.words}: this one comes back instead"
    goes = "what was there before is being brought back" if begun.back else "it goes on"
    return f"{begun.words}: {goes}"


def instead(
    deployment: Deployment, wanted: str, parts: Sequence[Part] | None, begun: Journal | None
) -> tuple[Snapshot, tuple[Part, ...]]:
    """As `check`; with the parts that a restore which broke off has begun to change."""
    changed = begun.parts if begun is not None and begun.safety else ()
    if parts is not None:
        parts = [part for part in PARTS if part in parts or part in changed]
    snapshot, chosen = check(deployment, wanted, parts)
    lacking = [part for part in changed if part not in chosen]
    if begun is not None and lacking:
        raise UsageError(
            f"{snapshot.id} holds no {' and no '.join(lacking)}, and that is half changed: "
            f"{begun.words}", begun.ways_on,
        )  # fmt: skip
    return snapshot, chosen


def check(
    deployment: Deployment, wanted: str, parts: Sequence[Part] | None
) -> tuple[Snapshot, tuple[Part, ...]]:
    """The snapshot that is meant and the parts that come back.

    Raises:
        UsageError: It does not hold them, or they cannot be brought back into what runs.
        ConsoleError: It cannot be used, and why.
    """
    snapshot = find(deployment, wanted)
    if snapshot.manifest is None:
        raise ConsoleError(snapshot.problem, "Choose another snapshot.")
    held = snapshot.manifest.parts
    if parts is None:
        chosen = tuple(part for part in RESTORABLE if part in held)
    else:
        chosen = tuple(part for part in PARTS if part in parts)
        lacking = [part for part in parts if part not in held]
        if lacking:
            raise UsageError(
                f"{snapshot.id} holds no {' and no '.join(lacking)}: only {', '.join(held)}"
            )
        if "settings" in chosen:
            raise UsageError(
                "Settings and certificates do not come back into a deployment that is there: its "
                "database and store have passwords of their own",
                f"They lie in {snapshot.path / DEPLOYMENT}; `--into` brings all of it into an "
                "empty directory.",
            )
    if not chosen:
        raise UsageError(f"{snapshot.id} holds nothing that could come back: {', '.join(held)}")
    refuse_broken(snapshot, chosen)
    if "database" in chosen and snapshot.manifest.database is not None:
        dumps.refuse_other_kind(dumps.source(deployment), snapshot.manifest.database)
        _refuse_newer(deployment, snapshot)
    return snapshot, chosen


def refuse_too_little_room(deployment: Deployment) -> None:
    """See that the safety snapshot fits, before anybody is turned away; raises DiskFullError."""
    needed = create.needs(deployment)
    files.need_room(Place.of(deployment).path, needed.needed_bytes, "The safety snapshot")


def refuse_broken(snapshot: Snapshot, parts: Collection[Part] = PARTS) -> None:
    """See that the lists, and the dump where it is wanted, are as they were written.

    Raises:
        ConsoleError: They are not; nothing of the snapshot is used.
    """
    wrong = [name for name in broken_beside_artifacts(snapshot.path)
             if "database" in parts or not name.startswith(f"{DATABASE}/")]  # fmt: skip
    if wrong:
        raise ConsoleError(
            f"{snapshot.id} is broken: {clean(', '.join(wrong[:3]))} is not as it was written",
            "Choose another snapshot; `mlflow-console backup list` shows them.",
        )


def broken_beside_artifacts(folder: Path) -> list[str]:
    """The files that are not as they were written, artifacts left out; raises SumsError."""
    wrong = []
    for name, sha256 in sums.read(folder):
        if name.startswith((f"{ARTIFACTS}/", f"{ODD}/")):
            continue
        try:
            if sums.digest(folder / name) != sha256:
                wrong.append(name)
        except OSError:
            wrong.append(name)
    return wrong


def _refuse_newer(deployment: Deployment, snapshot: Snapshot) -> None:
    """An older MLflow cannot read what a newer one wrote."""
    manifest = snapshot.manifest
    if manifest is None or manifest.database is None:
        return
    name = _tracking(deployment)
    then, now = manifest.versions.get(name, ""), deployment.driver.versions().get(name, "")
    # Of what is stopped the tag of its image is known, which may be anything.
    if _ordered(now) and _ordered(then) > _ordered(now):
        try:
            if deployment.database.revision() == manifest.database.revision:
                return
        except ConsoleError:
            pass
        raise ConsoleError(
            f"{snapshot.id} was made with MLflow {then}, and this server is the older {now}: it "
            "cannot read that database",
            f"Bring the server to {then} or newer first.",
        )


def _tracking(deployment: Deployment) -> str:
    services = deployment.driver.services(measure=False)
    return next((each.name for each in services if each.role is Role.TRACKING), "")


def _ordered(version: str) -> tuple[int, ...]:
    """Its numbers; () when it has none that could be compared."""
    found = re.search(r"\d+(?:\.\d+){1,2}", version, re.ASCII)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def doubts(snapshot: Snapshot) -> Iterator[str]:
    """What a person should know of a snapshot before it comes back."""
    harm = verify.harm(snapshot)
    if harm:
        yield f"{harm}; artifacts that are broken do not come back"
    elif snapshot.state.verified_at is None:
        yield "it was never verified: `backup verify` reads every byte of it"
    manifest = snapshot.manifest
    if manifest and manifest.artifacts and manifest.artifacts.unread:
        yield f"{plural(manifest.artifacts.unread, 'artifact')} could not be read when it was made"


def _database(deployment: Deployment, snapshot: Snapshot) -> Iterator[str]:
    deleted = {run.run_id: run.lifecycle_stage == "deleted" for run in catalog.runs(snapshot.path)}
    now: set[str] = set()
    undeleted = deleted_again = 0
    for row in _rows(deployment):
        now.add(row.run_id)
        then = deleted.get(row.run_id)
        undeleted += then is False and row.lifecycle_stage == "deleted"
        deleted_again += then is True and row.lifecycle_stage != "deleted"
    there_then = deleted.keys()
    yield _came_and_went("run", len(there_then - now), len(now - there_then), len(now & there_then))
    for number, since, then_again in (
        (undeleted, "deleted", "active"), (deleted_again, "brought back", "deleted"),
    ):  # fmt: skip
        if number:
            was = plural(number, "run that was", "runs that were")
            yield f"{was} {since} since {'is' if number == 1 else 'are'} {then_again} again"
    held = {each.experiment_id for each in catalog.experiments(snapshot.path)}
    there = {root.experiment_id for root in deployment.database.roots()}
    yield _came_and_went("experiment", len(held - there), len(there - held), len(held & there))
    manifest = snapshot.manifest
    dump: Dump | None = manifest.database if manifest else None
    revision = deployment.database.revision()
    if dump and dump.revision != revision:
        yield f"the dump's schema {dump.revision} is brought to this MLflow's, {revision}"
    yield "the database holds what the dump holds and nothing else: what was logged since goes"


def _rows(deployment: Deployment) -> Iterator[RunRow]:
    return deployment.database.runs()


def _came_and_went(what: str, back: int, gone: int, stay: int) -> str:
    said = []
    if back:
        said.append(f"{plural(back, what)} {'comes' if back == 1 else 'come'} back")
    if gone:
        said.append(f"{plural(gone, what)} that came since {'goes' if gone == 1 else 'go'}")
    kept = "is what it was then" if stay == 1 else "are what they were then"
    said.append(f"{plural(stay, what)} {kept}")
    return ", ".join(said)


def _artifacts(deployment: Deployment, snapshot: Snapshot) -> Iterator[str]:
    work = putting.missing(deployment.storage.store, snapshot, threading.Event())
    yield (
        f"{plural(work.objects, 'artifact')} ({size(work.bytes)}) "
        f"{'is' if work.objects == 1 else 'are'} written to the store, "
        f"{work.same:,} are there as they were"
    )
    if work.others:
        yield (
            f"{plural(work.others, 'artifact')} that came since "
            f"{'stays' if work.others == 1 else 'stay'} in the store and "
            f"{'belongs' if work.others == 1 else 'belong'} to nothing then"
        )


def _users(deployment: Deployment, snapshot: Snapshot) -> Iterator[str]:
    own = deployment.settings.users.service_user
    for path in user_files(deployment, snapshot):
        then = _names(Htpasswd.parse(path.read_bytes())) - {own}
        live = deployment.paths.users.parent / path.name
        now = (_names(Htpasswd.parse(live.read_bytes())) if live.exists() else set()) - {own}
        where = "" if path.name == SHARED else f" of {clean(path.name)}"
        back, gone = sorted(then - now), sorted(now - then)
        said = [
            f"{', '.join(clean(name, 40) for name in names[:10])}"
            f"{f' and {len(names) - 10} more' if len(names) > 10 else ''} "
            f"{one if len(names) == 1 else many}"
            for names, one, many in ((back, "comes back", "come back"),
                                     (gone, "is lost", "are lost"))
            if names
        ]  # fmt: skip
        who = "; ".join(said) or "the same names"
        yield f"users{where}: {who}; the passwords are those of then"


def user_files(deployment: Deployment, snapshot: Snapshot) -> list[Path]:
    """The user files in a snapshot that count for the names that the deployment has."""
    users = snapshot.path / DEPLOYMENT / "htpasswd"
    names = (SHARED, *(deployment.driver.host_names if deployment.driver.own_user_files else ()))
    return [users / name for name in names if (users / name).is_file()]


def _names(file: Htpasswd) -> set[str]:
    return {display(line.name) for line in file.users()}

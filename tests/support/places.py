"""Places of snapshots without what it takes to make one: a deployment's settings, and manifests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.core import settings
from console.core.backup.records import save_manifest, save_state
from console.core.backup.snapshot import (
    PARTS,
    Artifacts,
    Dump,
    Manifest,
    Part,
    Snapshot,
    State,
)
from console.core.deployment import Deployment
from console.core.settings import ServerSettings, Settings

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)


def bare(directory: Path, name: str = "lab") -> Deployment:
    """A deployment that has settings, and no server."""
    directory.mkdir(mode=0o700)
    server = ServerSettings(port=5000, mlflow="3.17.2")
    text = settings.dump(Settings(format=1, name=name, driver="embedded", server=server))
    (directory / "console.toml").write_bytes(text)
    return Deployment.open(str(directory))


def placed(folder: Path, name: str = "lab") -> Deployment:
    """One with a place beside it."""
    deployment = bare(folder / name, name)
    deployment.backup.choose(folder / f"{name}-snapshots")
    return deployment


def manifest(
    sequence: int, at: datetime | None = None, *, parts: Sequence[Part] = PARTS, runs: int = 10,
    objects: int = 100, **others: object,
) -> Manifest:  # fmt: skip
    """A manifest like those that are made; one an hour."""
    at = at or BEGAN + timedelta(hours=sequence)
    values: dict[str, object] = {
        "id": f"{at:%Y%m%d-%H%M%S}", "sequence": sequence, "deployment": "lab",
        "driver": "embedded", "directory": "/srv/lab", "created_at": at,
        "completed_at": at + timedelta(minutes=1), "console": "0.1.0", "versions": {},
        "images": {}, "parts": tuple(parts), "bytes": objects * 1_000,
    }  # fmt: skip
    if "database" in parts:
        values["database"] = Dump(
            kind="sqlite", file="database/mlflow.db.gz", bytes=1_000, revision="abc",
            rows={"runs": runs}, began_at=at,
        )  # fmt: skip
    if "artifacts" in parts:
        values["artifacts"] = Artifacts(objects=objects, bytes=objects * 1_000, new_bytes=0)
    return Manifest(**(values | others))  # type: ignore[arg-type]  # as the test wants them


def snapshot(place: Path, made: Manifest, state: State | None = None) -> Snapshot:
    """Put one into a place."""
    folder = place / made.id
    folder.mkdir(mode=0o700)
    save_manifest(folder, made)
    if state is not None:
        save_state(folder, state)
    return Snapshot(folder, made, state or State())

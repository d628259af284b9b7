"""What the tests of backups share: making one, and looking whether all of one is there."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from console.core.backup.artifacts import index
from console.core.backup.snapshot import Snapshot
from console.core.deployment import Deployment
from console.core.errors import ConsoleError


def make(deployment: Deployment, **options: Any) -> Snapshot:
    """Make a snapshot in this process; a place must be chosen."""
    for _ in deployment.backup.create(cancel=threading.Event(), **options):
        pass
    return deployment.backup.list()[0]


def perform(deployment: Deployment, operation: str, **options: object) -> list[str]:
    """Do a verb as both front ends do, in a process of its own; what it reported."""
    done = deployment.backup.perform(operation, options, threading.Event())
    return [each.label for each in done]


@contextmanager
def client(deployment: Deployment, user: tuple[str, str]) -> Iterator[Any]:
    """MLflow's own client, as a user."""
    from mlflow import MlflowClient

    names = {
        "MLFLOW_TRACKING_USERNAME": user[0], "MLFLOW_TRACKING_PASSWORD": user[1],
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield MlflowClient(tracking_uri=deployment.driver.own_url)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def in_store(deployment: Deployment, folder: Path) -> dict[str, str]:
    """The SHA-256 of every object that the live store holds, by key; each one is read."""
    store, cancel = deployment.storage.store, threading.Event()
    items = [item for batch in store.items(cancel) for item in batch]
    wanted = [(item, folder / str(number)) for number, item in enumerate(items)]
    found = {}
    for batch in store.fetch(wanted, folder / "parts", cancel):
        for each in batch:
            assert not each.error, each
            found[each.item.key] = hashlib.sha256(each.path.read_bytes()).hexdigest()
            each.path.unlink()
    return found


def promised(snapshot: Snapshot) -> dict[str, str]:
    """The SHA-256 of every artifact of a snapshot, by key."""
    return {each.name: each.sha256 for each in index.read(snapshot.path)}


def tell(fault: str, happened: str, said: ConsoleError | str) -> None:
    """A line of the table in docs/backup-faults.md (`pytest -rP`)."""
    words = said if isinstance(said, str) else f"{said.message}. {said.hint}"
    print(f"FAULT | {fault} | {happened} | {words}")

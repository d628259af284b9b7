"""Whether what was brought back is there."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from console.core.backup.artifacts import putting
from console.core.backup.snapshot import Part, Snapshot
from console.core.errors import ConsoleError
from console.core.format import count

if TYPE_CHECKING:
    from console.core.deployment import Deployment

# What no migration of MLflow's has ever added rows to or taken any from.
COUNTED = ("experiments", "runs", "params", "tags", "metrics")


def check(
    deployment: Deployment, snapshot: Snapshot, parts: Collection[Part], cancel: threading.Event
) -> None:
    """Count what the database holds, and look for every artifact.

    Raises:
        ConsoleError: Something is not there.
    """
    dump = snapshot.manifest.database if snapshot.manifest else None
    if "database" in parts and dump is not None:
        held = deployment.database.row_counts([each for each in COUNTED if each in dump.rows])
        for table, rows in held.items():
            # A server that starts makes the experiment Default where there is none.
            added = table == "experiments" and rows == dump.rows[table] + 1
            if rows != dump.rows[table] and not added:
                raise ConsoleError(
                    f"The table {table} holds {count(rows)} rows, the dump has "
                    f"{count(dump.rows[table])}"
                )
    if "artifacts" in parts:
        putting.refuse_lacking(deployment.storage.store, snapshot, cancel)

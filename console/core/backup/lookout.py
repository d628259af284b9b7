"""What is wrong with the backups, for who looks every few seconds and may not be held up.

The place can be a disk that sleeps, or a share whose server is gone: every call there may hang for
ever. So it is looked at on a thread of its own, once a minute; who asks gets what was seen last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import actions
from console.core.backup import findings
from console.core.backup.restoring import restore_journal
from console.core.stack.driver import Finding, Severity

if TYPE_CHECKING:
    from console.core.deployment import Deployment
    from console.core.stack.driver import Room

EVERY_SECONDS = 60.0
HANGS_SECONDS = 10.0


class Lookout:
    """Looks at the backups of one deployment, on one thread at most.

    Args:
        deployment: Which one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None
        self._began = 0.0
        self._record: tuple[float, ...] = ()
        self._known: tuple[Finding, ...] = ()
        self.rooms: Sequence[Room] = ()
        """The disks of the deployment's data, as they were last told."""

    def findings(self, patience: float = 0.0) -> tuple[Finding, ...]:
        """What was seen last.

        Args:
            patience: For so many seconds a look that is under way, or due, is waited for.
        """
        with self._lock:
            thread = self._looking
            if thread is None and self._due():
                thread = self._begin()
        if thread is not None and patience > 0:
            thread.join(patience)
        with self._lock:
            waited = time.monotonic() - self._began
            if self._looking is not None and waited >= HANGS_SECONDS:
                return (self._hangs(),)
            return self._known

    def _due(self) -> bool:
        """A minute is over, or something was done to the snapshots, or to a restore's journal."""
        record = self._changed()
        due = not self._began or time.monotonic() - self._began > EVERY_SECONDS
        due = due or record != self._record
        self._record = record
        return due

    def _changed(self) -> tuple[float, ...]:
        paths = self._deployment.paths
        return tuple(map(_moment, (actions.record(paths, "backup"), restore_journal.file(paths))))

    def _begin(self) -> threading.Thread:
        self._began = time.monotonic()
        self._looking = threading.Thread(target=self._look, name="backup-lookout", daemon=True)
        self._looking.start()
        return self._looking

    def _look(self) -> None:
        self._deployment.look_again()
        try:
            known = tuple(findings.findings(self._deployment, self.rooms))
        except Exception as error:  # noqa: BLE001  # whoever asks must learn of it
            title = f"The backups cannot be judged: {type(error).__name__}: {error}"
            known = (Finding("backups-unseen", Severity.WARNING, "", title),)
        with self._lock:
            self._known = known
            self._looking = None

    def _hangs(self) -> Finding:
        place = self._deployment.settings.backup.place
        return Finding(
            "place-missing", Severity.WARNING, "",
            f"The place of the snapshots, {place}, does not answer",
            fix="see whether its disk or its server is there",
        )  # fmt: skip


def _moment(path: Path) -> float:
    """When a file was written; 0 for none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0

"""The status again and again: at once when something happens, now and then when nothing does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from console.core.deployment import Deployment
from console.core.errors import ConsoleError
from console.core.stack import status
from console.core.stack.driver import Service
from console.core.stack.status import Status
from console.core.streams import Stream

# A fault of which nobody tells (a full disk, a refused key) is seen this late, and a repair.
CHECK_SECONDS = 3.5
# Everything is looked at anew, should an event have been lost.
WHOLE_SECONDS = 60.0
# Backups are judged on a thread of their own; what is first seen waits for them, but not long.
FIRST_SECONDS = 0.3
# One change brings others: a container that is stopped tells four times.
SETTLE_SECONDS = 0.15


def stream(deployment: Deployment) -> Stream[Status]:
    """The status of a deployment until the stream is closed; it outlives the engine."""

    def produce(cancel: threading.Event, emit: Callable[[Status], None]) -> None:
        watch = _Watch(deployment)
        try:
            while not cancel.is_set():
                emit(watch.look())
                watch.wait(CHECK_SECONDS)
        finally:
            watch.close()

    return Stream(produce)


class _Watch:
    """Knows what was seen last, and hears of changes."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._changed = threading.Event()
        self._ear: Stream[datetime] | None = None
        self._services: Sequence[Service] = ()
        self._seen: Status | None = None
        self._whole_at = 0.0

    def look(self) -> Status:
        """Look; at the services only when something may have changed."""
        changed = self._changed.is_set()
        self._changed.clear()
        late = time.monotonic() - self._whole_at > WHOLE_SECONDS
        whole = changed or late or self._ear is None or not (self._seen and self._seen.healthy)
        try:
            if self._ear is None:
                self._listen()  # before looking: what comes after is heard
            if whole:
                self._services = self._deployment.driver.services(measure=False)
                self._whole_at = time.monotonic()
            known = None if whole or self._seen is None else self._seen.api
            outcome = status.check(self._deployment, self._services, known)
            patience = FIRST_SECONDS if self._seen is None else 0.0
            seen = status.judge(self._deployment, self._services, *outcome, patience)
        except ConsoleError as error:
            self._stop_listening()
            seen = status.unseen(self._deployment, error)
        self._seen = seen
        return seen

    def wait(self, seconds: float) -> None:
        """Wait until something happens, but not for ever."""
        if self._changed.wait(seconds):
            time.sleep(SETTLE_SECONDS)

    def _listen(self) -> None:
        self._ear = self._deployment.driver.changes()
        self._ear.listen(lambda _: self._changed.set(), lambda _: self._deaf())

    def _deaf(self) -> None:
        self._stop_listening()
        self._changed.set()

    def _stop_listening(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    def close(self) -> None:
        """Hear nothing more."""
        self._stop_listening()

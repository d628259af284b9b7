"""What is being done to the snapshots, whichever screen is shown.

It is done by a process of its own: leaving the console ends the looking on and not the work, and
the next console finds it again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from textual.signal import Signal

from console.core.errors import BusyError, CancelledError, ConsoleError
from console.core.pace import Pace, step
from console.core.progress import Progress
from console.core.text import clean
from console.tui.caller import Listener

if TYPE_CHECKING:
    from console.core.actions import Action
    from console.tui.app import ConsoleApp

Options = Mapping[str, object]
# What is copied fast is not drawn as fast: over SSH the repaint is the cost.
SHOW_SECONDS = 0.5
# How many steps that are over stay to be read.
STEPS = 40


@dataclass(frozen=True, slots=True)
class Words:
    """How a verb is spoken of while it goes on, and when it is done."""

    doing: str
    done: str


WORDS = {
    "backup.create": Words("making a snapshot", "Backed up"),
    "backup.verify": Words("verifying", "Verified"),
    "backup.drill": Words("trying to restore", "It restores"),
    "backup.restore": Words("restoring", "Restored"),
    "backup.prune": Words("removing snapshots", "Removed"),
}


@dataclass(frozen=True, slots=True)
class Doing:
    """One verb that goes on.

    Attributes:
        begun: When.
        by: Whose it is; "" for this person's, from here.
        about: Which snapshot it is about, in a word.
        report: The newest.
        rate: How much of its unit a second; None when that is not known.
        over: The steps before it.
        leaves: It was asked to leave off.
    """

    operation: str
    begun: datetime
    by: str = ""
    about: str = ""
    report: Progress | None = None
    rate: float | None = None
    over: tuple[str, ...] = ()
    leaves: bool = False

    @property
    def words(self) -> Words:
        return WORDS.get(self.operation) or Words(self.operation, "Done")


class Backups:
    """Follows what goes on, and says how it ended.

    Args:
        app: Whose threads and messages are used.
    """

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self.doing: Doing | None = None
        self.changed: Signal[Doing | None] = Signal(app, "backups")
        self._cancel = threading.Event()

    def look(self) -> None:
        """Find what somebody has begun, or this person before the console was closed."""
        if self.doing is None:
            service = self._app.deployment.backup
            self._app.ask(service.current, self.found, lambda _: None, group="backups-look")

    def found(self, action: Action | None) -> None:
        """Follow an action, unless something is followed already."""
        if action is None or self.doing is not None:
            return
        service = self._app.deployment.backup
        doing = Doing(action.operation, action.started_at, clean(action.by, 40))
        self._follow(doing, partial(service.follow, action))

    def do(self, operation_id: str, options: Sequence[Options], about: str = "") -> None:
        """Do a verb, once for each of several options, one after the other."""
        if self.doing is not None:
            self._app.notify(
                f"{self.doing.words.doing.capitalize()} goes on; x in Backup stops it",
                severity="warning", markup=False,
            )  # fmt: skip
            return
        service = self._app.deployment.backup

        def begin(cancel: threading.Event) -> Iterator[Progress]:
            for each in options:
                yield from service.perform(operation_id, dict(each), cancel)

        self._follow(Doing(operation_id, datetime.now().astimezone(), about=about), begin)

    def stop(self) -> None:
        """Ask what goes on to leave off; it is followed until it has."""
        if self.doing is not None:
            self._cancel.set()
            self._show(replace(self.doing, leaves=True))

    @property
    def leaving(self) -> str:
        """What is said to who leaves the console meanwhile."""
        if self.doing is None:
            return ""
        return f"{self.doing.words.doing.capitalize()} goes on; the next console shows it again."

    def _follow(self, doing: Doing, begin: Callable[[threading.Event], Iterator[Progress]]) -> None:
        self._cancel = cancel = threading.Event()
        self._show(doing)
        self._app.follow(
            # Who leaves the console sets the event that is given here; the work has its own.
            lambda left: worth_showing(doing, begin(cancel), left),
            Listener(each=lambda seen: self._seen(seen[-1]), done=self._done, failed=self._failed),
            group="backups", keep=1,
        )  # fmt: skip

    def _seen(self, doing: Doing) -> None:
        self._show(replace(doing, leaves=self._cancel.is_set()))

    def _show(self, doing: Doing | None) -> None:
        if doing != self.doing:
            self.doing = doing
            self.changed.publish(doing)

    def _done(self) -> None:
        doing = self.doing
        self._ended()
        if doing is not None:
            said = clean(doing.report.label, 300) if doing.report else doing.about
            self._app.notify(said, title=doing.words.done, timeout=10, markup=False)

    def _failed(self, error: ConsoleError) -> None:
        doing = self.doing
        self._ended()
        if isinstance(error, BusyError):
            self.look()  # what goes on instead
        if self._app.current_mode == "backup" or isinstance(error, CancelledError):
            self._app.show_error(error)
            return
        said = "\n".join(clean(each, 400) for each in (error.message, error.hint) if each)
        title = f"{doing.words.doing.capitalize()} failed" if doing else "Failed"
        self._app.notify(said, title=title, severity="error", timeout=30, markup=False)

    def _ended(self) -> None:
        doing = self.doing
        self._show(None)
        if doing is not None and doing.operation == "backup.restore":
            self._app.look()


def worth_showing(
    doing: Doing, reports: Iterator[Progress], left: threading.Event
) -> Iterator[Doing]:
    """What is to be shown of the reports: each new step at once, numbers now and then.

    Args:
        doing: What is being done.
        reports: All of them; what programs say under a step is passed over.
        left: Ends this, and not what reports.
    """
    pace, shown, over, now = Pace(), 0.0, deque[str](maxlen=STEPS), doing
    for report in reports:
        if report.said:
            continue
        before, at = now.report, time.monotonic()
        same = before is not None and step(before.label) == step(report.label)
        if before is not None and not same:
            over.append(before.label)
        now = replace(now, report=report, rate=pace.add(report, at), over=tuple(over))
        whole = report.done is not None and report.done == report.total
        if not same or whole or at - shown >= SHOW_SECONDS:
            shown = at
            yield now
        if left.is_set():
            return
    yield now

"""The notify area: messages when a finding appears or ends, never twice, never on success."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from console.core import actions, files
from console.core.deployment import Deployment
from console.core.errors import BusyError, ConsoleError, UnreachableError
from console.core.notify import addresses, message, state
from console.core.notify.addresses import Address, Refusal
from console.core.notify.message import Kind, Message
from console.core.notify.state import Known, Notified, Sent, Target
from console.core.notify.timer import Timer, TimerState
from console.core.operations import operation
from console.core.stack import status
from console.core.stack.status import Status
from console.core.systemd_units import Unit
from console.core.text import clean

# Who starts or stops the stack knows; but an action that never ends must not silence everything.
ACTION_SECONDS = 1_800.0
# Restoring keeps a stack down for as long as the copying takes.
RESTORE_SECONDS = 43_200.0


@dataclass(frozen=True, slots=True)
class Overview:
    """What `notify show` shows; its JSON shape.

    Attributes:
        addresses: Where messages go, masked.
        last_sent: The newest message that was accepted.
        known: What was told and has not ended, at the address that knows most.
        cut_off: When a message was begun whose arrival nobody knows.
    """

    addresses: tuple[str, ...]
    timer: TimerState
    last_sent: Sent | None
    known: tuple[Known, ...]
    cut_off: datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of `status --notify` came to.

    Attributes:
        status: As it was taken.
        sent: The titles of what was accepted.
        refused: Who did not take a message; they are told again by the next run.
    """

    status: Status
    sent: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


class NotifyService:
    """Where messages go, the timer that looks, and the message itself."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.timer = Timer(deployment)

    @operation("notify.show")
    def show(self) -> Overview:
        """Where messages go, when it looks, and what was said last."""
        notified = state.load(self.deployment.paths.notified)
        targets = list(notified.targets.values())
        cut_off = [each.sending for each in targets if each.sending]
        return Overview(
            tuple(each.shown for each in self._addresses()),
            self.timer.state(),
            notified.last,
            max((each.known for each in targets), key=len, default=()),
            max(cut_off, default=None),
        )

    def stored(self) -> bool:
        """Whether any address is kept."""
        return bool(self._addresses())

    def plan(self, every: int) -> tuple[Unit, Unit]:
        """The files that `on` would write.

        Raises:
            NotOursError: A unit of that name belongs to somebody else.
        """
        return self.timer.plan(every)

    @operation("notify.on", target=lambda every, wanted=(): f"every {every} s")
    def on(self, every: int, wanted: Sequence[Address] = ()) -> tuple[Unit, Unit]:
        """Keep the addresses, then write and start the timer.

        Args:
            every: Seconds between two looks.
            wanted: The new addresses; none leaves those that are kept.

        Returns:
            The files that were written.

        Raises:
            NotOursError: A unit of that name belongs to somebody else; nothing was written.
            ConsoleError: systemd is not there or refuses; the addresses are kept.
        """
        planned = self.timer.plan(every)
        if wanted:
            addresses.save(self.deployment.paths.notify_urls, wanted)
        self._require_addresses()
        self.timer.require_systemd(every)
        self.timer.install(planned)
        return planned

    @operation("notify.test")
    def test(self) -> Iterator[tuple[str, str]]:
        """Send a message now.

        Yields:
            Of each address what may be shown, and why it refused or "".

        Raises:
            ConsoleError: Some refused; the others have it.
        """
        text = f"This is a test. Messages about {self._where()} arrive here."
        said = Message(f"{self.deployment.name}: test message", text, Kind.INFO)
        every = self._require_addresses()
        refused = 0
        for each in every:
            why = addresses.send(each, said)
            refused += bool(why)
            yield each.shown, why
        if refused:
            raise ConsoleError(f"{refused} of {len(every)} addresses did not take the message")

    @operation("notify.off", target=lambda keep_urls=False: "addresses kept" if keep_urls else "")
    def off(self, keep_urls: bool = False) -> list[str]:
        """Stop, disable and remove the timer; returns what was removed.

        Args:
            keep_urls: The addresses stay, and what they were told.
        """
        gone = [str(path) for path in self.timer.remove()]
        if keep_urls:
            return gone
        paths = self.deployment.paths
        with files.locked(self._lock(), "what was told"):
            for path in (paths.notify_urls, paths.notified):
                with files.explained(path):
                    if path.exists():
                        path.unlink()
                        gone.append(str(path))
        return gone

    @operation("notify.send")
    def send(self) -> Told:
        """Take the status, and tell every address what it does not know yet.

        A finding is told when it is seen first, be it an error or a warning, and its end once.
        Nothing waits for a second look: what comes and goes is told each time. Then what is new in
        the access log is read, so that nothing is lost of it while nobody looks.

        Raises:
            ConsoleError: The status could not be taken; that is told as well.
        """
        self._require_addresses()
        began, failure = datetime.now(UTC), None
        try:
            now = self.deployment.stack.status()
        except ConsoleError as error:
            now, failure = status.unseen(self.deployment, error), error
        told = Told(now) if self._under_way(now) else self._tell(now, began)
        self._collect()
        if failure is not None:
            for each in told.refused:
                self.deployment.warn(f"No message went to {each.address}: {each.why}")
            raise failure
        return told

    def _collect(self) -> None:
        """Read the access log on; that it cannot be is nothing that the status fails by."""
        if self.deployment.read_only:
            return
        try:
            self.deployment.activity.collect(self.deployment.driver.access_log())
        except (BusyError, UnreachableError):
            pass  # somebody else reads it; or nothing is there to read, and the status says why
        except ConsoleError as error:
            self.deployment.warn(f"The access log was not read: {error.message}")

    def _under_way(self, now: Status) -> bool:
        """Whether somebody is starting or stopping it at this moment."""
        if now.action is None:
            return False
        restoring = now.action.operation == actions.RESTORE
        patience = timedelta(seconds=RESTORE_SECONDS if restoring else ACTION_SECONDS)
        return now.checked_at - now.action.started_at < patience

    def _tell(self, now: Status, began: datetime) -> Told:
        path = self.deployment.paths.notified
        with files.locked(self._lock(), "what was told"):
            files.sweep(path)
            wanted = self._require_addresses()
            notified = state.load(path)
            if notified.looked_at and began < notified.looked_at <= datetime.now(UTC):
                return Told(now)  # a newer one was told while this one waited
            keys = {each.key for each in wanted}
            kept = {key: each for key, each in notified.targets.items() if key in keys}
            notified = msgspec.structs.replace(notified, targets=kept, looked_at=began)
            told = Told(now)
            for address in wanted:
                notified, told = self._tell_one(address, notified, told)
            return told

    def _tell_one(self, address: Address, notified: Notified, told: Told) -> tuple[Notified, Told]:
        """Tell one address; the intent is on the disk before, see `state`."""
        path, now = self.deployment.paths.notified, told.status
        before = notified.targets.get(address.key, Target())
        if before.sending:
            self.deployment.warn(
                f"A message to {address.shown} was cut off at {before.sending:%Y-%m-%d %H:%M:%S} "
                "UTC; nobody knows whether it arrived, and it is not sent again"
            )
        changed = message.change(before, now.findings)
        if changed.none:
            return notified, told
        words = message.compose(now, changed, self._where(), before.sending)
        at = datetime.now(UTC)
        after = Target(tuple(state.known(each) for each in now.findings), at)
        state.save(path, _with(notified, address, after))
        why = addresses.send(address, words)
        if why:
            state.save(path, _with(notified, address, before))
            refusal = Refusal(address.shown, why)
            return notified, replace(told, refused=(*told.refused, refusal))
        sent = msgspec.structs.replace(
            _with(notified, address, Target(after.known)), last=Sent(at, words.title)
        )
        state.save(path, sent)
        return sent, replace(told, sent=(*told.sent, words.title))

    def _addresses(self) -> list[Address]:
        return addresses.load(self.deployment.paths.notify_urls)

    def _require_addresses(self) -> list[Address]:
        """The addresses.

        Raises:
            ConsoleError: There are none.
        """
        found = self._addresses()
        if not found:
            raise ConsoleError(
                "Nobody is to be told: no address is kept",
                "`mlflow-console notify on` asks for one.",
            )
        return found

    def _where(self) -> str:
        return (
            f"{self.deployment.name} on {platform.node()}, {clean(str(self.deployment.directory))}"
        )

    def _lock(self) -> Path:
        files.make_folder(self.deployment.paths.run)
        return self.deployment.paths.run / "notified.lock"


def _with(notified: Notified, address: Address, target: Target) -> Notified:
    targets = notified.targets | {address.key: target}
    return msgspec.structs.replace(notified, targets=targets)

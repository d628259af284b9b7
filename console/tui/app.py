"""The console: opens a deployment in the background and shows its areas."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.signal import Signal

from console.core.text import clean
from console.tui import calls, themes
from console.tui.areas import AREAS, HOME, area_of
from console.tui.backups import Backups
from console.tui.caller import Caller, Listener
from console.tui.messages import Delivery, Live, Session
from console.tui.modals.modal import Modal
from console.tui.screens.opening import OpeningScreen
from console.tui.statistics import Statistics
from console.tui.widgets.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from textual.actions import ActionParseResult
    from textual.app import SystemCommand
    from textual.dom import DOMNode

    from console.core.actions import Action
    from console.core.deployment import Deployment
    from console.core.doctor.service import Examination
    from console.core.errors import ConsoleError
    from console.core.operations import Operation
    from console.core.progress import Progress
    from console.core.register import Known
    from console.core.stack.driver import Finding, Sample
    from console.core.stack.status import Status
    from console.core.storage.service import Usage
    from console.core.streams import Stream
    from console.tui.modals.progress import Work

    Opener = Callable[[str | None], Session | list[Known]]

# How long calls that were asked to end may take to write down that they did.
LEAVE_SECONDS = 0.4
# How long the first frame may wait for the deployment: a local disk needs a tenth of it.
OPEN_SECONDS = 0.3


class ConsoleApp(App[int], Caller):
    """The console.

    Args:
        opener: Opens the deployment that is meant, given its name or directory; runs on a thread.
            Returns the known ones when it cannot tell which.
        wanted: What was named on the command line.
        read_only: Every verb that changes something is refused.
    """

    TITLE = "mlflow-console"
    # Home's own is read with the app's: one more style sheet later is a parse of all of them.
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "screens/home.tcss"]
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        area.name: area.open for area in AREAS
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(area.key, f"area('{area.name}')", area.title, show=False,
                    id=f"app.{area.name}", tooltip=f"Go to {area.title}")
            for area in AREAS
        ),
        Binding("question_mark", "help", "Help", key_display="?", id="app.help",
                tooltip="The keys of this screen"),
        Binding("ctrl+p", "command_palette", "All", key_display="^p", id="app.palette",
                tooltip="Everything that can be done, by name"),
        Binding("q", "quit", "Quit", id="app.quit",
                tooltip="Leave the console; the server goes on running"),
        Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit-always",
                priority=True, tooltip="Leave the console from anywhere"),
    ]  # fmt: skip

    def __init__(self, opener: Opener, wanted: str | None = None, read_only: bool = False) -> None:
        super().__init__(ansi_color=True if themes.plain() else None)
        self.opener = opener
        self.wanted = wanted
        self.read_only = read_only
        self.session: Session | None = None
        self.who = themes.who()
        self.status: Live[Status] = Live(busy=True)
        self.usage: Live[Usage] = Live()
        self.examination: Live[Examination] = Live()
        self._examined: frozenset[object] | None = None
        self.status_changed: Signal[Live[Status]] = Signal(self, "status")
        self.usage_changed: Signal[Live[Usage]] = Signal(self, "usage")
        self.backups = Backups(self)
        self.statistics = Statistics()
        self.statistics_changed: Signal[Statistics] = Signal(self, "statistics")
        self._measured: Stream[list[Sample]] | None = None
        self._measures = False
        self._outlive: set[threading.Event] = set()
        self.examination_changed: Signal[Live[Examination]] = Signal(self, "examination")
        self.animation_level = "none"
        themes.use(self)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.logs(self.current_theme)

    # Opening

    def get_default_screen(self) -> Screen[None]:
        return OpeningScreen(self.who)

    def on_mount(self) -> None:
        # Also where it was ignored (nohup): on a dead terminal Textual would read for ever.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        if self.session is None:
            self.open_deployment(self.wanted)
        else:
            self._watch()

    def open_deployment(self, wanted: str | None) -> None:
        """Open a deployment, show the ones to choose from, or say why neither goes."""
        self.wanted = wanted
        self.ask(partial(self.opener, wanted), self.opened, self._not_opened, group="open")

    def opened(self, found: Session | list[Known]) -> None:
        """Go Home with an opened deployment, or ask which one or what to set up."""
        if isinstance(found, list):
            self._ask_which(found)
            return
        self._use(found)
        self._watch()
        self.switch_mode(HOME.name)

    def _use(self, session: Session) -> None:
        self.session = session
        session.deployment.warn = self._warned
        self.set_keymap(session.person.keys)
        themes.use(self, session.person.theme)

    def _warned(self, sentence: str) -> None:
        """What the core has to say beside a result; it comes from any thread."""
        say = partial(self.notify, clean(sentence, 400), severity="warning", markup=False)
        self.post_message(Delivery(say))

    def _ask_which(self, known: list[Known]) -> None:
        if known:
            from console.tui.screens.chooser import ChooserScreen  # noqa: PLC0415  # first use

            self._page(ChooserScreen(known))
        else:
            from console.tui.screens.first_start import FirstStartScreen  # noqa: PLC0415

            self._page(FirstStartScreen())

    def _page(self, screen: Screen[None]) -> None:
        """Show a page of its own over the opening one, in the place of an earlier one."""
        if len(self.screen_stack) > 1:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def _not_opened(self, error: ConsoleError) -> None:
        from console.tui.screens.failure import FailureScreen  # noqa: PLC0415  # first use

        self._page(FailureScreen(error))

    @property
    def deployment(self) -> Deployment:
        """The opened deployment; no screen of an area exists without one."""
        if self.session is None:
            raise RuntimeError("no deployment is open yet")
        return self.session.deployment

    def refused(self, operation: Operation) -> str:
        """Why a verb cannot be done here; "" when it can."""
        if self.session is None:
            return "no deployment is open"
        if operation.risk != "read" and self.deployment.read_only:
            return f"Read-only: nothing is changed here ({self.deployment.read_only})"
        return self.session.missing.get(operation.id, "")

    # What several screens show

    def _watch(self) -> None:
        def told(then: Callable[[Any], None], what: object) -> None:
            self.post_message(Delivery(partial(then, what)))

        if self.session is not None:
            self.session.watch.listen(
                partial(told, self._status_seen), partial(told, self._status_failed)
            )
            self.ask(self.deployment.stack.current, self._going_on, self._status_failed, "action")
            self.backups.look()

    def measure(self, wanted: bool) -> None:
        """Read the statistics of the services while a screen that shows them is seen."""
        self._measures = wanted
        if not wanted or self.session is None:
            stream, self._measured = self._measured, None
            if stream is not None:
                stream.close()
        elif self._measured is None:
            self.ask(self.deployment.stack.statistics, self._measuring, self._not_measured,
                     group="statistics")  # fmt: skip

    def _measuring(self, stream: Stream[list[Sample]]) -> None:
        if not self._measures or self._measured is not None:
            stream.close()
            return
        self._measured = stream

        def told(samples: list[Sample]) -> None:
            self.post_message(Delivery(partial(self._samples, stream, samples)))

        def failed(error: ConsoleError) -> None:
            self.post_message(Delivery(partial(self._not_measured, error, stream)))

        stream.listen(told, failed)

    def _samples(self, stream: Stream[list[Sample]], samples: list[Sample]) -> None:
        if stream is self._measured:
            self.statistics.add(samples)
            self.statistics_changed.publish(self.statistics)

    def _not_measured(self, _: ConsoleError, stream: Stream[list[Sample]] | None = None) -> None:
        """The status says what is wrong; when that is over, it is measured again."""
        if stream is self._measured:
            self._measured = None
            self.statistics.add(())
            self.statistics_changed.publish(self.statistics)

    def look(self) -> None:
        """Look at the services now, and not only when the watch comes round."""
        self.ask(self.deployment.stack.status, self._status_seen, self._status_failed, "status")

    def _status_seen(self, status: Status) -> None:
        self.status = Live(status)
        self.status_changed.publish(self.status)
        if self._measures and status.services:
            self.measure(True)  # where the engine was gone in between
        # What the doctor looks at changes only when services are made, and not all by themselves.
        there = frozenset(
            (each.name, each.image, each.ports)
            for each in status.services
            if each.state not in ("stopped", "exited")
        )
        if there != self._examined and not self.examination.busy:
            self._examined = there
            self.examine()

    def _status_failed(self, error: ConsoleError) -> None:
        self.status = Live(self.status.value, error)
        self.status_changed.publish(self.status)

    def examine(self) -> None:
        """Have the doctor look at how the deployment is put together, unless it looks already."""
        if self.examination.busy:
            return
        self._examination(replace(self.examination, error=None, busy=True))
        self.ask(
            self.deployment.doctor.examine, lambda seen: self._examination(Live(seen)),
            lambda error: self._examination(Live(self.examination.value, error)), "examine",
        )  # fmt: skip

    def concerns(self) -> tuple[Finding, ...]:
        """What the doctor found, or why it found nothing."""
        error, seen = self.examination.error, self.examination.value
        if error is not None:
            from console.core.stack.driver import Finding, Severity  # noqa: PLC0415  # first use

            title = f"The doctor could not look: {error.message}"
            return (Finding("could-not-look", Severity.WARNING, "", title, fix=error.hint),)
        return seen.findings if seen else ()

    def _examination(self, examination: Live[Examination]) -> None:
        self.examination = examination
        self.examination_changed.publish(examination)

    def walk(self) -> None:
        """Walk the artifact store, unless somebody is walking already."""
        if self.usage.busy:
            return
        self._usage(replace(self.usage, error=None, busy=True))
        self.follow(
            lambda cancel: self.deployment.storage.usage(cancel=cancel),
            Listener(
                each=lambda seen: self._usage(Live(seen[-1], busy=not seen[-1].complete)),
                done=lambda: self._usage(replace(self.usage, busy=False)),
                failed=lambda error: self._usage(Live(self.usage.value, error)),
            ),
            group="walk", keep=1,
        )  # fmt: skip

    def _usage(self, usage: Live[Usage]) -> None:
        if usage != self.usage:
            self.usage = usage
            self.usage_changed.publish(usage)

    # What several screens do

    def perform(self, title: str, work: Work, then: str, begun: datetime | None = None) -> None:
        """Do something long in a dialog that shows its progress.

        Args:
            title: What is being done.
            work: The verb; runs on a thread.
            then: What to say when it is done.
            begun: When, if not now.
        """
        from console.tui.modals.progress import ProgressModal  # noqa: PLC0415  # first use

        def ended(done: bool | None) -> None:
            self.look()
            if done:
                self.notify(then, title="Done", markup=False)

        self.push_screen(ProgressModal(title, work, begun=begun), ended)

    def act(self, title: str, operation_id: str, services: Sequence[str], then: str) -> None:
        """Do a verb of the stack in a process of its own, which a lost terminal leaves alone."""

        def work(cancel: threading.Event) -> Iterator[Progress]:
            self._outlive.add(cancel)
            return self.deployment.stack.perform(operation_id, services, cancel)

        self.perform(title, work, then)

    def _going_on(self, action: Action | None) -> None:
        """Show what somebody has begun, or this person before the terminal was lost."""
        if action is None:
            return

        def work(cancel: threading.Event) -> Iterator[Progress]:
            self._outlive.add(cancel)
            return self.deployment.stack.follow(action, cancel)

        what = clean(action.words)
        title = f"{what}, begun by {clean(action.by)}"
        self.perform(title, work, f"{what} is done", action.started_at)

    def bring_up(self) -> None:
        """Bring the stack up."""
        name = self.deployment.name
        self.act(f"Bringing {name} up", "stack.up", (), f"{name} is up")

    # Going about

    def action_area(self, name: str) -> None:
        """Go to an area."""
        if self.session is not None and self.current_mode != name:
            self.switch_mode(name)

    async def run_verb(self, operation: Operation) -> None:
        """Go to the verb's area and do it there."""
        from console.tui.area import AreaScreen  # noqa: PLC0415  # first use

        area = area_of(operation.area)
        if self.current_mode != area.name:
            await self.switch_mode(area.name)
        for screen in reversed(self.screen_stack):
            if isinstance(screen, AreaScreen) and operation.id in screen.VERBS.values():
                await screen.run_verb(operation.id)
                return

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do an action, or say why a screen does not do it here."""
        from console.tui.area import AreaScreen  # noqa: PLC0415  # first use

        if isinstance(default_namespace, AreaScreen) and isinstance(action, str):
            refused = default_namespace.refused(action)
            if refused:
                self.notify(refused, severity="warning", timeout=3, markup=False)
                return True
        return await super().run_action(action, default_namespace, namespaces)

    def action_help(self) -> None:
        """Show the keys of the active screen."""
        from console.tui.modals.help import HelpModal  # noqa: PLC0415  # first use

        self.push_screen(HelpModal(self.screen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        from console.tui.commands import commands  # noqa: PLC0415  # first use

        return commands(self)

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """A picture of the screen, for whoever asks Textual for one; without secrets."""
        shown = [facts for screen in self.screen_stack for facts in screen.query(Facts)]
        for facts in shown:
            facts.cover(True)
        try:
            return super().export_screenshot(title=title, simplify=simplify)
        finally:
            for facts in shown:
                facts.cover(False)

    async def action_quit(self) -> None:
        """Leave; what runs on this machine goes on running."""
        words = self.screen.LEAVING if isinstance(self.screen, Modal) else ""
        self.leave(130 if words else 0, words or self.backups.leaving)

    def leave(self, code: int, words: str = "") -> None:
        """Close what is open and end the console with this exit code, and a last sentence."""
        self._close()
        self.exit(code, return_code=code, message=Text(words) if words else None)

    def _fatal_error(self) -> None:
        """A defect of ours: one sentence, the traceback only for who asks for it.

        Textual's own prints every local variable, passwords among them, and has no public hook.
        """
        error = sys.exc_info()[1]
        words = f"This should not have happened: {type(error).__name__}: {error}"
        if os.environ.get("MLFLOW_CONSOLE_DEBUG") == "1" and error is not None:
            import traceback  # noqa: PLC0415  # hardly ever

            words = "".join(traceback.format_exception(error))
        else:
            words += "\nPlease report it with what MLFLOW_CONSOLE_DEBUG=1 prints."
        self.panic(Text(words))

    def _hung_up(self) -> None:
        """Leave without a word: there is no terminal any more to restore."""
        self._close(self._outlive)
        os._exit(128 + signal.SIGHUP)

    def _close(self, spared: Container[threading.Event] = ()) -> None:
        from console.core.streams import hub  # noqa: PLC0415  # first use

        hub.close()
        calls.leave(LEAVE_SECONDS, spared)


class OpenedApp(ConsoleApp):
    """The console over a deployment that is open already: Home is the first frame.

    Args:
        session: The opened deployment.
        opener, wanted, read_only: As for the console, should another one be opened later.
    """

    # Home is the default screen, and a mode like the others only when it stands: that spares
    # Textual a parse of every style sheet before the first frame.
    DEFAULT_MODE = HOME.name
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        area.name: area.open for area in AREAS if area is not HOME
    }

    def __init__(
        self, session: Session, opener: Opener, wanted: str | None = None, read_only: bool = False
    ) -> None:
        super().__init__(opener, wanted, read_only)
        self._use(session)

    def get_default_screen(self) -> Screen[Any]:
        return HOME.open()

    def on_mount(self) -> None:
        # Textual calls the base's as well.
        self.add_mode(HOME.name, HOME.open)


def _app(opener: Opener, wanted: str | None, read_only: bool) -> ConsoleApp:
    """The app for what can be opened at once; what takes longer is opened under a first page."""
    early = calls.Early(lambda: opener(wanted))
    found = early.result(OPEN_SECONDS)
    if found is not None and not isinstance(found, list):
        return OpenedApp(found, opener, wanted, read_only)

    def first(again: str | None) -> Session | list[Known]:
        return early.wait() if again == wanted and early.unused else opener(again)

    return ConsoleApp(first, wanted, read_only)


def run(deployment_name: str | None, read_only: bool) -> int:
    """Open the console and stay in it until the person leaves.

    A call of the core that still hangs on the network by then would be waited for by whatever
    pool it uses, so the process ends without that once the terminal is restored.

    Args:
        deployment_name: A name or a directory; None for the one that is meant.
        read_only: Every verb that changes something is refused.

    Returns:
        The exit code.
    """

    def opener(wanted: str | None) -> Session | list[Known]:
        from console.tui.opening import open_session  # noqa: PLC0415  # after the first frame

        return open_session(wanted, read_only)

    calls.share_memory()  # before the first thread
    app = _app(opener, deployment_name, read_only)
    app.run()
    code = app.return_code or 0
    if calls.running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code

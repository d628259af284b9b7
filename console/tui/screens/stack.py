"""Stack: the services, their logs, and the verbs that start and stop."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Tab, Tabs

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.operations import OPERATIONS
from console.core.regular import Regular
from console.core.stack import health
from console.core.stack.driver import Inspection, Role, Service, State
from console.core.stack.log_filter import Wanted
from console.core.stack.status import Status
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.log_source import LogSource
from console.tui.messages import Live
from console.tui.screens.stack_actions import StackActions
from console.tui.screens.stack_details import INDENT, details, inspected
from console.tui.statistics import Statistics
from console.tui.widgets import state
from console.tui.widgets.choice import Option
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.log_view import LogView
from console.tui.widgets.table import Cell, Column, Row, Table

TAIL = 200
# Holding `j` must not open the log of every service on the way.
SETTLE_SECONDS = 0.15
NAME = 20
WHY = Column("why", 14, 60)
SINCE = Column("since", 9)
USED = (Column("CPU", 6, right=True), Column("memory", 8, right=True))
TABS = {
    "logs": "Logs", "details": "Details", "checks": "Health checks", "environment": "Environment",
    "mounts": "Mounts", "inspect": "Inspect",
}  # fmt: skip
SPARK = 12
BUSY = Column("2 minutes", SPARK, wide=100)
LIMITS = (Column("limit", 8, right=True, wide=100), Column("restarts", 8, right=True, wide=100))


class StackScreen(AreaScreen):
    """The services, and below them what the one under the cursor says."""

    AREA = "stack"
    CSS_PATH = "stack.tcss"
    VERBS: ClassVar[dict[str, str]] = {
        "refresh": "stack.status",
        "logs": "stack.logs",
        "up": "stack.up",
        "down": "stack.down",
        "restart": "stack.restart",
        "stop": "stack.stop",
        "start": "stack.start",
        "recreate": "stack.recreate",
        "pull": "stack.pull",
        "build": "stack.build",
        "shell": "stack.shell",
        "destroy": "stack.destroy",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "up", "Up", id="stack.up", tooltip="Bring the stack up"),
        Binding("x", "down", "Stop", id="stack.down", tooltip="Stop the stack, after a question"),
        Binding("n", "restart", "Restart", id="stack.restart",
                tooltip="Stop it and bring it up anew, after a question"),
        Binding("l", "logs", "Logs", id="stack.logs", tooltip="The logs on a screen of their own"),
        Binding("t", "next_tab", "Next tab", id="stack.tab", tooltip="Logs or details"),
        Binding("r", "refresh", "Refresh", id="app.refresh", tooltip="Look again now"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[str, Service] = {}
        self.source = LogSource(self, lambda: self.query_one("#tail", LogView))
        self.actions = StackActions(self)
        self._seen = True  # and not below another screen
        self._tab = "logs"
        self._settle: Timer | None = None
        self._followed: tuple[str, datetime | None] | None = None

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="verdict")
        yield Table(_columns(()), id="services")
        tabs = Tabs(*(Tab(title, id=f"tab-{name}") for name, title in TABS.items()))
        tabs.can_focus = False
        yield tabs
        with ContentSwitcher(initial="tail"):
            yield LogView(id="tail", named=False, wanted=unchecked())
            with VerticalScroll(id="details"):
                yield Facts(id="facts")

    def on_mount(self) -> None:
        self.console.status_changed.subscribe(self, self.show_status)
        self.console.statistics_changed.subscribe(self, self._show_statistics)
        self.show_status(self.console.status)

    def on_screen_suspend(self) -> None:
        self._seen = False
        self.console.measure(False)
        self.source.close()
        self._followed = None

    def on_screen_resume(self) -> None:
        self._seen = True
        self.console.measure(True)
        self._follow()

    def on_resize(self) -> None:
        self._show_details()

    def on_unmount(self) -> None:
        self.source.close()

    # Status

    def show_status(self, live: Live[Status]) -> None:
        verdict = self.query_one("#verdict", Facts)
        if live.error is not None:
            verdict.show(
                ("✗ ", "bad"), (clean(live.error.message, 300), "bold"),
                (f"\n  {clean(live.error.hint)}" if live.error.hint else "", "dim"),
            )  # fmt: skip
        if live.value is None:
            return
        status = live.value
        if live.error is None:
            sign, tone, words = state.of_status(status)
            how: list[Part] = [". ", ("u", "accent"), " brings it up"] if status.at_rest else []
            checked = f"   checked {fmt.clock(status.checked_at)}"
            verdict.show((f"{sign} ", tone), (words, "bold"), *how, (checked, "dim"))
        self.services = {each.name: each for each in state.ordered(status.services)}
        self._show_services()
        self._show_details()
        self._follow()

    def _show_statistics(self, _: Statistics) -> None:
        self._show_services()
        if self._tab == "details":
            self._show_details()

    def _show_services(self) -> None:
        services, statistics = list(self.services.values()), self.console.statistics
        reasons = any(map(_quiet, services))
        table = self.query_one("#services", Table)
        table.set_columns(_columns(services, reasons))
        table.show([_row(each, reasons, statistics) for each in services])

    @property
    def chosen(self) -> Service | None:
        """The service under the cursor."""
        return self.services.get(self.query_one("#services", Table).key or "")

    # Logs and details of the service under the cursor

    @on(Table.Moved, "#services")
    def _other_service(self) -> None:
        self._show_details()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(SETTLE_SECONDS, self._follow)

    def _follow(self) -> None:
        """Follow the log of the service under the cursor, anew when it was started anew."""
        service = self.chosen
        if service is None or not self._seen:
            return
        wanted = (service.name, service.started_at)
        if wanted == self._followed and not self.source.failed:
            return
        self._followed = wanted
        empty = "No log lines yet." if service.started_at else "No log lines: it does not run."
        self.source.follow(self.deployment.stack, (service.name,), TAIL, empty)

    def _show_details(self) -> None:
        """Show what the tab is about; what the engine has to be asked for comes a moment later."""
        service = self.chosen
        if service is None or self._tab == "logs":
            return
        if self._tab == "details":
            width = (self.query_one("#facts", Facts).size.width or self.size.width - 6) - INDENT
            used = self.console.statistics.newest.get(service.name)
            self.query_one("#facts", Facts).show(
                *details(service, self.console.status.value, used, width)
            )
            return
        wanted = (self._tab, service.name)
        self.ask(
            lambda: self.deployment.stack.inspect(service.name),
            lambda found: self._show_inspection(wanted, found), self._not_inspected, "inspect",
        )  # fmt: skip

    def _show_inspection(self, wanted: tuple[str, str], found: Inspection) -> None:
        if self.chosen is not None and wanted == (self._tab, self.chosen.name):
            self.query_one("#facts", Facts).show(*inspected(self._tab, found))

    def _not_inspected(self, error: ConsoleError) -> None:
        self.query_one("#facts", Facts).show((clean(error.message, 500), "dim"))

    @on(Tabs.TabActivated)
    def _other_tab(self, message: Tabs.TabActivated) -> None:
        self._tab = (message.tab.id or "tab-logs").removeprefix("tab-")
        self.query_one(ContentSwitcher).current = "tail" if self._tab == "logs" else "details"
        self._show_details()

    # Actions

    def action_next_tab(self) -> None:
        self.query_one(Tabs).action_next_tab()

    def action_refresh(self) -> None:
        self.console.look()

    def action_logs(self) -> None:
        from console.tui.screens.logs import LogsScreen  # noqa: PLC0415  # first use

        self.app.push_screen(LogsScreen())

    def action_up(self) -> None:
        self.console.bring_up()

    def action_down(self) -> None:
        self.actions.do("stack.down")

    def action_restart(self) -> None:
        self.actions.do("stack.restart")

    def action_stop(self) -> None:
        self.actions.do("stack.stop")

    def action_start(self) -> None:
        self.actions.do("stack.start")

    def action_recreate(self) -> None:
        self.actions.do("stack.recreate")

    def action_pull(self) -> None:
        self.actions.do("stack.pull")

    def action_build(self) -> None:
        self.actions.do("stack.build")

    def action_destroy(self) -> None:
        self.actions.destroy()

    def action_shell(self) -> None:
        if self.chosen is not None:
            self.actions.shell(self.chosen.name, client=False)

    @on(Table.Opened, "#services")
    def _open_actions(self) -> None:
        """Offer what can be done to the service under the cursor, and to all of them."""
        service = self.chosen
        if service is None:
            return
        from console.tui.modals.actions import ActionsModal  # noqa: PLC0415  # first use

        options = offered(service)
        refused = [
            each.key for each in options
            if self.console.refused(OPERATIONS[each.key.partition(" ")[0]])
        ]  # fmt: skip
        free = [each for each in options if each.key not in refused]
        if not free:
            self.notify(self.console.refused(OPERATIONS["stack.up"]), markup=False)
            return
        ordered = [*free, *(each for each in options if each.key in refused)]
        modal = ActionsModal(f"{clean(service.name)}: what to do?", ordered, refused)
        self.app.push_screen(modal, partial(self._chosen_action, service.name))

    def _chosen_action(self, service: str, key: str | None) -> None:
        operation_id, _, scope = (key or "").partition(" ")
        if operation_id == "stack.shell":
            self.actions.shell(service, client=scope == "client")
        elif operation_id == "stack.logs":
            from console.tui.screens.logs import LogsScreen  # noqa: PLC0415  # first use

            self.app.push_screen(LogsScreen(service))
        elif operation_id == "stack.destroy":
            self.actions.destroy()
        elif operation_id:
            self.actions.do(operation_id, () if scope == "all" else (service,))


def unchecked() -> Wanted:
    """All lines but those of the console's own checks, and of the container's: one a few seconds.

    They would push everything else off, and be redrawn for ever.
    """
    call = re.escape(health.CALL)
    return Wanted(pattern=Regular(f"GET.{{1,100}}{call}"), inverse=True)


def offered(service: Service) -> list[Option]:
    """What can be done to a service; what is of no use to it now is left out."""
    name = clean(service.name, 40)
    runs = service.state in (State.RUNNING, State.RESTARTING)
    options = [Option("stack.logs", "logs", f"all that {name} says, on a screen of its own")]
    if runs:
        options += [
            Option("stack.restart", "restart", f"stop {name} and start it again"),
            Option("stack.stop", "stop", f"stop {name}, its container stays"),
            Option("stack.recreate", "recreate", f"make the container of {name} anew; data stays"),
            Option("stack.shell", "shell", f"a shell in {name}"),
        ]
    else:
        options.append(Option("stack.start", "start", f"start {name}"))
    if runs and service.role is Role.DATABASE:
        options.append(Option("stack.shell client", "client", "the database's own client"))
    return [
        *options,
        Option("stack.pull all", "pull", "fetch the images of all services"),
        Option("stack.build all", "build", "build the images of all services"),
        Option("stack.recreate all", "recreate all", "make every container anew; data stays"),
        Option("stack.destroy", "remove data", "stop everything and remove all its data"),
    ]


def _quiet(service: Service) -> str:
    """Why a service is not well; of one that is, and of a job that is done, nothing."""
    return "" if state.of_service(service)[1] == "ok" else state.why(service)


def _columns(services: Sequence[Service], reasons: bool = False) -> tuple[Column, ...]:
    """The columns, as wide as they need; while there are reasons, they go before all the rest."""
    name = max((cell_len(clean(each.name)) for each in services), default=0)
    first = (Column("", 1), Column("service", max(8, min(NAME, name))), Column("state", 10))
    if reasons:
        return (*first, WHY, *USED, SINCE, *LIMITS, BUSY, Column("address", 14, 32, wide=110),
                Column("role", 9, wide=150), Column("runs", 16, 60, wide=180))  # fmt: skip
    return (*first, *USED, SINCE, *LIMITS, BUSY, Column("address", 14, 32, wide=76),
            Column("role", 9, wide=130), Column("runs", 16, 60, wide=140))  # fmt: skip


def _row(service: Service, reasons: bool, statistics: Statistics) -> Row:
    sign, tone, word = state.of_service(service)
    used = statistics.newest.get(service.name) or service
    cpu = fmt.NEVER if used.cpu_percent is None else f"{used.cpu_percent:.0f} %"
    return Row(
        service.name,
        (
            Cell(sign, tone),
            Cell(clean(service.name)),
            Cell(word, tone),
            *((Cell(_quiet(service), "dim"),) if reasons else ()),
            Cell(cpu),
            Cell(fmt.size(used.memory_bytes)),
            Cell(fmt.when(service.since or service.started_at)),
            Cell(fmt.size(service.memory_limit_bytes)),
            Cell(fmt.count(service.restarts)),
            Cell(statistics.spark(service.name, SPARK)),
            Cell(state.addresses(service.ports)),
            Cell(service.role),
            Cell(clean(service.image)),
        ),
    )

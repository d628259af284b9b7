"""Stack: the services, their logs, and the verbs that start and stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from textwrap import wrap
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Tab, Tabs

from console.core import format as fmt
from console.core.stack.driver import Role, Service, State
from console.core.stack.status import Status
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.log_source import LogSource
from console.tui.messages import Live
from console.tui.widgets import state
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.log_view import LogView
from console.tui.widgets.table import Cell, Column, Row, Table

TAIL = 200
# Holding `j` must not open the log of every service on the way.
SETTLE_SECONDS = 0.15
NAME = 20
INDENT = 12
WHY = Column("why", 14, 60)
STARTED = Column("started", 9)
USED = (Column("CPU", 6, right=True), Column("memory", 8, right=True))
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
        self._settle: Timer | None = None
        self._followed: tuple[str, datetime | None] | None = None

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="verdict")
        yield Table(_columns(()), id="services", opens=False)
        tabs = Tabs(Tab("Logs", id="tab-logs"), Tab("Details", id="tab-details"))
        tabs.can_focus = False
        yield tabs
        with ContentSwitcher(initial="tail"):
            yield LogView(id="tail", named=False)
            with VerticalScroll(id="details"):
                yield Facts(id="facts")

    def on_mount(self) -> None:
        self.console.status_changed.subscribe(self, self.show_status)
        self.show_status(self.console.status)

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
            how: list[Part] = [". ", ("u", "accent"), " brings it up"] if status.stopped else []
            checked = f"   checked {fmt.clock(status.checked_at)}"
            verdict.show((f"{sign} ", tone), (words, "bold"), *how, (checked, "dim"))
        services = state.ordered(status.services)
        self.services = {each.name: each for each in services}
        reasons = any(map(_quiet, services))
        table = self.query_one("#services", Table)
        table.set_columns(_columns(services, reasons))
        table.show([_row(each, reasons) for each in services])
        self._show_details()
        self._follow()

    # Logs and details of the service under the cursor

    @on(Table.Moved, "#services")
    def _other_service(self) -> None:
        self._show_details()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(SETTLE_SECONDS, self._follow)

    def _follow(self) -> None:
        """Follow the log of the service under the cursor, anew when it was started anew."""
        service = self.services.get(self.query_one("#services", Table).key or "")
        if service is None:
            return
        wanted = (service.name, service.started_at)
        if wanted == self._followed and not self.source.failed:
            return
        self._followed = wanted
        empty = "No log lines yet." if service.started_at else "No log lines: it does not run."
        self.source.follow(self.deployment.stack, (service.name,), TAIL, empty)

    def _show_details(self) -> None:
        service = self.services.get(self.query_one("#services", Table).key or "")
        if service is not None:
            facts = self.query_one("#facts", Facts)
            width = (facts.size.width or self.size.width - 6) - INDENT
            facts.show(*_details(service, self.console.status.value, width))

    @on(Tabs.TabActivated)
    def _other_tab(self, message: Tabs.TabActivated) -> None:
        wanted = "tail" if message.tab.id == "tab-logs" else "details"
        self.query_one(ContentSwitcher).current = wanted

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
        self._interrupt("Stop", "Stopping", "stack.down", "is stopped")

    def action_restart(self) -> None:
        self._interrupt("Restart", "Restarting", "stack.restart", "is up again")

    def _interrupt(self, does: str, title: str, operation_id: str, then: str) -> None:
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        name = self.deployment.name
        modal = ConfirmModal(
            f"{does} {name}?", does, _stops(self.console.status),
            learn=self.deployment.stack.at_work,
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._confirmed, title, operation_id, f"{name} {then}"))

    def _confirmed(self, title: str, operation_id: str, then: str, yes: bool | None) -> None:
        if yes:
            self.console.perform(
                f"{title} {self.deployment.name}",
                lambda cancel: self.deployment.stack.perform(operation_id, (), cancel),
                then,
            )


def _quiet(service: Service) -> str:
    """Why a service is not well; of one that is, and of a job that is done, nothing."""
    return "" if state.of_service(service)[1] == "ok" else state.why(service)


def _columns(services: Sequence[Service], reasons: bool = False) -> tuple[Column, ...]:
    """The columns, as wide as they need; while there are reasons, they go before all the rest."""
    name = max((cell_len(clean(each.name)) for each in services), default=0)
    first = (Column("", 1), Column("service", max(8, min(NAME, name))), Column("state", 10))
    if reasons:
        return (*first, WHY, *USED, STARTED, *LIMITS, Column("address", 14, 32, wide=110),
                Column("role", 9, wide=150), Column("runs", 16, 60, wide=180))  # fmt: skip
    return (*first, *USED, STARTED, *LIMITS, Column("address", 14, 32, wide=76),
            Column("role", 9, wide=130), Column("runs", 16, 60, wide=140))  # fmt: skip


def _row(service: Service, reasons: bool) -> Row:
    sign, tone, word = state.of_service(service)
    cpu = fmt.NEVER if service.cpu_percent is None else f"{service.cpu_percent:.0f} %"
    return Row(
        service.name,
        (
            Cell(sign, tone),
            Cell(clean(service.name)),
            Cell(word, tone),
            *((Cell(_quiet(service), "dim"),) if reasons else ()),
            Cell(cpu),
            Cell(fmt.size(service.memory_bytes)),
            Cell(fmt.when(service.started_at)),
            Cell(fmt.size(service.memory_limit_bytes)),
            Cell(fmt.count(service.restarts)),
            Cell(state.addresses(service.ports)),
            Cell(service.role),
            Cell(clean(service.image)),
        ),
    )


def _stops(live: Live[Status]) -> list[str]:
    """What will stop, in words; a job that is done does not run."""
    if live.value is None or live.error is not None:
        return ["Everything that runs of it will stop; what that is cannot be seen now."]
    running = (State.RUNNING, State.STARTING, State.RESTARTING)
    services = state.ordered(live.value.services)
    names = [clean(each.name, 60) for each in services if each.state in running]
    if not names:
        return ["Nothing of it runs now."]
    first, last = names[:-1], names[-1]
    who = f"{', '.join(first)} and {last}" if first else last
    return [f"{who} will stop. No data is removed."]


def _details(service: Service, status: Status | None, width: int) -> list[Part]:
    sign, tone, word = state.of_service(service)
    memory = fmt.size(service.memory_bytes) if service.memory_bytes is not None else ""
    if service.memory_limit_bytes is not None:
        memory = f"{memory} of {fmt.size(service.memory_limit_bytes)}".strip()
    elif memory:
        memory += ", no limit"
    pairs = [
        ("why", state.why(service)),
        ("role", service.role),
        ("runs", clean(service.image)),
        ("address", state.addresses(service.ports)),
        ("started", fmt.exact(service.started_at) if service.started_at else ""),
        ("restarts", fmt.count(service.restarts)),
        ("memory", memory),
        ("last exit", "" if service.exit_code is None else f"code {service.exit_code}"),
    ]
    if service.role is Role.TRACKING and status is not None:
        pairs += _api(status)
    parts: list[Part] = [(f"{'health':>{INDENT - 2}}  ", "dim"), (f"{sign} {word}", tone)]
    for name, value in pairs:
        if value:
            lines = wrap(value, max(10, width))
            said = f"\n{' ' * INDENT}".join(lines)
            parts += [(f"\n{name:>{INDENT - 2}}  ", "dim"), said]
    return parts


def _api(status: Status) -> list[tuple[str, str]]:
    api = status.api
    said = f"answers {clean(api.checked_as, 60)}" if api.ok else clean(api.error, 500)
    code = "" if api.http_status is None else f"HTTP {api.http_status}, "
    return [("API", code + said), ("MLflow", clean(api.version or "", 40))]

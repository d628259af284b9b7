"""Stack: the services, their logs, and the verbs that start and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Tab, Tabs

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.progress import Progress
from console.core.stack.driver import LogLine, Service
from console.core.stack.service import Status
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.log_source import LogSource
from console.tui.messages import Live
from console.tui.widgets import state
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.log_view import LogView
from console.tui.widgets.table import Cell, Column, Row, Table

TAIL = 200
Verb = Callable[..., Iterator[Progress]]
COLUMNS = (
    Column("", 1),
    Column("service", 10, 20),
    Column("state", 10, 10),
    Column("why", 12, 60),
    Column("since", 9),
    Column("CPU", 6, right=True),
    Column("memory", 8, right=True),
    Column("limit", 8, right=True, wide=100),
    Column("restarts", 8, right=True, wide=100),
    Column("address", 18, 30, wide=110),
    Column("role", 9, wide=130),
    Column("runs", 16, 30, wide=140),
)


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
        self.source = LogSource(self, self._log_lines, self._log_failed)

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="verdict")
        yield Table(COLUMNS, id="services", opens=False)
        tabs = Tabs(Tab("Logs", id="tab-logs"), Tab("Details", id="tab-details"))
        tabs.can_focus = False
        yield tabs
        with ContentSwitcher(initial="tail"):
            yield LogView(id="tail")
            with VerticalScroll(id="details", can_focus=False):
                yield Facts(id="facts")

    def on_mount(self) -> None:
        self.console.status_changed.subscribe(self, self.show_status)
        self.show_status(self.console.status)

    # Status

    def show_status(self, live: Live[Status]) -> None:
        verdict = self.query_one("#verdict", Facts)
        if live.error is not None:
            verdict.show(("✗ ", "bad"), (clean(live.error.message, 300), "bold"))
        if live.value is None:
            return
        status = live.value
        if live.error is None:
            sign, tone, words = state.of_status(status)
            how: list[Part] = [". ", ("u", "accent"), " brings it up"] if words == "Stopped" else []
            checked = f"   checked {fmt.clock(status.checked_at)}"
            verdict.show((f"{sign} ", tone), (words, "bold"), *how, (checked, "dim"))
        self.services = {each.name: each for each in status.services}
        self.query_one("#services", Table).show([_row(each) for each in status.services])
        self._show_details()

    @on(Table.Moved, "#services")
    def _other_service(self, message: Table.Moved) -> None:
        self._show_details()
        view = self.query_one("#tail", LogView)
        view.clear("No log lines yet.")
        if message.key is not None:
            self.source.follow(self.deployment.stack, (message.key,), TAIL)

    def _log_lines(self, lines: Sequence[LogLine]) -> None:
        self.query_one("#tail", LogView).add(lines)

    def _log_failed(self, error: ConsoleError) -> None:
        self.query_one("#tail", LogView).say(clean(error.message))

    def _show_details(self) -> None:
        service = self.services.get(self.query_one("#services", Table).key or "")
        if service is not None:
            self.query_one("#facts", Facts).show(*_details(service, self.console.status.value))

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
        self._interrupt("Stop", "Stopping", self.deployment.stack.down, "is stopped")

    def action_restart(self) -> None:
        self._interrupt("Restart", "Restarting", self.deployment.stack.restart, "is up again")

    def _interrupt(self, does: str, title: str, verb: Verb, then: str) -> None:
        from console.tui.modals.confirm import ConfirmModal  # noqa: PLC0415  # first use

        name = self.deployment.name
        modal = ConfirmModal(
            f"{does} {name}?", does, [f"{each} will stop" for each in self.services],
            learn=self.deployment.stack.at_work,
        )  # fmt: skip
        self.app.push_screen(modal, partial(self._confirmed, title, verb, f"{name} {then}"))

    def _confirmed(self, title: str, verb: Verb, then: str, yes: bool | None) -> None:
        if yes:
            self.console.perform(
                f"{title} {self.deployment.name}", lambda cancel: verb(cancel=cancel), then
            )


def _row(service: Service) -> Row:
    sign, tone, word = state.of_service(service)
    cpu = fmt.NEVER if service.cpu_percent is None else f"{service.cpu_percent:.0f} %"
    quiet = service.reason if tone != "ok" else ""
    return Row(
        service.name,
        (
            Cell(sign, tone),
            Cell(clean(service.name)),
            Cell(word, tone),
            Cell(clean(quiet), "dim"),
            Cell(fmt.when(service.started_at)),
            Cell(cpu),
            Cell(fmt.size(service.memory_bytes)),
            Cell(fmt.size(service.memory_limit_bytes)),
            Cell(fmt.count(service.restarts)),
            Cell(clean(", ".join(service.ports))),
            Cell(service.role),
            Cell(clean(service.image)),
        ),
    )


def _details(service: Service, status: Status | None) -> list[Part]:
    sign, tone, word = state.of_service(service)
    pairs = [
        ("role", service.role),
        ("runs", clean(service.image)),
        ("address", clean(", ".join(service.ports))),
        ("since", fmt.exact(service.started_at) if service.started_at else ""),
        ("restarts", fmt.count(service.restarts)),
        ("memory", fmt.size(service.memory_bytes) + " (its own share)"),
        ("last exit", "" if service.exit_code is None else f"code {service.exit_code}"),
    ]
    if service.role == "tracking" and status is not None:
        pairs += _api(status)
    parts: list[Part] = [(f"{'health':>10}  ", "dim"), (f"{sign} {word}", tone)]
    parts.append(f"  {clean(service.reason, 500)}" if service.reason else "")
    for name, value in pairs:
        if value:
            parts += [(f"\n{name:>10}  ", "dim"), value]
    return parts


def _api(status: Status) -> list[tuple[str, str]]:
    api = status.api
    said = f"answers {clean(api.checked_as, 60)}" if api.ok else clean(api.error, 500)
    code = "" if api.http_status is None else f"HTTP {api.http_status}, "
    return [("API", code + said), ("MLflow", clean(api.version or "", 40))]

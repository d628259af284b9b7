"""Home: is it well, and what needs me?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.experiments.service import Totals
from console.core.stack.driver import Finding, Service, Severity, State
from console.core.stack.status import Status
from console.core.storage.service import Usage
from console.core.text import clean
from console.core.users.user import User
from console.tui.area import WIDE, AreaScreen
from console.tui.backups import Doing
from console.tui.messages import Live
from console.tui.statistics import Statistics
from console.tui.widgets import state
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.table import Cell, Column, Row, Table, fit, pad

if TYPE_CHECKING:
    from console.tui.screens.home_backup import Glance

# Everything on the screen but the services: header, the lines between, backup, what needs
# attention, keys. The services get the rest, so that they never push anything off.
OTHER_LINES = 15
# The columns of a service after its name, and how long that may get before it is cut.
STATE, CPU, MEMORY, ADDRESS, NAME = 11, 6, 9, 24, 17
# Two minutes of CPU; on 80 columns there is room where the names are short.
SPARK, WIDE_SPARK, NARROW_NAME = 6, 12, 9
BACKUP_LINES = 2


class HomeScreen(AreaScreen):
    """One glance over the deployment."""

    AREA = "home"
    CSS_PATH = "home.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "stack.status", "up": "stack.up"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "up", "Up", id="stack.up", tooltip="Bring the stack up"),
        Binding("r", "refresh", "Refresh", id="app.refresh", tooltip="Look again now"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.findings: dict[str, Finding] = {}
        self._was_up: bool | None = None
        self._backups: tuple[Glance, Glance] | None = None

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="verdict")
        with Horizontal(classes="row"):
            yield Facts(("Services", "bold"), id="services", classes="section left")
            yield Facts(("Storage", "bold"), id="storage", classes="section")
        with Horizontal(classes="row"):
            yield Facts(("Users", "bold"), id="users", classes="section")
            yield Facts(("Experiments", "bold"), id="experiments", classes="section")
            yield Facts(("Backup", "bold"), id="backup", classes="section")
        yield Facts(("Needs attention", "bold"), id="needs")
        yield Table((Column("", 1), Column("", 50, 160)), id="findings", header=False)

    def on_mount(self) -> None:
        self.console.status_changed.subscribe(self, self.show_status)
        self.console.usage_changed.subscribe(self, self.show_usage)
        self.console.examination_changed.subscribe(
            self, lambda _: self.show_status(self.console.status)
        )
        self.console.statistics_changed.subscribe(self, self._show_statistics)
        self.console.backups.changed.subscribe(self, self._backup_goes_on)
        self.show_status(self.console.status)
        self.show_usage(self.console.usage)

    def on_screen_suspend(self) -> None:
        self.console.measure(False)

    def on_screen_resume(self) -> None:
        self.console.measure(True)
        self._count_users()
        self._look_at_backups()
        if self._was_up:
            self._count_experiments()

    def on_resize(self) -> None:
        self.show_status(self.console.status)
        self._show_backups()

    # Status

    def show_status(self, live: Live[Status]) -> None:
        status = live.value
        if status is None or live.error is not None:
            if live.error is not None:
                self._show_failure(live.error)
            return
        sign, tone, words = state.of_status(status)
        # Two lines at most: all of it stands in what needs attention, and `enter` shows more.
        words = fit(words, 2 * self.size.width - 16)
        self.query_one("#verdict", Facts).show(
            (f"{sign} ", tone), (words, "bold"), *self._around(status, words)
        )
        self._show_services(status)
        self._show_findings([*status.findings, *self.console.concerns()])
        up = status.api.ok
        if up != self._was_up:
            self._was_up = up
            self._count_experiments()
            if up or self.console.usage.value is None:
                self.console.walk()

    def _show_failure(self, error: ConsoleError) -> None:
        self.query_one("#verdict", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), ("\n  " + clean(error.hint), "dim")
        )
        if self.console.status.value is None:
            self.query_one("#services", Facts).show(("Services", "bold"), ("\nnot known", "dim"))
        unseen = Finding("unseen", Severity.ERROR, "", error.message, fix=error.hint)
        self._show_findings([unseen])

    def _around(self, status: Status, words: str) -> list[Part]:
        """What stands behind the verdict: where, which version, since when; as much as fits."""
        checked = f"   checked {fmt.clock(status.checked_at)}"
        if status.at_rest:
            return [". ", ("u", "accent"), " brings it up", (checked, "dim")]
        running = [each for each in status.services if each.state is State.RUNNING]
        started = [each.started_at for each in running if each.started_at]
        facts = [
            clean(status.url, 200),
            f"MLflow {clean(status.api.version, 20)}" if status.api.version else "",
            f"up {fmt.elapsed(min(started))}" if started and self.size.width >= WIDE else "",
        ]
        rest = "  ".join(each for each in facts if each)
        width = self.size.width - 4
        beside = cell_len(f"● {words}  {rest}{checked}") <= width
        if cell_len(f"  {rest}{checked}") > width:
            checked = ""
        return ["  " if beside else "\n  ", fit(rest, width - 2), (checked, "dim")]

    def _show_statistics(self, _: Statistics) -> None:
        live = self.console.status
        if live.value is not None and live.error is None:
            self._show_services(live.value)

    def _show_services(self, status: Status) -> None:
        services = state.ordered(status.services)
        done = [each for each in services if state.is_done(each)]
        blocks = [self._service(each, self._name_width(services, done))
                  for each in services if each not in done]  # fmt: skip
        if done:
            names = ", ".join(clean(each.name, 20) for each in done)
            width = self._name_width(services, done)
            blocks.append([[("✓", "ok"), f" {pad(names, width)} ", ("done", "ok")]])
        parts: list[Part] = [("Services", "bold")]
        for line in self._fitting(blocks):
            parts += ["\n", *line]
        self.query_one("#services", Facts).show(*parts)

    def _name_width(self, services: Sequence[Service], done: Sequence[Service]) -> int:
        """How wide the names are, those of the jobs that are done in one line."""
        names = [clean(each.name) for each in services if each not in done]
        names.append(", ".join(clean(each.name, 20) for each in done))
        return min(NAME, max(map(cell_len, names)))

    def _fitting(self, blocks: Sequence[list[list[Part]]]) -> list[list[Part]]:
        """The lines there is room for; the first ones need a person most."""
        verdict = self.query_one("#verdict", Facts).said
        width = max(1, self.size.width - 4)
        taken = sum(1 + max(0, cell_len(line) - 1) // width for line in verdict.split("\n"))
        room = max(2, self.size.height - OTHER_LINES - taken)
        lines: list[list[Part]] = []
        for index, block in enumerate(blocks):
            last = index == len(blocks) - 1
            if len(lines) + len(block) > room - (not last):
                left = len(blocks) - index
                return [*lines, [(f"… {left} more in ", "dim"), ("2", "accent"), (" Stack", "dim")]]
            lines += block
        return lines

    def _service(self, service: Service, width: int) -> list[list[Part]]:
        sign, tone, word = state.of_service(service)
        line: list[Part] = [(sign, tone), f" {pad(clean(service.name), width)} ",
                            (f"{word:<{STATE}}", tone)]  # fmt: skip
        wide = self.size.width >= WIDE
        used = self.console.statistics.newest.get(service.name) or service
        if used.cpu_percent is not None:
            line.append(f"{f'{used.cpu_percent:.0f} %':>{CPU}}")
            if wide or width <= NARROW_NAME:
                spark = self.console.statistics.spark(service.name, WIDE_SPARK if wide else SPARK)
                line.append((f" {spark:>{WIDE_SPARK if wide else SPARK}}", "accent"))
        if used.memory_bytes is not None:
            line.append(f"{fmt.size(used.memory_bytes):>{MEMORY}}")
        if wide and service.ports:
            line.append((f"   {fit(state.addresses(service.ports), ADDRESS)}", "dim"))
        reason = state.why(service)
        if not reason or tone == "ok":
            return [line]
        return [line, [(f"  {fit(reason, 74 if wide else 44)}", "dim")]]

    def _show_findings(self, findings: Sequence[Finding]) -> None:
        self.findings = {f"{index} {each.id}": each for index, each in enumerate(findings)}
        rows = [
            Row(
                key,
                (
                    Cell(*(("✗", "bad") if each.severity is Severity.ERROR else ("!", "warn"))),
                    Cell(clean(each.title)),
                ),
            )
            for key, each in self.findings.items()
        ]
        title = ("Needs attention", "bold")
        self.query_one("#needs", Facts).show(title)
        self.query_one("#findings", Table).show(rows, "✓ Nothing needs you")

    # Figures

    def _count_users(self) -> None:
        self.ask(self.deployment.users.list, self._show_users,
                 lambda error: self._unknown("users", "Users", error), group="users")  # fmt: skip

    def _show_users(self, users: list[User]) -> None:
        people = [user for user in users if not user.service_user]
        weak, able = sum(user.weak for user in people), sum(user.enabled for user in people)
        who = fmt.plural(able, "person", "people") if able else "Nobody"
        parts: list[Part] = [("Users", "bold"), f"\n{who} can log in"]
        if weak:
            parts += ["\n", ("! ", "warn"), f"{weak} with a weak hash"]
        if not people:
            parts += ["\n", ("3", "accent"), " then ", ("a", "accent"), " adds the first"]
        self.query_one("#users", Facts).show(*parts)

    def _count_experiments(self) -> None:
        self.ask(self.deployment.experiments.totals, self._show_experiments,
                 lambda error: self._unknown("experiments", "Experiments", error),
                 group="experiments")  # fmt: skip

    def _show_experiments(self, totals: Totals) -> None:
        parts: list[Part] = [
            ("Experiments", "bold"), "\n", fmt.plural(totals.experiments, "experiment"),
        ]  # fmt: skip
        if totals.runs is not None:
            parts.append(f", {fmt.plural(totals.runs, 'run')}")
        if totals.last is not None:
            parts.append((f"\nlast activity {fmt.when(totals.last)}", "dim"))
        self.query_one("#experiments", Facts).show(*parts)

    def _look_at_backups(self) -> None:
        deployment = self.deployment

        def work() -> tuple[Glance, Glance]:
            from console.tui.screens.home_backup import glance  # noqa: PLC0415  # on the thread

            return glance(deployment)

        self.ask(
            work, self._looked_at_backups,
            lambda error: self._unknown("backup", "Backup", error), group="backup",
        )  # fmt: skip

    def _looked_at_backups(self, found: tuple[Glance, Glance]) -> None:
        self._backups = found
        self._show_backups()

    def _show_backups(self) -> None:
        """Show the newest ones, or what is being done to them: that it is, not how far it is."""
        if self._backups is None:
            return
        doing = self.console.backups.doing
        going_on: list[list[Part]] = [[("○ ", "accent"), doing.words.doing]] if doing else []
        said = self._backups[self.size.width >= WIDE]
        parts: list[Part] = [("Backup", "bold"), "   ", *said.beside]
        for line in [*going_on, *said.lines][:BACKUP_LINES]:
            parts += ["\n", *line]
        self.query_one("#backup", Facts).show(*parts)

    def _backup_goes_on(self, doing: Doing | None) -> None:
        if doing is None and self.is_current:
            self._look_at_backups()
        else:
            self._show_backups()

    def show_usage(self, live: Live[Usage]) -> None:
        if live.error is not None:
            self._unknown("storage", "Storage", live.error)
            return
        usage = live.value
        if usage is None:
            words = "walking the store…" if live.busy else ""
            self.query_one("#storage", Facts).show(("Storage", "bold"), ("\n" + words, "dim"))
            return
        done = f"walked {fmt.when(usage.scanned_at)}" if usage.complete else "walking the store…"
        parts: list[Part] = [
            ("Storage", "bold"),
            f"\n{fmt.size(usage.bytes)} in {fmt.plural(usage.objects, 'object')}",
        ]
        for name, amount in (("trash", usage.trash), ("orphans", usage.orphans)):
            if amount.bytes:
                parts.append(f"\n{name} {fmt.size(amount.bytes)}")
        if usage.free_bytes is not None:
            parts.append(f"\n{fmt.size(usage.free_bytes)} free")
        self.query_one("#storage", Facts).show(*parts, (f"\n{done}", "dim"))

    def _unknown(self, section: str, title: str, error: ConsoleError) -> None:
        self.query_one(f"#{section}", Facts).show(
            (title, "bold"),
            "\n",
            (fit(clean(error.message, 90), 90 if self.size.width >= WIDE else 50), "dim"),
        )

    # Actions

    @on(Table.Opened, "#findings")
    def action_open_finding(self) -> None:
        """Say what the finding under the cursor means."""
        finding = self.findings.get(self.query_one("#findings", Table).key or "")
        if finding is not None:
            from console.tui.modals.detail import of_finding  # noqa: PLC0415  # first use

            self.app.push_screen(of_finding(finding))

    def action_refresh(self) -> None:
        self.console.look()
        self.console.examine()
        self._count_users()
        self._count_experiments()
        self._look_at_backups()

    def action_up(self) -> None:
        self.console.bring_up()

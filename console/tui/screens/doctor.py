"""Doctor: what is wrong with the deployment or will be, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.core import format as fmt
from console.core.doctor.service import Diagnosis, diagnosis
from console.core.stack.driver import Finding, Severity
from console.core.text import clean
from console.tui.area import AreaScreen
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.table import Cell, Column, Row, Table

COLUMNS = (
    Column("", 1), Column("severity", 8), Column("service", 9, 14),
    Column("what is wrong", 40, 160),
)  # fmt: skip
SIGNS = {Severity.ERROR: ("✗", "bad"), Severity.WARNING: ("!", "warn")}
LONGEST = 1_000


class DoctorScreen(AreaScreen):
    """The findings of status and doctor, errors first; below, what to do about one of them."""

    AREA = "doctor"
    CSS_PATH = "doctor.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "doctor.doctor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy fix", id="app.copy",
                tooltip="Send what to do to the clipboard"),
        Binding("r", "refresh", "Look again", id="app.refresh", tooltip="Look at everything again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.findings: dict[str, Finding] = {}

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("○ ", "dim"), "Looking…", id="sum")
        yield Table(COLUMNS, id="doctor")
        yield Facts(id="detail")

    def on_mount(self) -> None:
        self.console.status_changed.subscribe(self, lambda _: self.show())
        self.console.examination_changed.subscribe(self, lambda _: self.show())
        self.show()

    def show(self) -> None:
        """Show what is known now; nothing is drawn again that says the same."""
        status, seen = self.console.status.value, self.console.examination
        if status is None or seen.value is None:
            if seen.error is not None:
                self._unseen(seen.error.message, seen.error.hint)
            return
        found = diagnosis(status, seen.value)
        self.findings = {f"{each.id} {each.service} {each.title}": each for each in found.findings}
        self.query_one("#sum", Facts).show(*_sum(found, seen.busy))
        table = self.query_one("#doctor", Table)
        table.set_columns(COLUMNS if self.findings else ())
        table.show([_row(key, each) for key, each in self.findings.items()])
        self._show_detail()

    def _unseen(self, message: str, hint: str) -> None:
        self.query_one("#sum", Facts).show(
            ("✗ ", "bad"), ("Could not look: " + clean(message, 300), "bold"),
            ("\n  " + clean(hint, 300) if hint else "", "dim"),
        )  # fmt: skip

    @property
    def chosen(self) -> Finding | None:
        """The finding under the cursor."""
        return self.findings.get(self.query_one("#doctor", Table).key or "")

    @on(Table.Moved, "#doctor")
    def _show_detail(self) -> None:
        finding = self.chosen
        parts: list[Part] = []
        if finding is not None:
            parts.append((clean(finding.title, LONGEST), "bold"))
            for name, text in (("seen", finding.detail), ("do", finding.fix)):
                if text:
                    parts += [(f"\n{name:<6}", "dim"), clean(text, LONGEST)]
        self.query_one("#detail", Facts).show(*parts)

    # Actions

    @on(Table.Opened, "#doctor")
    def action_open(self) -> None:
        """Show all of the finding under the cursor, however long it is."""
        if self.chosen is not None:
            from console.tui.modals.detail import of_finding  # noqa: PLC0415  # first use

            self.app.push_screen(of_finding(self.chosen))

    def action_copy(self) -> None:
        if self.chosen is not None and self.chosen.fix:
            self.send(self.chosen.fix)

    def action_refresh(self) -> None:
        self.console.look()
        self.console.examine()


def _sum(found: Diagnosis, busy: bool) -> list[Part]:
    """How many there are of each kind, and when it was looked at what."""
    at = f"ooked at {fmt.clock(found.checked_at)}"
    again: list[Part] = [("   looking again…", "dim")] if busy else []
    if not found.findings:
        looked = f"L{at}: {', '.join(found.looked_at)}"
        return [("✓ ", "ok"), ("Nothing to mend. ", "bold"), (looked, "dim"), *again]
    parts: list[Part] = []
    for severity, (sign, tone) in SIGNS.items():
        number = sum(each.severity is severity for each in found.findings)
        if number:
            parts += [(f"{sign} ", tone), (fmt.plural(number, severity.value) + "   ", "bold")]
    return [*parts, (f"l{at}", "dim"), *again]


def _row(key: str, finding: Finding) -> Row:
    sign, tone = SIGNS[finding.severity]
    title = finding.title.removeprefix(f"{finding.service}: ")
    return Row(
        key,
        (
            Cell(sign, tone), Cell(finding.severity.value), Cell(clean(finding.service, 40)),
            Cell(clean(title, LONGEST)),
        ),
    )  # fmt: skip

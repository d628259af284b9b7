"""Several deployments are known: which one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from console.core.register import Known
from console.core.text import clean
from console.tui.widgets.facts import Facts
from console.tui.widgets.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


class ChooserScreen(Screen[None]):
    """The known deployments."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Set up another", id="chooser.add",
                tooltip="Set up a new deployment"),
    ]  # fmt: skip

    def __init__(self, known: Sequence[Known]) -> None:
        super().__init__()
        self.known = list(known)

    def compose(self) -> ComposeResult:
        yield Facts(("Which deployment?", "bold"), classes="title")
        yield Table(
            (Column("name", 14, 30), Column("directory", 30, 80), Column("known by", 12, 20)),
            id="known",
        )
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(Table).show(
            [
                Row(
                    str(each.directory),
                    (
                        Cell(clean(each.name)),
                        Cell(clean(str(each.directory))),
                        Cell(each.source, "dim"),
                    ),
                )
                for each in self.known
            ]
        )

    @on(Table.Opened)
    def action_choose(self) -> None:
        key = self.query_one(Table).key
        if key is not None:
            cast("ConsoleApp", self.app).open_deployment(key)

    def action_add(self) -> None:
        from console.tui.screens.first_start import FirstStartScreen  # noqa: PLC0415  # first use

        self.app.switch_screen(FirstStartScreen())

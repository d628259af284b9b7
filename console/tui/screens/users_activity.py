"""What one user did, or everybody: addresses, failed log-ins, what is slow, what was deleted."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Tab, Tabs

from console.core.errors import ConsoleError
from console.core.text import clean
from console.core.users.report import Asked
from console.core.users.user import User
from console.tui.area import UNFILTER, FilteredScreen
from console.tui.screens.users_activity_rows import Did, did
from console.tui.screens.users_rows import named
from console.tui.widgets.facts import Facts
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.table import Table

TABS = {
    "tried": "Unknown names", "addresses": "Addresses", "slow": "What is slow",
    "deletions": "Deletions", "failed": "Failed log-ins",
}  # fmt: skip
OF_ALL = ("tried", "slow", "deletions")
OF_ONE = ("addresses", "slow", "deletions", "failed")


class ActivityScreen(FilteredScreen):
    """Sums above, and below them one of several tables.

    Args:
        user: Who it is about; None for everybody.
    """

    AREA = "users"
    CSS_PATH = "users.tcss"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "users.activity"}
    BINDINGS: ClassVar[list[BindingType]] = [
        UNFILTER,
        Binding("escape,left", "back", "Back", key_display="esc", id="app.back",
                tooltip="Back to the users"),
        Binding("tab", "next_tab", "Next tab", id="users.tab", tooltip="The next table"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only rows that hold a text"),
        Binding("y", "copy", "Copy", id="app.copy", tooltip="Send the row to the clipboard"),
        Binding("r", "refresh", "Refresh", id="app.refresh", tooltip="Read the log again"),
    ]  # fmt: skip

    def __init__(self, user: User | None = None) -> None:
        super().__init__()
        self.user = user
        self.tabs = OF_ALL if user is None else OF_ONE
        self.tab = self.tabs[0]
        self._did: Did | None = None
        self._cancel = threading.Event()

    def compose_area(self) -> Iterable[Widget]:
        title = "Who did what" if self.user is None else clean(named(self.user), 100)
        yield Facts((title, "bold"), ("\nReading…", "dim"), id="about")
        tabs = Tabs(*(Tab(TABS[name], id=f"tab-{name}") for name in self.tabs))
        tabs.can_focus = False
        yield tabs
        yield FilterLine()
        yield Table((), id="did")
        yield Facts(id="says")

    def on_mount(self) -> None:
        self.action_refresh()

    def on_unmount(self) -> None:
        self._cancel.set()

    def action_refresh(self) -> None:
        users, user, cancel = self.deployment.users, self.user, self._cancel
        asked = Asked() if user is None else Asked(user.name, user.host)
        self.ask(lambda: did(users.activity(asked, cancel), user), self._read, self._unread)

    def _read(self, found: Did) -> None:
        self._did = found
        self.query_one("#about", Facts).show(*found.about)
        self.show_wanted()

    def _unread(self, error: ConsoleError) -> None:
        self.query_one("#about", Facts).show(
            ("✗ ", "bad"), (clean(error.message, 300), "bold"), "\n  ", (clean(error.hint), "dim")
        )

    def show_wanted(self) -> None:
        if self._did is None:
            return
        page = self._did.pages[self.tab]
        table = self.query_one("#did", Table)
        table.set_columns(page.columns)
        table.show(
            page.wanted(self.wanted), "No row holds that text." if self.wanted else page.empty
        )
        self.query_one("#says", Facts).show((page.says, "dim"))

    # Tabs

    def action_next_tab(self) -> None:
        following = self.tabs[(self.tabs.index(self.tab) + 1) % len(self.tabs)]
        self.query_one(Tabs).active = f"tab-{following}"

    @on(Tabs.TabActivated)
    def _turned(self, message: Tabs.TabActivated) -> None:
        self.tab = str(message.tab.id).removeprefix("tab-")
        self.query_one("#did", Table).show([])  # the cursor of one table means nothing in another
        self.show_wanted()

    # The row under the cursor

    @on(Table.Opened, "#did")
    def _open(self, message: Table.Opened) -> None:
        if self._did is not None:
            from console.tui.modals.detail import DetailModal  # noqa: PLC0415  # first use

            title, pairs = self._did.pages[self.tab].detail(message.key)
            self.app.push_screen(DetailModal(title, pairs, copies=title))

    def action_copy(self) -> None:
        table = self.query_one("#did", Table)
        if table.key is not None:
            self.send("  ".join(cell.text for cell in table.rows[table.cursor].cells))

"""The logs of the stack on a screen of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widget import Widget

from console.core import format as fmt
from console.core.errors import UsageError
from console.core.regular import Regular
from console.core.stack import log_export, log_levels
from console.core.stack.log_filter import Selection, Wanted
from console.core.stack.log_levels import Level
from console.core.stack.log_store import MOST_LINES
from console.core.stack.status import Status
from console.core.text import clean
from console.tui.area import UNFILTER, AreaScreen
from console.tui.log_source import LogSource
from console.tui.messages import Live
from console.tui.modals.line import LineModal
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.filter import FilterLine
from console.tui.widgets.find import FindLine
from console.tui.widgets.log_view import LogView

TAIL = 10_000
COPIED = 200
# While somebody types, not each letter is looked for among a million lines.
TYPED_SECONDS = 0.1
LEVELS = (None, Level.INFO, Level.WARNING, Level.ERROR)
ERRORS = Wanted(begins=frozenset({log_levels.ERROR}))


class LogsScreen(AreaScreen):
    """Every service's log, newest at the bottom; follows while it stands there."""

    AREA = "stack"
    CSS_PATH = "logs.tcss"
    AUTO_FOCUS = "LogView"
    VERBS: ClassVar[dict[str, str]] = {"refresh": "stack.logs"}
    BINDINGS: ClassVar[list[BindingType]] = [
        UNFILTER,
        Binding("escape", "back", "Back", id="app.back", tooltip="Back to the services"),
        Binding("slash", "filter", "Filter", key_display="/", id="app.filter",
                tooltip="Only lines that match a regular expression, or whose service does"),
        Binding("f", "find", "Find", id="logs.find", tooltip="Look for a regular expression"),
        Binding("n", "next(True)", "Next", show=False, id="logs.next",
                tooltip="The next line that was looked for"),
        Binding("p", "next(False)", "Previous", show=False, id="logs.previous",
                tooltip="The line before that was looked for"),
        Binding("e", "error(True)", "Error", id="logs.next-error", tooltip="The next error"),
        Binding("b", "error(False)", "Error before", show=False, id="logs.previous-error",
                tooltip="The error before"),
        Binding("v", "level", "Level", id="logs.level",
                tooltip="All lines, then those from info, from warning, from error on"),
        Binding("i", "inverse", "Inverse", show=False, id="logs.inverse",
                tooltip="Only lines that do not match the filter, and back"),
        Binding("left_square_bracket", "service(-1)", "Service before", show=False,
                key_display="[", id="logs.previous-service",
                tooltip="Only the service before, or all"),
        Binding("right_square_bracket", "service(1)", "Service", show=False, key_display="]",
                id="logs.next-service", tooltip="Only the next service, or all"),
        Binding("w", "wrap", "Wrap", show=False, id="logs.wrap",
                tooltip="Long lines go on in the next row"),
        Binding("t", "times", "Times", show=False, id="logs.times", tooltip="With times, without"),
        Binding("s", "since", "Since", show=False, id="logs.since",
                tooltip="Read from a moment on"),
        Binding("o", "save", "Save", show=False, id="logs.save",
                tooltip="Save the lines that the filter shows to a file"),
        Binding("space", "hold", "Hold", id="logs.hold",
                tooltip="Hold still while lines come, and follow again"),
        Binding("y", "copy", "Copy", show=False, id="app.copy",
                tooltip="Send the lines up to the last one seen to the clipboard"),
        Binding("r", "refresh", "Refresh", show=False, id="app.refresh",
                tooltip="Read the logs again"),
    ]  # fmt: skip

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self.source = LogSource(self, lambda: self.view, self._show_state)
        self.wanted = Wanted(services=frozenset({service} if service else ()))
        self.since: datetime | None = None
        self._begun: set[str] | None = None
        self._names: list[str] = []
        self._typing: Timer | None = None
        self._cancel = threading.Event()
        self._busy = ""
        self._wrong = ""
        self._said = ""
        # What was looked for last among the lines that are shown.
        self._looked_for: tuple[Wanted, Selection] | None = None
        self._from = (0, True)

    @property
    def view(self) -> LogView:
        """What shows the lines."""
        return self.query_one(LogView)

    def compose_area(self) -> Iterable[Widget]:
        yield Facts(("Logs", "bold"), id="about")
        yield FilterLine()
        yield FindLine()
        yield LogView(id="logs", keep=MOST_LINES)
        yield Facts(id="state")

    def on_mount(self) -> None:
        self.view.focus()
        self._apply(self.wanted)
        self.action_refresh()
        self.console.status_changed.subscribe(self, self._show_status)
        self._show_status(self.console.status)

    def on_unmount(self) -> None:
        self._cancel.set()
        self.source.close()

    def _show_status(self, live: Live[Status]) -> None:
        """Say whose lines these are; a service that was not there before has a log of its own."""
        if live.value is None or live.error is not None:
            return
        services = live.value.services
        self._names = [each.name for each in services]
        self.view.know({each.name: each.role for each in services})
        about = fmt.plural(len(services), "service")
        self.query_one("#about", Facts).show(("Logs", "bold"), f"  of {about}")
        begun = {each.name for each in services if each.started_at}
        known, self._begun = self._begun, begun
        if self.source.failed or (known is not None and begun - known):
            self.action_refresh()

    def _show_state(self) -> None:
        """Say which lines are held, which of them are shown, and whether they go on."""
        view, wanted = self.view, self.wanted
        store, count = view.shown.store, len(view.selection)
        parts: list[Part] = [("following", "ok") if view.following else ("held", "warn"), "  "]
        if wanted.everything:
            parts.append(fmt.plural(count, "line"))
        else:
            parts.append(f"{count:,} of {fmt.plural(store.count, 'line')}")
        if store.first:
            parts.append(("  older lines were dropped", "warn"))
        for word in (
            ", ".join(f"only {clean(name, 20)}" for name in sorted(wanted.services)),
            f"from {wanted.level} on" if wanted.level else "",
            _pattern(wanted),
            f"since {fmt.exact(self.since)}" if self.since else "",
            "wrapped" if view.wrap else "",
        ):
            if word:
                parts.append((f"  {word}", "accent"))
        for word, tone in ((self._busy, "dim"), (self._said, ""), (self._wrong, "bad")):
            if word:
                parts.append((f"  {word}", tone))
        self.query_one("#state", Facts).show(*parts)

    @on(LogView.Held)
    def _held(self) -> None:
        self._show_state()

    # Which lines

    def _apply(self, wanted: Wanted) -> None:
        """Show other lines; they are looked for away from the event loop."""
        self._cancel.set()
        self._cancel = cancel = threading.Event()
        self.wanted, self._wrong, self._said, self._looked_for = wanted, "", "", None
        self._busy = "looking…"
        view, shown = self.view, self.view.shown

        def found(selection: Selection) -> None:
            if not cancel.is_set():
                self._busy = ""
                view.show(wanted, selection)
                self._show_state()

        self.ask(lambda: shown.select(wanted, cancel), found, group="filter")
        self._show_state()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    @on(FilterLine.Wanted)
    def _filter_typed(self, message: FilterLine.Wanted) -> None:
        self._when_typed(message.text, self._filter)

    def _filter(self, text: str) -> None:
        pattern = Regular(text) if text else None
        self._apply(replace(self.wanted, pattern=pattern, inverse=self.wanted.inverse))

    def _when_typed(self, text: str, then: Callable[[str], None]) -> None:
        if self._typing is not None:
            self._typing.stop()

        def typed() -> None:
            try:
                then(text)
            except UsageError as error:
                self._wrong = error.message
                self._show_state()

        self._typing = self.set_timer(TYPED_SECONDS, typed)

    @on(FilterLine.Left)
    @on(FindLine.Left)
    def _left(self) -> None:
        line = self.focused
        try:
            if isinstance(line, FilterLine | FindLine) and line.value:
                Regular(line.value)
        except UsageError:
            return  # it is said below; what is typed next belongs to the line
        self.view.focus()

    def action_inverse(self) -> None:
        if self.wanted.pattern is None:
            self._say("There is no filter to turn round: / sets one")
        else:
            self._apply(replace(self.wanted, inverse=not self.wanted.inverse))

    def action_level(self) -> None:
        level = LEVELS[(LEVELS.index(self.wanted.level) + 1) % len(LEVELS)]
        self._apply(replace(self.wanted, level=level))

    def action_service(self, by: int) -> None:
        names = ["", *(self._names or self.view.shown.store.names)]
        now = next(iter(self.wanted.services), "")
        name = names[(names.index(now) + by) % len(names)] if now in names else ""
        self._apply(replace(self.wanted, services=frozenset({name} if name else ())))

    # Finding

    def action_find(self) -> None:
        # While it is typed, each letter is looked for from where it was begun.
        down = not self.view.following
        self._from = (self._edge(down), down)
        self.query_one(FindLine).open()

    @on(FindLine.Wanted)
    def _find_typed(self, message: FindLine.Wanted) -> None:
        self._when_typed(message.text, self._find)

    def _find(self, text: str) -> None:
        view = self.view
        view.found = Regular(text) if text else None
        self._wrong = self._said = ""
        self._looked_for = None
        if text:
            origin, down = self._from
            self._look(Wanted(view.found), down, origin)
        else:
            view.mark = -1
            self._show_state()
        view.redraw()

    def action_next(self, down: bool) -> None:
        if self.view.found is None:
            self._say("Nothing is looked for: f sets it")
        else:
            self._look(Wanted(self.view.found), down)

    def action_error(self, down: bool) -> None:
        self._look(ERRORS, down)

    def _look(self, what: Wanted, down: bool, first: int | None = None) -> None:
        """Go to the next line of a kind among those that are shown.

        Args:
            what: Which lines.
            down: To newer ones.
            first: From where on, and then also the other way; None for where it stands.
        """
        view, wanted = self.view, self.wanted
        store = view.shown.store
        known = self._looked_for
        if known is not None and known[0] == what and known[1].store is store:
            selection = known[1]
        else:
            selection = Selection(store, wanted, what)
            self._looked_for = (what, selection)
        origin = self._origin(down) if first is None else first
        cancel = self._cancel
        self._busy = "looking…"

        def look() -> tuple[int, int, int]:
            selection.update(cancel)
            number = selection.beyond(origin, down)
            if number < 0 and first is not None:
                number = selection.beyond(origin, not down)
            return number, selection.index(number), len(selection)

        def found(result: tuple[int, int, int]) -> None:
            if self._looked_for is not None and self._looked_for[1] is selection:
                self._found(what, down, *result)

        self.ask(look, found, group="find")

    def _origin(self, down: bool) -> int:
        """The line from which on the next one is looked for."""
        view = self.view
        index = view.selection.index(view.mark)
        if view.mark >= 0 and view.top <= index <= view.last:
            return view.mark
        return self._edge(down)

    def _edge(self, down: bool) -> int:
        """The line before the first one that is seen, or the one behind the last."""
        view = self.view
        if down:
            return view.selection.number(view.top) - 1
        return view.selection.number(view.last) + 1

    def _found(self, what: Wanted, down: bool, number: int, index: int, count: int) -> None:
        self._busy = ""
        errors = what == ERRORS
        if number >= 0:
            self.view.goto(number)
            self._said = f"{'error' if errors else 'match'} {index + 1:,} of {count:,}"
        elif not count:
            self._said = "no errors" if errors else "not found"
        else:
            self._said = f"none further {'down' if down else 'up'}, {count:,} in all"
        self._show_state()

    # How they are shown

    def _say(self, words: str) -> None:
        self._said = words
        self._show_state()

    def action_wrap(self) -> None:
        self.view.toggle_wrap()
        self._show_state()

    def action_times(self) -> None:
        self.view.times = not self.view.times
        self.view.redraw()

    def action_hold(self) -> None:
        self.view.hold()

    def action_refresh(self) -> None:
        tail = None if self.since is not None else TAIL
        self._looked_for = None
        self.source.follow(self.deployment.stack, (), tail, since=self.since)
        self._apply(self.wanted)

    def action_since(self) -> None:
        modal = LineModal(
            "Since when?", "", "10m, 2h, 1d, or a time like 2026-11-23T14:02; empty for the last "
            f"{TAIL:,} lines.", lambda typed: typed.strip() and log_export.since(typed),
        )  # fmt: skip
        self.app.push_screen(modal, self._since)

    def _since(self, typed: str | None) -> None:
        if typed is not None:
            self.since = log_export.since(typed) if typed.strip() else None
            self.action_refresh()

    # Taking them away

    def action_copy(self) -> None:
        view = self.view
        lines = view.texts(view.last + 1 - COPIED, view.last + 1)
        if lines:
            self.send("\n".join(lines))

    def action_save(self) -> None:
        if not len(self.view.selection):
            self._say("no line is shown, so there is none to save")
            return
        name = f"{clean(self.deployment.name, 60)}-logs-{datetime.now():%Y%m%d-%H%M%S}.log"
        modal = LineModal(
            "Save these lines", str(Path.cwd() / name.replace("/", "-")), "A file that is not "
            "there yet; only this account may read it.",
            lambda typed: log_export.check_folder(_path(typed)),
        )  # fmt: skip
        self.app.push_screen(modal, self._save)

    def _save(self, typed: str | None) -> None:
        if typed is None:
            return
        path, selection, cancel = _path(typed), self.view.selection, threading.Event()

        def saved(count: int) -> None:
            words = f"{fmt.plural(count, 'line')} saved to {clean(str(path), 200)}"
            self.notify(words, markup=False)

        self.ask(lambda: log_export.save(path, selection, cancel), saved, group="save")


def _path(typed: str) -> Path:
    return Path(typed.strip()).expanduser().absolute()


def _pattern(wanted: Wanted) -> str:
    if wanted.pattern is None:
        return ""
    words = clean(wanted.pattern.words, 30)
    return f"without {words}" if wanted.inverse else f"with {words}"

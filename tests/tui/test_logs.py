"""The screen of logs: filter, search, levels, wrapping, holding still, saving."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from console.core.stack.driver import LogLine
from console.core.stack.log_stream import Emit, LogStream
from console.tui.app import ConsoleApp
from console.tui.modals.line import LineModal
from console.tui.screens import logs
from console.tui.widgets.log_view import LogView
from tests.tui.fake import NASTY, NOW, Fake, FakeStack, raw_line
from tests.tui.helpers import LARGE, SMALL, opened, press, said, settle, toasts

LONG = "wide " * 60
LINES = [
    LogLine("tracking", NOW, "ERROR: disk 17 is full" if n % 50 == 17 else f"INFO: line {n} ok")
    for n in range(300)
]


def fake(lines: list[LogLine] | None = None) -> Fake:
    return Fake.compose() if lines is None else Fake(stack=FakeStack(lines=lines))


def view(app: ConsoleApp) -> LogView:
    return app.screen.query_one(LogView)


def drawn(app: ConsoleApp) -> list[str]:
    """What stands on the rows of the view."""
    shown = view(app)
    return ["".join(each.text for each in shown.render_line(y)).rstrip()
            for y in range(shown.size.height)]  # fmt: skip


def marked(app: ConsoleApp) -> str:
    """The line that was found."""
    (line,) = [row for row in drawn(app) if row.startswith("\u203a")]
    return line.split("  ")[-1]


class Live:
    """A log to which lines can be added."""

    def __init__(self, lines: list[LogLine]) -> None:
        self._lines = lines
        self._emits: list[Emit] = []

    def logs(self, *_: object, **__: object) -> LogStream:
        def produce(cancel: threading.Event, emit: Emit) -> None:
            emit([raw_line(line) for line in self._lines])
            self._emits.append(emit)
            cancel.wait()

        return LogStream(produce)

    async def add(self, pilot: Pilot[int], *texts: str) -> None:
        """Add lines and wait until they are shown."""
        for emit in self._emits:
            emit([raw_line(LogLine("tracking", NOW, text)) for text in texts])
        await settle(pilot)


def live(lines: list[LogLine]) -> tuple[Fake, Live]:
    made, source = fake([]), Live(lines)
    made.stack.logs = source.logs  # type: ignore[method-assign]
    return made, source


async def test_a_filter_its_inverse_and_a_wrong_one() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l")
        assert said(app, "#state") == "following  300 lines"
        await press(pilot, "slash", *"d.sk [0-9]+", "enter")
        assert len(view(app).lines) == 6
        assert said(app, "#state") == "following  6 of 300 lines  with d.sk [0-9]+"
        await press(pilot, "i")
        assert len(view(app).lines) == 294
        assert "without d.sk [0-9]+" in said(app, "#state")
        await press(pilot, "i", "slash", "end", "left_square_bracket")
        assert "is no regular expression: missing ]" in said(app, "#state")
        assert len(view(app).lines) == 6  # what was shown before stays
        await press(pilot, "escape")
        assert said(app, "#state") == "following  300 lines"
        await press(pilot, "i")
        assert "There is no filter" in said(app, "#state")


async def test_large_letters_make_it_exact() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "slash", *"error", "enter")
        assert len(view(app).lines) == 6
        await press(pilot, "slash", "home", "shift+end", "delete", *"Error", "enter")
        assert view(app).lines == []


async def test_search_goes_up_from_the_newest_and_back() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "n")
        assert "Nothing is looked for" in said(app, "#state")
        await press(pilot, "f", *"line 1.5 ", "enter")
        assert marked(app).endswith("INFO: line 195 ok")
        assert said(app, "#state") == "held  300 lines  match 10 of 10"
        assert len(view(app).lines) == 300
        await press(pilot, "p", "p")
        assert marked(app).endswith("line 175 ok")
        await press(pilot, "n")
        assert marked(app).endswith("line 185 ok")
        await press(pilot, "n", "n")
        assert marked(app).endswith("line 195 ok")
        assert "none further down, 10 in all" in said(app, "#state")
        rows = [view(app).render_line(y) for y in range(view(app).size.height)]
        found = {each.text for row in rows for each in row if each.style and each.style.reverse}
        assert "line 195 " in found
        await press(pilot, "f", "end", *"nowhere", "enter")
        assert "not found" in said(app, "#state")
        await press(pilot, "f", "escape")
        assert said(app, "#state") == "held  300 lines"


async def test_search_looks_at_what_the_filter_shows() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "slash", *"7", "enter", "f", *"disk", "enter")
        assert said(app, "#state").endswith("match 6 of 6")
        await press(pilot, "i")
        await press(pilot, "p")
        assert said(app, "#state").endswith("not found")


async def test_errors_are_jumped_to() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "b")
        assert marked(app).endswith("disk 17 is full")
        assert said(app, "#state").endswith("error 6 of 6")
        await press(pilot, "b", "b")
        assert said(app, "#state").endswith("error 4 of 6")
        await press(pilot, "e")
        assert said(app, "#state").endswith("error 5 of 6")
        await press(pilot, "g", "e")
        assert said(app, "#state").endswith("error 1 of 6")


async def test_levels() -> None:
    lines = [LogLine("tracking", NOW, text) for text in
             ("DEBUG: a", "INFO: b", '"GET / HTTP/1.1" 404 -', "ERROR: d", "  e")]  # fmt: skip
    async with opened(fake(lines)) as (app, pilot):
        await press(pilot, "2", "l")
        counts = []
        for _ in range(5):
            counts.append(len(view(app).lines))
            await press(pilot, "v")
        assert counts == [5, 4, 3, 2, 5]


async def test_one_service_or_all() -> None:
    async with opened(fake()) as (app, pilot):
        await press(pilot, "2", "l")
        everything = len(view(app).lines)
        seen = set()
        for _ in range(7):
            await press(pilot, "right_square_bracket")
            services = {line.split()[0] for line in view(app).lines}
            assert len(services) <= 1 or len(view(app).lines) == everything
            seen |= services
        assert len(view(app).lines) == everything
        assert "tracking" in seen
        assert len(seen) > 1
        await press(pilot, "left_square_bracket")
        assert "only " in said(app, "#state")


async def test_wrapping_shows_every_character_and_stays_at_the_bottom() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(300)) + "end"
    lines = [LogLine("tracking", NOW, f"line {n}") for n in range(40)]
    lines += [LogLine("tracking", NOW, text), LogLine("tracking", NOW, "last")]
    async with opened(fake(lines)) as (app, pilot):
        await press(pilot, "2", "l", "w")
        rows = drawn(app)
        assert rows[-1].endswith("last")
        assert "".join(row[-60:].strip().split("  ")[-1] for row in rows[-8:-1]).endswith("end")
        joined = "".join("".join(rows).split())
        assert text[-100:] in joined
        await press(pilot, "t", "w")
        assert drawn(app)[-1].split() == ["tracking", "last"]
        assert "line 39" in drawn(app)[-3]


async def test_a_broken_expression_is_typed_on() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "slash", "left_parenthesis", "enter")
        assert "( is no regular expression: missing )" in said(app, "#state")
        await press(pilot, *"disk", "right_parenthesis", "enter")
        assert "with (disk)" in said(app, "#state")
        assert view(app).has_focus


async def test_a_scroll_bar_that_comes_takes_no_character_away() -> None:
    text = "".join(chr(0x100 + n) for n in range(300))
    made, source = live([LogLine("tracking", NOW, text)])
    async with opened(made) as (app, pilot):
        await press(pilot, "2", "l", "w", "g")
        assert text in "".join("".join(drawn(app)).split())
        await source.add(pilot, *[f"line {n}" for n in range(100)])
        await press(pilot, "g")
        seen = view(app).scrollable_content_region.width
        assert seen < view(app).size.width
        assert text in "".join("".join(row[:seen] for row in drawn(app)).split())


async def test_a_line_longer_than_the_view_is_read_row_by_row() -> None:
    words = [f"w{n:04}" for n in range(1_500)]
    lines = [LogLine("tracking", NOW, "before"), LogLine("tracking", NOW, " ".join(words)),
             LogLine("tracking", NOW, "after")]  # fmt: skip
    async with opened(fake(lines)) as (app, pilot):
        await press(pilot, "2", "l", "w", "g")
        assert drawn(app)[0].endswith("before")
        seen = "".join(row[20:] for row in drawn(app)[1:])
        for _ in range(200):
            await pilot.press("j")
            await pilot.pause()
            seen += drawn(app)[-1][20:]
            if view(app).following:
                break
        assert view(app).following
        assert seen.count("w") >= 1_500
        assert drawn(app)[-1].endswith("after")
        for _ in range(200):
            await pilot.press("k")
            await pilot.pause()
        assert drawn(app)[0].endswith("before")
        await press(pilot, "pagedown", "pagedown", "pageup", "pageup")
        assert drawn(app)[0].endswith("before")


@pytest.mark.parametrize("wrap", [False, True])
async def test_held_lines_stay_where_they_are_while_others_come(wrap: bool) -> None:
    made, source = live([LogLine("tracking", NOW, f"{n} {LONG}") for n in range(100)])
    async with opened(made, LARGE) as (app, pilot):
        await press(pilot, "2", "l", *(["w"] if wrap else []))
        await press(pilot, "space")
        before = drawn(app)
        await source.add(pilot, "new one", "new two")
        assert drawn(app) == before
        assert said(app, "#state").startswith("held  102 lines")
        await press(pilot, "space")
        assert drawn(app)[-1].endswith("new two")
        await press(pilot, "k")
        before = drawn(app)
        await source.add(pilot, "new three")
        assert drawn(app) == before
        await press(pilot, "G")
        assert drawn(app)[-1].endswith("new three")
        assert said(app, "#state").startswith("following")
        await source.add(pilot, "new four")
        assert drawn(app)[-1].endswith("new four")


async def test_lines_that_come_are_filtered_too() -> None:
    made, source = live(LINES)
    async with opened(made) as (app, pilot):
        await press(pilot, "2", "l", "slash", *"disk", "enter")
        await source.add(pilot, "disk 99 is full", "nothing")
        assert view(app).lines[-1].endswith("disk 99 is full")
        assert len(view(app).lines) == 7
        await press(pilot, "b")
        await source.add(pilot, "ERROR: disk 100")
        await press(pilot, "e")
        assert marked(app).endswith("ERROR: disk 100")


async def test_older_lines_that_were_dropped_are_mentioned() -> None:
    made, source = live([])
    async with opened(made) as (app, pilot):
        await press(pilot, "2", "l")
        store = view(app).shown.store
        store._most_lines, store._block_lines = 100, 50
        await source.add(pilot, *[f"line {n}" for n in range(90)])
        await press(pilot, "g", "j", "j", "j", "j")
        kept = drawn(app)[0]
        assert "dropped" not in said(app, "#state")
        await source.add(pilot, *[f"line {n}" for n in range(90, 98)])
        assert drawn(app)[0] == kept
        await source.add(pilot, *[f"line {n}" for n in range(98, 400)])
        assert "older lines were dropped" in said(app, "#state")
        assert drawn(app)[0].split()[-1] == str(store.first)


async def test_a_hostile_line_is_harmless() -> None:
    text = f"{NASTY} \x1b]0;title\x07\x9b31m[bold]{'x' * 10_240}\u202egnp.exe"
    async with opened(fake([LogLine("tracking", NOW, text)])) as (app, pilot):
        for key in ("2", "l", "w", "e", "slash"):
            await press(pilot, key)
            screen = "".join(drawn(app)) if app.screen.query(LogView) else ""
            for harm in ("\x1b", "\x07", "\x9b", "\u202e", "\n"):
                assert harm not in screen
        await press(pilot, *"foo", "enter", "g")
        assert "[/foo]" in "".join(drawn(app))


async def test_since_reads_anew() -> None:
    made = fake(LINES)
    asked: list[object] = []
    original = made.stack.logs

    def logs_of(*args: object, **options: object) -> LogStream:
        asked.append(options.get("since"))
        return original(*args, **options)  # type: ignore[arg-type]

    made.stack.logs = logs_of  # type: ignore[method-assign]
    async with opened(made) as (app, pilot):
        await press(pilot, "2", "l", "s")
        assert isinstance(app.screen, LineModal)
        await press(pilot, *"soon", "enter")
        assert "soon is no moment" in said(app, "#wrong")
        await press(pilot, "home", "shift+end", "delete", *"10m", "enter")
        assert asked[-1] is not None
        assert "since " in said(app, "#state")
        await press(pilot, "s", "enter")
        assert asked[-1] is None
        assert "since " not in said(app, "#state")
        every = [stream._cancel.is_set() for names, stream in made.stack.opened if not names]
        assert every == [True, True, False]


async def test_what_is_shown_is_saved_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "slash", *"disk", "enter", "o")
        typed = app.screen.query_one(Input)
        assert typed.value.startswith(str(tmp_path / "lab-logs-2"))
        (tmp_path / "there.log").write_text("mine")
        typed.value = "there.log"
        await press(pilot, "enter")
        assert "is there already" in said(app, "#wrong")
        typed.value = str(tmp_path / "new.log")
        await press(pilot, "enter")
        assert toasts(app) == [f"6 lines saved to {tmp_path / 'new.log'}"]
        lines = (tmp_path / "new.log").read_text().splitlines()
        assert lines == ["2026-11-23T14:02:11Z tracking ERROR: disk 17 is full"] * 6
        assert (tmp_path / "there.log").read_text() == "mine"
        await press(pilot, "slash", *"no such line", "enter", "o")
        assert "there is none to save" in said(app, "#state")
        await press(pilot, "slash", "escape")
        await press(pilot, "o", "escape")
        assert isinstance(app.screen, logs.LogsScreen)


async def test_copying_sends_what_is_seen() -> None:
    async with opened(fake(LINES)) as (app, pilot):
        await press(pilot, "2", "l", "g", "y")
        copied = app.clipboard.splitlines()
        assert copied[0].endswith("line 0 ok")
        assert len(copied) < SMALL[1]

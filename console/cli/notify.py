"""`mlflow-console notify`: messages while nobody looks, and what `status --notify` reports."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from console.cli.context import Json, Session, on_terminal, session, verb
from console.cli.tables import Cell, Marked, Tone
from console.core import systemd_units
from console.core.errors import CancelledError, UsageError
from console.core.format import exact, plural
from console.core.notify import addresses, units
from console.core.notify.addresses import Address
from console.core.notify.service import Overview, Told
from console.core.notify.timer import TimerState
from console.core.stack.driver import Severity

app = typer.Typer(help="Messages when something goes wrong.", rich_markup_mode=None)

NOTIFY_HELP = "Also send a message when a finding appeared or ended: see `notify on`."
MOST_BYTES = 65_536


@verb(app, "notify.show")
def show(context: typer.Context, json: Json = False) -> None:
    call = session(context)
    found = call.deployment.notify.show()
    if json:
        call.output.json(found)
        return
    if not found.addresses:
        call.output.note("Nobody is told anything: `mlflow-console notify on` asks for an address.")
    call.output.facts(_facts(found))


def _facts(found: Overview) -> Iterator[tuple[str, Cell]]:
    for number, address in enumerate(found.addresses, 1):
        yield f"address {number}", address
    yield from _timer(found.timer)
    if found.last_sent:
        yield "last message", f"{exact(found.last_sent.at)}  {found.last_sent.title}"
    for each in found.known:
        bad = each.severity is Severity.ERROR
        sign, tone = ("✗", Tone.BAD) if bad else ("!", Tone.WARN)
        yield "told, goes on", Marked(f"{sign} {each.title}", tone)
    if found.cut_off:
        yield "cut off", Marked(f"a message of {exact(found.cut_off)} may be lost", Tone.WARN)


def _timer(timer: TimerState) -> Iterator[tuple[str, Cell]]:
    if not timer.installed:
        yield "timer", Marked("not installed", Tone.QUIET)
    elif timer.active:
        yield "timer", f"{timer.unit}, every {timer.every_seconds} s"
    else:
        yield "timer", Marked(f"{timer.unit} does not run", Tone.WARN)
    if timer.last_run:
        code = timer.last_exit_code
        yield (
            "last run",
            f"{exact(timer.last_run)}  " + ("goes on" if code is None else f"exit code {code}"),
        )
    if timer.next_run:
        yield "next run", exact(timer.next_run)
    yield "note", timer.note


@verb(app, "notify.on")
def on(
    context: typer.Context,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often it looks: 30s, 5m, 1h.")
    ] = units.USUAL,
    urls_stdin: Annotated[
        bool, typer.Option("--urls-stdin", help="Read the addresses from stdin, one a line.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files of the timer, and write nothing.")
    ] = False,
) -> None:
    call = session(context)
    seconds = units.interval(every)
    if dry_run:
        for unit in call.deployment.notify.plan(seconds):
            call.output.line(f"# {unit.path}\n{unit.text}")
        return
    notify = call.to_change("notify.on").notify
    notify.plan(seconds)  # a unit that is not ours is said before anybody is asked
    wanted = _addresses(urls_stdin, notify.stored())
    written = notify.on(seconds, wanted)
    if wanted:
        paths = call.deployment.paths
        call.output.note(f"{paths.notify_urls}: {plural(len(wanted), 'address', 'addresses')}")
    for unit in written:
        call.output.note(f"{unit.path}: written")
    for name in systemd_units.kept_back():
        call.output.warn(f"{name} holds a password and is not in the unit, which all may read")
    if notify.timer.lingering():
        call.output.warn(notify.timer.lingering())
    call.output.note(f"It looks every {seconds} s. `mlflow-console notify test` sends a message.")


def _addresses(from_stdin: bool, stored: bool) -> list[Address]:
    """The addresses from a pipe or as they are typed; none leaves those that are kept.

    Raises:
        UsageError: There is no way to get one, or a line is none.
    """
    if from_stdin:
        if sys.stdin.isatty():
            raise UsageError(
                "--urls-stdin reads a pipe, and a terminal would show what is typed",
                "Leave it out to be asked.",
            )
        found = addresses.parse(_decoded(sys.stdin.buffer.read(MOST_BYTES)))
        if not found:
            raise UsageError("There is no address on stdin", "Give one a line.")
        return found
    if on_terminal():
        return _asked(stored)
    if stored:
        return []
    raise UsageError("There is no terminal to ask for an address", "Give --urls-stdin.")


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        # From None: the cause holds the bytes.
        raise UsageError("What is on stdin is not UTF-8") from None


def _asked(stored: bool) -> list[Address]:
    empty = "empty keeps those there are" if stored else "empty leaves"
    lines: list[str] = []
    try:
        while True:
            about = "empty ends" if lines else empty
            line = getpass.getpass(
                f"Address {len(lines) + 1} for apprise ({about}): ", stream=sys.stderr
            )
            if not line.strip():
                break
            addresses.parse(line)  # said at once
            lines.append(line)
    except EOFError:
        raise CancelledError("Nothing was changed") from None
    if not lines and not stored:
        raise CancelledError("Nothing was changed")
    return addresses.parse("\n".join(lines))


@verb(app, "notify.test")
def test(context: typer.Context) -> None:
    call = session(context)
    for number, (address, why) in enumerate(call.to_change("notify.test").notify.test(), 1):
        if why:
            call.output.problem(f"{number} {address}: {why}")
        else:
            call.output.line(f"{number} {address}: accepted")


@verb(app, "notify.off")
def off(
    context: typer.Context,
    keep_urls: Annotated[
        bool, typer.Option("--keep-urls", help="Keep the addresses for the next `on`.")
    ] = False,
) -> None:
    call = session(context)
    removed = call.to_change("notify.off").notify.off(keep_urls)
    for path in removed:
        call.output.note(f"{path}: removed")
    call.output.note("No more messages are sent." if removed else "There was nothing to remove.")


def report(call: Session, told: Told) -> int:
    """Say what was sent and who refused it; returns 1 when somebody did."""
    for title in dict.fromkeys(told.sent):
        call.output.note(f"Sent: {title}")
    for each in told.refused:
        call.output.problem(
            f"No message went to {each.address}: {each.why}", "The next run sends it again."
        )
    return 1 if told.refused else 0

"""The verbs of the stack: up, down, restart, status, logs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import typer

from console.cli.context import Json, JsonLines, Session, on_terminal, one_form, session, verb
from console.cli.notify import NOTIFY_HELP, report
from console.cli.tables import Cell, Column, Marked, Tone
from console.core import process
from console.core.errors import CancelledError, UsageError
from console.core.format import exact, size
from console.core.operations import OPERATIONS, Risk
from console.core.regular import Regular
from console.core.stack import log_export
from console.core.stack.driver import Finding, Health, LogLine, Service, Severity
from console.core.stack.log_filter import Wanted, picked
from console.core.stack.log_levels import Level
from console.core.stack.status import Status
from console.core.text import clean

LONGEST_LOG_LINE = 10_000
USUAL_TAIL = 200

Services = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SERVICE]...", help="Which services; all of them when left out."),
]

COLUMNS = (
    Column("SERVICE"), Column("STATE"), Column("HEALTH"), Column("SINCE"),
    Column("RESTARTS", right=True), Column("CPU", right=True), Column("MEMORY", right=True),
    Column("PORTS", keep=True), Column("WHY"),
)  # fmt: skip
TONES = {
    Health.HEALTHY: Tone.GOOD, Health.UNHEALTHY: Tone.BAD, Health.STARTING: Tone.WARN,
    Health.UNKNOWN: Tone.QUIET,
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Put the verbs on the application."""
    own: dict[str, Callable[..., None]] = {
        "down": down, "shell": shell, "status": status, "logs": logs,
    }  # fmt: skip
    for name in (
        "up", "down", "stop", "start", "restart", "recreate", "pull", "build", "shell",
        "status", "logs",
    ):  # fmt: skip
        verb(app, f"stack.{name}")(own.get(name) or _command(f"stack.{name}"))


def _command(operation_id: str) -> Callable[[typer.Context, Services], None]:
    """The command of a verb that knows nothing but services."""

    def command(context: typer.Context, services: Services = None) -> None:
        _perform(context, operation_id, services)

    return command


def down(
    context: typer.Context,
    services: Services = None,
    *,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="And remove all data, after a list of what is lost.")
    ] = False,
    confirm: Annotated[
        str, typer.Option(metavar="NAME", help="With --volumes: the deployment's name, where "
                          "nobody can be asked.")
    ] = "",
) -> None:  # fmt: skip
    if volumes:
        _destroy(session(context), services, confirm)
    else:
        _perform(context, "stack.down", services)


def _perform(context: typer.Context, operation_id: str, services: Sequence[str] | None) -> None:
    """Do a verb that starts or stops, after the question that its risk asks for."""
    call = session(context)
    stack, spec = call.to_change(operation_id).stack, OPERATIONS[operation_id]
    if spec.risk is Risk.INTERRUPT:
        call.confirm(spec, stack.at_work(), f"Interrupt them and {spec.verb}?")
    call.work(
        lambda cancel: stack.perform(operation_id, services or (), cancel),
        "What was done stays; `mlflow-console up` completes it, `down` stops it.",
        goes_on=True,
    )


def _destroy(call: Session, services: Sequence[str] | None, confirm: str) -> None:
    if services:
        raise UsageError("--volumes removes the data of every service", "Name none.")
    deployment = call.to_change("stack.destroy")
    going = [each.words for each in deployment.stack.volumes()]
    call.confirm_name(deployment.name, going + deployment.stack.at_work(), confirm)
    call.work(
        lambda cancel: deployment.stack.perform("stack.destroy", (), cancel),
        "What was removed is gone; `mlflow-console down --volumes` removes the rest.",
        goes_on=True,
    )
    call.output.note(
        f"All data of {deployment.name} is gone; its users and settings are still in "
        f"{deployment.directory}."
    )


def shell(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Which service.")],
    *,
    client: Annotated[
        bool, typer.Option("--client", help="The database's own client instead of a shell.")
    ] = False,
) -> None:
    call = session(context)
    if not on_terminal():
        raise UsageError("A shell needs a terminal", "Run this on one.")
    program = call.to_change("stack.shell").stack.shell(service, client)
    call.output.note(" ".join(program.argv[:7]))
    raise typer.Exit(process.on_this_terminal(program.argv, program.env))


def status(
    context: typer.Context,
    json: Json = False,
    *,
    tell: Annotated[bool, typer.Option("--notify", help=NOTIFY_HELP)] = False,
) -> None:
    call = session(context)
    if not tell:
        raise typer.Exit(show_status(call, json))
    told = call.deployment.notify.send()
    code = show_status(call, json, told.status)
    raise typer.Exit(report(call, told) or code)


def show_status(call: Session, json: bool, taken: Status | None = None) -> int:
    """Write the status, as it was taken or as it is now.

    Returns:
        The exit code that tells it to a script.
    """
    now = taken or call.deployment.stack.status()
    if json:
        call.output.json(now)
        return now.exit_code
    call.output.line(_headline(call, now))
    if now.services:
        call.output.line()
        call.output.table(COLUMNS, now.services, functools.partial(_service, call, now), "")
    for finding in now.findings:
        call.output.line()
        _show_finding(call, finding)
    return now.exit_code


def _headline(call: Session, now: Status) -> str:
    if now.healthy:
        sign = call.output.tone("● healthy", Tone.GOOD)
    elif now.stopped:
        sign = call.output.tone("○ stopped", Tone.QUIET)
    else:
        sign = call.output.tone("✗ unhealthy", Tone.BAD)
    parts = [f"{clean(now.deployment)}: {sign}", clean(now.url)]
    if now.api.version:
        parts.append(f"MLflow {clean(now.api.version)}")
    if now.api.ok:
        parts.append(f"checked as {clean(now.api.checked_as)}")
    if call.deployment.read_only:
        parts.append(f"read-only ({clean(call.deployment.read_only)})")
    return "  ".join(parts)


def _service(call: Session, now: Status, service: Service) -> list[Cell]:
    # What stands below as a finding need not squeeze the table as well.
    said = any(service.reason in finding.title for finding in now.findings)
    return [
        service.name, service.state.value, Marked(service.health.value, TONES[service.health]),
        call.output.time(service.since or service.started_at), str(service.restarts),
        "-" if service.cpu_percent is None else f"{service.cpu_percent:.0f} %",
        size(service.memory_bytes), " ".join(service.ports), "" if said else service.reason,
    ]  # fmt: skip


def _show_finding(call: Session, finding: Finding) -> None:
    tone = Tone.BAD if finding.severity is Severity.ERROR else Tone.WARN
    call.output.line(call.output.tone(f"! {clean(finding.title, 500)}", tone))
    if finding.detail:
        call.output.line(f"  seen: {clean(finding.detail, 500)}")
    if finding.fix:
        call.output.line(f"  fix: {clean(finding.fix, 500)}")


def logs(
    context: typer.Context,
    services: Services = None,
    *,
    tail: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="Look at so many of the last "
                                 "lines: 200, or all of them with an option that picks some.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="And new ones as they come.")] = False,
    since: Annotated[
        str, typer.Option(metavar="MOMENT", help="Only from then on: 10m, 2h, 1d, or an ISO time.")
    ] = "",
    grep: Annotated[
        str, typer.Option(metavar="REGEX", help="Only lines that match, or whose service does; "
                          "a large letter makes it exact.")
    ] = "",
    invert: Annotated[bool, typer.Option("--invert", help="Only those that do not.")] = False,
    level: Annotated[
        Level | None, typer.Option(help="Only lines at least so bad.", show_default=False)
    ] = None,
    json: Json = False,
    jsonl: JsonLines = False,
) -> None:  # fmt: skip
    one_form(json, jsonl)
    if json and follow:
        raise UsageError("--json ends in one array, and --follow has no end", "Use --jsonl.")
    if invert and not grep:
        raise UsageError("--invert turns --grep round", "Give --grep as well.")
    wanted = Wanted(Regular(grep) if grep else None, invert, level)
    more = {"since": log_export.since(since)} if since else {}
    if tail is None and wanted.everything and not since:
        tail = USUAL_TAIL
    call = session(context)
    stream = call.deployment.stack.logs(services or (), tail, follow, **more)
    lines = stream if wanted.everything else picked(stream.batches(), wanted)
    try:
        if json:
            call.output.json_array(lines)
        elif jsonl:
            call.output.json_lines(lines, at_once=follow)
        else:
            empty = "The log is empty." if wanted.everything and not since else "No line matches."
            _show_lines(call, lines, follow, empty)
    except KeyboardInterrupt:
        raise CancelledError("Stopped reading; the services go on") from None
    finally:
        stream.close()


def _show_lines(call: Session, lines: Iterable[LogLine], follow: bool, empty: str) -> None:
    none = True
    for line in lines:
        none = False
        at = call.output.tone(exact(line.at), Tone.QUIET)
        text = clean(line.text, LONGEST_LOG_LINE)
        call.output.line(f"{at}  {clean(line.service)}  {text}")
        if follow:
            call.output.flush()
    if none:
        call.output.note(empty)

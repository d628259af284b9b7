"""The verbs of the stack: up, down, restart, status, logs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated

import typer

from console.cli.context import Json, JsonLines, Session, one_form, session, verb
from console.cli.tables import Cell, Column, Marked, Tone
from console.core.errors import CancelledError, UsageError
from console.core.format import exact, size
from console.core.operations import OPERATIONS
from console.core.stack.driver import Finding, Health, LogLine, Service, Severity
from console.core.stack.service import Status
from console.core.text import clean

LONGEST_LOG_LINE = 10_000

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
    for operation_id, command in (
        ("stack.up", up), ("stack.down", down), ("stack.restart", restart),
        ("stack.status", status), ("stack.logs", logs),
    ):  # fmt: skip
        verb(app, operation_id)(command)


def up(context: typer.Context, services: Services = None) -> None:
    call = session(context)
    stack = call.to_change("stack.up").stack
    call.work(
        lambda cancel: stack.up(services or (), cancel=cancel),
        "What had started goes on; `mlflow-console up` completes it, `down` stops it.",
    )


def down(context: typer.Context, services: Services = None) -> None:
    call = session(context)
    stack = call.to_change("stack.down").stack
    call.confirm(OPERATIONS["stack.down"], stack.at_work(), "Interrupt them and stop?")
    call.work(
        lambda cancel: stack.down(services or (), cancel=cancel),
        "No data was removed; `mlflow-console down` stops the rest, `up` starts it again.",
    )


def restart(context: typer.Context, services: Services = None) -> None:
    call = session(context)
    stack = call.to_change("stack.restart").stack
    call.confirm(OPERATIONS["stack.restart"], stack.at_work(), "Interrupt them and restart?")
    call.work(
        lambda cancel: stack.restart(services or (), cancel=cancel),
        "It may be stopped now; `mlflow-console up` starts it.",
    )


def status(context: typer.Context, json: Json = False) -> None:
    raise typer.Exit(show_status(session(context), json))


def show_status(call: Session, json: bool) -> int:
    """Write the status.

    Returns:
        The exit code that tells it to a script.
    """
    now = call.deployment.stack.status()
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
        call.output.time(service.started_at), str(service.restarts),
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
    tail: Annotated[int, typer.Option(min=0, help="How many of the last lines.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", help="And new ones as they come.")] = False,
    json: Json = False,
    jsonl: JsonLines = False,
) -> None:
    one_form(json, jsonl)
    if json and follow:
        raise UsageError("--json ends in one array, and --follow has no end", "Use --jsonl.")
    call = session(context)
    lines = call.deployment.stack.logs(services or (), tail, follow)
    try:
        if json:
            call.output.json_array(lines)
        elif jsonl:
            call.output.json_lines(lines, at_once=follow)
        else:
            _show_lines(call, lines, follow)
    except KeyboardInterrupt:
        raise CancelledError("Stopped reading; the services go on") from None
    finally:
        lines.close()


def _show_lines(call: Session, lines: Iterable[LogLine], follow: bool) -> None:
    none = True
    for line in lines:
        none = False
        at = call.output.tone(exact(line.at), Tone.QUIET)
        text = clean(line.text, LONGEST_LOG_LINE)
        call.output.line(f"{at}  {clean(line.service)}  {text}")
        if follow:
            call.output.flush()
    if none:
        call.output.note("The log is empty.")

"""`mlflow-console doctor`: what is wrong with the deployment itself, and what to do."""

from __future__ import annotations

import typer

from console.cli.context import Json, Session, session, verb
from console.cli.tables import Tone
from console.core.format import clock, plural
from console.core.stack.driver import Finding, Severity
from console.core.text import clean

LONGEST = 1_000


def register(app: typer.Typer) -> None:
    """Put the verb on the application."""
    verb(app, "doctor.doctor")(doctor)


def doctor(context: typer.Context, json: Json = False) -> None:
    call = session(context)
    found = call.deployment.doctor.doctor()
    if json:
        call.output.json({
            "findings": found.findings, "looked_at": found.looked_at,
            "checked_at": found.checked_at,
        })  # fmt: skip
        raise typer.Exit(found.exit_code)
    looked = f"Looked at {clock(found.checked_at)}: {', '.join(found.looked_at)}."
    if not found.findings:
        call.output.line(f"{call.output.tone('✓ Nothing to mend.', Tone.GOOD)} {looked}")
        raise typer.Exit(found.exit_code)
    for finding in found.findings:
        _show(call, finding)
        call.output.line()
    errors = sum(each.severity is Severity.ERROR for each in found.findings)
    warnings = len(found.findings) - errors
    call.output.line(f"{plural(errors, 'error')}, {plural(warnings, 'warning')}. {looked}")
    raise typer.Exit(found.exit_code)


def _show(call: Session, finding: Finding) -> None:
    bad = finding.severity is Severity.ERROR
    sign, tone = ("✗", Tone.BAD) if bad else ("!", Tone.WARN)
    call.output.line(call.output.tone(f"{sign} {clean(finding.title, LONGEST)}", tone))
    for name, text in (("seen", finding.detail), ("fix", finding.fix)):
        if text:
            call.output.line(f"  {name}: {clean(text, LONGEST)}")

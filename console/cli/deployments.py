"""The verbs of a deployment as a whole: init, forget, deployments, audit, demo."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from console.cli.context import Json, JsonLines, Session, absolute, session, verb
from console.cli.passwords import (
    Generate,
    Length,
    NewPassword,
    PasswordStdin,
    Weak,
    Words,
    show_generated,
)
from console.cli.tables import LONG_NAME, Cell, Column, Marked, Tone
from console.core import audit as trail
from console.core import register as known_deployments
from console.core.deployment import Deployment
from console.core.errors import ConsoleError, UsageError
from console.core.format import exact
from console.core.operations import OPERATIONS
from console.core.settings import UsersSettings
from console.core.stack.driver import State
from console.core.stack.drivers import DRIVERS
from console.core.stack.planning import SIZES

TRAINING = """
In a training script:

    import os
    import mlflow

    os.environ["MLFLOW_TRACKING_USERNAME"] = "{user}"
    os.environ["MLFLOW_TRACKING_PASSWORD"] = "..."  # better: set it outside the script
    mlflow.set_tracking_uri("{url}")
"""

KNOWN = (
    Column("NAME"), Column("STATE"), Column("DIRECTORY", keep=True), Column("KNOWN TO"),
    Column("WHY"),
)  # fmt: skip
TRAIL = (
    Column("AT"), Column("WHO"), Column("WHAT", keep=True), Column("TARGET", most=LONG_NAME),
    Column("OUTCOME"), Column("ERROR"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Put the verbs on the application."""
    for operation_id, command in (
        ("deployment.init", init), ("deployment.demo", demo),
        ("deployment.deployments", deployments), ("deployment.forget", forget),
        ("deployment.audit", audit),
    ):  # fmt: skip
        verb(app, operation_id)(command)


def init(
    context: typer.Context,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    *,
    driver: Annotated[
        str,
        typer.Option(
            metavar="|".join(DRIVERS),
            help="embedded: MLflow in a Python environment. compose: in containers, with MySQL, "
            "an S3 store and nginx.",
        ),
    ] = DRIVERS[0],
    host: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Further names it may be called by.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Where it listens; a free port when left out.")
    ] = None,
    tls_port: Annotated[int | None, typer.Option(help="The same for https; compose only.")] = None,
    certificates: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="NAME.crt and NAME.key of the host names; compose only."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Listen on every address; compose only.")
    ] = False,
    size: Annotated[
        str, typer.Option(metavar="|".join(SIZES), help="For 2 GB or 8 GB of memory; compose only.")
    ] = SIZES[0],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and change nothing.")
    ] = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="A first user, who is given a password.")
    ] = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
    length: Length = None,
    words: Words = None,
    weak: Weak = False,
) -> None:
    from console.core import setup  # noqa: PLC0415  # first use

    call = session(context)
    wanted = NewPassword(password_stdin, generate, length, words, weak)
    if not user and wanted.said:
        raise UsageError("A password is for a user", "Name one with --user.")
    if not dry_run:
        call.refuse_when_read_only("deployment.init")
    names = [name.strip() for name in (host or "").split(",") if name.strip()]
    plan = setup.plan(
        absolute(directory), driver, port, names, tls_port=tls_port, size=size, public=public,
        certificates=absolute(certificates) if certificates else None,
    )  # fmt: skip
    if user:
        _check_first(user)
    if dry_run:
        for step in (*plan.steps, *([f"add the user {user}"] if user else [])):
            call.output.line(step)
        if plan.planned.readable:
            call.output.warn(plan.planned.readable)
        return
    if plan.planned.readable:
        call.confirm(
            OPERATIONS["deployment.init"], [plan.planned.readable], "Set it up all the same?"
        )
    first = None
    if user:
        users = plan.planned.settings.users
        first = user, wanted.of(user, users, (plan.name, *names))
    call.work(
        lambda cancel: setup.create(plan, first, cancel),
        "What was made stays; the same command goes on from there.",
    )
    if first and generate:
        show_generated(call.output, first[1], first[0])
    _what_now(call, plan.directory, user)


def _check_first(user: str) -> None:
    from console.core.users.names import check_name  # noqa: PLC0415  # first use

    check_name(user)
    if user == UsersSettings().service_user:
        raise UsageError(
            f"{user} is the name of the console's own user", "Give your first user another one."
        )


def _what_now(call: Session, directory: Path, user: str | None) -> None:
    made = Deployment.open(str(directory))
    call.output.note(f"{made.name} is set up in {directory}, for {made.driver.url}")
    port = urlsplit(made.driver.own_url).port
    call.output.note(f"From elsewhere: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}")
    call.output.note(f"Start it: mlflow-console --deployment {directory} up")
    if not user:
        call.output.note(
            f"Give somebody a password: mlflow-console --deployment {directory} users add NAME"
        )
    for line in TRAINING.format(user=user or "NAME", url=made.driver.url).splitlines():
        call.output.note(line)


def demo(context: typer.Context) -> None:
    from console.core.demo import demo as log_sample  # noqa: PLC0415  # first use

    call = session(context)
    deployment = call.to_change("deployment.demo")
    call.work(
        lambda cancel: log_sample(deployment, cancel),
        "Runs that were logged stay; `mlflow-console demo` logs what is missing.",
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One known deployment; the JSON shape of `deployments`.

    Attributes:
        source: Who knows it.
        state: "running", "stopped" or "unusable".
        error: Why it is unusable, else "".
    """

    name: str
    directory: Path
    source: str
    state: str
    error: str


def deployments(context: typer.Context, json: Json = False) -> None:
    session(context).listing(
        map(_looked_at, known_deployments.known()), KNOWN, _known_row, json=json,
        empty="No deployment is known yet: `mlflow-console init DIR` sets one up.",
    )  # fmt: skip


def _looked_at(known: known_deployments.Known) -> Row:
    try:
        services = Deployment.open(str(known.directory)).driver.services()
    except ConsoleError as error:
        return Row(known.name, known.directory, known.source, "unusable", error.message)
    down = (State.STOPPED, State.EXITED)
    state = "stopped" if all(service.state in down for service in services) else "running"
    return Row(known.name, known.directory, known.source, state, "")


def _known_row(row: Row) -> list[Cell]:
    tone = {"running": Tone.GOOD, "unusable": Tone.BAD}.get(row.state, Tone.QUIET)
    return [row.name, Marked(row.state, tone), str(row.directory), row.source, row.error]


def forget(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", show_default=False)],
) -> None:
    call = session(context)
    call.refuse_when_read_only("deployment.forget")
    directory = known_deployments.choose(name)
    opened = _opened(directory)
    if not _forgotten(directory, opened):
        raise UsageError(
            f"{directory} is on no list that this account may change",
            "`mlflow-console deployments` shows who knows it.",
        )
    call.output.note(f"{directory} is off the list; nothing in it was touched.")
    if opened and opened.notify.timer.look().installed:
        call.output.note(
            "Its timer goes on sending messages: "
            f"`mlflow-console --deployment {directory} notify off` removes it."
        )
    if opened and opened.backup.scheduled().installed:
        call.output.note(
            "Its timer goes on making snapshots: "
            f"`mlflow-console --deployment {directory} backup schedule off` removes it."
        )


def _opened(directory: Path) -> Deployment | None:
    """None when it can no longer be opened; it can be forgotten all the same."""
    try:
        return Deployment.open(str(directory))
    except ConsoleError:
        return None


def _forgotten(directory: Path, opened: Deployment | None) -> bool:
    """Take it off the lists, with a line in its own audit trail."""
    if opened is None:
        return known_deployments.forget(directory)
    with opened.change(OPERATIONS["deployment.forget"], opened.name):
        return known_deployments.forget(directory)


def audit(context: typer.Context, json: Json = False, jsonl: JsonLines = False) -> None:
    call = session(context)
    call.listing(
        trail.read(call.deployment.paths.audit), TRAIL, _trail_row, json=json, jsonl=jsonl,
        empty="Nothing was changed yet.",
    )  # fmt: skip


def _trail_row(entry: trail.Entry) -> list[Cell]:
    who = entry.user
    if entry.sudo_user:
        who += f" (sudo by {entry.sudo_user})"
    if entry.ssh_client:
        who += f" from {entry.ssh_client}"
    tone = {"done": Tone.GOOD, "failed": Tone.BAD, "cancelled": Tone.WARN}[entry.outcome]
    return [
        exact(entry.at), who, entry.operation, entry.target, Marked(entry.outcome, tone),
        entry.error or "",
    ]  # fmt: skip

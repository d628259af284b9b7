"""`mlflow-console users`: who can log in."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.context import (
    Generate,
    Json,
    JsonLines,
    PasswordStdin,
    password,
    session,
    show_generated,
    verb,
)
from console.cli.tables import Cell, Column, Marked, Tone
from console.core.operations import OPERATIONS
from console.core.users.service import User, check_name

app = typer.Typer(help="Who can log in.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]

COLUMNS = (Column("NAME"), Column("PASSWORD"), Column("LOGIN"), Column("NOTE"))


@verb(app, "users.list")
def list_(context: typer.Context, json: Json = False, jsonl: JsonLines = False) -> None:
    call = session(context)
    users = call.deployment.users
    found = users.list()
    for note in users.notes():
        call.output.warn(note)
    call.listing(
        found, COLUMNS, _row, json=json, jsonl=jsonl,
        empty="Nobody can log in yet: `mlflow-console users add NAME`.",
    )  # fmt: skip


def _row(user: User) -> list[Cell]:
    kept = user.scheme if user.cost is None else f"{user.scheme} {user.cost}"
    note = "the console's own checks" if user.service_user else ""
    return [
        user.name,
        Marked(f"! {kept}, weak", Tone.WARN) if user.weak else kept,
        "yes" if user.enabled else Marked("disabled", Tone.QUIET),
        note,
    ]


@verb(app, "users.add")
def add(
    context: typer.Context, name: Name, password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:  # fmt: skip
    call = session(context)
    deployment = call.to_change("users.add")
    check_name(name)
    secret = password(name, password_stdin, generate)
    deployment.users.add(name, secret)
    if generate:
        show_generated(call.output, secret, name)
    call.output.note(f"{name} can log in at {deployment.driver.url}")


@verb(app, "users.passwd")
def passwd(
    context: typer.Context, name: Name, password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:  # fmt: skip
    call = session(context)
    deployment = call.to_change("users.passwd")
    check_name(name)
    secret = password(name, password_stdin, generate)
    deployment.users.passwd(name, secret)
    if generate:
        show_generated(call.output, secret, name)
    call.output.note(f"{name} has a new password; the old one no longer works.")


@verb(app, "users.remove")
def remove(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)],
) -> None:
    call = session(context)
    deployment = call.to_change("users.remove")
    found = {user.name: user for user in deployment.users.list()}
    if all(name in found and not found[name].service_user for name in names):
        call.confirm(
            OPERATIONS["users.remove"],
            [f"{name}: can no longer log in, runs stay" for name in names],
            f"Remove {', '.join(names)}?",
        )
    deployment.users.remove(names)  # says which of them it does not know or must not remove
    call.output.note(f"Removed: {', '.join(names)}")

"""`mlflow-console users`: who can log in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.context import Json, JsonLines, Session, session, verb
from console.cli.passwords import (
    Generate,
    Length,
    NewPassword,
    PasswordStdin,
    Weak,
    Words,
    password_of,
    show_generated,
)
from console.cli.tables import LONG_NAME, Cell, Column, Marked, Tone
from console.cli.users_activity import activity
from console.core.errors import ConsoleError
from console.core.operations import OPERATIONS
from console.core.users import importing
from console.core.users.importing import ImportPlan
from console.core.users.names import check_name
from console.core.users.passwords import familiar
from console.core.users.user import User
from console.core.users.user_files import SHARED
from console.core.users.verify import Verdict

app = typer.Typer(help="Who can log in.", rich_markup_mode=None)
verb(app, "users.activity")(activity)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)]
Host = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Of this host name's own file; else of the "
                      "one that all others share.", show_default=False)
]  # fmt: skip

COLUMNS = (Column("NAME", most=LONG_NAME), Column("PASSWORD"), Column("LOGIN"), Column("NOTE"))
HOST = Column("HOST")
VERDICTS = {
    Verdict.WRONG: "That is not the password of {name}",
    Verdict.DISABLED: "{name} is disabled and gets in by no password",
    Verdict.UNKNOWN: "The password of {name} is kept in a scheme that cannot be checked here",
}


@verb(app, "users.list")
def list_(
    context: typer.Context, host: Host = "", json: Json = False, jsonl: JsonLines = False
) -> None:
    call = session(context)
    users = call.deployment.users
    found = users.list(host or None)
    for note in users.notes():
        call.output.warn(note)
    several = len(users.hosts()) > 1
    call.listing(
        found, (HOST, *COLUMNS) if several else COLUMNS,
        lambda user: [user.host, *_row(user)] if several else _row(user), json=json, jsonl=jsonl,
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
    context: typer.Context, name: Name, *, password_stdin: PasswordStdin = False,
    generate: Generate = False, length: Length = None, words: Words = None, weak: Weak = False,
    host: Host = SHARED,
) -> None:  # fmt: skip
    call = session(context)
    deployment = call.to_change("users.add")
    check_name(name)
    wanted = NewPassword(password_stdin, generate, length, words, weak)
    secret = wanted.of(name, deployment.settings.users, familiar(deployment))
    deployment.users.add(name, secret, host=host)
    if generate:
        show_generated(call.output, secret, name)
    call.output.note(f"{name} can log in at {deployment.driver.url}")


@verb(app, "users.passwd")
def passwd(
    context: typer.Context, name: Name, *, password_stdin: PasswordStdin = False,
    generate: Generate = False, length: Length = None, words: Words = None, weak: Weak = False,
    host: Host = SHARED,
) -> None:  # fmt: skip
    call = session(context)
    deployment = call.to_change("users.passwd")
    wanted = NewPassword(password_stdin, generate, length, words, weak)
    secret = wanted.of(name, deployment.settings.users, familiar(deployment))
    deployment.users.passwd(name, secret, host=host)
    if generate:
        show_generated(call.output, secret, name)
    call.output.note(f"{name} has a new password; the old one no longer works.")


@verb(app, "users.renew")
def renew(context: typer.Context) -> None:
    call = session(context)
    deployment = call.to_change("users.renew")
    deployment.users.renew()
    user = deployment.settings.users.service_user
    call.output.note(f"{user} has a new random password, and the console knows it.")


@verb(app, "users.rename")
def rename(
    context: typer.Context, name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    host: Host = SHARED,
) -> None:  # fmt: skip
    call = session(context)
    call.to_change("users.rename").users.rename(name, new, host=host)
    call.output.note(f"{name} is {new} now; the password stays, runs keep the old name.")


@verb(app, "users.disable")
def disable(context: typer.Context, names: Names, host: Host = SHARED) -> None:
    call = session(context)
    unchanged = call.to_change("users.disable").users.disable(names, host=host)
    _switched(call, "Disabled", names, unchanged, "`mlflow-console users enable` undoes it")


@verb(app, "users.enable")
def enable(context: typer.Context, names: Names, host: Host = SHARED) -> None:
    call = session(context)
    unchanged = call.to_change("users.enable").users.enable(names, host=host)
    _switched(call, "Enabled", names, unchanged, "their passwords are the old ones")


def _switched(
    call: Session, done: str, names: list[str], unchanged: dict[str, str], then: str
) -> None:
    """Say who was switched, and who was not because they were so already."""
    if changed := [name for name in dict.fromkeys(names) if name not in unchanged]:
        call.output.note(f"{done}: {', '.join(changed)}; {then}.")
    for name, why in unchanged.items():
        call.output.note(f"{name} {why}.")


@verb(app, "users.remove")
def remove(context: typer.Context, names: Names, host: Host = SHARED) -> None:
    call = session(context)
    deployment = call.to_change("users.remove")
    names = list(dict.fromkeys(names))
    found = {user.name: user for user in deployment.users.list(host)}
    if all(name in found and not found[name].service_user for name in names):
        call.confirm(
            OPERATIONS["users.remove"],
            [f"{name}: can no longer log in, runs stay" for name in names],
            f"Remove {', '.join(names)}?",
        )
    deployment.users.remove(names, host=host)  # says whom it does not know or must not remove
    call.output.note(f"Removed: {', '.join(names)}")


@verb(app, "users.check")
def check(
    context: typer.Context, name: Name, password_stdin: PasswordStdin = False, host: Host = SHARED
) -> None:
    call = session(context)
    verdict = call.deployment.users.check(name, password_of(name, password_stdin), host=host)
    if verdict is not Verdict.RIGHT:
        raise ConsoleError(VERDICTS[verdict].format(name=name))
    call.output.note(f"That is the password of {name}.")


@verb(app, "users.handover")
def handover(
    context: typer.Context, name: Name,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Put the password in, from one line of stdin; "
                           "else it is left out.")
    ] = False,
    host: Host = SHARED, json: Json = False,
) -> None:  # fmt: skip
    call = session(context)
    secret = password_of(name, from_stdin=True) if password_stdin else None
    found = call.deployment.users.handover(name, secret, host=host)
    if json:
        call.output.json(found)
    else:
        call.output.secret(found.text.rstrip("\n"))


@verb(app, "users.import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An htpasswd file.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also change users who are here and have another "
                           "password there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change.")
    ] = False,
    host: Host = SHARED,
    json: Json = False,
) -> None:  # fmt: skip
    call = session(context)
    users = (call.deployment if dry_run else call.to_change("users.import")).users
    plan = users.plan_import(importing.read(file), host=host)
    if json:
        call.output.json(plan.shape)
    elif dry_run:
        for line in _preview(plan, replace):
            call.output.line(line)
    if not dry_run:
        _import(call, plan, host, replace)


def _import(call: Session, plan: ImportPlan, host: str, replace: bool) -> None:
    count = len(plan.added) + (len(plan.changed) if replace else 0)
    if not count and host in call.deployment.users.hosts():
        for line in _preview(plan, replace):
            call.output.note(line)
        call.output.note("There is nothing to change.")
        return
    call.confirm(OPERATIONS["users.import"], _preview(plan, replace), "Import these users?")
    call.deployment.users.import_(plan, host=host, replace=replace)
    call.output.note(f"{count} of them can log in here by the passwords that they have there.")


def _preview(plan: ImportPlan, replace: bool) -> list[str]:
    return plan.preview(
        "gets the password from there" if replace else "left alone, --replace changes it"
    )


@verb(app, "users.undo")
def undo(context: typer.Context) -> None:
    call = session(context)
    users = call.to_change("users.undo").users
    last = users.last()
    if not last.mine:
        call.confirm(OPERATIONS["users.undo"], last.means, last.question)
    users.undo(last)
    call.output.note(f"{last.said}.")

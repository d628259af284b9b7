"""Which snapshot, and which parts of one: as they are typed."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.context import Session, absolute
from console.core.backup.snapshot import PARTS, Part, Snapshot
from console.core.errors import ConsoleError, NoDeploymentError, UsageError

HELP = 'Its id, the beginning of one, its label, "latest", or its folder.'

Wanted = Annotated[str, typer.Argument(metavar="SNAPSHOT", help=HELP)]
Newest = Annotated[str, typer.Argument(metavar="SNAPSHOT", help=HELP)]
Several = Annotated[
    str, typer.Argument(metavar="SNAPSHOT|all", help=f'{HELP[:-1]}; or "all" of them.')
]  # fmt: skip
Only = Annotated[
    str, typer.Option(metavar="PART,...", help=f"Of {', '.join(PARTS)} only these.")
]  # fmt: skip


def parts_of(typed: str) -> tuple[Part, ...]:
    """The parts that --only names; all of them when it was not given.

    Raises:
        UsageError: One of them is none.
    """
    if not typed:
        return PARTS
    names = [name.strip() for name in typed.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise UsageError(f"{name} is no part of a snapshot", f"There are {', '.join(PARTS)}.")
    return tuple(part for part in PARTS if part in names)


def found(call: Session, wanted: str) -> Snapshot:
    """The snapshot that is meant; a folder of one also where there is no deployment.

    Raises:
        ConsoleError: There is none, or several are meant.
    """
    from console.core.backup.place import is_path  # noqa: PLC0415  # every command waits for it
    from console.core.backup.records import load_snapshot  # noqa: PLC0415  # as above

    try:
        return call.deployment.backup.show(wanted)
    except NoDeploymentError:
        if not is_path(wanted):
            raise
    snapshot = load_snapshot(absolute(wanted))
    if snapshot.problem:
        raise ConsoleError(snapshot.problem)
    return snapshot

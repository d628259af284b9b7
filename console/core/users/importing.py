"""Users from another htpasswd file: what would change, and the change."""

from __future__ import annotations

from dataclasses import dataclass

from console.core.errors import UsageError
from console.core.users.htpasswd import UNKNOWN, Htpasswd, Line, scheme_of
from console.core.users.names import check_name


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        added: Names that are new here.
        changed: Names that are here with another hash or state; left alone unless asked for.
        same: Names that are here just so.
        refused: Names that are left out, each with why.
        lines: What would be taken over, by name.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    lines: dict[str, Line]

    @property
    def shape(self) -> dict[str, object]:
        """Its JSON shape: it has no hash."""
        return {
            "added": self.added, "changed": self.changed, "same": self.same,
            "refused": [{"name": name, "why": why} for name, why in self.refused],
        }  # fmt: skip


def plan(here: Htpasswd, there: Htpasswd, service_user: str) -> ImportPlan:
    """Compare two files.

    Args:
        here: The file that would be changed.
        there: The other one.
        service_user: Stays as it is here.

    Raises:
        UsageError: The other file holds no user at all.
    """
    known = here.by_name()
    added, changed, same, refused = [], [], [], []
    lines: dict[str, Line] = {}
    for name, line in there.by_name().items():
        why = _why_not(name, line, service_user)
        before = known.get(name)
        if why:
            refused.append((name, why))
            continue
        lines[name] = line
        if before is None:
            added.append(name)
        elif (before.field, before.enabled) == (line.field, line.enabled):
            same.append(name)
        else:
            changed.append(name)
    if not lines and not refused:
        raise UsageError(
            "There is no user in that file", "It is read as nginx reads it: NAME:HASH."
        )
    return ImportPlan(tuple(added), tuple(changed), tuple(same), tuple(refused), lines)


def _why_not(name: str, line: Line, service_user: str) -> str:
    if name == service_user:
        return "the console's own account stays as it is here"
    if line.name != name.encode():
        return "the name is no text in UTF-8"
    if scheme_of(line.field).name == UNKNOWN:
        return "the password is kept in no known scheme"
    try:
        check_name(name)
    except UsageError as error:
        return error.message
    return ""


def apply(file: Htpasswd, wanted: ImportPlan, replace: bool) -> Htpasswd:
    """The file with the users of a plan; who came here meanwhile by another way is left alone."""
    known = file.by_name()
    off = set()
    for name in (*wanted.added, *(wanted.changed if replace else ())):
        line, before = wanted.lines[name], known.get(name)
        if before is None:
            file = file.add(line.name, line.field)
        elif name in wanted.changed:
            file = file.change(before, line.field)
            file = file.enable({line.name})
        else:
            continue
        if not line.enabled:
            off.add(line.name)
    return file.disable(off)

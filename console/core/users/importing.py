"""Users from another htpasswd file: what would change, and the change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from console.core import files
from console.core.errors import UsageError
from console.core.users.htpasswd import (
    DISABLED,
    LONGEST_LINE,
    UNKNOWN,
    Htpasswd,
    Line,
    display,
    scheme_of,
)
from console.core.users.names import check_name

# More is no file of users.
LARGEST_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A line that is not taken over.

    Attributes:
        line: Its number. Its text is told nowhere: it may be a password in the wrong place.
        name: Whose it is; "" where it is no user's.
        why: A clause.
    """

    line: int
    name: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}{', ' if self.name else ''}{self.name}: left out, {self.why}"


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        added: Names that are new here.
        changed: Names that are here with another hash or state; left alone unless asked for.
        same: Names that are here just so.
        refused: Lines that are left out, in their order.
        lines: What would be taken over, by name.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    refused: tuple[LeftOut, ...]
    lines: dict[str, Line]

    @property
    def shape(self) -> dict[str, object]:
        """Its JSON shape: it has no hash."""
        return {
            "added": self.added, "changed": self.changed, "same": self.same,
            "refused": self.refused, "weak": [name for name in self.lines if self._weak(name)],
        }  # fmt: skip

    def preview(self, otherwise: str) -> list[str]:
        """What would change, a line each.

        Args:
            otherwise: What becomes of those who are here with another hash or state.
        """
        return [
            *(f"{name}: new{self._weak(name)}" for name in self.added),
            *(f"{name}: has another password or state here; {otherwise}{self._weak(name)}"
              for name in self.changed),
            *(f"{name}: the same already" for name in self.same),
            *map(str, self.refused),
        ]  # fmt: skip

    def _weak(self, name: str) -> str:
        scheme = scheme_of(self.lines[name].field)
        return f", weak: {scheme}" if scheme.weak else ""


def read(path: Path) -> bytes:
    """What another htpasswd file holds.

    Raises:
        UsageError: It is too large for one.
        ConsoleError: It cannot be read.
    """
    with files.explained(path):
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is too large for a file of users")
        return path.read_bytes()


def plan(here: Htpasswd, there: Htpasswd, service_user: str) -> ImportPlan:
    """Compare two files.

    Args:
        here: The file that would be changed.
        there: The other one.
        service_user: Stays as it is here.

    Raises:
        UsageError: The other file is none of users.
    """
    if b"\0" in bytes(there) or all(_is_no_user(line) for line in there.lines):
        raise UsageError(
            "There is no user in that file",
            "It is read as nginx reads it: NAME:HASH, with a hash of a known scheme.",
        )
    known, counting = here.by_name(), there.by_name()
    number = {id(line): at for at, line in enumerate(there.lines, 1)}
    added, changed, same, refused = [], [], [], []
    lines: dict[str, Line] = {}
    for line in there.lines:
        if not line.is_user and not line.is_junk:
            continue
        name = display(line.name)
        before = known.get(name)
        counts = counting.get(name, line)
        if line.is_junk:
            empty = line.raw.startswith(b":")
            why = "the name is empty" if empty else "it is no user and no comment"
        elif line is not counts:
            why = f"line {number[id(counts)]} of this name counts"
        else:
            why = _why_not(name, line, service_user)
        if why:
            refused.append(LeftOut(number[id(line)], name, why))
            continue
        lines[name] = line
        if before is None:
            added.append(name)
        elif (before.field, before.enabled) == (line.field, line.enabled):
            same.append(name)
        else:
            changed.append(name)
    return ImportPlan(tuple(added), tuple(changed), tuple(same), tuple(refused), lines)


def _is_no_user(line: Line) -> bool:
    return not line.is_user or scheme_of(line.field).name == UNKNOWN


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
    if len(DISABLED + line.name + line.field) + len(":") > LONGEST_LINE:
        return "the line would be too long for Apache's htpasswd"
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

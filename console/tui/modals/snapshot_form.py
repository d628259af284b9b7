"""Before a snapshot: what it would need and what is free, and the form for one with a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Button, Label

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.confirm import ConfirmModal
from console.tui.modals.modal import Modal
from console.tui.widgets.choice import Choice, Option
from console.tui.widgets.facts import Facts, Part
from console.tui.widgets.form import Field, Form

if TYPE_CHECKING:
    from console.core.backup.create import Needs

ALL = "all"
CONTENTS = (
    Option(ALL, "Everything", "database, artifacts, users, settings"),
    Option("database users settings", "No artifacts", "not complete, but quick and small"),
    Option("database", "The database", "not complete: runs, metrics, models' names"),
    Option("users settings", "Users, settings", "not complete: who can log in, and the set-up"),
)


LOOKING = "Looking what it needs and what is free…"


def needed(needs: Needs) -> list[str]:
    """What a snapshot would need, what is free, and what is odd about the place."""
    room = f"{fmt.size(needs.needed_bytes)}; {fmt.size(needs.free_bytes)}"
    fits = needs.needed_bytes <= needs.free_bytes
    first = f"✓ It needs at most {room} are free." if fits else f"✗ It needs {room} alone are free."
    return [first, *(f"! {clean(note, 300)}" for note in needs.notes)]


class FirstSnapshotModal(ConfirmModal):
    """The question before the first snapshot.

    Args:
        place: Where it goes.
        needs: Asked on a thread for what it needs.
    """

    LOOKING: ClassVar[str] = LOOKING

    def __init__(self, place: str, needs: Callable[[], Needs]) -> None:
        about = "Database, artifacts, users, certificates, settings and secrets; for you alone."
        super().__init__(
            "Make the first snapshot?", "Back up", [place, about], learn=lambda: needed(needs())
        )

    def _learnt(self, lines: Sequence[str]) -> None:
        self.query_one("#learnt", Facts).show("\n".join(lines))

    def _not_learnt(self, error: ConsoleError) -> None:
        self.query_one("#learnt", Facts).show(*_unknown(error))


def _unknown(error: ConsoleError) -> list[Part]:
    return [("! ", "warn"), f"What it needs cannot be told: {clean(error.message, 300)}"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was filled in.

    Attributes:
        parts: What goes into it; () for everything.
    """

    label: str
    parts: tuple[str, ...]

    @property
    def options(self) -> dict[str, object]:
        """As the verb takes them."""
        options: dict[str, object] = {"label": self.label} if self.label else {}
        return options | ({"parts": list(self.parts)} if self.parts else {})


class SnapshotFormModal(Modal[Wishes], Form):
    """Asks for a label and for what goes into the snapshot.

    Args:
        needs: Asked on a thread for what it needs, given the parts; () for everything.
    """

    def __init__(self, needs: Callable[[Sequence[str]], Needs]) -> None:
        super().__init__("A snapshot with a label, or of a part")
        self._needs = needs

    def compose_body(self) -> Iterable[Widget]:
        with Vertical(classes="form"):
            yield Label("label; one that has it is never pruned")
            yield Field(id="label", placeholder="before-the-upgrade", compact=True)
            yield Label("what it holds")
            yield Choice(CONTENTS, id="contents")
        yield Facts(id="learnt")
        with Horizontal(classes="buttons"):
            yield Button("Back up", id="save", compact=True)
        yield Facts(("enter", "accent"), " Next, back up   ", ("tab", "accent"), " Next field   ",
                    ("escape", "accent"), " Cancel", classes="keys")  # fmt: skip

    def on_mount(self) -> None:
        self.query_one("#label").focus()
        self._look()

    @on(Choice.Changed)
    def _look(self) -> None:
        self.query_one("#learnt", Facts).show((LOOKING, "dim"))
        self.ask(partial(self._needs, self._parts), self._needed, self._not_needed, group="needs")

    @property
    def _parts(self) -> tuple[str, ...]:
        chosen = self.query_one(Choice).chosen
        return () if chosen == ALL else tuple(chosen.split())

    def _needed(self, needs: Needs) -> None:
        self.query_one("#learnt", Facts).show("\n".join(needed(needs)))

    def _not_needed(self, error: ConsoleError) -> None:
        self.query_one("#learnt", Facts).show(*_unknown(error))

    @on(Button.Pressed, "#save")
    def _save(self) -> None:
        self.submit()

    def filled_in(self) -> None:
        """Leave with what was typed; whether the label can be had is seen in the place."""
        self.dismiss(Wishes(self.query_one("#label", Field).value.strip(), self._parts))

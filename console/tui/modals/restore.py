"""Before a snapshot comes back: what would change, who is at work, and then the question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button

from console.core import format as fmt
from console.core.errors import ConsoleError
from console.core.text import clean
from console.tui.modals.confirm import ConfirmModal
from console.tui.widgets.facts import Facts, Part

if TYPE_CHECKING:
    from console.core.backup.restoring.restore_plan import RestorePlan

Parts = tuple[str, ...]
# What may be asked for alone; settings and certificates come back into an empty folder only.
SETS: tuple[Parts, ...] = (
    ("database", "artifacts", "users"), ("database", "artifacts"), ("database",), ("artifacts",),
    ("users",),
)  # fmt: skip
MEANWHILE = (
    "until it is done the tracking server is stopped, and who asks for it is told so: nobody "
    "logs anything"
)


class RestoreModal(ConfirmModal):
    """Shows the plan; the answer that changes nothing has the focus.

    Args:
        named: Which snapshot, in words.
        held: The parts it holds.
        plan: Asked on a thread what would change, given the parts.
        at_work: Asked on a thread who would be interrupted.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "parts", "Other parts", show=False, id="restore.parts",
                tooltip="Bring back other parts of it"),
    ]  # fmt: skip

    def __init__(
        self, named: str, held: Sequence[str], plan: Callable[[Sequence[str]], RestorePlan],
        at_work: Callable[[], Sequence[str]],
    ) -> None:  # fmt: skip
        super().__init__(f"Restore {named}?", "Restore", learn=at_work)
        fitting = [tuple(part for part in each if part in held) for each in SETS]
        self._sets = list(dict.fromkeys(each for each in fitting if each))
        self._at = 0
        self._plan = plan

    @property
    def parts(self) -> Parts:
        """What comes back."""
        return self._sets[self._at] if self._sets else ()

    def compose_body(self) -> Iterable[Widget]:
        yield Facts(id="parts")
        with VerticalScroll(classes="dialog-text", can_focus=False):
            # Who would be interrupted stands first: on a small screen the rest is scrolled to.
            yield Facts((self.LOOKING, "dim"), id="learnt")
            yield Facts(id="lines")
        with Horizontal(classes="buttons"):
            yield Button("Leave it", id="no", compact=True)
            yield Button(self.does, id="yes", compact=True)

    def on_mount(self) -> None:
        self._look()

    def action_parts(self) -> None:
        """Ask what would change with the next set of parts."""
        if len(self._sets) > 1:
            self._at = (self._at + 1) % len(self._sets)
            self._look()

    def _look(self) -> None:
        others: list[Part] = ["   ", ("p", "accent"), " other parts"]
        self.query_one("#parts", Facts).show(
            "Back come: ", (", ".join(self.parts), "bold"), *(others if len(self._sets) > 1 else ())
        )
        self._allow(False)
        self.query_one("#lines", Facts).show(("Looking what would change…", "dim"))
        self.ask(partial(self._plan, self.parts), self._planned, self._unplanned, group="plan")

    def _allow(self, yes: bool) -> None:
        """Restoring can be chosen once it is known what that means."""
        self.query_one("#yes", Button).disabled = not yes
        if not yes:
            self.query_one("#no").focus()

    def _planned(self, plan: RestorePlan) -> None:
        self.query_one("#lines", Facts).show(*_said(plan))
        self._allow(_enough(plan))

    def _unplanned(self, error: ConsoleError) -> None:
        hint = "".join(f"\n  {clean(line, 300)}" for line in error.hint.splitlines())
        self.query_one("#lines", Facts).show(
            ("✗ ", "bad"), clean(error.message, 500), (hint, "dim")
        )

    def on_resize(self) -> None:
        """A plan is read whole where there is room for it."""
        self.query_one(VerticalScroll).styles.max_height = max(5, self.size.height - 14)


def _enough(plan: RestorePlan) -> bool:
    return plan.free_bytes is None or plan.needed_bytes <= plan.free_bytes


def _said(plan: RestorePlan) -> list[Part]:
    parts: list[Part] = []
    for warning in plan.warnings:
        parts += [("! ", "warn"), f"{clean(warning, 400)}\n"]
    for line in (MEANWHILE, *plan.lines):
        parts += [("· ", "dim"), f"{clean(line, 400)}\n"]
    if plan.needed_bytes and plan.free_bytes is not None:
        sign: Part = ("· ", "dim") if _enough(plan) else ("✗ ", "bad")
        room = f"{fmt.size(plan.needed_bytes)}; {fmt.size(plan.free_bytes)} are free"
        parts += [sign, f"it needs at most {room}"]
    return parts

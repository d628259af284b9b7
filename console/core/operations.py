"""The table of verbs. Help, palette, confirmation, `--yes` and read-only all come from it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from console.core.deployment import Deployment

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Risk(StrEnum):
    """What a verb can do to somebody."""

    READ = "read"
    WRITE = "write"
    INTERRUPT = "interrupt"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of one area.

    Attributes:
        area: The room it lives in, the same name in every layer.
        verb: The name of the method, the command and the action.
        summary: One line for help and palette.
        risk: What it can do to somebody.
        cli_only: It has no place in the console.
        option: It is no command of its own: this option of that command, "down --volumes".
    """

    area: str
    verb: str
    summary: str
    risk: Risk
    cli_only: bool = False
    option: str = ""

    @property
    def id(self) -> str:
        return f"{self.area}.{self.verb}"


OPERATIONS: dict[str, Operation] = {
    operation.id: operation
    for operation in (
        Operation("deployment", "init", "Set up a new deployment in a directory", Risk.WRITE),
        Operation(
            "deployment", "forget", "Take a deployment off the list; its files stay",
            Risk.WRITE, cli_only=True,
        ),
        Operation(
            "deployment", "deployments", "List the known deployments", Risk.READ, cli_only=True
        ),
        Operation(
            "deployment", "audit", "Who changed what and when", Risk.READ, cli_only=True
        ),
        Operation(
            "deployment", "demo", "Log sample experiments over HTTP", Risk.WRITE, cli_only=True
        ),
        Operation("stack", "status", "State and health of every service", Risk.READ),
        Operation("stack", "logs", "Show and follow the logs", Risk.READ),
        Operation("stack", "up", "Bring the stack up", Risk.WRITE),
        Operation("stack", "down", "Stop the stack", Risk.INTERRUPT),
        Operation("stack", "stop", "Stop services and keep their containers", Risk.INTERRUPT),
        Operation("stack", "start", "Start services that were stopped", Risk.WRITE),
        Operation("stack", "restart", "Stop the stack and bring it up again", Risk.INTERRUPT),
        Operation("stack", "recreate", "Make the containers anew; data stays", Risk.INTERRUPT),
        Operation("stack", "pull", "Fetch the images; what runs goes on", Risk.WRITE),
        Operation("stack", "build", "Build the images; what runs goes on", Risk.WRITE),
        Operation("stack", "shell", "A shell in a service, or its database client", Risk.WRITE),
        Operation(
            "stack", "destroy", "Stop the stack and remove all its data", Risk.DESTROY,
            option="down --volumes",
        ),
        Operation("users", "list", "Who can log in", Risk.READ),
        Operation("users", "add", "Give somebody a password", Risk.WRITE),
        Operation("users", "passwd", "Change somebody's password", Risk.WRITE),
        Operation("users", "renew", "Make the password of the console's own user anew", Risk.WRITE),
        Operation("users", "rename", "Give somebody another name", Risk.WRITE),
        Operation("users", "disable", "Keep somebody out until enabled again", Risk.WRITE),
        Operation("users", "enable", "Let somebody in again", Risk.WRITE),
        Operation("users", "remove", "Take somebody's access away", Risk.DESTROY),
        Operation("users", "check", "Whether a password is somebody's", Risk.READ),
        Operation("users", "activity", "Who was here, how often and from where", Risk.READ),
        Operation("users", "handover", "What somebody needs to log runs", Risk.READ),
        Operation("users", "import", "Take users over from another htpasswd file", Risk.DESTROY),
        Operation(
            "users", "undo", "Take back the last change of the users; a second time does it again",
            Risk.WRITE,
        ),
        Operation("experiments", "list", "The experiments and their number of runs", Risk.READ),
        Operation("experiments", "show", "One experiment", Risk.READ),
        Operation("runs", "list", "The runs of an experiment", Risk.READ),
        Operation("runs", "show", "Parameters, metrics and tags of a run", Risk.READ),
        Operation("storage", "usage", "Bytes and objects an experiment and run", Risk.READ),
        Operation("backup", "create", "Make a snapshot of everything", Risk.WRITE),
        Operation("backup", "list", "The snapshots, and what was proven of each", Risk.READ),
        Operation("backup", "show", "One snapshot; with --runs what is in it", Risk.READ),
        Operation("backup", "verify", "Read every byte of a snapshot again", Risk.WRITE),
        Operation(
            "backup", "drill", "Prove that a snapshot restores, in parts of its own", Risk.WRITE
        ),
        Operation("backup", "restore", "Bring a snapshot back", Risk.INTERRUPT),
        Operation("backup", "diff", "What changed between two snapshots", Risk.READ),
        Operation("backup", "find", "Which snapshots hold a run", Risk.READ),
        Operation(
            "backup", "prune", "Remove the snapshots that nothing asks to keep", Risk.DESTROY
        ),
        Operation("backup", "schedule", "Make snapshots by a timer", Risk.WRITE),
        Operation("backup", "unlock", "Take a lock away whose holder is dead", Risk.WRITE),
        Operation("doctor", "doctor", "What is wrong or will be, and what to do", Risk.READ),
        Operation(
            "notify", "show", "Where messages go, and the timer that looks", Risk.READ,
            cli_only=True,
        ),
        Operation(
            "notify", "on", "Send messages when something goes wrong, by a systemd timer",
            Risk.WRITE, cli_only=True,
        ),
        Operation("notify", "test", "Send a message now", Risk.WRITE, cli_only=True),
        Operation(
            "notify", "off", "Send no more messages; remove the timer", Risk.WRITE, cli_only=True
        ),
        Operation(
            "notify", "send", "Tell what appeared or ended since the last message", Risk.READ,
            cli_only=True, option="status --notify",
        ),
    )
}  # fmt: skip


class Area(Protocol):
    """A service object that belongs to an opened deployment."""

    deployment: Deployment


A = TypeVar("A", bound=Area)


def operation(
    operation_id: str, target: Callable[..., str] | None = None
) -> Callable[[Callable[Concatenate[A, P], R]], Callable[Concatenate[A, P], R]]:
    """Make a method the implementation of a verb: read-only is refused, changes are audited.

    A method that yields its progress is audited when it ends; one that is left early counts as
    cancelled.

    Args:
        operation_id: The verb's id in the table, "area.verb".
        target: Called with the method's own arguments; says what is being changed, for the
            audit trail. It must never return a secret.
    """
    spec = OPERATIONS[operation_id]

    def decorate(method: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], R]:
        if spec.risk is Risk.READ:
            return implements(operation_id)(method)

        @functools.wraps(method)
        def call(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with self.deployment.change(spec, _target(target, args, kwargs)):
                return method(self, *args, **kwargs)

        @functools.wraps(method)
        def generate(self: A, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            with self.deployment.change(spec, _target(target, args, kwargs)):
                yield from method(self, *args, **kwargs)  # type: ignore[misc]  # a generator here

        wrapper: Any = generate if inspect.isgeneratorfunction(method) else call
        return implements(operation_id)(wrapper)  # type: ignore[no-any-return]  # one of these

    return decorate


def _target(target: Callable[..., str] | None, args: Any, kwargs: Any) -> str:
    return "" if target is None else target(*args, **kwargs)


def implements(operation_id: str) -> Callable[[F], F]:
    """Say which verb a function implements, for the test that finds missing ones."""

    def tag(function: F) -> F:
        function.operation = OPERATIONS[operation_id]  # type: ignore[attr-defined]  # ours
        return function

    return tag

"""Every verb of the table has a method and a command, and there is nothing more."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import typer.main

from console import core
from console.cli.app import app
from console.core.operations import OPERATIONS, Operation

AREAS = {"users", "experiments", "runs", "storage", "backup", "notify"}


def _implemented() -> Iterator[Operation]:
    for found in pkgutil.walk_packages(core.__path__, "console.core."):
        module = importlib.import_module(found.name)
        for thing in vars(module).values():
            if getattr(thing, "__module__", None) != found.name:
                continue
            for each in (thing, *(vars(thing).values() if inspect.isclass(thing) else ())):
                operation = getattr(each, "operation", None)
                if isinstance(operation, Operation):
                    yield operation


def _commands() -> dict[str, tuple[str, object]]:
    """Words to help text and function, of every command that can be called."""
    found: dict[str, tuple[str, object]] = {}

    def walk(group: object, words: tuple[str, ...]) -> None:
        commands = getattr(group, "commands", None)
        if commands is None:
            assert not getattr(group, "hidden", False)
            found[" ".join(words)] = (str(getattr(group, "help", "")), group)
            return
        for name, command in commands.items():
            walk(command, (*words, name))

    walk(typer.main.get_command(app), ())
    return found


def _words(operation: Operation) -> str:
    if operation.option:
        return operation.option.partition(" --")[0]
    return f"{operation.area} {operation.verb}" if operation.area in AREAS else operation.verb


def test_every_verb_is_implemented_once() -> None:
    tagged = [operation.id for operation in _implemented()]
    assert sorted(tagged) == sorted(OPERATIONS)


def test_every_verb_is_a_command_and_no_other() -> None:
    assert set(_commands()) == {_words(operation) for operation in OPERATIONS.values()}


def test_help_comes_from_the_table() -> None:
    commands = _commands()
    for operation in OPERATIONS.values():
        if operation.option:
            command, option = operation.option.rsplit(" ", 1)
            params = getattr(commands[command][1], "params", ())
            assert option in [each for param in params for each in param.opts]
        else:
            assert commands[_words(operation)][0] == f"{operation.summary}."

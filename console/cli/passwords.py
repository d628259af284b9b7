"""How a command comes to a password: from a pipe, made up, or asked for; never an argument."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from console.cli.context import on_terminal
from console.cli.output import Output
from console.core.errors import CancelledError, ConsoleError, UsageError
from console.core.secrets import Secret
from console.core.settings import UsersSettings

LONGEST_LINE = 4_096

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from one line of stdin.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make a password up and print it once on stdout.")
]
Length = Annotated[
    int | None, typer.Option("--length", metavar="N", help="With --generate: characters, 12 to 72.")
]
Words = Annotated[
    int | None, typer.Option("--words", metavar="N", help="With --generate: words, 4 to 12.")
]
Weak = Annotated[
    bool, typer.Option("--weak", help="Take a password that is easy to guess all the same.")
]


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What the command line says of a new password."""

    from_stdin: bool
    generate: bool
    length: int | None
    words: int | None
    weak: bool

    @property
    def said(self) -> bool:
        """Whether it says anything."""
        made = self.length is not None or self.words is not None
        return self.from_stdin or self.generate or self.weak or made

    def of(self, name: str, settings: UsersSettings, familiar: Iterable[str]) -> Secret:
        """The password: from a pipe, made up, or asked for twice.

        Args:
            name: Of the user.
            settings: How long one that is made up is.
            familiar: What else it should not be made of.

        Raises:
            UsageError: There is no way to get one, or it cannot be used, or is too weak.
        """
        from console.core.users import passwords  # noqa: PLC0415  # first use

        self._check()
        if self.generate:
            by_length = self.length is not None or not settings.generated_words
            usual = None if by_length else settings.generated_words
            return passwords.generate(
                length=self.length, words=usual if self.words is None else self.words
            )
        secret = _from_pipe() if self.from_stdin else _asked(name)
        found = passwords.strength(secret, (name, *familiar))
        if found.weak and not self.weak:
            raise UsageError(found.sentence, "Give another one, or --weak to take it all the same.")
        return secret

    def _check(self) -> None:
        if self.from_stdin and self.generate:
            raise UsageError(
                "--password-stdin and --generate cannot be had together", "Leave one of them out."
            )
        if self.length is not None and self.words is not None:
            raise UsageError(
                "--length and --words cannot be had together", "Leave one of them out."
            )
        if not self.generate and (self.length is not None or self.words is not None):
            raise UsageError("--length and --words are for --generate", "Add it.")


def password_of(whose: str, from_stdin: bool) -> Secret:
    """A password that there is already: from a pipe, or asked for once.

    Raises:
        UsageError: There is no way to get one.
    """
    if from_stdin:
        return _from_pipe()
    if not on_terminal():
        raise UsageError("There is no terminal to ask for a password", "Give --password-stdin.")
    try:
        return Secret(getpass.getpass(f"Password of {whose}: ", stream=sys.stderr))
    except EOFError:
        raise CancelledError("Nothing was checked") from None


def _from_pipe() -> Secret:
    if sys.stdin.isatty():
        raise UsageError(
            "--password-stdin reads a pipe, and a terminal would show what is typed",
            "Leave it out to be asked.",
        )
    line = sys.stdin.buffer.readline(LONGEST_LINE)
    if not line:
        raise UsageError("There is no password on stdin", "Give it in one line.")
    try:
        return Secret(line.removesuffix(b"\n").removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        # From None: the cause holds the bytes.
        raise UsageError("The password on stdin is not UTF-8") from None


def _asked(whose: str) -> Secret:
    if not on_terminal():
        raise UsageError(
            "There is no terminal to ask for a password",
            "Give --password-stdin, or --generate to have one made up.",
        )
    try:
        first = getpass.getpass(f"New password of {whose}: ", stream=sys.stderr)
        second = getpass.getpass("The same again: ", stream=sys.stderr)
    except EOFError:
        raise CancelledError("Nothing was changed") from None
    if first != second:
        raise UsageError("The two passwords differ", "Nothing was changed; do it again.")
    return Secret(first)


def show_generated(output: Output, secret: Secret, name: str) -> None:
    """Print a made-up password, which cannot be shown again.

    Raises:
        ConsoleError: stdout is closed or full.
    """
    try:
        output.secret(secret.reveal())
    except OSError:
        raise ConsoleError(
            f"The password of {name} is set, but it could not be printed",
            f"Set another one: mlflow-console users passwd {name}",
        ) from None

"""One error tree: what went wrong, what to do about it, and the exit code that says so."""

from __future__ import annotations


class ConsoleError(Exception):
    """Something a person can understand and act on; both front ends show it as it is.

    Args:
        message: What is wrong, one sentence without the full stop's follow-ups.
        hint: What to do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ConsoleError):
    """The command line, or what was typed into a form, cannot be meant."""

    exit_code = 2


class UnreachableError(ConsoleError):
    """The deployment is stopped, or something it needs does not answer."""

    exit_code = 4


class CancelledError(ConsoleError):
    """The person stopped it; the message says what is complete and how to go on."""

    exit_code = 130


class ReadOnlyError(ConsoleError):
    """A changing verb was asked for while the deployment is opened read-only."""


class SettingsError(ConsoleError):
    """A settings file is truncated, has an unknown key or comes from a newer version."""


class NoDeploymentError(ConsoleError):
    """No deployment was named, and none or several are known."""


class SeveralDeploymentsError(NoDeploymentError):
    """Several deployments are known and none was named: the command line must say which."""

    exit_code = 2


class NotOursError(ConsoleError):
    """A directory, a process or a port belongs to somebody else."""


class DiskFullError(ConsoleError):
    """There is not enough room, before or while something was written."""


class AccessError(ConsoleError):
    """The operating system's rights forbid it to this account."""


class BusyError(ConsoleError):
    """Another process holds the lock for longer than it is reasonable to wait."""

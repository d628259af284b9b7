"""How far a restore is: `run/restore.json`, there while one is not at its end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.core import files
from console.core.backup.snapshot import Part
from console.core.errors import ConsoleError
from console.core.text import clean

if TYPE_CHECKING:
    from console.core.deployment import Deployment, Paths

FORMAT = 1
BEFORE_CHANGES = ("", "made", "closed")
"""The steps after which everything is as it was, but for who is let in."""


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """A restore that was begun.

    Attributes:
        snapshot: The folder of what comes back.
        fresh: It comes into a new directory: nothing was there before.
        safety: The folder of what was there before; "" until that was taken.
        done: The step that was done last.
        back: It failed, and why; the safety snapshot is being brought back.
    """

    snapshot: str
    parts: tuple[Part, ...]
    by: str
    started_at: datetime
    fresh: bool = False
    safety: str = ""
    done: str = ""
    back: str = ""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """The snapshot's id, to be shown."""
        return clean(Path(self.snapshot).name)

    @property
    def untouched(self) -> bool:
        """It broke off before anything was changed."""
        return not self.fresh and not self.safety and self.done in BEFORE_CHANGES

    @property
    def words(self) -> str:
        """That it broke off, for a sentence."""
        return (
            f"restoring {self.name} was begun by {clean(self.by, 60)} at "
            f"{self.started_at:%Y-%m-%d %H:%M} UTC and broke off "
            f"{'before anything was changed' if self.untouched else 'in the middle'}"
        )

    def means(self, wanted: str) -> bool:
        """Whether somebody who wants a snapshot back goes on with this."""
        return wanted == self.snapshot or Path(self.snapshot).name.startswith(wanted)

    @property
    def ways_on(self) -> str:
        """The commands that bring it to an end."""
        on = f"`mlflow-console backup restore {self.name}` goes on with it"
        if self.untouched:
            return f"{on}; `mlflow-console up` gives it up."
        if not self.safety or self.safety == self.snapshot:
            return f"{on}."
        before = clean(Path(self.safety).name)
        return f"{on}; `mlflow-console backup restore {before}` brings back what was there before."


def file(paths: Paths) -> Path:
    """Where it lies."""
    return paths.run / "restore.json"


def read(paths: Paths) -> Journal | None:
    """What was begun and not ended; raises ConsoleError when that cannot be told."""
    path = file(paths)
    with files.explained(path):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Journal)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConsoleError(
                f"{path} makes no sense, so it cannot be told how far a restore has come",
                "The newest snapshot with the reason `safety` is what was there before.",
            ) from error


def refuse_half_restored(paths: Paths) -> None:
    """Let nobody use what is half of a snapshot and half of what was there before.

    Raises:
        ConsoleError: A restore was begun and not ended; how to end it.
    """
    begun = read(paths)
    if begun is not None and not begun.untouched:
        raise ConsoleError(
            f"Restoring {begun.name} broke off in the middle, and what is there now is half of it",
            begun.ways_on,
        )


def give_up(deployment: Deployment) -> None:
    """Forget a restore that broke off before anything was changed, and let clients in again.

    Raises:
        ConsoleError: Something was changed; how to end it.
    """
    refuse_half_restored(deployment.paths)
    if read(deployment.paths) is not None:
        deployment.driver.maintenance(False)
        end(deployment.paths)


def write(paths: Paths, journal: Journal) -> None:
    """Note how far it is."""
    files.make_folder(paths.run)
    files.write_atomic(file(paths), msgspec.json.encode(journal), mode=0o600)


def end(paths: Paths) -> None:
    """It is at its end."""
    with files.explained(file(paths)):
        file(paths).unlink(missing_ok=True)

"""The areas of the console: one mode each, with the key that leads there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from console.tui.area import AreaScreen


@dataclass(frozen=True, slots=True)
class Area:
    """One area.

    Attributes:
        name: Of the mode, and of the area in every other layer.
        key: Leads there from anywhere.
        screen: The class of its first screen, in the module of the same name.
        rooms: The areas of the table of verbs that it shows.
    """

    name: str
    key: str
    title: str
    screen: str
    rooms: tuple[str, ...]

    def open(self) -> AreaScreen:
        """Import the screen, which is done when its mode is first opened, and make one."""
        module = importlib.import_module(f"console.tui.screens.{self.name}")
        return cast("AreaScreen", getattr(module, self.screen)())


AREAS = (
    Area("home", "1", "Home", "HomeScreen", ("deployment",)),
    Area("stack", "2", "Stack", "StackScreen", ("stack",)),
    Area("users", "3", "Users", "UsersScreen", ("users",)),
    Area("experiments", "4", "Experiments", "ExperimentsScreen", ("experiments", "runs")),
    Area("storage", "5", "Storage", "StorageScreen", ("storage",)),
    Area("backup", "7", "Backup", "BackupScreen", ("backup",)),
    Area("doctor", "8", "Doctor", "DoctorScreen", ("doctor",)),
)
HOME = AREAS[0]


def area_of(room: str) -> Area:
    """The area that shows a room of the table of verbs."""
    return next(each for each in AREAS if room in each.rooms)

"""The console's own user, and what the core says of user files beside a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from console.core.users import importing
from console.core.users.htpasswd import Htpasswd
from console.core.users.importing import ImportPlan
from console.tui.screens.users import UsersScreen
from tests.tui.fake import Fake, FakeUsers, user
from tests.tui.helpers import column, opened, press, said, toasts


async def test_its_password_is_made_anew_also_where_no_row_stands_for_it() -> None:
    fake = Fake(users=FakeUsers(users=[user("alice")]))
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "o")
        assert column(app, "#users", 0) == ["alice"]
        assert fake.users.passwords == {"mlflow-console": "made anew"}
        assert toasts(app) == ["mlflow-console has a new password, and the console knows it"]


async def test_what_is_said_beside_a_change_is_a_toast() -> None:
    fake: Any = Fake()

    class Beside(FakeUsers):
        def renew(self) -> None:
            fake.warn("That counts within 30 s: \x1b[31m[/x]")

    fake.users = Beside()
    async with opened(fake) as (app, pilot):
        await press(pilot, "3", "o")
        assert "That counts within 30 s: [/x]" in toasts(app)


class Importing(FakeUsers):
    """Keeps what it was told to import."""

    def plan_import(self, content: bytes, *, host: str = "default") -> ImportPlan:
        here = Htpasswd.parse(b"alice:{SHA}a=\n")
        return importing.plan(here, Htpasswd.parse(content), "mlflow-console")

    def import_(self, plan: ImportPlan, *, host: str = "default", replace: bool = False) -> None:
        self.imported = (plan.added, plan.changed if replace else ())


@pytest.mark.parametrize("replace", [True, False])
async def test_an_import_asks_about_those_who_are_here(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"bob:{SHA}b=\nalice:{SHA}x=\nhunter2\nbob:{SHA}c=\n")
    users = Importing()
    async with opened(Fake(users=users)) as (app, pilot):
        await press(pilot, "3")
        assert isinstance(app.screen, UsersScreen)
        app.screen.action_import()
        await pilot.pause()
        app.screen.query_one("#typed", Input).value = str(path)
        await press(pilot, "enter")
        assert said(app, "#lines") == "alice"
        await press(pilot, *(("right", "enter") if replace else ("escape",)))
        state = "gets the one from there" if replace else "keeps it"
        assert said(app, "#lines").splitlines() == [
            "bob: new, weak: sha",
            f"alice: has another password or state here; {state}, weak: sha",
            "line 3: left out, it is no user and no comment",
            "line 4, bob: left out, line 1 of this name counts",
        ]
        await press(pilot, "right", "enter")
        assert users.imported == (("bob",), ("alice",) if replace else ())
        assert f"{1 + replace} user{'s' * replace} imported; z undoes it" in toasts(app)


async def test_an_import_of_nobody_says_who_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"hunter2\nmlflow-console:{SHA}x=\n")
    async with opened(Fake(users=Importing())) as (app, pilot):
        await press(pilot, "3")
        assert isinstance(app.screen, UsersScreen)
        app.screen.action_import()
        await pilot.pause()
        app.screen.query_one("#typed", Input).value = str(path)
        await press(pilot, "enter")
        assert toasts(app) == [
            "There is nobody to import; line 1: left out, it is no user and no comment; line 2, "
            "mlflow-console: left out, the console's own account stays as it is here"
        ]

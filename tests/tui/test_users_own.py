"""The console's own user, and what the core says of user files beside a result."""

from __future__ import annotations

from typing import Any

from tests.tui.fake import Fake, FakeUsers, user
from tests.tui.helpers import column, opened, press, toasts


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

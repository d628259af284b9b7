"""What is handed over to a user, in the console."""

from __future__ import annotations

from console.core.users.handover import Handover
from console.tui.modals.handover import HandoverModal
from tests.tui.fake import Fake
from tests.tui.helpers import opened, press, settle

FOUND = Handover(
    url="http://localhost:5000", forward="-L 5000:127.0.0.1:5000", certificate="",
    exports=tuple(f"export MLFLOW_TRACKING_{each}=x" for each in ("URI", "USERNAME", "PASSWORD")),
    program=("import mlflow", "two", "three", "four", "the last line"),
    note="alice is disabled and cannot log in now",
)  # fmt: skip


async def test_all_of_it_can_be_read_on_a_small_screen() -> None:
    async with opened(Fake()) as (app, pilot):
        app.push_screen(HandoverModal("alice", FOUND))
        await settle(pilot)

        def drawn() -> str:
            return "\n".join(strip.text for strip in app.screen._compositor.render_strips())

        for words in ("In the shell:", "cannot log in now", "Close"):
            assert words in drawn()
        await press(pilot, "end")
        assert "In Python:" in drawn()
        assert "the last line" in drawn()

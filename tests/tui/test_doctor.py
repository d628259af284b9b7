"""Doctor, and its findings on Home: the same list, asked for when it may have changed."""

from __future__ import annotations

from dataclasses import replace

from console.core.errors import ConsoleError
from console.core.stack.driver import Finding, Severity
from console.tui.modals.detail import DetailModal
from tests.tui.fake import NASTY, Fake, FakeDoctor, service, stack_status, status, stopped
from tests.tui.helpers import column, opened, press, said, settle, table, toasts

PUBLIC = Finding(
    "bucket-public", Severity.ERROR, "store",
    "store: the bucket mlflow is public: whoever reaches the store may list and read artifacts",
    "without a key it answers: list", "docker compose exec store mc anonymous set none it/mlflow",
)  # fmt: skip
LOGS = Finding(
    "logs-unlimited", Severity.WARNING, "", "The logs of database and store grow without a limit",
    "json-file without max-size", "logging: {driver: json-file}",
)  # fmt: skip
FULL = Finding("disk-nearly-full", Severity.WARNING, "store", "store: 90% of its disk are used")


def ill(*findings: Finding) -> Fake:
    fake = Fake.compose()
    fake.doctor = FakeDoctor(findings or (PUBLIC, LOGS), ("ports", "logs"))
    return fake


async def test_one_list_of_status_and_doctor() -> None:
    fake = ill()
    fake.stack.now = stack_status(FULL)
    async with opened(fake) as (app, pilot):
        await press(pilot, "8")
        assert said(app, "#sum").startswith("✗ 1 error   ! 2 warnings   looked at 14:02:11")
        assert column(app, "#doctor", 1) == ["error", "warning", "warning"]
        assert column(app, "#doctor", 2) == ["store", "store", ""]
        assert column(app, "#doctor", 3)[0].startswith("the bucket mlflow is public")
        assert "do    docker compose exec store" in said(app, "#detail")
        await press(pilot, "j", "j")
        assert "seen  json-file without max-size" in said(app, "#detail")


async def test_nothing_to_mend() -> None:
    fake = ill(LOGS)
    async with opened(fake) as (app, pilot):
        await press(pilot, "8")
        assert "1 warning" in said(app, "#sum")
        fake.doctor.findings = ()
        await press(pilot, "r")
        assert said(app, "#sum") == (
            "✓ Nothing to mend. Looked at 14:02:11: services, disks, ports, logs"
        )
        assert (table(app, "#doctor").rows, said(app, "#detail")) == ([], "")
        await press(pilot, "y", "enter")
        assert toasts(app) == []


async def test_all_of_a_finding_and_its_remedy() -> None:
    async with opened(ill()) as (app, pilot):
        await press(pilot, "8", "y")
        assert app.clipboard == PUBLIC.fix
        assert toasts(app) == ["Sent to your terminal's clipboard"]
        await press(pilot, "enter")
        assert isinstance(app.screen, DetailModal)
        assert ("what to do", PUBLIC.fix) in app.screen.pairs


async def test_home_shows_them_below_its_own() -> None:
    fake = ill()
    fake.stack.now = stack_status(FULL)
    async with opened(fake) as (app, pilot):
        assert column(app, "#findings", 1) == [FULL.title, PUBLIC.title, LOGS.title]
        fake.doctor.findings = (LOGS,)
        await press(pilot, "r")
        assert column(app, "#findings", 1) == [FULL.title, LOGS.title]
        await press(pilot, "j", "enter")
        assert isinstance(app.screen, DetailModal)


async def test_it_is_asked_when_other_services_run_and_not_all_the_time() -> None:
    fake = ill()
    async with opened(fake) as (app, pilot):
        assert fake.doctor.looks == 1
        for now in (fake.stack.now, stack_status(FULL), stack_status()):
            app._status_seen(now)
            await settle(pilot)
        assert fake.doctor.looks == 1
        proxy = next(each for each in fake.stack.now.services if each.name == "proxy")
        for looks, ports in ((2, ("0.0.0.0:5000",)), (3, proxy.ports)):
            app._status_seen(stack_status(proxy=replace(proxy, ports=ports)))
            await settle(pilot)
            assert fake.doctor.looks == looks
        app._status_seen(stopped())
        await settle(pilot)
        assert fake.doctor.looks == 4


async def test_a_doctor_that_fails_is_said() -> None:
    fake = ill()
    fake.doctor.fails = ConsoleError("Compose cannot read it", "mend it")
    async with opened(fake) as (app, pilot):
        assert column(app, "#findings", 1) == ["The doctor could not look: Compose cannot read it"]
        await press(pilot, "8")
        assert "Could not look: Compose cannot read it" in said(app, "#sum")
        fake.doctor.fails = None
        await press(pilot, "r")
        assert said(app, "#sum").startswith("✗ 1 error   ! 1 warning")


async def test_names_and_words_that_are_hostile() -> None:
    nasty = Finding(NASTY, Severity.ERROR, NASTY, f"{NASTY} is open", NASTY, NASTY)
    async with opened(ill(nasty, replace(nasty, title=NASTY))) as (app, pilot):
        await press(pilot, "8", "j", "enter", "escape")
        assert "\x1b" not in said(app, "#detail")
        assert len(table(app, "#doctor").rows) == 2


async def test_an_embedded_deployment() -> None:
    fake = Fake()
    fake.stack.now = status(service())
    async with opened(fake) as (app, pilot):
        await press(pilot, "8")
        assert said(app, "#sum") == "✓ Nothing to mend. Looked at 14:02:11: services, disks"

"""The backup area on the command line: real snapshots of a small deployment that does not run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from console.cli.backup_comparing import _summary
from console.core import systemd
from console.core.backup import sums
from console.core.backup.compare import Changes, Difference
from console.core.backup.create import Needs
from console.core.backup.records import load_manifest, save_manifest
from console.core.backup.restoring import restore_journal
from console.core.backup.restoring.restore_journal import Journal
from console.core.backup.service import BackupService
from console.core.backup.snapshot import PARTS, Manifest
from console.core.deployment import Deployment
from console.core.stack.embedded import EmbeddedDriver
from tests.cli.conftest import PROGRAM, Cli, Terminal

HOSTILE = "[red]x[/]\x1b[2J\u202eevil"
PROMISED = [
    "id", "label", "created_at", "bytes", "new_bytes", "artifacts", "database", "versions",
    "verified_at", "drilled_at", "complete", "state",
]  # fmt: skip


# What a dump has to hold beside the tables that the console reads otherwise.
MORE = """
    CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('abc123');
    CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
    CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32),
        step BIGINT, is_nan BOOLEAN);
"""


@pytest.fixture(autouse=True)
def held(database: Path, deployment: Deployment) -> None:
    """Two experiments, two runs, three artifacts, and somebody's odd names."""
    for key in ("1/a1/artifacts/model.bin", "1/a1/artifacts/[b]x\x1b[1m", "2/b1/artifacts/gone"):
        path = deployment.paths.artifacts / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
    with sqlite3.connect(database) as connection:
        connection.executescript(MORE)
        connection.execute("UPDATE runs SET name = ? WHERE run_uuid = 'a1'", [HOSTILE])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def snapshot(program: Cli, place: Path) -> str:
    """A first snapshot; its id."""
    result = program("backup", "create", "--to", str(place), "--json")
    assert result.code == 0, result.err
    return str(json.loads(result.out)["id"])


def listed(cli: Cli) -> list[dict[str, Any]]:
    result = cli("backup", "list", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert isinstance(found, list)
    return found


def break_one(place: Path, snapshot: str) -> str:
    """Flip a bit of an artifact; its name in the snapshot."""
    name = "artifacts/1/a1/artifacts/model.bin"
    with (place / snapshot / name).open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    return name


def rewrite(folder: Path, made: Manifest) -> None:
    """Give a snapshot another manifest, and the checksums that go with it."""
    save_manifest(folder, made)
    for path in folder.glob("SHA256SUMS*"):
        path.unlink()
    sums.write(folder)


# Making one


def test_without_a_place_it_says_how_to_choose_one(program: Cli) -> None:
    result = program("backup", "create")
    assert result.code == 2
    assert "There is no place for snapshots yet" in result.err
    assert "--to DIR" in result.err
    result = program("backup", "list")
    assert (result.code, result.out) == (0, "")
    assert "`mlflow-console backup create --to DIR` makes one" in result.err
    assert program("backup", "list", "--json").out == "[]\n"


def test_a_snapshot_for_scripts(program: Cli, cli: Cli, place: Path) -> None:
    result = program("backup", "create", "--to", str(place), "--label", "before upgrade", "--json")
    assert result.code == 0, result.err
    made = json.loads(result.out)
    assert list(made)[: len(PROMISED)] == PROMISED
    assert listed(cli) == [made]
    assert (made["label"], made["complete"], made["state"]) == ("before upgrade", True, "ok")
    assert (made["artifacts"], made["parts"], made["reason"]) == (3, list(PARTS), "asked")
    assert (made["verified_at"], made["drilled_at"]) == (None, None)
    assert made["database"]["kind"] == "sqlite"
    assert (made["database"]["runs"], made["database"]["experiments"]) == (2, 2)
    assert made["database"]["rows"]["runs"] == 2
    assert made["bytes"] >= made["new_bytes"] > 0
    assert made["created_at"].endswith("Z")
    assert made["path"] == str(place / made["id"])
    assert json.loads(cli("backup", "list", "--jsonl").out) == made
    assert json.loads(cli("backup", "show", "before upgrade", "--json").out) == made
    assert json.loads(cli("backup", "show", made["id"][:10], "--json").out) == made
    assert json.loads(cli("backup", "show", made["path"], "--json").out) == made


def test_a_part_is_marked_as_one(program: Cli, cli: Cli, place: Path) -> None:
    result = program("backup", "create", "--to", str(place), "--only", "users,database")
    assert result.code == 0, result.err
    [made] = listed(cli)
    assert (made["complete"], made["parts"]) == (False, ["database", "users"])
    assert made["artifacts"] is None
    assert "only database, users" in cli("backup", "list").out
    assert "backup drill` proves" not in result.err  # a drill refuses what is not complete
    result = program("backup", "create")
    assert "backup drill` proves that it restores" in result.err
    assert "backup drill` proves" not in program("backup", "create").err
    result = program("backup", "create", "--only", "database,nonsense")
    assert result.code == 2
    assert "nonsense is no part of a snapshot" in result.err


def test_the_place_is_asked_for_on_a_terminal(
    terminal: Callable[..., Terminal], cli: Cli, place: Path
) -> None:
    there = terminal("backup", "create")
    there.expect("Where shall the snapshots be?")
    there.type("\n")
    assert there.close() == 130
    assert "Nothing was changed" in there.seen
    there = terminal("backup", "create")
    there.expect("Folder:")
    there.type(f"{place}\n")
    assert there.close() == 0, there.seen
    assert f"Snapshots go to {place}" in there.seen
    assert "It needs at most" in there.seen
    assert "are free" in there.seen
    assert "backup drill` proves that it restores" in there.seen
    assert len(listed(cli)) == 1


def test_what_cannot_fit_is_not_begun(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = Needs(10**18, 10**9, 3, 70, 70, ("It is the same disk as [the] \x1b[2Jdatabase",))
    monkeypatch.setattr(BackupService, "needs", lambda *_: needs)
    result = cli("backup", "create", "--to", str(place))
    assert result.code == 1
    assert "It needs at most 1000 PB, 1.0 GB are free: 3 artifacts of 70 B" in result.err
    assert "Warning: It is the same disk as [the] database" in result.err
    assert "has too little room for it: it needs at most 1000 PB" in result.err
    assert not place.exists()
    (place / ".making").mkdir(parents=True)  # what is there already is not counted
    (place / "place.json").write_bytes(marker_of(cli, place))
    assert cli("backup", "create", "--to", str(place)).code == 0


def marker_of(cli: Cli, place: Path) -> bytes:
    """What place.json says of a place of the same deployment."""
    other = place.with_name("for-its-marker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackupService, "needs", lambda *_: Needs(1, 2, 3, 70, 70))
        assert cli("backup", "create", "--to", str(other), "--only", "users").code == 0
    return (other / "place.json").read_bytes()


@pytest.mark.parametrize("there", [False, True])
def test_a_place_without_room_is_not_chosen(
    cli: Cli, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    settings = deployment.paths.settings
    needs = Needs(10**18, 10**9, 3, 70, 70)
    tiny, good = tmp_path / "tiny", tmp_path / "good"
    if there:
        tiny.mkdir()
    before = settings.read_bytes()
    for _ in ("without a place", "with one"):
        with monkeypatch.context() as patch:
            patch.setattr(BackupService, "needs", lambda *_: needs)
            result = cli("backup", "create", "--to", str(tiny))
        assert result.code == 1
        assert "nothing was begun; the place of the snapshots was not changed" in result.err
        assert "Snapshots go to" not in result.err
        assert settings.read_bytes() == before
        assert tiny.exists() is there
        assert not (there and list(tiny.iterdir()))
        assert cli("backup", "create", "--to", str(good)).code == 0
        assert Path(listed(cli)[0]["path"]).parent == good
        before = settings.read_bytes()


def test_the_same_place_emptied(cli: Cli, snapshot: str, place: Path) -> None:
    shutil.rmtree(place)
    result = cli("backup", "create", "--to", str(place))  # its disk is not mounted
    assert (result.code, place.exists()) == (1, False)
    assert "is not there" in result.err
    place.mkdir()
    result = cli("backup", "create")
    assert result.code == 1
    assert "its place.json is missing" in result.err
    result = cli("backup", "create", "--to", str(place))
    assert result.code == 0, result.err
    assert "stay there" not in result.err
    assert len(listed(cli)) == 1


@pytest.mark.parametrize(
    "arguments", [["find", "abc"], ["find", "abc", "--json"], ["prune"], ["prune", "--dry-run"]],
    ids=" ".join,
)  # fmt: skip
def test_without_a_place_nothing_is_known(cli: Cli, arguments: list[str]) -> None:
    result = cli("backup", *arguments)
    assert (result.code, result.out) == (1, "")
    assert "No place was chosen for the snapshots of" in result.err
    assert "--to DIR" in result.err


def test_another_place(program: Cli, cli: Cli, snapshot: str, tmp_path: Path) -> None:
    result = program("backup", "create", "--to", str(tmp_path / "other"))
    assert result.code == 0, result.err
    assert f"Those in {tmp_path / 'snapshots'} stay there" in result.err
    [made] = listed(cli)
    assert Path(made["path"]).parent == tmp_path / "other"
    shutil.rmtree(tmp_path / "other")  # or its disk is not mounted
    result = cli("backup", "list")
    assert result.code == 1
    assert "`mlflow-console backup create --to" in result.err
    result = program("backup", "create", "--to", str(tmp_path / "third"), "--json")
    assert result.code == 0, result.err
    assert listed(cli) == [json.loads(result.out)]


def test_a_place_that_cannot_be_one(program: Cli, deployment: Deployment) -> None:
    result = program("backup", "create", "--to", str(deployment.paths.artifacts))
    assert result.code in (1, 2)
    assert result.err.startswith("Error: ")
    assert deployment.settings.backup.place == ""
    assert listed(program) == []


def test_read_only_makes_nothing(cli: Cli, snapshot: str, place: Path) -> None:
    for arguments in (
        ["create"], ["create", "--to", str(place / "x")], ["verify"], ["drill"], ["prune"],
        ["restore", snapshot], ["restore", snapshot, "--run", "a1"], ["unlock"],
        ["restore", str(place / snapshot), "--into", str(place.parent / "new")],
        ["schedule", "03:00"], ["schedule", "off"],
    ):  # fmt: skip
        result = cli("--read-only", "backup", *arguments)
        assert (result.code, "read-only (--read-only)" in result.err) == (1, True), arguments
    assert not (place.parent / "new").exists()
    for arguments in (
        ["list"], ["show", snapshot], ["find", "a1"], ["diff", snapshot, snapshot],
        ["prune", "--dry-run"], ["schedule"],
    ):  # fmt: skip
        result = cli("--read-only", "backup", *arguments)
        assert result.code == 0, (arguments, result.err)


# Looking


def test_the_list(cli: Cli, snapshot: str) -> None:
    head, row = cli("backup", "list").out.splitlines()
    assert head.split() == [
        "SNAPSHOT", "AGE", "SIZE", "NEW", "OBJECTS", "RUNS", "VERIFIED", "DRILLED", "STATE",
    ]  # fmt: skip
    assert row.startswith(snapshot)
    assert row.split()[-5:] == ["3", "2", "-", "-", "ok"]


def test_labels_have_a_column(
    cli: Cli, program: Cli, snapshot: str, terminal: Callable[..., Terminal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert program("backup", "create", "--label", "before the move").code == 0
    head, newest, oldest = cli("backup", "list").out.splitlines()
    assert head.split()[-2:] == ["STATE", "LABEL"]
    at = head.index("LABEL")
    assert (newest[at:], oldest[at:]) == ("before the move", "")
    assert newest[:at].split()[-1] == "ok"
    facts = cli("backup", "show", "before the move").out
    assert "state      ok\n" in facts
    assert "label      before the move\n" in facts
    monkeypatch.setenv("COLUMNS", "80")
    there = terminal("backup", "list")
    assert there.close() == 0
    plain = re.sub(r"\x1b\[\d+m", "", there.seen)
    assert "STATE  LABEL" in plain
    assert max(map(len, plain.splitlines())) <= 80


def test_an_unfinished_one_is_told(
    cli: Cli, snapshot: str, place: Path, deployment: Deployment
) -> None:
    said = "An unfinished snapshot is there; `mlflow-console backup create` goes on with it."
    assert said not in cli("backup", "list").err
    (place / ".making").mkdir()
    result = cli("backup", "list")
    assert (result.code, said in result.err) == (0, True)
    with deployment_again(deployment).backup.place.lock.holding("a backup"):
        assert said not in cli("backup", "list").err
    assert cli("backup", "create").code == 0
    assert said not in cli("backup", "list").err


def test_one_snapshot(cli: Cli, snapshot: str, deployment: Deployment) -> None:
    out = cli("backup", "show", "latest").out
    assert f"folder     {deployment.settings.backup.place or ''}" in out or "folder" in out
    assert "holds      database, artifacts, users, settings\n" in out
    assert "2 experiments, 2 runs" in out
    assert "3 objects" in out
    result = cli("backup", "show", "19991231")
    assert result.code == 1
    assert "`mlflow-console backup list` shows them" in result.err


def test_what_is_in_it(cli: Cli, snapshot: str) -> None:
    out = cli("backup", "show", snapshot, "--experiments").out
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["1", "alpha"], ["2", "beta"]]
    assert "deleted" in out
    experiments = json.loads(cli("backup", "show", snapshot, "--experiments", "--json").out)
    assert [each["name"] for each in experiments] == ["alpha", "beta"]
    out = cli("backup", "show", snapshot, "--runs").out
    assert "[red]x[/]�evil" in out
    assert "\x1b" not in out
    runs = json.loads(cli("backup", "show", snapshot, "--runs", "--json").out)
    assert [each["run_id"] for each in runs] == ["a1", "b1"]
    assert runs[0]["name"] == HOSTILE
    assert runs[0]["started_at"] == "2023-11-14T22:13:20Z"
    raw = cli("backup", "show", snapshot, "--runs", "--jsonl").out
    assert [json.loads(line) for line in raw.splitlines()] == runs
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    one = cli("backup", "show", snapshot, "--runs", "--experiment", "2", "--jsonl").out
    assert json.loads(one)["run_id"] == "b1"
    assert cli("backup", "show", snapshot, "--runs", "--experiment", "beta", "--jsonl").out == one
    result = cli("backup", "show", snapshot, "--runs", "--experiment", "gamma\x1b[2J")
    assert (result.code, result.out) == (2, "")
    assert f"There is no experiment gamma in {snapshot}" in result.err
    assert "--experiments` shows them" in result.err


@pytest.mark.parametrize(
    "arguments",
    [["--runs", "--experiments"], ["--experiment", "1"], ["--json", "--jsonl"]],
    ids=" ".join,
)
def test_show_of_what_cannot_be_meant(cli: Cli, snapshot: str, arguments: list[str]) -> None:
    assert cli("backup", "show", snapshot, *arguments).code == 2


def test_a_hundred_thousand_runs_stream(program: Cli, database: Path, place: Path) -> None:
    many = 100_000
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?, 'ada', 'FINISHED', 1700000000000, 'active', 1)",
            ((f"{number:032x}", f"run {number}") for number in range(many)),
        )
    result = program("backup", "create", "--to", str(place), "--only", "database")
    assert result.code == 0, result.err
    script = (
        "import sys; from console.cli.main import main; code = main(sys.argv[1:]);"
        # The peak of this program alone; that of getrusage(2) can be of who has started it.
        "peak = [line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line];"
        "print(*peak, file=sys.stderr); sys.exit(code)"
    )
    words = ["backup", "show", "latest", "--runs", "--jsonl"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, check=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == many + 2
    assert json.loads(lines[7])["run_id"] == f"{7:032x}"
    assert int(done.stderr.splitlines()[-1]) < 150_000  # kB
    reader = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert json.loads(reader.stdout.readline())["run_id"] == "0" * 32
    reader.stdout.close()  # as `head` does
    assert reader.wait(60) == 0


def test_which_hold_a_run(cli: Cli, snapshot: str) -> None:
    row = cli("backup", "find", "a1").out.splitlines()[1]
    assert row.startswith(snapshot)
    assert "alpha" in row
    assert "\x1b" not in row
    [found] = json.loads(cli("backup", "find", "a", "--json").out)
    assert found["snapshot"] == snapshot
    assert (found["run"]["run_id"], found["experiment"]) == ("a1", "alpha")
    result = cli("backup", "find", "no such run \x1b[2J")
    assert (result.code, result.out) == (0, "")
    assert result.err == "No snapshot holds a run no such run .\n"
    assert cli("backup", "find", "nothing", "--json").out == "[]\n"


def test_what_changed(program: Cli, cli: Cli, snapshot: str, deployment: Deployment) -> None:
    assert "runs: the same" in cli("backup", "diff", snapshot, "latest").out
    with sqlite3.connect(deployment.paths.database) as connection:
        connection.execute(
            "INSERT INTO runs VALUES ('c1', 'new', 'ada', 'RUNNING', 1700000000000, 'active', 1)"
        )
    (deployment.paths.artifacts / "1/a1/artifacts/model.bin").write_text("another one")
    (deployment.paths.artifacts / "2/b1/artifacts/gone").unlink()
    cli("users", "remove", "alice", "--yes")
    assert program("backup", "create").code == 0
    out = cli("backup", "diff", snapshot, "latest").out
    assert "runs: 1 came" in out
    assert "artifacts: 1 went (19 B), 1 changed (11 B)" in out
    assert "users: 1 went" in out
    found = json.loads(cli("backup", "diff", snapshot, "latest", "--json").out)
    assert found["runs"]["items"] == [
        {"what": "came", "id": "c1", "name": "new", "detail": ""},
    ]
    assert (found["older"], found["artifacts"]["went"]) == (snapshot, 1)


def test_what_is_not_named_is_counted() -> None:
    both = Difference(older="a", newer="b", runs=Changes(came=1), users=Changes(went=1_200))
    assert list(_summary(both))[:2] == [
        "runs: 1 came; 1 is not named below", "users: 1,200 went; 1,200 are not named below",
    ]  # fmt: skip


# Proof


def test_verify(program: Cli, cli: Cli, snapshot: str, place: Path) -> None:
    result = program("backup", "verify")
    assert (result.code, result.out) == (0, "")
    assert f"{snapshot}: every byte is as it was written" in result.err
    [known] = listed(cli)
    assert known["verified_at"] is not None
    name = break_one(place, snapshot)
    assert program("backup", "create").code == 0  # shares what is not broken
    result = program("backup", "verify", "all", "--json")
    assert result.code == 1
    assert f"{snapshot}: {name} is broken" in result.err
    assert "A snapshot that is broken stays broken" in result.err
    assert "fetches these artifacts from the store again" in result.err
    found = {each["id"]: each for each in json.loads(result.out)}
    assert found[snapshot]["state"] == "broken"
    assert (found[snapshot]["broken"], found[snapshot]["broken_count"]) == ([name], 1)
    assert "broken: 1 file" in cli("backup", "list").out
    assert program("backup", "verify", "no-such").code == 1


def test_an_unreadable_one_is_listed_as_such(program: Cli, snapshot: str, place: Path) -> None:
    (place / snapshot / "manifest.json").write_text("{\x1b[2J")
    [found] = listed(program)
    assert (found["id"], found["state"]) == (snapshot, "unreadable")
    assert (found["bytes"], found["database"], found["created_at"]) == (None, None, None)
    assert found["problem"]
    result = program("backup", "list")
    [_, row] = result.out.splitlines()
    assert row.split() == [snapshot, *["-"] * 7, "unreadable"]
    assert f"{snapshot}/manifest.json is not as it was written" in result.err
    assert "\x1b" not in result.err


# Restoring


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "database", "--into", "x"], ["--into", "x", "--run", "a1"],
        ["--dry-run", "--into", "x"], ["--dry-run", "--run", "a1"], ["--json"],
        ["--only", "nonsense"], ["--only", "settings", "--dry-run"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_restores_that_cannot_be_meant(cli: Cli, snapshot: str, arguments: list[str]) -> None:
    assert cli("backup", "restore", snapshot, *arguments).code == 2


def test_the_plan(cli: Cli, snapshot: str, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM runs WHERE run_uuid = 'b1'")
    result = cli("backup", "restore", snapshot, "--dry-run")
    assert result.code == 0, result.err
    assert "1 run comes back" in result.out
    plan = json.loads(cli("backup", "restore", snapshot, "--dry-run", "--json").out)
    assert list(plan) == ["snapshot", "parts", "lines", "warnings", "needed_bytes", "free_bytes"]
    assert (plan["snapshot"], plan["parts"]) == (snapshot, ["database", "artifacts", "users"])


def test_the_plan_tells_of_deleted_runs(cli: Cli, snapshot: str, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = 'a1'")
        connection.execute("UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = 'b1'")
    out = cli("backup", "restore", snapshot, "--dry-run").out
    assert "1 run that was deleted since is active again\n" in out
    cli("backup", "create", "--label", "other")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = 'a1'")
    assert "1 run that was brought back since is deleted again\n" in cli(
        "backup", "restore", "other", "--dry-run"
    ).out  # fmt: skip


def test_the_plan_for_a_snapshot_of_another_deployment(
    cli: Cli, snapshot: str, place: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(place / snapshot, theirs)
    made = load_manifest(theirs)
    rewrite(theirs, replace(made, deployment="[b]", directory="/srv/theirs"))
    result = cli("backup", "restore", str(theirs), "--dry-run")
    assert result.code == 0
    assert "it is a snapshot of [b], which was in /srv/theirs" in result.err
    assert made.database is not None
    rewrite(theirs, replace(made, database=replace(made.database, kind="mysql")))
    result = cli("backup", "restore", str(theirs), "--dry-run")
    assert result.code == 1
    assert "The dump is of MySQL, and this deployment keeps its runs in SQLite" in result.err
    only = cli("backup", "restore", str(theirs), "--only", "users", "--dry-run")
    assert only.code == 0


@pytest.mark.parametrize(
    ("now", "refused"),
    [("3.1.0", True), ("v3.1", True), ("v3.17.2-ours", False), ("dd0a9047f1037e81", False),
     ("3.18.0", False), ("latest", False), ("", False)],
)  # fmt: skip
def test_the_plan_for_another_version(
    cli: Cli, snapshot: str, database: Path, monkeypatch: pytest.MonkeyPatch, *, now: str,
    refused: bool,
) -> None:  # fmt: skip
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'another'")
    monkeypatch.setattr(EmbeddedDriver, "versions", lambda _: {"tracking": now})
    result = cli("backup", "restore", snapshot, "--dry-run")
    assert result.code == (1 if refused else 0)
    assert ("was made with MLflow 3.17.2, and this server is the older" in result.err) is refused


def test_a_broken_dump_is_in_the_way_of_the_database_alone(
    cli: Cli, snapshot: str, place: Path
) -> None:
    (place / snapshot / "database" / "mlflow.db.gz").write_bytes(b"")
    assert cli("backup", "restore", snapshot, "--dry-run").code == 1
    assert cli("backup", "restore", snapshot, "--dry-run", "--only", "users").code == 0


def test_restoring_asks_in_any_case(
    program: Cli, terminal: Callable[..., Terminal], snapshot: str, at_work: None
) -> None:
    result = program("backup", "restore", snapshot)
    assert result.code == 2
    assert "safety snapshot" in result.err
    assert "run long one of ada in alpha is RUNNING" in result.err
    assert "--yes" in result.err
    there = terminal("backup", "restore", snapshot)
    there.expect("[y/N]")
    there.type("\n")
    assert there.close() == 130
    assert "Nothing was changed" in there.seen
    assert len(listed(program)) == 1  # no safety snapshot either


def test_one_that_broke_off_is_told_of_first(
    program: Cli, snapshot: str, place: Path, deployment: Deployment
) -> None:
    begun = Journal(
        snapshot=str(place / "20260101-000000"), safety=str(place / "20260102-000000"),
        parts=("database",), by="ada", started_at=datetime(2026, 1, 2, tzinfo=UTC),
        done="database",
    )  # fmt: skip
    restore_journal.write(deployment.paths, begun)
    again = replace(begun, snapshot=str(place / snapshot))
    off = "restoring 20260101-000000 was begun by ada at 2026-01-02 00:00 UTC and broke off"
    result = program("backup", "restore", snapshot, "--dry-run")
    assert result.code == 0
    assert f"{off} in the middle: this one comes back instead" in result.err
    assert "20260102-000000 is what was there before" in result.out
    only = json.loads(program("backup", "restore", snapshot, "--only", "users", "--dry-run",
                              "--json").out)  # fmt: skip
    assert only["parts"] == ["database", "users"]  # half of the database is another one's
    result = program("backup", "restore", snapshot)  # nobody agrees
    assert result.code == 2
    restore_journal.write(deployment.paths, again)
    for wanted in (snapshot, "latest", str(place / snapshot)):
        result = program("backup", "restore", wanted, "--dry-run")
        assert "broke off in the middle: it goes on" in result.err
    restore_journal.write(deployment.paths, begun)
    result = program("backup", "create")
    assert result.code == 1
    assert "what is there now is half of it" in result.err
    assert "`mlflow-console backup restore 20260101-000000` goes on with it" in result.err
    assert "restore 20260102-000000` brings back what was there before" in result.err


def test_a_new_deployment_needs_none(
    program: Cli, snapshot: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_CONSOLE_DEPLOYMENT")
    monkeypatch.chdir(tmp_path)
    # Other deployments of this machine may run, and hold a "latest" one.
    result = program("backup", "restore", "19990101-000000", "--into", str(tmp_path / "new"))
    assert result.code in (1, 2)
    assert not (tmp_path / "new").exists()
    result = program("backup", "show", str(place / snapshot), "--runs", "--jsonl")
    assert (result.code, len(result.out.splitlines())) == (0, 2)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "something").touch()
    result = program("backup", "restore", str(place / snapshot), "--into", str(tmp_path / "used"))
    assert result.code == 1
    assert "is not empty" in result.err
    result = program("backup", "restore", str(place / snapshot), "--into", str(place / "new"))
    assert result.code == 1
    assert f"{place} holds snapshots" in result.err


# Keeping


def test_prune(program: Cli, cli: Cli, snapshot: str) -> None:
    assert program("backup", "create", "--label", "keep 0").code == 0
    result = program("backup", "prune")
    assert result.code == 0
    assert "the rules keep every snapshot" in result.err
    for number in (1, 2):
        assert program("backup", "create", "--label", f"keep {number}").code == 0
    plan = json.loads(cli("backup", "prune", "--dry-run", "--json").out)
    assert [each["id"] for each in plan["going"]] == [snapshot]
    assert len(plan["staying"]) == 3
    assert any("pinned as keep 2" in each["reasons"] for each in plan["staying"])
    out = cli("backup", "prune", "--dry-run").out
    assert f"{snapshot}  yes" in out
    assert "pinned as keep 0" in out
    result = program("backup", "prune")
    assert result.code == 2
    assert f"{snapshot}: no rule keeps it" in result.err
    assert len(listed(cli)) == 4
    result = program("backup", "prune", "--yes")
    assert result.code == 0, result.err
    assert [each["label"] for each in listed(cli)] == ["keep 2", "keep 1", "keep 0"]
    assert cli("backup", "prune", "--json").code == 2


def test_what_a_killed_prune_left_goes(program: Cli, snapshot: str, place: Path) -> None:
    shutil.copytree(place / snapshot, place / ".pruning-20200101-000000")
    result = program("backup", "prune")
    assert result.code == 0, result.err
    assert [each["id"] for each in listed(program)] == [snapshot]
    assert not (place / ".pruning-20200101-000000").exists()


def test_the_schedule_where_no_systemd_runs(
    cli: Cli, snapshot: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd.Timer, "booted", False)
    result = cli("backup", "schedule")
    assert result.code == 0
    assert "there is none\n" in result.out  # and nobody can make one
    assert "systemd does not run this machine" in result.out
    assert "0 3 * * * " in result.out
    assert f"--deployment {deployment.directory} backup create --scheduled --quiet" in result.out
    assert json.loads(cli("backup", "schedule", "--json").out)["installed"] is False
    result = cli("backup", "schedule", "3:07")
    assert result.code == 1
    assert "7 3 * * * " in result.err
    assert f"--deployment {deployment.directory} backup create --scheduled --quiet" in result.err
    assert cli("backup", "schedule", "now and then").code == 2
    result = cli("backup", "schedule", "Mon 05:30")
    assert "cron does it at 03:00 by this line" in result.err
    assert "give it your own time: 0 3 * * * " in result.err


def test_the_lock(program: Cli, snapshot: str, deployment: Deployment) -> None:
    result = program("backup", "unlock")
    assert (result.code, result.err) == (0, "Nobody holds the lock.\n")
    with deployment_again(deployment).backup.place.lock.holding("a test"):
        result = program("backup", "unlock")
        assert result.code == 1
        assert f"process {os.getpid()}" in result.err
        result = program("backup", "create")
        assert result.code == 1
        assert "a test" in result.err


def deployment_again(deployment: Deployment) -> Deployment:
    """As its settings are now."""
    return Deployment.open(str(deployment.directory))

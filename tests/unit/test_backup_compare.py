"""What changed between snapshots, by their catalogs, indexes and user files."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.backup import catalog, compare, merging
from console.core.backup.compare import Changes, Item
from console.core.backup.snapshot import (
    CATALOG,
    INDEX,
    PARTS,
    Artifacts,
    Dump,
    Entry,
    Manifest,
    Part,
    Run,
    Snapshot,
    State,
)
from console.core.errors import ConsoleError, UsageError

AT = datetime(2026, 11, 28, 8, tzinfo=UTC)
HASH, OTHER_HASH = "$2y$12$" + "a" * 53, "$2y$12$" + "b" * 53


def snapshot(
    folder: Path,
    *,
    experiments: Iterable[dict[str, object]] = (),
    runs: Iterable[dict[str, object]] = (),
    artifacts: Iterable[Entry] = (),
    users: dict[str, str] | None = None,
    parts: Sequence[Part] = PARTS,
    versions: dict[str, str] | None = None,
    revision: str = "abc",
) -> Snapshot:
    """A snapshot as `create` leaves one, as far as it is compared."""
    folder.mkdir()
    catalog.write(folder, experiments, runs)
    with gzip.open(folder / INDEX, "wb") as file:
        file.write(msgspec.json.Encoder().encode_lines(artifacts))
    for name, content in (users or {}).items():
        path = folder / compare.USERS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    dump = Dump(kind="sqlite", file="x", bytes=1, revision=revision, rows={}, began_at=AT)
    manifest = Manifest(
        id=folder.name, sequence=1, deployment="lab", driver="embedded", directory="/lab",
        created_at=AT, completed_at=AT, console="1", versions=versions or {}, images={},
        parts=tuple(parts), database=dump if "database" in parts else None,
        artifacts=Artifacts(objects=0, bytes=0, new_bytes=0), label="named",
    )  # fmt: skip
    return Snapshot(folder, manifest, State())


def experiment(number: int, name: str = "", stage: str = "active") -> dict[str, object]:
    return {"experiment_id": number, "name": name or f"e{number}", "lifecycle_stage": stage,
            "artifact_location": None}  # fmt: skip


def run(number: str, name: str = "", status: str = "FINISHED", stage: str = "active",
        of: int = 1) -> dict[str, object]:  # fmt: skip
    return {"run_uuid": number, "name": name or f"run {number}", "status": status,
            "lifecycle_stage": stage, "experiment_id": of, "user_id": "ada",
            "start_time": 1, "end_time": None}  # fmt: skip


def entry(key: str, size: int = 10, content: str = "a") -> Entry:
    return Entry(key=key, size=size, modified=1, mark="m", sha256=content * 64)


def test_what_changed(tmp_path: Path) -> None:
    older = snapshot(
        tmp_path / "1",
        experiments=[experiment(1), experiment(2), experiment(3)],
        runs=[run("a"), run("b", status="RUNNING"), run("c"), run("d")],
        artifacts=[entry("1/a"), entry("1/b", 5), entry("1/c", 7)],
        users={"default": f"ann:{HASH}\nbob:{HASH}\ncarl:{HASH}\n", "host": f"ann:{HASH}\n"},
        versions={"tracking": "3.17.2", "proxy": "1.29"},
    )
    newer = snapshot(
        tmp_path / "2",
        experiments=[experiment(1, "renamed"), experiment(2, stage="deleted"), experiment(4)],
        runs=[run("a"), run("b"), run("d", name="other", stage="deleted", of=2), run("e")],
        artifacts=[entry("1/a", 20, "b"), entry("1/c", 7), entry("2/x", 3)],
        users={"default": f"ann:{OTHER_HASH}\n# disabled: bob:{HASH}\ndora:{HASH}\n"},
        versions={"tracking": "3.18.0", "database": "9.7"},
        revision="def",
    )
    found = compare.difference(older, newer)
    assert (found.older, found.newer, found.notes) == ("1", "2", ())
    assert found.experiments == Changes(
        came=1, went=1, changed=2,
        items=(Item("came", "4", "e4"), Item("went", "3", "e3"),
               Item("changed", "1", "renamed", "name e1 → renamed"),
               Item("changed", "2", "e2", "active → deleted")),
    )  # fmt: skip
    assert found.runs == Changes(
        came=1, went=1, changed=2,
        items=(Item("came", "e", "run e"), Item("went", "c", "run c"),
               Item("changed", "b", "run b", "RUNNING → FINISHED"),
               Item("changed", "d", "other",
                    "name run d → other, active → deleted, experiment 1 → 2")),
    )  # fmt: skip
    assert found.artifacts == Changes(
        came=1, went=1, changed=1, came_bytes=3, went_bytes=5, changed_bytes=20,
        items=(Item("came", "2/x", "", "3 B"), Item("went", "1/b", "", "5 B"),
               Item("changed", "1/a", "", "10 B → 20 B")),
    )  # fmt: skip
    assert found.users == Changes(
        came=1, went=2, changed=2,
        items=(Item("came", "dora"), Item("went", "carl"), Item("went", "ann", "host"),
               Item("changed", "ann", "", "another password"),
               Item("changed", "bob", "", "switched off")),
    )  # fmt: skip
    assert [(each.what, each.id, each.detail) for each in found.versions.items] == [
        ("came", "database", "9.7"), ("went", "proxy", "1.29"),
        ("changed", "tracking", "3.17.2 → 3.18.0"),
    ]  # fmt: skip
    assert found.revision == ("abc", "def")
    assert msgspec.json.decode(msgspec.json.encode(found), type=compare.Difference) == found


def test_what_is_equal_is_no_difference(tmp_path: Path) -> None:
    def made(name: str) -> Snapshot:
        return snapshot(
            tmp_path / name, experiments=[experiment(1)], runs=[run("a")],
            artifacts=[entry("1/a")], users={"default": f"ann:{HASH}\n", ".generation": "x:y\n"},
        )  # fmt: skip

    found = compare.difference(made("1"), made("2"))
    nothing = Changes()
    assert (found.experiments, found.runs, found.artifacts, found.users, found.versions) == (
        (nothing,) * 5
    )
    assert found.revision is None


def test_what_not_both_hold_is_named(tmp_path: Path) -> None:
    older = snapshot(tmp_path / "1", parts=("database", "users"), runs=[run("a")])
    newer = snapshot(tmp_path / "2", parts=("artifacts", "users"))
    (newer.path / CATALOG).unlink()
    found = compare.difference(older, newer)
    assert (found.experiments, found.runs, found.artifacts) == (None, None, None)
    assert found.users == Changes()
    assert found.notes == ("1 was taken without artifacts", "2 was taken without database")
    broken = Snapshot(tmp_path / "3", None, State(), "its manifest is missing")
    with pytest.raises(ConsoleError, match="3 cannot be compared: its manifest is missing"):
        compare.difference(older, broken)


def test_many_are_counted_and_few_named(tmp_path: Path) -> None:
    older = snapshot(tmp_path / "1", runs=[run(f"{n:05}") for n in range(3000)],
                     artifacts=[entry("a", 1)])  # fmt: skip
    newer = snapshot(
        tmp_path / "2",
        runs=[run(f"{n:05}", status="FAILED" if n < 5 else "FINISHED") for n in range(4990)][:-1],
        artifacts=[entry(f"{n:06}", 2) for n in range(5000)],
    )
    found = compare.difference(older, newer)
    assert found.runs is not None
    assert (found.runs.came, found.runs.went, found.runs.changed) == (1989, 0, 5)
    assert len(found.runs.items) == compare.MOST_NAMED
    assert [each.what for each in found.runs.items].count("changed") == 5
    assert found.runs.unnamed == 1994 - compare.MOST_NAMED
    assert found.artifacts is not None
    assert (found.artifacts.came_bytes, found.artifacts.went_bytes) == (10_000, 1)
    assert found.artifacts.items[-1] == Item("went", "a", "", "1 B")


keys = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), unique=True)


@given(keys, keys, st.integers(1, 4), st.randoms())
def test_lists_in_any_order(
    one: list[str], other: list[str], chunk: int, chance: random.Random
) -> None:
    def listed(names: list[str]) -> list[Entry]:
        return [entry(name) for name in chance.sample(names, len(names))]

    def key(each: Entry) -> bytes:
        return each.key.encode()

    before, after = listed(one), listed(other)
    size, merging.CHUNK = merging.CHUNK, chunk
    try:
        pairs = list(merging.side_by_side(
            merging.in_order(lambda: iter(before), key),
            merging.in_order(lambda: iter(after), key), key,
        ))  # fmt: skip
    finally:
        merging.CHUNK = size
    found = [(a.key if a else None, b.key if b else None) for a, b in pairs]
    names = sorted({*one, *other}, key=str.encode)
    assert found == [
        (name if name in one else None, name if name in other else None) for name in names
    ]


def test_which_snapshots_hold_a_run(tmp_path: Path) -> None:
    first = snapshot(tmp_path / "1", experiments=[experiment(1, "alpha")],
                     runs=[run("abcd1", "mine"), run("abcd2", "yours")])  # fmt: skip
    second = snapshot(tmp_path / "2", experiments=[experiment(1, "alpha")],
                      runs=[run("abcd1", "mine", status="FAILED", stage="deleted")])  # fmt: skip
    third = snapshot(tmp_path / "3", parts=("artifacts",))
    (third.path / CATALOG).unlink()
    damaged = snapshot(tmp_path / "4", runs=[run("abcd1")])
    packed = (damaged.path / CATALOG).read_bytes()
    (damaged.path / CATALOG).write_bytes(packed[:-12])
    unread = Snapshot(tmp_path / "5", None, State(), "its manifest is missing")
    every = [first, second, third, damaged, unread]
    found = [each for each in compare.holding(every, " abcd1 ") if not each.problem]
    assert [(each.snapshot, each.run.status if each.run else "", each.experiment, each.label)
            for each in found] == [
        ("1", "FINISHED", "alpha", "named"), ("2", "FAILED", "alpha", "named"),
    ]  # fmt: skip
    problems = [each for each in compare.holding(every, "abcd1") if each.problem]
    assert [each.snapshot for each in problems] == ["4", "5"]
    assert "cut short" in problems[0].problem
    runs = [each.run.run_id for each in compare.holding([first], "abc") if each.run]
    assert runs == ["abcd1", "abcd2"]
    assert [each.snapshot for each in compare.holding(every[:3], "yours")] == ["1"]
    assert list(compare.holding(every[:3], "nobody")) == []
    with pytest.raises(UsageError):
        list(compare.holding(every, " "))


def test_a_catalog_keeps_what_the_tables_hold(tmp_path: Path) -> None:
    catalog.write(
        tmp_path,
        [experiment(10), experiment(2), {"experiment_id": None, "name": b"\xff\xfe"}],
        [run("a", "na\u2603me [/x]\n"), {"run_uuid": "b", "start_time": "soon", "end_time": 0}],
    )
    assert (tmp_path / CATALOG).stat().st_mode & 0o777 == 0o600
    assert [each.experiment_id for each in catalog.experiments(tmp_path)] == ["", "2", "10"]
    assert catalog.experiments(tmp_path)[0].name == "��"
    first, second = catalog.runs(tmp_path)
    assert first == Run("a", "1", "na☃me [/x]\n", "FINISHED", "active", "ada", 1, None)
    assert second == Run("b", "", "", "", "active", "", None, None)
    assert [each.run_id for each in catalog.runs(tmp_path, "1")] == ["a"]


def test_a_damaged_catalog_is_a_sentence(tmp_path: Path) -> None:
    assert list(catalog.read(tmp_path)) == []
    for content in (b"", b"no gzip", gzip.compress(b'{"kind": "run"}\n'), gzip.compress(b"{")):
        (tmp_path / CATALOG).write_bytes(content)
        with pytest.raises(ConsoleError, match=r"cut short|damaged"):
            catalog.experiments(tmp_path)

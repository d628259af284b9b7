"""The drill: which artifacts it looks at, and what it makes of the answers."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.backup.drilling import drill
from console.core.backup.drilling.drill import Rows, Visit
from console.core.backup.drilling.drill_sample import LARGEST, MOST, Sample
from console.core.backup.snapshot import Entry
from console.core.errors import ConsoleError
from console.core.stack import compose_scratch, scratch
from console.core.stack.scratch import TooSmallError


def entries(sizes: list[tuple[int, int]]) -> list[Entry]:
    return [
        Entry(f"{experiment}/run/artifacts/{number}", size, 1, "m", "0" * 64)
        for number, (experiment, size) in enumerate(sizes)
    ]


def drawn(seed: str, every: list[Entry], most: int = MOST, most_bytes: int = 10**9) -> list[Entry]:
    sample = Sample(seed, most, most_bytes)
    for each in every:
        sample.add(each)
    return sample.chosen()


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1000)), max_size=120),
    st.integers(20, 60), st.text(max_size=4),
)  # fmt: skip
def test_a_sample_has_the_largest_and_one_of_each_experiment(
    sizes: list[tuple[int, int]], most: int, seed: str
) -> None:
    every = entries(sizes)
    chosen = drawn(seed, every, most)
    assert len({each.key for each in chosen}) == len(chosen) <= max(most, LARGEST + 9)
    assert set(chosen) <= set(every)
    assert {each.key[0] for each in chosen} == {each.key[0] for each in every}
    sizes_left = sorted((each.size for each in every), reverse=True)[:LARGEST]
    assert sorted((each.size for each in chosen), reverse=True)[: len(sizes_left)] == sizes_left
    assert chosen == drawn(seed, every, most)
    if len(every) <= most - LARGEST - 9:
        assert set(chosen) == set(every)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), max_size=60),
    st.integers(0, 5000),
)
def test_a_sample_is_never_too_much(sizes: list[tuple[int, int]], most_bytes: int) -> None:
    chosen = drawn("x", entries(sizes), most_bytes=most_bytes)
    assert sum(each.size for each in chosen) <= most_bytes


def test_every_artifact_comes_up_in_some_sample() -> None:
    every = entries([(0, 1)] * 300)
    seen = {each.key for seed in range(60) for each in drawn(str(seed), every, 40)}
    assert len(seen) > 290


ROWS = Rows(
    rows={}, revision="r", experiments=[("active", 2), ("deleted", 1)], default=True,
    runs=[(1, "active", 3), (1, "deleted", 1), (2, "active", 20_000)], some=[("a", 2, 1)],
)  # fmt: skip
GOOD = Visit({"active": 2, "deleted": 1}, {"1": {"active": 3, "deleted": 1}}, [("a", 2, 1)], [])


def test_what_the_client_shows_is_compared() -> None:
    drill._compare_visit(ROWS, GOOD)
    for wrong, sentence in (
        (Visit({"active": 2}, GOOD.runs, GOOD.some, []),
         "MLflow shows 0 deleted experiments, the dump holds 1"),
        (Visit(GOOD.experiments, {"1": {"active": 2, "deleted": 1}}, GOOD.some, []),
         "MLflow shows 2 active runs of experiment 1, the dump holds 3"),
        (Visit(GOOD.experiments, GOOD.runs, [("a", 2, 0)], []),
         "the run a lacks parameters or metrics through MLflow"),
    ):  # fmt: skip
        with pytest.raises(ConsoleError) as caught:
            drill._compare_visit(ROWS, wrong)
        assert caught.value.message == sentence


def test_a_large_experiment_is_counted_by_the_database_alone() -> None:
    assert drill._some_experiments(ROWS) == ["1"]


@given(st.dictionaries(
    st.lists(st.text("ab é", min_size=1, max_size=60), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=3000), max_size=6,
))  # fmt: skip
def test_artifacts_come_into_the_container_as_they_are(contents: dict[str, bytes]) -> None:
    artifacts: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (key, content) in enumerate(contents.items()):
            apart = not any(f"{other}/".startswith(f"{key}/") or f"{key}/".startswith(f"{other}/")
                            for other in artifacts)  # fmt: skip
            if apart:
                artifacts[key] = Path(folder, str(number))
                artifacts[key].write_bytes(content)
        packed = io.BytesIO(b"".join(compose_scratch._archive(artifacts)))
    with tarfile.open(fileobj=packed) as archive:
        members = {each.name: each for each in archive.getmembers()}
        for key in artifacts:
            member = members.pop(f"artifacts/{key}")
            assert (member.mode, member.uid, member.isfile()) == (0o444, 0, True)
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == contents[key]
        assert all(each.isdir() and each.mode == 0o755 for each in members.values())


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "it said nothing"),
        ("INFO starting\nINFO ready", "INFO ready"),
        ("ERROR bad thing\nINFO later", "ERROR bad thing"),
        ("  raise\nmlflow.exceptions.MlflowException: the schema is old\n"
         "(Background on this error at: somewhere)",
         "mlflow.exceptions.MlflowException: the schema is old"),
    ],
)  # fmt: skip
def test_why_a_server_did_not_start(log: str, said: str) -> None:
    assert scratch.reason(log) == said


def test_a_machine_with_enough_memory_is_not_refused() -> None:
    scratch.refuse_without_memory(1000, 1000, "this machine")
    with pytest.raises(TooSmallError) as caught:
        scratch.refuse_without_memory(2_000_000_000, 700_000_000, "this machine")
    assert caught.value.message == (
        "A drill needs up to 2.0 GB of memory, and this machine has 700 MB free: the live server "
        "would suffer"
    )

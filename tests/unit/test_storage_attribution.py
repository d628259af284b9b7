"""Whose object it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.database.database import ModelRow, Root, RunRow
from console.core.storage.attribution import (
    ORPHAN,
    UNKNOWN,
    Attribution,
    Catalog,
    Kind,
    Owner,
    root_key,
)
from console.core.storage.tally import Tally

RUN, GONE, OTHER = "a" * 32, "b" * 32, "c" * 32
MODEL, TRACE = "m-" + "1" * 32, "tr-" + "2" * 32

CATALOG = Catalog(
    roots=(
        Root("1", "one", "active", "mlflow-artifacts:/1"),
        Root("2", "two", "deleted", "mlflow-artifacts:/2"),
        Root("3", "inside of one", "active", "mlflow-artifacts:/1/special"),
        Root("4", "elsewhere", "active", "s3://bucket/4"),
        Root("5", "in a workspace", "active", "mlflow-artifacts:/workspaces/w/5"),
        Root("6", "beside one", "active", "mlflow-artifacts:/1"),
    ),
    runs={
        RUN: RunRow(RUN, "1", "run", "active"),
        GONE: RunRow(GONE, "1", "gone", "deleted"),
        OTHER: RunRow(OTHER, "6", "shares a root", "active"),
        "short": RunRow("short", "1", "an id of another form", "active"),
        "d" * 32: RunRow("d" * 32, "2", "of a deleted experiment", "active"),
        "e" * 32: RunRow("e" * 32, "3", "", "active"),
    },
    models={
        MODEL: ModelRow(MODEL, "1", "active"),
        "m-" + "9" * 32: ModelRow("m-" + "9" * 32, "1", "deleted"),
    },
    traces={TRACE: "5"},
)


def owner(key: str, catalog: Catalog = CATALOG) -> Owner:
    attribution = Attribution(catalog)
    return attribution.owner(attribution.place(key.rpartition("/")[0]))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"1/{RUN}/artifacts/model/weights.bin", Owner(Kind.RUN, "1", RUN)),
        (f"1/{RUN}/artifacts/models/{MODEL}/x", Owner(Kind.RUN, "1", RUN)),
        (f"1/{GONE}/artifacts/x", Owner(Kind.RUN, "1", GONE, trash=True)),
        (f"2/{'d' * 32}/artifacts/x", Owner(Kind.RUN, "2", "d" * 32, trash=True)),
        (f"1/{OTHER}/artifacts/x", Owner(Kind.RUN, "6", OTHER)),
        ("1/short/artifacts/x", Owner(Kind.RUN, "1", "short")),
        (f"1/models/{MODEL}/artifacts/MLmodel", Owner(Kind.MODEL, "1", MODEL)),
        (f"1/models/m-{'9' * 32}/artifacts/x", Owner(Kind.MODEL, "1", "m-" + "9" * 32, trash=True)),
        (f"workspaces/w/5/traces/{TRACE}/artifacts/t", Owner(Kind.TRACE, "5", TRACE)),
        # the longest root wins
        (f"1/special/{'e' * 32}/artifacts/x", Owner(Kind.RUN, "3", "e" * 32)),
        # known to nobody, but of the form of an id
        (f"1/{'f' * 32}/artifacts/x", ORPHAN),
        (f"1/models/m-{'f' * 32}/artifacts/x", ORPHAN),
        (f"1/traces/tr-{'f' * 32}/artifacts/x", ORPHAN),
        # under a root, and of no known form
        (f"1/{'f' * 31}/artifacts/x", UNKNOWN),
        (f"1/{'F' * 32}/artifacts/x", UNKNOWN),
        (f"1/models/{'f' * 32}/artifacts/x", UNKNOWN),
        (f"1/traces/m-{'f' * 32}/artifacts/x", UNKNOWN),
        (f"1/{'f' * 32}", UNKNOWN),
        ("1/models/x", UNKNOWN),
        ("1/models", UNKNOWN),
        ("1/notes.txt", UNKNOWN),
        # under no root
        (f"4/{RUN}/artifacts/x", UNKNOWN),
        (f"11/{'f' * 32}/artifacts/x", UNKNOWN),
        (f"workspaces/w/{'f' * 32}/x", UNKNOWN),
        ("loose", UNKNOWN),
        (f"{'f' * 32}/artifacts/x", UNKNOWN),
    ],
)
def test_owners(key: str, expected: Owner) -> None:
    assert owner(key) == expected


def test_the_root_of_the_store_can_be_an_experiments() -> None:
    catalog = Catalog(
        (Root("7", "top", "active", "mlflow-artifacts:/"),),
        {RUN: RunRow(RUN, "7", "", "active")}, {}, {},
    )  # fmt: skip
    assert owner(f"{RUN}/artifacts/x", catalog) == Owner(Kind.RUN, "7", RUN)
    assert owner(f"{'f' * 32}/x", catalog) == ORPHAN
    assert owner("x", catalog) == UNKNOWN


PARTS = st.sampled_from(
    ["1", "2", "special", "workspaces", "w", "5", "models", "traces", RUN, "f" * 32, MODEL, TRACE]
)


@given(st.lists(PARTS, max_size=7))
def test_a_place_has_the_owner_of_its_folder(parts: list[str]) -> None:
    attribution = Attribution(CATALOG)
    folder = "/".join(parts)
    place = attribution.place(folder)
    assert folder == place or folder.startswith(place + "/")
    assert attribution.owner(place) == attribution.owner(folder)
    assert attribution.place(place) == place


# As nobody should: an experiment whose root lies among the artifacts of a run.
NESTED = Catalog(
    (*CATALOG.roots, Root("8", "in a run", "active", f"mlflow-artifacts:/2/{RUN}/1")),
    CATALOG.runs, CATALOG.models, CATALOG.traces,
)  # fmt: skip


@given(st.lists(PARTS, max_size=7), st.lists(PARTS, max_size=4))
def test_below_a_whole_place_everything_is_of_it(parts: list[str], more: list[str]) -> None:
    attribution = Attribution(NESTED)
    place = attribution.place("/".join(parts))
    if attribution.is_whole(place):
        assert attribution.place("/".join([place, *more])) == place


@pytest.mark.parametrize(
    ("place", "whole"),
    [
        (f"1/{RUN}", True),
        (f"1/models/{MODEL}", True),
        (f"workspaces/w/5/traces/{TRACE}", True),
        ("1", False),
        ("1/models", False),
        ("1/special", False),  # another root
        (f"1/special/{RUN}", True),
        ("workspaces/w", False),
        ("9/elsewhere", False),
        ("", False),
        (f"2/{GONE}", True),
        (f"2/{RUN}", False),  # another root lies below
        (f"2/{RUN}/1/{RUN}", True),
    ],
)
def test_which_places_are_whole(place: str, whole: bool) -> None:
    assert Attribution(NESTED).is_whole(place) == whole


@given(st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=7), st.integers(0, 9))))
def test_counting_adds_each_object_to_its_place(objects: list[tuple[list[str], int]]) -> None:
    attribution = Attribution(NESTED)
    expected: dict[str, list[int]] = {}
    for parts, size in objects:
        expected.setdefault(attribution.place("/".join(parts[:-1])), []).append(size)
    tally = Tally(attribution)
    batch = [("/".join(parts), size) for parts, size in objects]
    tally.count(batch[: len(batch) // 2])
    tally.count(batch[len(batch) // 2 :])
    assert {place: (found.bytes, found.objects) for place, found in tally.places.items()} == {
        place: (sum(sizes), len(sizes)) for place, sizes in expected.items()
    }


@given(st.lists(PARTS, max_size=7))
def test_an_experiment_that_is_learnt_later_finds_its_places(parts: list[str]) -> None:
    """Of an object outside of every root, enough is kept to attribute it when there is one."""
    folder = "/".join(["9", *parts])
    place = Attribution(CATALOG).place(folder)
    later = Catalog(
        (*CATALOG.roots, Root("9", "new", "active", "mlflow-artifacts:/9")),
        CATALOG.runs, CATALOG.models, CATALOG.traces,
    )  # fmt: skip
    assert Attribution(later).owner(place) == Attribution(later).owner(folder)


@pytest.mark.parametrize(
    ("location", "base", "expected"),
    [
        ("mlflow-artifacts:/1", "", "1"),
        ("mlflow-artifacts:/", "", ""),
        ("mlflow-artifacts:", "", ""),
        ("mlflow-artifacts://host:5000/a/b/", "", "a/b"),
        ("mlflow-artifacts:/my%20place/b", "", "my place/b"),
        ("mlflow-artifacts:/sp ace/ü", "", "sp ace/ü"),
        ("mlflow-artifacts:/a//./b", "", "a/b"),
        ("mlflow-artifacts:/a/../b", "", None),
        ("s3://bucket/1", "/srv/a", None),
        ("s3://bucket/1", "", None),
        ("s3://bucket/1", "s3://bucket", "1"),
        ("S3://bucket/1/", "s3://bucket", "1"),
        ("s3://bucket", "s3://bucket", ""),
        ("s3://bucket/", "s3://bucket", ""),
        ("s3://bucket/a/b/1", "s3://bucket/a/b", "1"),
        ("s3://bucket/a/b", "s3://bucket/a/b", ""),
        ("s3://bucket/a/bc/1", "s3://bucket/a/b", None),
        ("s3://bucket/1", "s3://bucket/a/b", None),
        ("s3://other/1", "s3://bucket", None),
        ("s3://bucket2/1", "s3://bucket", None),
        ("s3://Bucket/1", "s3://bucket", None),
        ("s3://bucket/my place/ü%20+", "s3://bucket", "my place/ü%20+"),
        ("s3://bucket/a/../b", "s3://bucket", None),
        ("s3:///1", "s3://bucket", None),
        ("/bucket/1", "s3://bucket", None),
        ("file:///bucket/1", "s3://bucket", None),
        ("mlflow-artifacts:/1", "s3://bucket/a", "1"),
        ("/srv/a/1", "/srv/a", "1"),
        ("file:///srv/a/1%20x", "/srv/a", "1 x"),
        ("/srv/a", "/srv/a/", ""),
        ("/srv/ab/1", "/srv/a", None),
        ("/srv/a/1", "", None),
        ("./mlruns/1", "/srv/a", None),
        ("", "/srv/a", None),
        ("http://[broken", "", None),
    ],
)
def test_where_a_location_lies(location: str, base: str, expected: str | None) -> None:
    assert root_key(location, base) == expected

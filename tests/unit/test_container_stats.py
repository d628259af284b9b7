"""Statistics of containers, from recorded streams of real engines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.core.stack.container_stats import Measured, Stats, decode, sample

RECORDED = Path(__file__).parent / "recorded"
BOX = Measured("abc", "store", 512_000_000, lambda: 1_234)


def recorded(name: str) -> list[Stats]:
    found = [decode(line) for line in (RECORDED / name).read_bytes().splitlines()]
    return [each for each in found if each is not None]


@pytest.mark.parametrize("name", sorted(each.name for each in RECORDED.glob("stats-*.jsonl")))
def test_a_recorded_stream(name: str) -> None:
    first, *rest = recorded(name)
    assert len(rest) >= 3
    alone = sample(BOX, first, None)
    assert (alone.cpu_percent, alone.received, alone.read) == (None, None, None)
    assert (alone.memory_limit_bytes, alone.log_bytes) == (512_000_000, 1_234)
    before = first
    for now in rest:
        each = sample(BOX, now, before)
        assert each.at == now.read
        assert each.cpu_percent is not None
        assert 0 <= each.cpu_percent < 400
        assert each.memory_bytes is not None
        assert now.memory_stats.usage is not None
        assert 1_000_000 < each.memory_bytes <= now.memory_stats.usage
        assert each.processes
        assert all(rate is not None and rate >= 0 for rate in (
            each.received, each.sent, each.read, each.written,
        ))  # fmt: skip
        before = now


def test_one_that_has_just_ended_says_nothing() -> None:
    assert decode(b'{"read":"0001-01-01T00:00:00Z","memory_stats":{}}') is None


def test_rates_are_a_second_and_start_anew_with_the_container() -> None:
    def stats(second: int, cpu: int, received: int) -> Stats:
        found = decode(
            f'{{"read":"2026-11-25T01:00:{second:02}Z","cpu_stats":{{"cpu_usage":{{"total_usage":'
            f'{cpu}}}}},"networks":{{"a":{{"rx_bytes":{received},"tx_bytes":0}},'
            f'"b":{{"rx_bytes":{received},"tx_bytes":0}}}}}}'.encode()
        )
        assert found is not None
        return found

    now = sample(BOX, stats(4, 3_000_000_000, 500), stats(2, 1_000_000_000, 100))
    assert (now.cpu_percent, now.received) == (100.0, 400.0)
    assert now.at == datetime(2026, 11, 25, 1, 0, 4, tzinfo=UTC)
    anew = sample(BOX, stats(6, 1_000_000_000, 50), stats(4, 9_000_000_000, 500))
    assert (anew.cpu_percent, anew.received) == (50.0, 50.0)


@pytest.mark.parametrize("cache", ["inactive_file", "total_inactive_file"])
def test_memory_is_what_docker_stats_shows(cache: str) -> None:
    found = decode(
        f'{{"read":"2026-11-25T01:00:00Z","memory_stats":{{"usage":100,"stats":{{"{cache}":40}}}}}}'
        .encode()
    )  # fmt: skip
    assert found is not None
    assert found.memory_stats.held == 60


@pytest.mark.parametrize("engine", ["20.10", "28"])
def test_the_second_generation_of_cgroups_names_everything_otherwise(engine: str) -> None:
    """Recorded of a container that reads and writes a disk and is sent packets."""
    before, now, *_ = recorded(f"stats-engine-{engine}-cgroup-v2.jsonl")
    each = sample(BOX, now, before)
    assert all((each.received, each.sent, each.read, each.written))
    assert now.memory_stats.usage is not None
    cache = now.memory_stats.stats["inactive_file"]
    assert cache > 0
    assert each.memory_bytes == now.memory_stats.usage - cache


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_recordings_are_there(generation: str) -> None:
    assert isinstance(RECORDED, Path)
    assert list(RECORDED.glob(f"stats-*cgroup-{generation}.jsonl"))

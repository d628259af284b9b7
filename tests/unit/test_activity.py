"""Access logs remembered: real files that are rotated, cut, compressed, and killed over."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.core.errors import ConsoleError
from console.core.stack import access_sources
from console.core.stack.access_sources import FileSource, Piece
from console.core.users import activity as activity_module
from console.core.users.activity import Activity
from console.core.users.activity_answers import (
    Coverage,
    Scope,
    Slow,
    dominates,
    merged,
    unseen,
)
from tests.unit.test_access_log import API, RUN, UNKNOWN, T, line

DAY = 86_400
ROOT = Path(__file__).resolve().parents[2]


class Place:
    """A folder with a log, and the activity that is read from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "access.log"
        self.database = folder / "activity.db"
        self.activity = self.open()
        self.now = T + 10
        self.written = 0

    def open(self, days: int = 90) -> Activity:
        return Activity(self.database, self.folder / "lock", days, "mlflow-console")

    def write(self, *lines: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(b"".join(each + b"\n" for each in lines))

    def more(self, count: int, user: bytes = b"alice") -> None:
        """Further requests, one a second."""
        self.write(*[line(T + self.written + each, user) for each in range(count)])
        self.written += count
        self.now = max(self.now, T + self.written)

    def collect(self) -> int:
        return self.activity.collect(FileSource(self.log), now=self.now).lines

    def requests(self, user: str = "alice") -> int:
        return self.activity.people(now=self.now)[user].month.requests

    def rotate(self) -> None:
        for number in range(90, 0, -1):
            for end in ("", ".gz"):
                older = self.folder / f"access.log.{number}{end}"
                if older.exists():
                    older.rename(self.folder / f"access.log.{number + 1}{end}")
        self.log.rename(self.folder / "access.log.1")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_further_start_reads_only_what_is_new(place: Place) -> None:
    assert place.collect() == 0  # there is no log yet
    place.more(1000)
    assert place.collect() == 1000
    assert place.collect() == 0
    place.more(7)
    assert place.collect() == 7
    place.activity = place.open()
    assert place.collect() == 0
    assert place.requests() == 1007
    assert place.database.stat().st_mode & 0o777 == 0o600


def test_a_line_that_is_not_ended_waits_for_its_end(place: Place) -> None:
    place.more(1)
    with place.log.open("ab") as file:
        file.write(line(T + 1)[:40])
    assert place.collect() == 1
    with place.log.open("ab") as file:
        file.write(line(T + 1)[40:] + b"\n")
    assert place.collect() == 1
    assert place.requests() == 2


def test_renamed_logs_are_read_to_their_end(place: Place) -> None:
    place.more(100)
    place.collect()
    place.more(10)
    place.rotate()
    place.more(5)
    assert place.collect() == 15
    # nginx writes into the renamed file until it is told.
    with (place.folder / "access.log.1").open("ab") as file:
        file.write(line(T + 3) + b"\n")
    place.more(1)
    assert place.collect() == 2
    place.rotate()
    assert place.collect() == 0
    place.more(4)
    place.rotate()
    place.more(3)
    assert place.collect() == 7
    assert place.requests() == 100 + 15 + 2 + 7


def test_compressed_logs_are_known_again(place: Place) -> None:
    place.more(2000)
    place.rotate()
    place.more(50)
    assert place.collect() == 2050
    older = place.folder / "access.log.1"
    data = older.read_bytes()
    half = gzip.compress(data)
    compressed = place.folder / "access.log.1.gz"
    compressed.write_bytes(half[: len(half) // 2])
    assert place.collect() == 0  # while it is compressed, both are there
    compressed.write_bytes(half)
    older.unlink()
    assert place.collect() == 0
    place.more(2)
    assert place.collect() == 2


def test_compressed_before_it_was_read(place: Place) -> None:
    place.more(300)
    place.collect()
    place.more(20)
    (place.folder / "access.log.1.gz").write_bytes(gzip.compress(place.log.read_bytes()))
    place.log.unlink()
    place.more(5)
    assert place.collect() == 25
    assert place.requests() == 325
    assert place.activity.coverage(1, now=place.now).spans[0][0].timestamp() == T


def test_dates_instead_of_numbers(place: Place) -> None:
    place.more(3)
    place.log.rename(place.folder / "access.log-20261125")
    place.more(2)
    place.log.rename(place.folder / "access.log-20261126")
    place.more(1)
    assert place.collect() == 6
    (place.folder / "access.log.conf").write_text("no log")
    assert place.collect() == 0


def test_copied_and_truncated(place: Place) -> None:
    place.more(100)
    place.collect()
    place.more(10)
    copy = place.folder / "access.log.1"
    shutil.copy(place.log, copy)
    assert place.collect() == 10  # both are there, and hold the same
    os.truncate(place.log, 0)
    assert place.collect() == 0
    place.more(3)
    assert place.collect() == 3
    assert place.requests() == 113


def test_truncated_without_a_copy_is_a_gap(place: Place) -> None:
    place.more(100)
    place.collect()
    os.truncate(place.log, 0)
    place.written += 1000  # of these nobody will ever know
    place.more(200)
    assert place.collect() == 200
    first, second = place.activity.coverage(1, now=place.now).spans
    assert first[1].timestamp() == pytest.approx(T + 100)
    assert second[0].timestamp() == T + 1100


def test_many_rotations_at_random_lose_and_double_nothing(place: Place) -> None:
    rng = random.Random(8)  # noqa: S311  # no secrets
    written = read = 0
    for _ in range(80):
        count = rng.randrange(4)
        place.more(count)
        written += count
        if rng.random() < 0.5 and place.log.exists():
            place.rotate()
            older = place.folder / "access.log.2"
            if rng.random() < 0.5 and older.exists():
                (place.folder / "access.log.2.gz").write_bytes(gzip.compress(older.read_bytes()))
                older.unlink()
        if rng.random() < 0.6:
            read += place.collect()
    assert read + place.collect() == written


def test_an_endless_line_and_a_broken_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_sources, "LONGEST_LINE", 1 << 16)
    place.log.write_bytes(b"x" * (1 << 20))
    place.write(b"", line(T))
    broken = gzip.compress(b"".join(line(T + n) + b"\n" for n in range(5000)))
    (place.folder / "access.log.1.gz").write_bytes(broken[: len(broken) // 2])
    (place.folder / "access.log.2.gz").write_bytes(b"\x1f\x8bno gzip")
    assert 1 < place.collect() < 5001
    assert place.collect() == 0


INGEST = """
import sys, threading
from pathlib import Path
from console.core.stack.access_sources import FileSource
from console.core.users import activity
activity.BATCH_LINES = 2000
folder = Path(sys.argv[1])
opened = activity.Activity(folder / "activity.db", folder / "lock", 90, "")
print("begins", flush=True)
print(opened.collect(FileSource(folder / "access.log"), now=float(sys.argv[2])).lines)
"""


def ingest(place: Place) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", INGEST, str(place.folder), str(place.now)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip


def test_killed_at_any_moment_nothing_is_lost_or_doubled(place: Place) -> None:
    place.more(120_000)
    place.rotate()
    place.more(60_000)
    killed = 0
    for number in range(12):
        running = ingest(place)
        assert running.stdout is not None
        assert running.stdout.readline() == b"begins\n"
        time.sleep(0.02 * number)  # where in its work it is killed is what varies
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        running.stdout.close()
        place.more(10)
    assert killed >= 3
    place.collect()
    assert place.requests() == 180_120
    with sqlite3.connect(place.database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_consoles_at_once_count_once(place: Place) -> None:
    place.more(50_000)
    both = [ingest(place) for _ in range(3)]
    counted = [int(each.communicate()[0].split()[1]) for each in both]
    assert sorted(counted) == [0, 0, 50_000]
    assert place.requests() == 50_000


def test_cancelled_it_goes_on_where_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_module, "BATCH_LINES", 1000)
    place.more(20_000)
    cancel = threading.Event()

    class Cancelling(FileSource):
        def read(self, position: bytes | None, cancel: threading.Event) -> Iterator[Piece]:
            for number, piece in enumerate(super().read(position, cancel)):
                yield piece
                if number == 3:
                    cancel.set()

    first = place.activity.collect(Cancelling(place.log), cancel, now=place.now).lines
    assert 0 < first < 20_000
    assert first + place.collect() == 20_000
    [span] = place.activity.coverage(1, now=place.now).spans
    assert span[0].timestamp() == T


def test_what_a_person_did(place: Place) -> None:
    now = place.now = T + 2 * DAY
    place.write(
        line(T - 20 * DAY, client=b"old/1", address=b"10.0.0.2", sent=7),
        *[line(now - 3600 * each, sent=100) for each in range(30)],
        line(now - 60, status=401), line(now, status=500), line(now, b"mlflow-console"),
    )  # fmt: skip
    place.collect()
    today = datetime.fromtimestamp(now - 7200, UTC)
    people = place.activity.people(today=today, now=now)
    assert list(people) == ["alice"]
    alice = people["alice"]
    assert alice.first_seen == datetime.fromtimestamp(T - 20 * DAY, UTC)
    assert alice.last_seen == datetime.fromtimestamp(now, UTC)
    assert (alice.today.requests, alice.today.sent, alice.today.refused) == (3, 300, 1)
    assert (alice.month.requests, alice.month.unproven) == (31, 1)
    assert alice.month.received == 31 * 500
    assert alice.series == (1,) * 24
    assert [each.address for each in alice.addresses] == ["10.0.0.1", "10.0.0.2"]
    assert alice.client == "mlflow-python-client/3.17.2"
    assert not alice.more_addresses


def test_hosts_are_told_apart_or_put_together(place: Place) -> None:
    other = line(T + 5).replace(b"mlflow.lab", b"other.lab")
    place.write(line(T), other, other)
    place.collect()

    def count(scope: Scope) -> int:
        found = place.activity.people(scope, now=place.now)
        return found["alice"].month.requests if found else 0

    assert count(Scope()) == 3
    assert count(Scope(hosts=("other.lab",))) == 2
    assert count(Scope(without=("other.lab",))) == 1
    assert count(Scope(hosts=("none",))) == 0
    [address] = place.activity.people(now=place.now)["alice"].addresses
    assert (address.requests, address.last.timestamp()) == (3, T + 5)


def test_more_addresses_than_are_kept_is_said(place: Place) -> None:
    place.now = T + 1000
    place.write(*[line(T + n, address=b"10.1.%d.%d" % divmod(n, 200)) for n in range(70)])
    place.collect()
    alice = place.activity.people(now=place.now)["alice"]
    assert len(alice.addresses) == 50
    assert alice.more_addresses
    assert alice.addresses[0].address == "10.1.0.69"


def test_names_that_were_tried(place: Place) -> None:
    place.write(
        *[line(T + n, b"root", status=401, address=b"10.6.6.6") for n in range(5)],
        line(T + 9, b"alice", status=401), line(T + 1, b"bob", status=401, address=b"10.0.0.9"),
        UNKNOWN % b"bob",
    )  # fmt: skip
    place.collect()
    root, bob = place.activity.tried(known={"alice"})
    assert (root.name, root.address, root.attempts, root.unknown) == ("root", "10.6.6.6", 5, None)
    assert (bob.name, bob.attempts, bob.unknown) == ("bob", 1, True)
    assert place.activity.people(now=place.now)["alice"].last_seen is None


def test_what_is_slow(place: Place) -> None:
    place.write(
        *[line(T + n, seconds=b"0.%03d" % (n + 1), upstream=b"0.002") for n in range(100)],
        *[line(T + n, path=b"/api/2.0/mlflow/runs/get?run_id=%d" % n) for n in range(20)],
    )
    place.now = T + 200
    place.collect()
    place.write(*[line(T + n, seconds=b"0.%03d" % (n + 101)) for n in range(100)])
    place.collect()  # distributions of both add up
    metric, get = place.activity.slow(now=place.now)
    assert (metric.endpoint, metric.requests) == ("/api/2.0/mlflow/runs/log-metric", 200)
    assert metric.median == pytest.approx(0.100, rel=0.03)
    assert metric.p95 == pytest.approx(0.190, rel=0.03)
    assert metric.upstream_median == pytest.approx(0.002)
    assert (get.endpoint, get.requests) == ("/api/2.0/mlflow/runs/get", 20)
    assert place.activity.slow(user="bob", now=place.now) == []


def test_what_dominates_is_said_and_never_guessed() -> None:
    inside = Slow("alice", "/a", 1000, 0.100, 0.2, 0.092, 0.1)
    outside = Slow("alice", "/b", 10_000, 0.100, 0.2, 0.010, 0.1)
    unsaid = Slow("alice", "/c", 10**6, 9.0, 9.9, None, None)
    assert dominates([inside]) == "MLflow (with its database and store) takes 92 % of the time"
    assert dominates([inside, outside, unsaid]) == (
        "The proxy and the network take 83 % of the time, MLflow 17 %"
    )
    assert dominates([unsaid]) == dominates([]) == ""
    rounded = Slow("alice", "/d", 5, 0.001, 0.001, 0.002, 0.002)  # both are buckets
    assert "100 %" in dominates([rounded])


def test_who_deleted_this_run(place: Place) -> None:
    artifacts = b"/api/2.0/mlflow-artifacts/artifacts/7/%s/artifacts" % RUN
    place.write(
        line(T, path=API + b"/runs/delete"),
        line(T + 60, b"bob", path=artifacts, method=b"DELETE", status=204),
    )
    place.now = T + 100
    place.collect()
    assert len(place.activity.deletions()) == 2
    [bobs] = place.activity.deletions(run_id=RUN.decode())
    assert (bobs.user, bobs.experiment_id, bobs.status) == ("bob", "7", 204)
    assert place.activity.deletions(experiment_id="7") == [bobs]
    since = datetime.fromtimestamp(T + 30, UTC)
    assert place.activity.deletions(since=since) == [bobs]
    [alices] = place.activity.deletions(until=since)
    assert (alices.user, alices.at.timestamp(), alices.run_id) == ("alice", T, "")
    assert place.activity.deletions(user="carl") == []


def test_what_is_old_is_forgotten_but_not_who_it_was(place: Place) -> None:
    place.activity = place.open(days=10)
    place.write(line(T), line(T, path=API + b"/runs/delete"), line(T, b"x", status=401))
    place.collect()
    place.now = T + 11 * DAY
    place.write(line(place.now, b"bob"))
    place.collect()
    people = place.activity.people(now=place.now)
    assert people["alice"].month.requests == 0
    assert people["alice"].last_seen == datetime.fromtimestamp(T, UTC)
    assert people["bob"].month.requests == 1
    assert place.activity.deletions() == []
    assert place.activity.tried() == []
    assert place.activity.slow(30, "alice", place.now) == []


def test_no_claim_goes_beyond_what_the_logs_cover(place: Place) -> None:
    place.now = T + 40 * DAY
    place.write(line(T), line(place.now, b"bob"))
    place.collect()
    alice = place.activity.people(now=place.now)["alice"]
    coverage = place.activity.coverage(90, now=place.now)
    assert coverage.sentence == "logs cover 40 of 90 days"
    assert unseen(alice.last_seen, 30, coverage) is True
    assert unseen(alice.last_seen, 90, coverage) is False
    assert unseen(None, 90, coverage) is None  # nobody knows
    assert unseen(None, 30, coverage) is True
    bob = place.activity.people(now=place.now)["bob"]
    assert unseen(bob.last_seen, 90, coverage) is False
    assert coverage.last(30).sentence == "logs cover all 30 days"
    assert coverage.last(100) == coverage
    assert place.activity.coverage(30, now=place.now).sentence == "logs cover all 30 days"


def test_spans_and_their_words() -> None:
    assert merged([(5, 9), (0, 3), (8, 20), (30, 40)], 1, 35) == [(1, 20), (30, 35)]
    now = datetime.fromtimestamp(T, UTC)
    gap = Coverage(now - timedelta(days=9), now, (
        (now - timedelta(days=9), now - timedelta(days=5)), (now - timedelta(days=4), now),
    ))  # fmt: skip
    assert gap.sentence == "logs cover 8 of 9 days"
    assert not gap.complete
    assert unseen(None, 5, gap) is None
    assert unseen(None, 4, gap) is True
    short = Coverage(now - timedelta(days=90), now, ((now - timedelta(hours=1), now),))
    assert short.sentence == "logs cover 1 hour of 90 days"
    assert gap.last(3).complete
    assert gap.last(5).sentence == "logs cover 4 of 5 days"
    nothing = Coverage(now - timedelta(days=90), now, ())
    assert nothing.sentence == "logs cover less than an hour of 90 days"


def test_a_newer_database_gets_a_sentence(place: Place) -> None:
    place.more(1)
    place.collect()
    with sqlite3.connect(place.database) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = place.database.read_bytes()
    with pytest.raises(ConsoleError, match="format 99"):
        place.collect()
    with pytest.raises(ConsoleError, match="format 99"):
        place.activity.people()
    assert place.database.read_bytes() == before


@pytest.mark.parametrize("how", ["text", "empty", "middle", "table"])
def test_a_broken_database_is_put_aside_with_a_note(place: Place, how: str) -> None:
    place.more(3000)
    place.collect()
    if how == "table":
        with sqlite3.connect(place.database) as connection:
            connection.execute("DROP TABLE hours")
    else:
        data = bytearray(place.database.read_bytes())
        data[100:] = b"\xff" * (len(data) - 100)
        place.database.write_bytes({"text": b"this is no database" * 99, "empty": b"",
                                    "middle": bytes(data)}[how])  # fmt: skip
    place.more(1)
    collected = place.activity.collect(FileSource(place.log), now=place.now)
    assert collected.lines == 3001
    assert ("broken" in collected.note) == (how != "empty")
    assert place.requests() == 3001
    assert len(list(place.folder.glob("activity.db.broken-*[0-9]"))) == (how != "empty")


def test_a_log_that_cannot_be_read_is_a_sentence(place: Place) -> None:
    place.log.mkdir()
    with pytest.raises(ConsoleError):
        place.collect()


def test_nothing_is_made_by_a_question(place: Place) -> None:
    assert place.activity.people() == {}
    assert place.activity.tried() == []
    assert place.activity.deletions() == []
    assert place.activity.slow() == []
    assert place.activity.coverage(90).spans == ()
    assert not place.database.exists()


def test_any_amount_in_a_line(place: Place) -> None:
    place.write(line(T, sent=10**17), *[line(T + 1, received=10**17)] * 9, line(T + 2))
    place.collect()
    place.write(line(T, sent=10**17))
    place.collect()
    assert place.activity.people(now=place.now)["alice"].month.sent > 10**12

"""Lines of access logs and what they sum up to: the figures are counted again by hand."""

from __future__ import annotations

import random
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.users import access_log, calls, durations
from console.core.users.digest import MOST_TRIED, Digest

T = 1_795_600_000.0  # 2026-11-25
NOW = T + 86_400
CLIENT = b"mlflow-python-client/3.17.2"
API = b"/api/2.0/mlflow"
RUN = b"0123456789abcdef" * 2
MISMATCH = (
    b'2026/11/25 10:00:00 [error] 29#29: *1 user "%s": password mismatch, client: 10.0.0.9, '
    b'server: mlflow.lab, request: "GET / HTTP/1.1", host: "mlflow.lab"'
)
UNKNOWN = (
    b'2026/11/25 10:00:00 [error] 29#29: *1 user "%s" was not found in "/etc/htpasswd/default", '
    b'client: 10.0.0.9, server: mlflow.lab, request: "GET / HTTP/1.1", host: "mlflow.lab"'
)


def line(
    at: float = T, user: bytes = b"alice", path: bytes = API + b"/runs/log-metric", *,
    status: int = 200, method: bytes = b"POST", address: bytes = b"10.0.0.1",
    seconds: bytes = b"0.012", upstream: bytes = b"0.010", client: bytes = CLIENT,
    received: int = 500, sent: int = 250,
) -> bytes:  # fmt: skip
    head = b"%.3f\t%d\t%s\tmlflow.lab\t%s\t%s" % (at, status, method, address, user)
    return head + b"\t%s\t%s\t%d\t%d\t%s\t%s" % (seconds, upstream, received, sent, path, client)


def digested(*lines: bytes, now: float = NOW, own: str = "mlflow-console") -> Digest:
    digest = Digest(now, own)
    digest.feed(lines)
    digest.finish()
    return digest


def test_both_formats_say_the_same() -> None:
    assert access_log.tabs(line()) == (
        b"1795600000.000", b"200", b"POST", b"mlflow.lab", b"10.0.0.1", b"alice", b"0.012",
        b"0.010", b"500", b"250", API + b"/runs/log-metric", CLIENT,
    )  # fmt: skip
    plain = (
        b'10.0.0.1 - alice [25/Nov/2026:10:46:40 +0100] "POST /api/2.0/mlflow/runs/log-metric'
        b' HTTP/1.1" 200 250 "-" "mlflow-python-client/3.17.2"'
    )
    for text, host in ((plain, b""), (b"mlflow.lab:443 " + plain, b"mlflow.lab")):
        request = access_log.combined(text)
        assert request is not None
        assert (request.host, request.address, request.user) == (host, b"10.0.0.1", b"alice")
        assert (request.at, request.status, request.sent) == (b"1795600000.000", b"200", b"250")
        assert (request.path, request.client) == (API + b"/runs/log-metric", CLIENT)
    quoted = access_log.combined(plain.replace(b"mlflow-python-client/3.17.2", rb"a \"b\" c"))
    assert quoted is not None
    assert quoted.client == rb"a \"b\" c"
    assert access_log.combined(plain.replace(b"Nov", b"Nox")) is None
    assert access_log.combined(plain.replace(b"25/", b"31/")) is None


def test_combined_lines_are_summed_up_too() -> None:
    text = b'10.0.0.1 - alice [25/Nov/2026:09:46:40 +0000] "GET / HTTP/1.1" 200 250 "-" "curl/8"'
    digest = digested(text, b"nonsense", text)
    assert (digest.lines, digest.bad) == (2, 1)
    [((_, user, _), hour)] = digest.hours.items()
    assert (user, hour.requests, hour.sent, hour.received) == ("alice", 2, 500, 0)
    [times] = digest.times.values()
    assert times.request == times.upstream == {}  # it does not say


def test_failed_logins_of_the_error_log() -> None:
    assert access_log.failed_login(MISMATCH % b"alice") == (
        b"alice", b"10.0.0.9", b"mlflow.lab", False
    )  # fmt: skip
    assert access_log.failed_login(UNKNOWN % b"bob") == (b"bob", b"10.0.0.9", b"mlflow.lab", True)
    assert access_log.failed_login(b"2026/11/25 10:00:00 [warn] user agent") is None
    digest = digested(
        line(status=401, user=b"bob", address=b"10.0.0.9"), UNKNOWN % b"bob", line(),
        b"2026/11/25 10:00:00 [warn] something else", MISMATCH % b"alice", b"what is this",
    )  # fmt: skip
    assert (digest.lines, digest.bad) == (2, 1)
    bob = digest.attempts["mlflow.lab", "bob", "10.0.0.9"]
    assert (bob.refused, bob.told, bob.unknown) == (1, 1, True)
    assert digest.attempts["mlflow.lab", "alice", "10.0.0.9"].unknown is False


@given(st.binary(max_size=40))
def test_names_come_back_as_they_were_sent(name: bytes) -> None:
    escaped = access_log.escape(name)
    assert access_log.key(escaped) == escaped.decode("ascii")
    assert access_log.key(escaped.lower().replace(b"\\x", b"\\x")).isprintable()
    assert access_log.unescape(escaped) == name.decode("utf-8", "backslashreplace")


@given(st.lists(st.one_of(
    st.binary(max_size=80),
    st.lists(st.binary(max_size=6), min_size=12, max_size=12).map(b"\t".join),
    st.tuples(st.integers(0, 11), st.binary(max_size=12)).map(
        lambda change: b"\t".join(
            change[1] if place == change[0] else field
            for place, field in enumerate(line().split(b"\t"))
        )
    ),
)))  # fmt: skip
def test_any_bytes_go_in(lines: list[bytes]) -> None:
    digest = digested(*lines, line())
    assert digest.lines >= 1
    assert digest.hours["mlflow.lab", "alice", int(T) // 3600].requests >= 1
    assert digest.lines + digest.bad <= len(lines) + 1


def test_every_figure_is_what_counting_by_hand_gives() -> None:
    rng = random.Random(6)  # noqa: S311  # no secrets
    requests, lines = Counter[tuple[bytes, int]](), []
    sent, last = Counter[tuple[bytes, int]](), dict[tuple[bytes, bytes], float]()
    for number in range(5000):
        at = T + number * 3 + rng.uniform(-1, 1)  # workers write in no strict order
        user, address = rng.choice([b"alice", b"bob", b"carl"]), b"10.0.0.%d" % rng.randrange(9)
        status = rng.choice([200, 200, 200, 404, 401, 502])
        size = rng.randrange(10_000)
        lines.append(line(at, user, status=status, address=address, sent=size))
        if status in (200, 404):
            hour = int(f"{at:.3f}".partition(".")[0]) // 3600
            requests[user, hour] += 1
            sent[user, hour] += size
            last[user, address] = max(last.get((user, address), 0), float(f"{at:.3f}"))
    digest = digested(*lines)
    assert digest.lines == 5000
    found = {key: hour for key, hour in digest.hours.items() if hour.requests}
    assert {(u.encode(), h): each.requests for (_, u, h), each in found.items()} == requests
    assert {(u.encode(), h): each.sent for (_, u, h), each in found.items()} == sent
    assert {(u.encode(), a.encode()): face.last for (_, u, a), face in digest.faces.items()} == last
    assert sum(each.refused for each in digest.hours.values()) == sum(
        b"\t401\t" in each for each in lines
    )
    assert sum(each.unproven for each in digest.hours.values()) == sum(
        b"\t502\t" in each for each in lines
    )


@pytest.mark.parametrize("status", [301, 308, 400, 403, 405, 413, 429, 499, 500, 502, 503])
def test_an_answer_that_the_proxy_gives_by_itself_is_no_proof(status: int) -> None:
    digest = digested(line(status=status))
    assert not digest.faces
    [hour] = digest.hours.values()
    assert (hour.requests, hour.unproven) == (0, 1)


def test_what_needs_no_password_is_nobodys() -> None:
    digest = digested(*[line(path=b"/health", method=b"GET")] * 3, line(path=b"/version?x=1"))
    assert digest.lines == 4
    assert not digest.hours
    assert not digest.faces


def test_a_refusal_where_others_need_no_password_is_one() -> None:
    digest = digested(line(path=b"/version", user=b"root", status=401))
    assert [who[1] for who in digest.attempts] == ["root"]


def test_the_service_user_and_nobody_are_no_people() -> None:
    digest = digested(
        line(user=b"mlflow-console"), line(user=b"-"), line(user=b"", status=401),
        line(user=b"-", status=401), line(user=b"mlflow-console", status=401),
    )  # fmt: skip
    assert digest.lines == 5
    assert not digest.faces
    assert list(digest.attempts) == [("mlflow.lab", "mlflow-console", "10.0.0.1")]


def test_deleting_calls_are_kept_singly() -> None:
    digest = digested(
        line(path=API + b"/runs/delete"), line(path=API + b"/runs/delete"),
        line(T + 1, path=API + b"/runs/delete-tag?run_id=" + RUN, user=b"b\\xC3\\xB6b"),
        line(T + 2, path=b"/api/2.0/mlflow-artifacts/artifacts/7/" + RUN + b"/artifacts/m",
             method=b"DELETE", status=204),
        line(T + 3, path=API + b"/runs/delete", status=401),
        line(T + 4, path=API + b"/registered-models/delete", method=b"DELETE", status=404),
        line(T + 5, path=API + b"/runs/restore"), line(T + 6, path=API + b"/runs/delete",
        method=b"GET"),
    )  # fmt: skip
    found = [(each.at - T, each.user, each.run_id, each.status) for each in digest.deletions]
    assert found == [
        (0, "alice", "", 200), (0, "alice", "", 200), (1, "b\\xC3\\xB6b", RUN.decode(), 200),
        (2, "alice", RUN.decode(), 204), (4, "alice", "", 404),
    ]  # fmt: skip
    assert digest.deletions[3].experiment_id == "7"
    assert digest.lines == 8
    assert sum(each.requests for each in digest.hours.values()) == 7


def test_the_last_client_and_the_addresses() -> None:
    digest = digested(
        line(T, client=b"new"), line(T - 5, client=b"old"), line(T + 1, address=b"::1"),
    )  # fmt: skip
    first, second = digest.faces.values()
    assert (first.first, first.last, first.client, first.requests) == (T - 5, T, "new", 2)
    assert second.client == CLIENT.decode()


def test_lines_from_the_future_are_counted_as_of_now() -> None:
    digest = digested(line(T), line(NOW + 30), line(NOW + 86_400))
    assert (digest.lines, digest.future, digest.last) == (3, 1, NOW)
    assert max(hour for _, _, hour in digest.hours) == NOW // 3600
    assert max(day for day, _, _ in digest.times) == NOW // 86_400


def test_strangers_take_no_memory() -> None:
    digest = Digest(NOW)
    for part in range(4):
        digest.feed([
            line(user=b"name%d" % (part * 20_000 + each), status=401, path=b"/%d" % each)
            for each in range(20_000)
        ])  # fmt: skip
    digest.finish()
    assert len(digest.attempts) == MOST_TRIED
    assert digest.attempts_beyond == 80_000 - MOST_TRIED
    assert digest.lines == 80_000


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (API + b"/runs/get?run_id=" + RUN, API + b"/runs/get"),
        (b"/api/2.0/mlflow/logged-models/m-" + RUN + b"/tags", API + b"/logged-models/:id/tags"),
        (b"/api/3.0/mlflow/traces/tr-" + RUN, b"/api/3.0/mlflow/traces/:id"),
        (b"/api/2.0/mlflow-artifacts/artifacts/3/x/y z", b"/api/2.0/mlflow-artifacts/artifacts/*"),
        (b"/mlf/ajax-api/2.0/mlflow/gateway", b"/mlf/ajax-api/2.0/mlflow/gateway"),
        (b"/static-files/static/js/main.1a2b.js", b"/static-files/*"),
        (b"/", b"/"), (b"", b"(other)"), (b"/wp-login.php", b"(other)"),
        (b"/api/" + b"x" * 500, b"(other)"),
    ],
)  # fmt: skip
def test_endpoints(path: bytes, wanted: bytes) -> None:
    assert calls.endpoint(path) == wanted


def test_quantiles_are_right_to_a_few_percent_and_add_up() -> None:
    rng = random.Random(7)  # noqa: S311  # as above
    values = [rng.lognormvariate(-3, 1.2) for _ in range(20_000)]
    halves: list[durations.Histogram] = [{}, {}]
    for number, value in enumerate(values):
        durations.add(halves[number % 2], {durations.bucket(b"%.3f" % value): 1})
    durations.add(halves[0], halves[1])
    median, p95 = durations.quantile(halves[0], 0.5), durations.quantile(halves[0], 0.95)
    assert median == pytest.approx(statistics.median(values), rel=0.03)
    assert p95 == pytest.approx(statistics.quantiles(values, n=20)[-1], rel=0.03)
    assert durations.quantile({}, 0.5) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"0.000", 0), (b"0.003", 0.003), (b"0.016", 0.016), (b"0.017", 0.0168),
     (b"0.001, 0.002", 0.003), (b"0.001 : 0.002", 0.003), (b"-, 0.005", 0.005),
     (b"3600.000", 3600)],
)  # fmt: skip
def test_durations(text: bytes, seconds: float) -> None:
    assert durations.seconds(durations.bucket(text)) == pytest.approx(seconds, rel=0.026)


@given(st.one_of(st.binary(max_size=12), st.sampled_from([b"-", b"nan", b"inf", b"-1", b"1e400"])))
def test_what_is_no_duration_is_in_no_figure(text: bytes) -> None:
    assert 0 <= durations.bucket(text) < durations.BUCKETS
    for nothing in (b"-", b"nan", b"inf", b"-1", b"", b"-, -"):
        assert durations.bucket(nothing) == durations.NONE

"""Every request is in exactly one counter, and epochs judge inference only, each request once."""

from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from onguard.contract import CONNECTION_REQUESTS, UNIT
from onguard_sidecar.exchange import BODY_CAP, Exchange, Fields
from onguard_sidecar.ledger import EPOCH_NS, EpochRow, Ledger, layout_of
from onguard_sidecar.wire.accounts import Accounts, ConnectionAccount
from onguard_sidecar.wire.config import WireConfig
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.matching import Matcher

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
GET = b"GET /healthz HTTP/1.1\r\n\r\n"
MS = 1_000_000


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status


class Kept(list[Exchange]):
    """An outbox that keeps everything."""

    def offer(self, exchanges: Sequence[Fields], size: int) -> None:
        self.extend(starmap(Exchange, exchanges))


class Bench:
    """Accounts on a ledger of their own, epoch 1000 at the start, and connections that feed them."""

    def __init__(self, path: Path, draws: Iterator[float] | None = None) -> None:
        self.kept = Kept()
        self.ledger = Ledger.open_wire(path, layout_of("", ()), 1)
        self.accounts = Accounts(self.ledger, self.kept, lambda: next(draws or iter(())), wall_ns=1000 * EPOCH_NS)
        self.accounts.configure(WireConfig(latency_bounds_s=(0.1, 0.25), error_statuses=(429,)))
        self.framers: list[tuple[Framer, ConnectionAccount]] = []

    def connect(self) -> Framer:
        account = ConnectionAccount(self.accounts, len(self.framers))
        self.framers.append((Framer(Heads(Matcher((), ()).is_inference), account, Budget()), account))
        return self.framers[-1][0]

    def ask(self, framer: Framer, at: int, *, status: int = 200, takes: int = MS, request: bytes = POST) -> None:
        framer.feed_client(request, at)
        framer.feed_server(answer(status), at + takes)

    def sweep(self, now: int) -> None:
        for framer, account in self.framers:
            self.accounts.overdue(framer.queue, account, now)
        self.accounts.publish(now)

    def counters(self, now: int) -> dict[str, int]:
        self.accounts.publish(now)
        hidden = {"published_ns"}
        return {k: v for k, v in self.ledger.snapshot().counters.items() if v and k not in hidden}

    def rows(self, now: int) -> tuple[EpochRow, ...]:
        self.accounts.publish(now)
        return self.ledger.snapshot().epochs


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger")


def row(number: int, *, requests: int = 0, errors: int = 0, slow: Any = (0, 0), connections: int = 0, bad: int = 0,
        connection_slow: Any = (0, 0)) -> EpochRow:  # fmt: skip
    weights = tuple(UNIT * n for n in connection_slow)
    return EpochRow(number, requests, errors, (*slow, 0, 0), connections, bad * UNIT, (*weights, 0, 0))


def test_a_health_check_judges_nothing(bench: Bench) -> None:
    bench.ask(bench.connect(), 0, request=GET, status=500, takes=9_000 * MS)
    assert bench.counters(0) == {"requests": 1, "not_inference": 1}
    assert [r.requests for r in bench.rows(0)] == [0]
    assert bench.kept == []


def test_an_inference_request_is_judged_and_handed_over(bench: Bench) -> None:
    bench.ask(bench.connect(), 5 * MS, takes=100 * MS)
    assert bench.counters(200 * MS) == {"requests": 1, "inference": 1, "status_2xx": 1}
    assert bench.rows(0) == (row(1000, requests=1, connections=1),)
    [exchange] = bench.kept
    assert exchange == Exchange(
        0, 0, 1000 * EPOCH_NS + 5 * MS, 100 * MS, 100 * MS, 200, 0, 0, 1, POST[:-2], b"{}", answer(200)[:-2], b"{}"
    )
    duration = bench.ledger.snapshot().duration
    assert (duration.buckets[6], sum(duration.buckets), duration.sum_ns) == (1, 1, 100 * MS)  # in (50 ms, 100 ms]


@pytest.mark.parametrize(
    ("status", "field", "errors"),
    [(200, "status_2xx", 0), (302, "status_3xx", 0), (404, "status_4xx", 0), (429, "status_4xx", 1),
     (500, "status_5xx", 1), (599, "status_5xx", 1), (600, "status_other", 1)],
)  # fmt: skip
def test_errors_are_5xx_and_configured_statuses(bench: Bench, status: int, field: str, errors: int) -> None:
    bench.ask(bench.connect(), 0, status=status)
    assert bench.counters(0)[field] == 1
    assert bench.rows(0) == (row(1000, requests=1, errors=errors, connections=1, bad=errors),)


def test_a_reset_by_the_model_is_its_error(bench: Bench) -> None:
    framer = bench.connect()
    framer.feed_client(POST, 0)
    framer.end_server(MS, reset=True)
    assert bench.counters(0) == {
        "requests": 1, "inference": 1, "errors": 1, "upstream_resets": 1,
    }  # fmt: skip
    assert bench.rows(0) == (row(1000, requests=1, errors=1, connections=1, bad=1),)
    assert len(bench.kept) == 1


def test_a_client_that_leaves_is_an_outcome_of_its_own_unless_it_waited_too_long(bench: Bench) -> None:
    for waited in (MS, 150 * MS):
        framer = bench.connect()
        framer.feed_client(POST, 0)
        framer.end_client(waited)
    assert bench.counters(0) == {"requests": 2, "inference": 2, "client_aborts": 2}
    assert bench.rows(0) == (row(1000, requests=1, slow=(1, 0), connections=2, connection_slow=(1, 0)),)


def test_a_request_in_flight_past_the_largest_bound_is_slow_in_the_epoch_in_which_it_crosses(bench: Bench) -> None:
    framer = bench.connect()
    framer.feed_client(POST, 4_000 * MS)
    for now in range(4_000, 12_000, 250):
        bench.sweep(now * MS)
    framer.feed_server(answer(504), 12_000 * MS)
    assert bench.rows(12_000 * MS) == (
        row(1000, requests=1, slow=(1, 1), connections=1, bad=1, connection_slow=(1, 1)),
        row(1001),
        row(1002, requests=1, errors=1),
    )


def test_a_connection_is_one_unit_of_its_first_requests(bench: Bench) -> None:
    framer = bench.connect()
    for number in range(CONNECTION_REQUESTS + 5):
        bench.ask(framer, number * MS, status=500 if number in (2, 3) else 200)
    late = bench.connect()
    for number in range(CONNECTION_REQUESTS + 5):
        bench.ask(late, number * MS, status=500 if number == CONNECTION_REQUESTS else 200)
    assert bench.rows(0) == (row(1000, requests=26, errors=3, connections=2, bad=1),)


def test_a_connections_verdict_is_final_two_epochs_later(bench: Bench) -> None:
    soon, late = bench.connect(), bench.connect()
    bench.ask(soon, 0)
    bench.ask(late, 0)
    bench.ask(soon, 2 * EPOCH_NS, status=500)
    bench.ask(late, 3 * EPOCH_NS, status=500)
    first = bench.rows(3 * EPOCH_NS + MS)[0]
    assert (first.connections, first.connection_bad) == (2, UNIT)


def test_an_idle_epoch_is_there_and_empty(bench: Bench) -> None:
    for number in range(4):
        bench.sweep(number * EPOCH_NS)
    assert bench.rows(3 * EPOCH_NS) == tuple(row(1000 + number) for number in range(4))


def test_a_clock_that_steps_back_reopens_no_epoch(bench: Bench) -> None:
    bench.ask(bench.connect(), 6_000 * MS)
    bench.accounts.wall_ns -= 60 * EPOCH_NS
    bench.ask(bench.connect(), 12_000 * MS)
    assert [(r.id, r.requests) for r in bench.rows(12_000 * MS)] == [(1001, 2)]


def test_the_sample_is_drawn_without_looking(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "ledger", iter((0.4, 0.6, 0.2)))
    bench.accounts.configure(WireConfig(sample=0.5))
    framer = bench.connect()
    for _ in range(3):
        bench.ask(framer, 0)
    assert bench.counters(0)["sampled_out"] == 1
    assert len(bench.kept) == 2


def test_a_request_beyond_the_cap_is_truncated_and_a_long_answer_is_flagged(bench: Bench) -> None:
    size = BODY_CAP + 1
    framer = bench.connect()
    framer.feed_client(b"POST /x:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size, 0)
    framer.feed_server(answer(200), MS)
    framer.feed_client(POST, 0)
    framer.feed_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size, MS)
    found = bench.counters(0)
    assert (found["truncated"], found["response_truncated"], len(bench.kept)) == (1, 1, 1)
    assert bench.kept[0].response_truncated


def test_what_framing_loses_is_in_the_account(bench: Bench) -> None:
    framer = bench.connect()
    framer.feed_client(POST + GET, 0)
    framer.feed_server(b"nonsense", MS)
    assert bench.counters(0) == {
        "requests": 2, "inference": 1, "not_inference": 1, "truncated": 1, "status_other": 1,
        "connections_opaque": 1, "framing_failures": 1,
    }  # fmt: skip


def test_other_bounds_start_the_epochs_again(bench: Bench) -> None:
    framer = bench.connect()
    bench.ask(framer, 0)
    bench.accounts.configure(WireConfig(latency_bounds_s=(1.0,), objectives_hash="0" * 15 + "1"))
    bench.ask(framer, MS, status=500)
    assert bench.rows(MS) == (row(1000, requests=1, errors=1),)
    assert bench.counters(MS)["requests"] == 2

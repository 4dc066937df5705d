"""Ordinary exchanges, looked at many at once, count what the framer counts of them one by one."""

import tempfile
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from onguard.contract import CONNECTION_REQUESTS
from onguard_sidecar.exchange import Exchange, Fields
from onguard_sidecar.ledger import EPOCH_NS, Ledger, layout_of
from onguard_sidecar.wire.accounts import Accounts, ConnectionAccount
from onguard_sidecar.wire.arrivals import Arrivals
from onguard_sidecar.wire.config import WireConfig
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.matching import Matcher
from onguard_sidecar.wire.pending import Pending

MS = 1_000_000
POST = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n"
REQUESTS = (
    POST + b"{}",
    POST + b"[]",
    POST + b"{",
    POST + b"{}" + POST + b"{}",
    b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"HEAD /healthz HTTP/1.1\r\n\r\n",
    b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"}",
    b"\x16\x03\x01",
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = (
    OK,
    OK[:-1],
    b"k",
    OK + OK,
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nContent-Length: 1\r\n\r\n-",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"oops",
)
TOOK = st.sampled_from([0, 1, MS, 2 * MS, 100 * MS, 100 * MS + 1, 3_000 * MS])
USUAL = st.tuples(st.integers(0, 2), st.just(REQUESTS[0]), TOOK, st.just(OK))
ANY = st.tuples(st.integers(0, 2), st.none() | st.sampled_from(REQUESTS), TOOK, st.none() | st.sampled_from(ANSWERS))
Event = tuple[int, bytes | None, int, bytes | None]


class Client:
    """A connection as the data path has it."""

    def __init__(self, accounts: Accounts, heads: Heads, number: int) -> None:
        self.number = number
        self.account = ConnectionAccount(accounts, number)
        self.framer = Framer(heads, self.account, Budget())
        self.is_at_rest = False

    def rest(self) -> None:
        self.is_at_rest = self.framer.is_at_rest and self.account.is_judged


class Restless(Client):
    """All that comes by it goes through the framer."""

    def rest(self) -> None:
        pass


class Watched:
    """A sink that counts what the framer begins."""

    def __init__(self, account: ConnectionAccount) -> None:
        self.begun_count = 0
        self._account = account
        self.ended, self.opaque = account.ended, account.opaque

    def begun(self, pending: Pending) -> None:
        self.begun_count += 1
        self._account.begun(pending)


class Book:
    """Counts into a ledger of its own, and keeps what is handed over."""

    def __init__(self, path: Path, sample: float, client: type[Client] = Client) -> None:
        self.kept: list[Exchange] = []
        ledger = Ledger.open_wire(path, layout_of("", ()), 1)
        self.accounts = Accounts(ledger, self, lambda: 0.5, wall_ns=1000 * EPOCH_NS)
        self.accounts.configure(WireConfig(latency_bounds_s=(0.1,), error_statuses=(429,), sample=sample))
        self.heads = Heads(Matcher((), ()).is_inference)
        self.arrivals = Arrivals(self.accounts, self.heads)
        self.clients = [client(self.accounts, self.heads, number) for number in range(3)]

    def offer(self, exchanges: Sequence[Fields], size: int) -> None:
        self.kept.extend(starmap(Exchange, exchanges))

    def play(self, events: Sequence[Event], *, at_once: int) -> list[int]:
        now = 0
        for which, request, took, answer in events:
            since, now = now, now + took
            self.arrivals.waiting.append((self.clients[which], request, since, answer, now))
            if len(self.arrivals.waiting) >= at_once:
                self.arrivals.settle()
        self.arrivals.settle()
        self.accounts.publish(now)
        return self.accounts.tally


@given(st.lists(st.one_of(USUAL, USUAL, USUAL, ANY), max_size=40), st.sampled_from([1.0, 0.6, 0.0]))
def test_the_ordinary_way_counts_what_the_framer_counts(events: list[Event], sample: float) -> None:
    warm = [(which, REQUESTS[0], 0, OK) for which in range(3) for _ in range(CONNECTION_REQUESTS)]
    with tempfile.TemporaryDirectory() as name:
        quick, plain = Book(Path(name) / "quick", sample), Book(Path(name) / "plain", sample, Restless)
        tallies = [book.play(warm + events, at_once=16) for book in (quick, plain)]
    assert tallies[0] == tallies[1]
    assert sorted(quick.kept) == sorted(plain.kept)


def test_the_usual_exchange_takes_the_ordinary_way(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger", 1.0)
    usual = [(0, REQUESTS[0], MS, OK)] * (CONNECTION_REQUESTS + 50)
    client = book.clients[0]
    watched = Watched(client.account)
    client.framer = Framer(book.heads, watched, Budget())
    book.play(usual, at_once=8)
    assert watched.begun_count < CONNECTION_REQUESTS + 8
    assert [exchange.number for exchange in book.kept] == list(range(len(usual)))

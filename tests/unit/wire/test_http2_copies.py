"""HTTP/2 is told by its preface, however it is cut, and copied from its first byte; a loss is told and counted."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from onguard_sidecar import chunks
from onguard_sidecar.chunks import CHUNK_MAX, CLIENT, CLIENT_END, LOST, SERVER, SERVER_END, SERVER_RESET, Chunk
from onguard_sidecar.handover import DATAGRAM_MAX, HandoverError
from onguard_sidecar.ledger import Ledger, layout_of
from onguard_sidecar.wire.accounts import Accounts, ConnectionAccount
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.http2 import Copier
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.matching import Matcher
from onguard_sidecar.wire.sink import Opaque

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ASKED = PREFACE + bytes.fromhex("000000040000000000") + b"the rest of what the client sent"
SETTINGS = bytes.fromhex("00000604000000000000030000 0064".replace(" ", ""))
ANSWERED = SETTINGS + b"the rest of what the model sent"


class Way:
    """Takes datagrams while it is told to."""

    def __init__(self) -> None:
        self.taken: list[Chunk] = []
        self.datagrams: list[bytes] = []
        self.is_connected = True
        self.is_open = True

    def pass_on(self, datagram: bytes) -> bool:
        assert len(datagram) <= DATAGRAM_MAX
        if self.is_open and self.is_connected:
            self.datagrams.append(datagram)
            self.taken += chunks.parse(datagram)
            return True
        return False

    def bytes_of(self, kind: int, connection: int = 7) -> bytes:
        found = [c for c in self.taken if (c.kind, c.connection) == (kind, connection)]
        at = 0
        for chunk in found:
            assert chunk.offset == at
            at += len(chunk.data)
        return b"".join(c.data for c in found)


class Counted(Counter[str]):
    def count(self, name: str, n: int = 1) -> None:
        self[name] += n


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def copier(way: Way, counted: Counted) -> Copier:
    return Copier(way, counted, asyncio.get_running_loop())


class Nowhere:
    def offer(self, exchanges: object, size: int = 0) -> None:
        raise AssertionError("no exchange is made of HTTP/2 here")


@pytest.fixture
def accounts(tmp_path: Path, copier: Copier) -> Accounts:
    ledger = Ledger.open_wire(tmp_path / "ledger", layout_of("", ()), 1)
    made = Accounts(ledger, Nowhere(), lambda: 0.0, wall_ns=0)
    made.copier = copier
    return made


@pytest.fixture
def framer(accounts: Accounts) -> Framer:
    return Framer(Heads(Matcher((), ()).is_inference), ConnectionAccount(accounts, 7), Budget())


@pytest.mark.parametrize("cut", range(1, len(ASKED)))
async def test_all_of_both_directions_is_copied_however_the_preface_is_cut(
    cut: int, framer: Framer, copier: Copier, way: Way, accounts: Accounts
) -> None:
    for number, piece in enumerate((ASKED[:cut], ASKED[cut:])):
        framer.feed_client(piece, number)
    framer.feed_server(ANSWERED, 2)
    framer.end_server(3, reset=False)
    framer.end_client(4)
    copier.flush()
    assert (way.bytes_of(CLIENT), way.bytes_of(SERVER)) == (ASKED, ANSWERED)
    assert [c.kind for c in way.taken[-2:]] == [SERVER_END, CLIENT_END]
    assert framer.reason is Opaque.HTTP2
    assert [accounts.read(f"connections_{x}") for x in ("http2", "opaque", "http2_lost")] == [1, 0, 0]


@pytest.mark.parametrize("cut", range(1, len(SETTINGS)))
@pytest.mark.parametrize("lame", [False, True])
async def test_a_server_may_say_its_settings_before_the_client_is_heard(
    cut: int, lame: bool, framer: Framer, copier: Copier, way: Way
) -> None:
    passed = b""
    for piece in (SETTINGS[:cut], SETTINGS[cut:]):
        if lame:
            passed += framer.feed_lame(piece, 0)
        else:
            framer.feed_server(piece, 0)
    framer.feed_client(ASKED[:3], 1)
    framer.feed_client(ASKED[3:], 1)
    if lame:
        passed += framer.feed_lame(ANSWERED[len(SETTINGS) :], 2)
        assert passed == ANSWERED
    else:
        framer.feed_server(ANSWERED[len(SETTINGS) :], 2)
    copier.flush()
    assert (way.bytes_of(CLIENT), way.bytes_of(SERVER)) == (ASKED, ANSWERED)


async def test_settings_before_a_request_of_http_1_are_no_answer(framer: Framer, way: Way, copier: Copier) -> None:
    framer.feed_server(SETTINGS, 0)
    assert framer.reason is None
    framer.feed_client(b"GET / HTTP/1.1\r\n\r\n", 1)
    framer.feed_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 2)
    assert framer.reason is Opaque.UNFRAMED
    copier.flush()
    assert way.taken == []


@pytest.mark.parametrize("said", [b"220 smtp\r\n", b"\x16\x03\x01", SETTINGS[:3] + b"\0" + SETTINGS[4:]])
async def test_a_server_that_says_something_else_first_is_opaque(said: bytes, framer: Framer) -> None:
    framer.feed_server(said, 0)
    assert framer.reason is Opaque.UNFRAMED


async def test_endless_settings_are_not_kept(framer: Framer) -> None:
    for _ in range(2):
        framer.feed_server(SETTINGS + bytes(9_000), 0)
    assert framer.reason is Opaque.UNFRAMED


async def test_a_large_arrival_is_cut_and_a_reset_is_told(framer: Framer, copier: Copier, way: Way) -> None:
    framer.feed_client(ASKED, 0)
    whole = bytes(range(256)) * 800
    framer.feed_server(ANSWERED + whole, 1)
    framer.end_server(2, reset=True)
    copier.flush()
    assert way.bytes_of(SERVER) == ANSWERED + whole
    assert max(len(c.data) for c in way.taken) == CHUNK_MAX
    assert way.taken[-1].kind == SERVER_RESET


async def test_what_is_lost_ends_the_copies_that_it_belonged_to_and_no_other(
    copier: Copier, way: Way, counted: Counted
) -> None:
    one, two = copier.begin(1), copier.begin(2)
    one.client(b"a", 0)
    two.client(b"b", 0)
    copier.flush()
    way.is_open = False
    one.client(b"c", 1)
    copier.flush()
    one.server(b"never sent", 2)
    way.is_open = True
    copier.flush()
    two.server(b"d", 3)
    copier.flush()
    assert [(c.connection, c.kind, c.data) for c in way.taken] == [
        (1, CLIENT, b"a"), (2, CLIENT, b"b"), (1, LOST, b""), (2, SERVER, b"d"),
    ]  # fmt: skip
    assert counted == {"connections_opaque": 1, "connections_http2_lost": 1}


async def test_a_connection_is_lost_once_however_much_comes_after(copier: Copier, way: Way, counted: Counted) -> None:
    copy = copier.begin(1)
    way.is_open = False
    for number in range(5):
        copy.server(bytes(200_000), number)
        copier.flush()
    assert counted["connections_http2_lost"] == 1


async def test_the_loss_is_told_as_soon_as_there_is_room_without_another_arrival(copier: Copier, way: Way) -> None:
    way.is_open = False
    copier.begin(1).client(b"a", 0)
    await asyncio.sleep(0.05)
    way.is_open = True
    await asyncio.sleep(0.05)
    assert [(c.connection, c.kind) for c in way.taken] == [(1, LOST)]


async def test_an_analyst_that_is_gone_knows_no_connection_any_more(copier: Copier, way: Way, counted: Counted) -> None:
    for number in (1, 2):
        copier.begin(number).client(b"a", 0)
    copier.flush()
    way.is_connected = False
    copier.lose_all()
    late = copier.begin(3)
    late.client(b"a", 1)
    copier.flush()
    way.is_connected = True
    late.client(b"b", 2)
    fresh = copier.begin(4)
    fresh.client(b"c", 3)
    await asyncio.sleep(0.02)
    assert [(c.connection, c.data) for c in way.taken[2:]] == [(4, b"c")]
    assert counted["connections_http2_lost"] == 3


async def test_arrivals_wait_for_company_but_not_long(copier: Copier, way: Way) -> None:
    copy = copier.begin(1)
    for number in range(9):
        copy.client(b"x", number)
    assert way.datagrams == []
    await asyncio.sleep(0.05)
    assert len(way.datagrams) == 1
    assert len(way.taken) == 9


WHOLE = chunks.joined([Chunk(1, CLIENT, 0, 5, b"abc"), Chunk(2, CLIENT_END, 0, 6)])
FIRST = chunks.joined([Chunk(1, CLIENT, 0, 5, b"abc")])


@pytest.mark.parametrize("cut", sorted({*range(5, len(WHOLE))} - {len(FIRST)}))
def test_a_datagram_that_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(HandoverError):
        chunks.parse(WHOLE[:cut])


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(HandoverError):
        chunks.parse(chunks.joined([Chunk(1, 99, 0, 5)]))

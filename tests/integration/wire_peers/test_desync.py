"""
Requests that servers read differently, sent raw to real origins: direct and through the wire, the same answers.

And the tee is not fooled: where the wire goes on framing a connection, it saw the requests that the origin answered,
with the same methods and bodies; else it says that the connection is opaque.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.pending import Pending
from onguard_sidecar.wire.sink import Opaque
from tests.integration.wire.peers import End, Wire, finish, start_wire
from tests.integration.wire_peers.origin_apps import seen
from tests.integration.wire_peers.origins import NAMES, origin
from tests.integration.wire_peers.payloads import PAYLOADS, Pieces

QUIET_S = 0.4
"""Silence after which the client half-closes: servers keep a connection open for longer than a test may wait."""
AT_ONCE = 40
DATE = re.compile(rb"(?i)\r\ndate: [^\r\n]*")
STATUS = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)")
SEEN = re.compile(rb"seen (\w+)(?: (\w+) (\d+) (\w+))?\n")


def converse(port: int, pieces: Pieces, quiet_s: float = QUIET_S) -> End:
    """Send all, wait for silence, half-close, read to the end."""
    found = End()
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as peer:
            for piece in pieces:
                _pause(peer, piece, found) if isinstance(piece, float) else peer.sendall(piece)
            peer.settimeout(quiet_s)
            if not _read(peer, found):
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(8)
                if not _read(peer, found):
                    found.end = "open"
    except (ConnectionResetError, BrokenPipeError):
        found.end = "reset"
    except OSError as error:  # the shutdown of a connection that was reset meanwhile
        found.end = f"reset ({error.errno})"
    found.got = bytearray(DATE.sub(b"\r\nDate: -", bytes(found.got)))
    return found


def _pause(peer: socket.socket, seconds: float, found: End) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and found.end == "open":
        peer.settimeout(left)
        _read(peer, found)


def _read(peer: socket.socket, found: End) -> bool:
    """Read until silence (False) or the end (True)."""
    try:
        while piece := peer.recv(65536):
            found.got += piece
    except TimeoutError:
        return False
    found.end = "eof"
    return True


Ports = tuple[int, int]


@pytest.fixture(scope="module", params=NAMES)
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """An origin's own port and the wire's before it."""
    where = tmp_path_factory.mktemp(request.param)
    wire: Wire = start_wire(where)
    with origin(request.param, wire.model_port, where):
        yield wire.model_port, wire.port
        assert wire.process.poll() is None
    finish(wire)


@pytest.fixture(scope="module")
def direct(ports: Ports) -> dict[str, End]:
    """What the origin itself answers to each payload."""
    return _all(lambda name: converse(ports[0], PAYLOADS[name]))


def _all(ask: Callable[[str], End]) -> dict[str, End]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(PAYLOADS, pool.map(ask, PAYLOADS), strict=True))


def test_every_payload_gets_the_answer_of_the_origin_itself(ports: Ports, direct: dict[str, End]) -> None:
    own, through = ports
    got = _all(lambda name: converse(through, PAYLOADS[name]))
    suspects = [name for name in PAYLOADS if got[name] != direct[name]]
    assert len(suspects) < len(PAYLOADS) / 4, {name: (direct[name], got[name]) for name in suspects}
    assert {name: found for name in suspects if (found := _differs(own, through, PAYLOADS[name]))} == {}


def _differs(own: int, through: int, pieces: Pieces) -> tuple[End, End] | None:
    """Ask again, one at a time and with more patience: on a busy machine an answer may come after the half-close."""
    known = []
    for _ in range(3):
        known.append(converse(own, pieces, 1.5))
        if (got := converse(through, pieces, 1.5)) in known:
            return None
    return known[-1], got


class Book:
    """What the framer makes of a conversation."""

    def __init__(self) -> None:
        self.exchanges: list[Pending] = []

    def begun(self, pending: Pending) -> None:
        pending.copied = True

    def ended(self, pending: Pending, now: int) -> None:
        self.exchanges.append(pending)

    def opaque(self, reason: Opaque, lost: list[Pending]) -> None:
        self.exchanges.clear()


def framed(pieces: Pieces, answer: End) -> list[Pending] | None:
    """The answered exchanges of a conversation; None where the framer gives up."""
    book = Book()
    framer = Framer(Heads(lambda method, target: True), book, Budget())
    framer.feed_client(b"".join(piece for piece in pieces if isinstance(piece, bytes)), 1)
    framer.feed_server(bytes(answer.got), 2)
    framer.end_server(3, reset=answer.end != "eof")
    return [each for each in book.exchanges if each.status] if framer.reason is None else None


def told(exchange: Pending) -> tuple[bytes, ...]:
    """The request of an exchange as the application writes it, without the target, which servers may decode."""
    method = exchange.request_head.partition(b" ")[0].decode()
    return _words(SEEN.fullmatch(seen(method, "", exchange.request_body)))


def _words(found: "re.Match[bytes] | None") -> tuple[bytes, ...]:
    assert found is not None
    return (found[1], *([] if found[3] is None else found.group(3, 4)))


def test_the_tee_counts_the_requests_that_the_origin_answered(direct: dict[str, End]) -> None:
    wrong, number = {}, 0
    for name, answer in direct.items():
        exchanges = framed(PAYLOADS[name], answer)
        if exchanges is None:
            continue
        number += 1
        statuses = [int(status) for status in STATUS.findall(bytes(answer.got))]
        if [each.status for each in exchanges] != statuses:
            wrong[name] = ([each.status for each in exchanges], answer)
        for each in exchanges:
            said = SEEN.fullmatch(each.response_body)
            is_early = b" /early " in each.request_head
            if said and not is_early and _words(said) != told(each)[: len(_words(said))]:
                wrong[name] = (_words(said), told(each))
    assert wrong == {}
    assert number >= 20

"""
What proxies get wrong, direct and through the wire: targets, fields, framing, floods, and peers that leave.

A wire that parses before it forwards refuses, normalises or drops some of these. Here they are the model's business.
"""

import contextlib
import queue
import signal
import socket
import time
from typing import Final

import pytest

from tests.integration.wire.peers import DEADLINE_S, Model, Steps, Wire, account, eventually, play, request
from tests.integration.wire.test_wire_equality import GET, OK, converse

BODILESS: Final = b"HTTP/1.1 %s\r\nX: 1\r\n\r\n"
HOPS: Final = (
    b"GET / HTTP/1.1\r\nHost: m\r\nConnection: keep-alive, X-Hop, content-length\r\nX-Hop: 1\r\n"
    b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: x\r\nContent-Length: 0\r\n\r\n"
)
COOKIES: Final = (
    b"HTTP/1.1 200 OK\r\nSET-cookie: a\r\nX: 1\r\nSet-Cookie: b\r\nset-cookie: a\r\nContent-Length: 0\r\n\r\n"
)
CHUNKS: Final = b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def head(count: int, size: int) -> bytes:
    """A request of so many fields of so many bytes."""
    fields = b"".join(b"X-%04d: %s\r\n" % (n, b"v" * (size - 10)) for n in range(count))
    return b"GET / HTTP/1.1\r\n" + fields + b"\r\n"


def asked(target: bytes) -> tuple[Steps, Steps]:
    """A request for a target, and its answer."""
    ask = b"GET %s HTTP/1.1\r\nHost: m\r\n\r\n" % target
    return answered(ask, OK)


def answered(ask: bytes, answer: bytes) -> tuple[Steps, Steps]:
    """One request, its whole answer, and the end."""
    return (
        [("send", ask), ("count", len(answer)), ("shut", 0), ("rest", 0)],
        [("count", len(ask)), ("send", answer), ("rest", 0)],
    )


CASES: Final[dict[str, tuple[Steps, Steps]]] = {
    **{
        f"target {target.decode('latin-1')!r}": asked(target)
        for target in (
            b"http://evil.example/", b"//evil.example/x", b"@evil.example", b".evil.example", b"*", b"/a/../b/./c",
            b"/%2f/%2e%2e/;x=1;y", b"/%00%0d%0a", b"/%2541", "/ü/模".encode(), b"/v1/models/m:predict?q=%3a#f",
            b"/" + b"x" * 20_000,
        )
    },
    "CONNECT": asked(b"evil.example:443"),
    "hop-by-hop fields": answered(HOPS, OK),
    "cookies in their order and case": answered(GET, COOKIES),
    "a head of 150 fields": answered(head(150, 60), OK),
    "a head of 9,000 bytes": answered(head(1, 9000), OK),
    "a head that is too long to frame": answered(head(40, 4000), OK),
    "an answer's head that is too long to frame": answered(GET, b"HTTP/1.1 200 OK\r\n" + head(40, 4000)[16:]),
    "h2c upgrade": answered(
        b"GET / HTTP/1.1\r\nHost: m\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\4\0\0\0\0\0",
    ),
    "no content, then an answer": answered(GET + GET, BODILESS % b"204 No Content" + OK),
    "not modified with a length": answered(
        GET + GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n" + OK
    ),
    "more than was promised": answered(GET, OK + b"surplus"),
    "less than was promised": (
        [("send", GET), ("rest", 0)],
        [("count", len(GET)), ("send", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhel"), ("close", 0)],
    ),
    "a thousand interim answers": answered(GET, BODILESS % b"102 Processing" * 1000 + OK),
    "two lengths": answered(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    "100,000 trailers": answered(CHUNKS + b"5\r\nhello\r\n0\r\n" + b"T: x\r\n" * 100_000 + b"\r\n", OK),
    "1,000,000 chunks": answered(CHUNKS + b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n", OK),
    "chunk extensions of 8 KiB": answered(CHUNKS + (b"1;" + b"e" * 8192 + b"\r\nx\r\n") * 50 + b"0\r\n\r\n", OK),
    "bare line feeds": answered(b"GET / HTTP/1.1\nHost: m\n\n", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "not JSON where JSON was said": answered(request(b"\xff\xfe{{{" * 50), OK),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_both_ends_see_the_same(name: str, shared_wire: Wire) -> None:
    client, model = CASES[name]
    direct = converse(client, model, through=shared_wire, is_direct=True)
    assert direct[0].end == "eof"
    assert converse(client, model, through=shared_wire, is_direct=False) == direct


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_model_learns_at_once_that_its_client_left(how: str, wire: Wire) -> None:
    """It may stop an inference that nobody waits for; the request is the client's abort, not the model's error."""
    ask, noticed = request(b"x"), []

    def infer(peer: socket.socket) -> None:
        play(peer, [("count", len(ask))])
        began = time.monotonic()
        peer.settimeout(DEADLINE_S)
        with contextlib.suppress(ConnectionResetError):
            peer.recv(1)
        noticed.append(time.monotonic() - began)

    with Model(wire.model_port, infer):
        with wire.connect() as peer:
            play(peer, [("send", ask), ("wait", 0.2), (how, 0)])
        assert eventually(lambda: noticed)[0] < 1.2
    counters = wire.settled(client_aborts=1, in_flight=0, connections_open=0)
    assert (counters["errors"], counters["upstream_resets"], account(counters)) == (0, 0, 1)


@pytest.mark.parametrize("is_request_first", [True, False])
def test_an_answer_that_came_just_before_a_reset_reaches_the_client(is_request_first: bool, wire: Wire) -> None:
    """A model that refuses an upload and closes resets the connection, with its refusal still on the way."""
    upload = request(bytes(1 << 20))
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    reached: queue.Queue[socket.socket] = queue.Queue()

    def refuse(peer: socket.socket) -> None:
        play(peer, [("count", 1000)])
        reached.put(peer)
        eventually(lambda: peer.fileno() < 0)

    with Model(wire.model_port, refuse):
        for _ in range(5):
            with wire.connect() as peer:
                play(peer, [("send", upload[: 1 << 18])])
                served = reached.get(timeout=DEADLINE_S)
                eventually(lambda: wire.snapshot().counters["in_flight"] == 1)
                wire.process.send_signal(signal.SIGSTOP)
                try:
                    if is_request_first:
                        peer.send(upload[1 << 18 : 1 << 19])
                    served.sendall(refusal)
                    served.close()  # what it has not read makes this a reset
                    peer.send(upload[1 << 18 : 1 << 19])
                finally:
                    wire.process.send_signal(signal.SIGCONT)
                assert bytes(play(peer, [("count", len(refusal))]).got) == refusal
    counters = wire.settled(connections_open=0, requests=5)
    assert counters["status_4xx"] == account(counters) == 5


def test_hundreds_of_clients_that_half_close_after_an_idle_time_get_their_answers(wire: Wire) -> None:
    ask = request(b"late")
    with Model(wire.model_port, [("rest", 0), ("send", OK), ("close", 0)]):
        peers = [wire.connect() for _ in range(300)]
        eventually(lambda: wire.snapshot().counters["connections_open"] == 300)
        for peer in peers:
            play(peer, [("send", ask), ("shut", 0)])
        assert all(bytes(play(peer, [("rest", 0)]).got) == OK for peer in peers)
        for peer in peers:
            peer.close()
    counters = wire.settled(connections_open=0, requests=300)
    assert counters["status_2xx"] == account(counters) == 300

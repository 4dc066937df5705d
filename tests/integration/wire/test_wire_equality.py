"""Client and model see each other: the same bytes and the same ends, direct and through the wire."""

import itertools
from pathlib import Path

import pytest

from tests.integration.wire.peers import End, Model, Steps, Wire, eventually, play

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /x?y=%2f..;z HTTP/1.1\r\nhOsT: m\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 2\r\n\r\nok"
BIG = bytes(range(256)) * 4096
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: E\r\n\r\n"
    b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nE: 1\r\n\r\n"
)  # fmt: skip
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
EVENT = b'data: {"token":"a"}\n\n'
UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CUT_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"
SMUGGLER = POST.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UPLOAD = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BIG)

CASES: dict[str, tuple[Steps, Steps]] = {
    "keep-alive": (
        [("send", POST), ("until", b"ok"), ("send", GET), ("count", 2 * len(OK)), ("shut", 0), ("rest", 0)],
        [("count", len(POST)), ("send", OK), ("count", len(POST + GET)), ("send", OK), ("rest", 0)],
    ),
    "chunks with extensions and trailers": (
        [("send", POST), ("count", len(CHUNKED)), ("shut", 0), ("rest", 0)],
        [("count", len(POST)), *[("send", bytes([b])) for b in CHUNKED], ("rest", 0)],
    ),
    "server-sent events, one by one": (
        [("send", GET), *itertools.chain(*[[("count", len(SSE) + n * len(EVENT))] for n in range(1, 6)]), ("rest", 0)],
        [("count", len(GET)), ("send", SSE), *[("send", EVENT)] * 5, ("shut", 0), ("rest", 0)],
    ),
    "websocket": (
        [("send", UPGRADE), ("count", len(SWITCH)), ("send", b"\x81\x05hello"), ("until", b"\x81\x02ok"), ("close", 0)],
        [("count", len(UPGRADE)), ("send", SWITCH), ("until", b"hello"), ("send", b"\x81\x02ok"), ("rest", 0)],
    ),
    "head": (
        [("send", b"HEAD / HTTP/1.1\r\n\r\n" + POST), ("until", b"\r\n\r\nok"), ("shut", 0), ("rest", 0)],
        [("until", b"hello"), ("send", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + OK), ("rest", 0)],
    ),
    "100-continue": (
        [("send", POST[:-5]), ("until", b"100 C"), ("send", b"hello"), ("until", b"ok"), ("shut", 0), ("rest", 0)],
        [("until", b"\r\n\r\n"), ("send", CONTINUE), ("until", b"hello"), ("send", OK), ("rest", 0)],
    ),
    "early hints": (
        [("send", GET), ("until", b"ok"), ("shut", 0), ("rest", 0)],
        [("count", len(GET)), ("send", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK), ("rest", 0)],
    ),
    "refused before the upload": (
        [("send", UPLOAD), ("until", b"no"), ("close", 0)],
        [("until", b"\r\n\r\n"), ("send", b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"), ("rest", 0)],
    ),
    "pipelined": (
        [("send", POST * 20 + GET * 20), ("count", 40 * len(OK)), ("shut", 0), ("rest", 0)],
        [("count", 20 * len(POST + GET)), ("send", OK * 40), ("rest", 0)],
    ),
    "half-close before the answer": (
        [("send", POST), ("shut", 0), ("rest", 0)],
        [("rest", 0), ("send", OK), ("close", 0)],
    ),
    "half-close by the model": (
        [("send", GET), ("rest", 0), ("send", POST), ("close", 0)],
        [("count", len(GET)), ("send", SSE), ("shut", 0), ("rest", 0)],
    ),
    "reset by the model": (
        [("send", POST), ("until", b"hel"), ("rest", 0)],
        [("count", len(POST)), ("send", CUT_SHORT), ("wait", 0.1), ("reset", 0)],
    ),
    "reset by the model without an answer": (
        [("send", POST), ("rest", 0)],
        [("count", len(POST)), ("wait", 0.05), ("reset", 0)],
    ),
    "reset by the client": (
        [("send", POST), ("until", b"HTTP"), ("reset", 0)],
        [("count", len(POST)), ("send", OK), ("rest", 0)],
    ),
    "1 MiB both ways": (
        [("send", UPLOAD + BIG), ("count", len(BIG) + 50), ("rest", 0)],
        [("count", len(UPLOAD + BIG)), ("send", b"HTTP/1.0 200 OK\r\n\r\n" + BIG * 2), ("close", 0)],
    ),
    "tls": (
        [("send", b"\x16\x03\x01\x00\x05hello"), ("until", b"\x16\x03\x03"), ("close", 0)],
        [("until", b"hello"), ("send", b"\x16\x03\x03\x00\x01x"), ("rest", 0)],
    ),
    "http/2": (
        [("send", PREFACE + b"\0\0\0\4\0\0\0\0\0"), ("count", 9), ("shut", 0), ("rest", 0)],
        [("until", b"SM\r\n\r\n"), ("send", b"\0\0\0\4\1\0\0\0\0"), ("rest", 0), ("close", 0)],
    ),
    "garbage": ([("send", b"\xff" * 999), ("shut", 0), ("rest", 0)], [("rest", 0), ("send", b"what?"), ("close", 0)]),
    "a smuggler's request": (
        [("send", SMUGGLER), ("until", b"ok"), ("shut", 0), ("rest", 0)],
        [("until", b"hello"), ("send", OK), ("rest", 0)],
    ),
    "the model talks first": ([("until", b"220"), ("close", 0)], [("send", b"220 smtp\r\n"), ("rest", 0)]),
}  # fmt: skip


def converse(client: Steps, model: Steps, *, through: Wire, is_direct: bool) -> tuple[End, End]:
    """Both ends' views of one connection."""
    with Model(through.model_port, model) as served:
        with through.connect(through.model_port if is_direct else through.port) as peer:
            seen = play(peer, client)
        eventually(lambda: served.ends)
    return seen, served.ends[0]


@pytest.mark.parametrize("name", CASES)
def test_both_ends_see_the_same_direct_and_through_the_wire(name: str, shared_wire: Wire) -> None:
    client, model = CASES[name]
    direct = converse(client, model, through=shared_wire, is_direct=True)
    assert converse(client, model, through=shared_wire, is_direct=False) == direct


def test_every_message_cut_at_every_byte_passes_unchanged(shared_wire: Wire) -> None:
    client: Steps = [*[("send", bytes([b])) for b in POST + GET], ("count", 2 * len(OK)), ("shut", 0), ("rest", 0)]
    model: Steps = [("count", len(POST + GET)), *[("send", bytes([b])) for b in OK + OK], ("rest", 0)]
    direct = converse(client, model, through=shared_wire, is_direct=True)
    assert converse(client, model, through=shared_wire, is_direct=False) == direct


def test_a_slow_reader_holds_the_model_and_costs_bounded_memory(shared_wire: Wire) -> None:
    size = 32 << 20
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    before = _resident_kib(shared_wire)
    model: Steps = [("count", len(GET)), ("send", head + bytes(size)), ("rest", 0)]
    with Model(shared_wire.model_port, model), shared_wire.connect() as peer:
        play(peer, [("send", GET), ("wait", 1.0)])
        assert _resident_kib(shared_wire) - before < 16 << 10
        assert len(play(peer, [("count", len(head) + size)]).got) == len(head) + size


def _resident_kib(wire: Wire) -> int:
    status = Path(f"/proc/{wire.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

"""The framer tells messages apart however their bytes are cut, and stops where two readers could differ."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard_sidecar.exchange import BODY_CAP, CLIENT_ABORTED, REQUEST_TRUNCATED, RESPONSE_TRUNCATED, UPSTREAM_RESET
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.pending import Pending
from onguard_sidecar.wire.request_framing import HELD_CAP
from onguard_sidecar.wire.sink import Opaque

Script = list[tuple[str, bytes]]
"""Bytes by side: c from the client, s from the model."""


@dataclass
class Seen:
    """A sink that remembers."""

    begun_count: int = 0
    over: list[Pending] = field(default_factory=list)
    reasons: list[Opaque] = field(default_factory=list)
    lost: list[Pending] = field(default_factory=list)

    def begun(self, pending: Pending) -> None:
        self.begun_count += 1
        pending.copied = True

    def ended(self, pending: Pending, now: int) -> None:
        self.over.append(pending)

    def opaque(self, reason: Opaque, lost: list[Pending]) -> None:
        self.reasons.append(reason)
        self.lost += lost

    def copied(self) -> None:
        return None

    def summary(self) -> list[tuple[int, bytes, bytes, int]]:
        return [(p.status, p.request_body, p.response_body, p.flags) for p in self.over]


def new_heads() -> Heads:
    return Heads(lambda method, target: method == b"POST")


def framer(heads: Heads | None = None) -> tuple[Framer, Seen]:
    seen = Seen()
    return Framer(heads or new_heads(), seen, Budget()), seen


def play(script: Script, cut: int = 1 << 30, heads: Heads | None = None) -> tuple[Framer, Seen]:
    """Feed a script, each side's bytes in pieces of ``cut``; E is the model's end, R its reset, X the client's end."""
    machine, seen = framer(heads)
    clock = itertools.count(1_000, 1_000)
    for side, data in script:
        if side == "E":
            machine.end_server(next(clock), reset=False)
        elif side == "R":
            machine.end_server(next(clock), reset=True)
        elif side == "X":
            machine.end_client(next(clock))
        for at in range(0, len(data), cut):
            feed = machine.feed_client if side == "c" else machine.feed_server
            feed(data[at : at + cut], next(clock))
    return machine, seen


GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: m\r\n\r\n"
POST = b"POST /v1/models/m:predict HTTP/1.1\r\nhost: m\r\nContent-Length: 5\r\n\r\nhello"
POST_CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
    b'3;a="b;c"\r\nhel\r\n02 ; q\r\nlo\r\n0\r\nX: y\r\nZ: \r\n\r\n'
)
EXPECT = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
H2C = b"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"
CONNECT = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_EMPTY = b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"
OK_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nEtag: 1\r\n\r\n"
OK_UNTIL_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"
OLD = b"HTTP/1.0 200 OK\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
HEAD_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
FOUND = (200, b"", b"ok", 0)
HELLO = (200, b"hello", b"ok", 0)

WHOLE: dict[str, tuple[Script, list[tuple[int, bytes, bytes, int]]]] = {
    "get": ([("c", GET), ("s", OK)], [FOUND]),
    "post": ([("c", POST), ("s", OK)], [HELLO]),
    "chunked both ways, with extensions and trailers": ([("c", POST_CHUNKED), ("s", OK_CHUNKED)], [HELLO]),
    "keep-alive": ([("c", POST), ("s", OK), ("c", GET), ("s", OK_EMPTY)], [HELLO, (200, b"", b"", 0)]),
    "pipelined": ([("c", POST + GET + POST_CHUNKED), ("s", OK + OK_CHUNKED + OK)], [HELLO, FOUND, HELLO]),
    "head answers have no body": ([("c", HEAD + GET), ("s", HEAD_ANSWER + OK)], [(200, b"", b"", 0), FOUND]),
    "204 and 304 have no body": (
        [("c", GET + GET + GET), ("s", NO_CONTENT + NOT_MODIFIED + OK)],
        [(204, b"", b"", 0), (304, b"", b"", 0), FOUND],
    ),
    "interim answers are skipped": ([("c", EXPECT), ("s", CONTINUE), ("c", b"hello"), ("s", HINTS + OK)], [HELLO]),
    "expect refused at once": ([("c", EXPECT), ("s", TOO_LARGE), ("E", b"")], [(413, b"", b"no", 0)]),
    "early answer while the body uploads": (
        [("c", POST[:-3]), ("s", TOO_LARGE), ("c", POST[-3:] + GET), ("s", OK)],
        [(413, b"hello", b"no", 0), FOUND],
    ),
    "the end completes a body without length": ([("c", GET), ("s", OK_UNTIL_END), ("E", b"")], [FOUND]),
    "http/1.0": ([("c", b"GET / HTTP/1.0\r\n\r\n"), ("s", OLD), ("E", b"")], [FOUND]),
    "a reset truncates a body without length": (
        [("c", GET), ("s", OK_UNTIL_END), ("R", b"")],
        [(200, b"", b"ok", UPSTREAM_RESET)],
    ),
    "the end truncates a body with length": (
        [("c", GET), ("s", OK[:-1]), ("E", b"")],
        [(200, b"", b"o", UPSTREAM_RESET)],
    ),
    "the end truncates chunks": (
        [("c", GET), ("s", OK_CHUNKED[:-4]), ("E", b"")],
        [(200, b"", b"ok", UPSTREAM_RESET)],
    ),
    "no answer at all": ([("c", POST), ("E", b"")], [(0, b"hello", b"", UPSTREAM_RESET)]),
    "pipelined after a closing answer: nobody's fault": (
        [("c", GET + GET), ("s", OK_UNTIL_END), ("E", b"")],
        [FOUND, (0, b"", b"", 0)],
    ),
    "the client leaves": ([("c", POST), ("s", OK[:-1]), ("X", b"")], [(200, b"hello", b"o", CLIENT_ABORTED)]),
    "empty lines before a request": ([("c", POST + b"\r\n\r\n" + GET), ("s", OK + OK)], [HELLO, FOUND]),
    "an upgrade declined": ([("c", UPGRADE), ("s", OK), ("c", GET), ("s", OK)], [FOUND, FOUND]),
    "h2c declined, a request behind it": ([("c", H2C + POST), ("s", OK + OK)], [HELLO, HELLO]),
    "an upgrade behind another request": ([("c", GET + H2C + GET), ("s", OK + OK + OK)], [FOUND, HELLO, FOUND]),
    "connect refused": ([("c", CONNECT), ("s", TOO_LARGE), ("c", GET), ("s", OK)], [(413, b"", b"no", 0), FOUND]),
    "a target in absolute form": ([("c", b"GET http://x/y?z=1 HTTP/1.1\r\n\r\n"), ("s", OK)], [FOUND]),
    "a reason of other characters": ([("c", GET), ("s", OK.replace(b"OK", b"\xd6K \t!"))], [FOUND]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_script_ends_in_its_exchanges_however_it_is_cut(name: str) -> None:
    script, expected = WHOLE[name]
    longest = max(len(data) for _, data in script)
    known = new_heads()  # from the second round on every head has been seen before
    for cut in range(longest, 0, -1):
        machine, seen = play(script, cut, known)
        assert (seen.summary(), machine.reason) == (expected, None), f"cut every {cut} bytes"
        assert not machine.queue


TUNNELS: dict[str, Script] = {
    "websocket": [("c", UPGRADE), ("s", SWITCH), ("c", b"\x81\x05hello"), ("s", b"\x81\x02ok")],
    "client talks first": [("c", UPGRADE + b"\x81\x05hello"), ("s", SWITCH + b"\x81\x02ok")],
    "h2c": [("c", H2C + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("s", SWITCH + b"\0\0")],
    "connect": [("c", CONNECT), ("s", b"HTTP/1.1 200 Connected\r\n\r\n"), ("c", b"\x16\x03"), ("s", b"\x16\x03")],
}


@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_is_opaque_from_its_status_on(name: str) -> None:
    known = new_heads()
    for cut in range(1, 120):
        machine, seen = play(TUNNELS[name], cut, known)
        assert (machine.reason, seen.lost, len(seen.over)) == (Opaque.TUNNEL, [], 1)
        assert seen.over[0].status in (101, 200)


BAD_REQUESTS = [
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    *(
        b"POST / HTTP/1.1\r\nContent-Length: " + x + b"\r\n\r\nhello"
        for x in (b"+5", b"0x5", b"1_0", b"", b"-48", b"1Z")
    ),
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".replace(b"\r\n", b"\n") + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
    b"GET / HTTP/1.1\r\n First: space\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nn\xc3\xa4me: x\r\n\r\n",
    b"GET / HTTP/1.32\r\n\r\n",
    b"GET / HTTP/\r\r1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    *(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + x
        for x in (
            b"0x0\r\n\r\n", b"+1\r\na\r\n0\r\n\r\n", b"-0\r\n\r\n", b"0_2e\r\n", b"\r\n",
            b"F" * 17 + b"\r\n", b" 5\r\nhello\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n",
            b"5\r\nhello0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"0\r\nA: b\n\r\n", b"1;" + b"x" * 20_000,
        )
    ),
    b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("data", BAD_REQUESTS)
def test_a_request_that_two_readers_could_frame_differently_makes_the_connection_opaque(data: bytes) -> None:
    for cut in (1, 7, 1 << 30) if len(data) < 1_000 else (1 << 30,):
        machine, seen = play([("c", data)], cut)
        assert machine.reason is Opaque.UNFRAMED
        assert seen.over == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00",
        b"\xff" * 99,
        b"(:",
        b"*1\r\n$4\r\nPING\r\n",
    ],
)
def test_what_is_no_http_1_is_told_by_its_first_bytes(data: bytes) -> None:
    machine, seen = play([("c", data)])
    assert (machine.reason, seen.begun_count) == (Opaque.NOT_HTTP, 0)


BAD_ANSWERS: dict[str, Script] = {
    "an answer without a request": [("s", OK)],
    "an answer too many": [("c", GET), ("s", OK + OK)],
    "no status line": [("c", GET), ("s", b"hello\r\n\r\n")],
    "another version": [("c", GET), ("s", b"HTTP/2 200 OK\r\n\r\n")],
    "two lengths": [("c", GET), ("s", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")],
    "length and chunks": [("c", GET), ("s", OK_CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Length: 1\r\n"))],
    "101 unasked": [("c", GET), ("s", SWITCH)],
    "a flood behind an upgrade": [("c", UPGRADE + b"x" * (HELD_CAP + 1))],
    "a head without end": [("c", GET), ("s", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000)],
    "next answer while the request uploads": [("c", POST[:-1]), ("s", TOO_LARGE + OK)],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_cannot_be_framed_makes_the_connection_opaque_once(name: str) -> None:
    machine, seen = play([*BAD_ANSWERS[name], ("c", GET), ("s", OK), ("E", b""), ("X", b"")])
    assert seen.reasons == [Opaque.UNFRAMED]
    assert len(seen.over) + len(seen.lost) == seen.begun_count
    assert not machine.queue


def test_what_a_client_uploads_after_the_models_end_is_nobodys_request() -> None:
    machine, seen = play([("c", POST[:-1]), ("s", TOO_LARGE), ("E", b""), ("c", b"o" + POST), ("X", b"")])
    assert (seen.begun_count, machine.reason) == (1, None)


def test_copies_stop_at_the_cap_and_say_so() -> None:
    size = BODY_CAP + 10
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"q" * size
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"a" * size + b"\r\n0\r\n\r\n"
    _, seen = play([("c", request), ("s", answer)], 65_536)
    [pending] = seen.over
    assert pending.flags == REQUEST_TRUNCATED | RESPONSE_TRUNCATED
    assert (len(pending.request_body), len(pending.response_body)) == (BODY_CAP, BODY_CAP)


KNOWN = [GET, POST, HEAD, UPGRADE, H2C, CONNECT, OK, NO_CONTENT, NOT_MODIFIED, SWITCH, HEAD_ANSWER, CONTINUE, TOO_LARGE]


@given(st.lists(st.tuples(st.sampled_from("csER"), st.sampled_from(KNOWN)), max_size=10))
def test_heads_that_were_seen_before_change_nothing(script: Script) -> None:
    script = [(side, b"" if side in "ER" else data) for side, data in script]
    known = new_heads()
    play([("c", data) for data in KNOWN], heads=known)
    for data in KNOWN:
        play([("c", GET), ("s", data)], heads=known)
    fresh, fresh_seen = play(script)
    warm, warm_seen = play(script, heads=known)
    cut, cut_seen = play(script, 7)
    assert (
        (fresh.reason, fresh_seen.summary()) == (warm.reason, warm_seen.summary()) == (cut.reason, cut_seen.summary())
    )


def test_times_are_those_of_first_and_last_bytes() -> None:
    machine, seen = framer()
    machine.feed_client(POST[:20], 100)
    machine.feed_client(POST[20:], 200)
    machine.feed_server(CONTINUE, 250)
    machine.feed_server(OK_CHUNKED[:60], 300)
    machine.feed_server(OK_CHUNKED[60:-1], 900)
    machine.feed_server(OK_CHUNKED[-1:], 1000)
    [pending] = seen.over
    assert (pending.started_ns, pending.ttfb_ns, pending.last_ns) == (100, 200, 1000)
    assert (pending.gap_ns, pending.chunks) == (600, 3)


@given(st.lists(st.tuples(st.sampled_from("cs"), st.binary(max_size=40)), max_size=12))
def test_no_bytes_raise_and_no_request_is_lost(script: Script) -> None:
    machine, seen = play([("c", GET), *script, ("R", b""), ("X", b"")])
    assert len(seen.over) + len(seen.lost) == seen.begun_count
    assert not machine.queue


MESSAGES = st.lists(st.sampled_from([(GET, OK), (POST, OK_CHUNKED), (HEAD, HEAD_ANSWER), (POST_CHUNKED, NO_CONTENT)]))


@given(MESSAGES, st.lists(st.integers(0, 2000)), st.lists(st.integers(0, 2000)))
def test_random_cuts_of_pipelined_requests_change_nothing(
    messages: list[tuple[bytes, bytes]], client_cuts: list[int], server_cuts: list[int]
) -> None:
    sides = [("c", b"".join(m[0] for m in messages), client_cuts), ("s", b"".join(m[1] for m in messages), server_cuts)]
    script: Script = []
    for side, data, cuts in sides:
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        script += [(side, data[a:b]) for a, b in itertools.pairwise(edges)]
    machine, seen = play(script)
    assert (machine.reason, len(seen.over)) == (None, len(messages))
    assert machine._budget.left == machine._budget.size


LAME: dict[str, tuple[Script, bytes, bool]] = {
    "close is inserted": ([("c", GET), ("s", OK)], OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
    "keep-alive is replaced": (
        [("c", GET), ("s", OK.replace(b"OK\r\n", b"OK\r\nconnection: Keep-Alive, x\r\n"))],
        OK.replace(b"OK\r\n", b"OK\r\nconnection: x, close\r\n"),
        True,
    ),
    "only on the last answer": (
        [("c", GET + POST), ("s", OK + OK_CHUNKED)],
        OK + OK_CHUNKED.replace(b"\r\n\r\n1", b"\r\nConnection: close\r\n\r\n1"),
        True,
    ),
    "never on interim answers": (
        [("c", POST), ("s", CONTINUE + HINTS + OK)],
        CONTINUE + HINTS + OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        True,
    ),
    "never on a tunnel": ([("c", UPGRADE), ("s", SWITCH + b"\x81\x02ok")], SWITCH + b"\x81\x02ok", False),
    "an answer that ends the connection anyway": ([("c", GET), ("s", OK_UNTIL_END)], OK_UNTIL_END, False),
    "not while another request arrives": ([("c", GET + POST[:9]), ("s", OK)], OK, False),
    "not where framing fails": ([("c", GET), ("s", b"HTTP/1.1 2 OK\r\n\r\nok")], b"HTTP/1.1 2 OK\r\n\r\nok", False),
    "opaque from the start": ([("c", b"\x16\x03"), ("s", b"\x16\x03ok")], b"\x16\x03ok", False),
}


@pytest.mark.parametrize("name", LAME)
def test_a_lame_duck_changes_one_line_however_the_answer_is_cut(name: str) -> None:
    script, expected, closes = LAME[name]
    for cut in range(1, 200):
        machine, _ = framer()
        passed = b""
        for side, data in script:
            if side == "c":
                machine.feed_client(data, 1)
                continue
            for at in range(0, len(data), cut):
                passed += machine.feed_lame(data[at : at + cut], 2)
        assert (passed + machine.flush_lame(), machine.closed) == (expected, closes), f"cut every {cut} bytes"


def test_a_lame_duck_that_begins_within_a_head_repeats_nothing() -> None:
    expected = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for before in range(1, OK.index(b"\r\n\r\n") + 3):
        machine, _ = framer()
        machine.feed_client(GET, 1)
        machine.feed_server(OK[:before], 2)
        assert OK[:before] + machine.feed_lame(OK[before:], 3) == expected


def test_a_lame_duck_holds_at_most_16_kib_of_a_head() -> None:
    machine, _ = framer()
    machine.feed_client(GET, 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + b"b" * 20_000
    assert machine.feed_lame(head, 2) == head
    assert machine.feed_lame(b"\r\n\r\n", 3) == b"\r\nConnection: close\r\n\r\n"

"""
The model ends an idle keep-alive connection at the moment of the next request.

Without the wire the client's kernel finds out, and the client sends the request again on another connection. Through
the wire it sees the same end, and nobody is blamed. A frozen wire shows both orders: it wakes up to both events.
"""

import queue
import random
import signal
import socket
import time

import pytest

from tests.integration.wire.peers import DEADLINE_S, End, Model, Wire, account, eventually, play, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SMALL, LARGE = request(b"x"), request(bytes(600_000))
ROUNDS = 5


class Leaving:
    """A model that answers one request on each connection; who takes it from ``idle`` ends it."""

    def __init__(self) -> None:
        self.idle: queue.Queue[socket.socket] = queue.Queue()

    def __call__(self, peer: socket.socket) -> None:
        play(peer, [("count", len(SMALL)), ("send", OK)])
        self.idle.put(peer)
        eventually(lambda: peer.fileno() < 0)


def crossed(model: Leaving, wire: Wire, late: bytes, *, is_end_first: bool, is_direct: bool) -> End:
    """What a client sees whose second request crosses the model's end of the connection."""
    with wire.connect(wire.model_port if is_direct else wire.port) as peer:
        assert bytes(play(peer, [("send", SMALL), ("count", len(OK))]).got) == OK
        served = model.idle.get(timeout=DEADLINE_S)
        eventually(lambda: is_direct or wire.snapshot().counters["in_flight"] == 0)
        wire.process.send_signal(signal.SIGSTOP)
        try:
            if is_end_first or is_direct:
                served.close()
            peer.send(late)  # as much as the kernel takes
            served.close()
        finally:
            wire.process.send_signal(signal.SIGCONT)
        return play(peer, [("rest", 0)])


@pytest.mark.parametrize("late", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("is_end_first", [True, False], ids=["end first", "request first"])
def test_the_client_sees_the_end_as_it_would_without_the_wire_and_nobody_is_blamed(
    wire: Wire, late: bytes, is_end_first: bool
) -> None:
    model = Leaving()
    with Model(wire.model_port, model):
        for _ in range(ROUNDS):
            direct = crossed(model, wire, late, is_end_first=is_end_first, is_direct=True)
            through = crossed(model, wire, late, is_end_first=is_end_first, is_direct=False)
            assert bytes(direct.got) == bytes(through.got) == b""
            assert {direct.end, through.end} <= {"eof", "reset"}
            if late is SMALL:
                assert through.end == direct.end == "eof"
    counters = wire.settled(connections_open=0, in_flight=0, requests=2 * ROUNDS)
    assert (counters["stale"], counters["status_2xx"]) == (ROUNDS, ROUNDS)
    assert (counters["errors"], counters["upstream_resets"], counters["client_aborts"]) == (0, 0, 0)
    assert account(counters) == 2 * ROUNDS
    assert sum(row.errors for row in wire.snapshot().epochs) == 0


def test_a_model_that_takes_the_request_and_ends_is_to_blame(wire: Wire) -> None:
    steps = [("count", len(SMALL)), ("send", OK), ("count", 2 * len(SMALL)), ("close", 0)]
    with Model(wire.model_port, steps), wire.connect() as peer:
        play(peer, [("send", SMALL), ("count", len(OK)), ("send", SMALL), ("rest", 0)])
    counters = wire.settled(requests=2, in_flight=0)
    assert (counters["stale"], counters["errors"], counters["upstream_resets"]) == (0, 1, 1)


def impatient(peer: socket.socket) -> None:
    """Ends a connection that is idle for about as long as its clients wait between two requests."""
    try:
        while True:
            peer.settimeout(0.004)
            if not (got := peer.recv(65536)):
                return
            peer.settimeout(DEADLINE_S)
            while len(got) < len(SMALL):
                got += peer.recv(65536)
            peer.sendall(OK)
    except OSError:
        return


def test_a_client_that_sends_again_gets_every_answer(wire: Wire) -> None:
    """As HTTP clients do: again, on a new connection, if the one in use ended without any byte of an answer."""
    rng, again, answered = random.Random(7), 0, 0
    with Model(wire.model_port, impatient):
        peer = wire.connect()
        while answered < 300:
            seen = play(peer, [("send", SMALL), ("count", len(OK))])
            if bytes(seen.got) == OK:
                answered += 1
                time.sleep(rng.uniform(0, 0.008))
                continue
            assert (bytes(seen.got), seen.end) in [(b"", "eof"), (b"", "reset")]
            again += 1
            peer.close()
            peer = wire.connect()
        peer.close()
    counters = wire.settled(connections_open=0, in_flight=0)
    print(f"{answered} answered, {again} sent again, {counters['stale']} never taken, {counters['errors']} errors")
    assert again > 0
    assert counters["status_2xx"] == answered
    assert account(counters) == counters["requests"]
    assert counters["inference"] == answered + counters["upstream_resets"] + counters["client_aborts"]

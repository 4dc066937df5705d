"""The tee costs the traffic nothing, whatever the analyst does, and every request is in exactly one counter."""

import socket
import time

from onguard import contract
from onguard_sidecar.handover import Receiver
from tests.integration.wire.peers import (
    DEADLINE_S,
    Load,
    Model,
    Wire,
    account,
    echo_model,
    eventually,
    play,
    request,
    start_analyst,
)


def test_without_an_analyst_exchanges_are_dropped_and_counted(wire: Wire) -> None:
    with Model(wire.model_port, echo_model()), wire.connect() as peer:
        for number in range(5):
            play(peer, [("send", request(b"%d" % number)), ("until", b"\r\n\r\n%d" % number)])
        counters = wire.settled(requests=5)
    assert counters["dropped_no_analyst"] == counters["inference"] == counters["status_2xx"] == 5
    assert account(counters) == 5


def test_small_and_large_exchanges_arrive_whole_and_in_order(wire: Wire) -> None:
    bodies = [b"a", b"b" * 200_000, b"c", b"d" * (1 << 20), b"e"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(wire.shared / contract.FILE_HANDOVER_SOCKET))
        listener.listen()
        analyst, _ = listener.accept()
        analyst.settimeout(DEADLINE_S)
        with analyst, Model(wire.model_port, echo_model()), wire.connect() as peer:
            for body in bodies:
                play(peer, [("send", request(body)), ("until", b"\r\n\r\n" + body)])
            receiver, received = Receiver(), []
            while len(received) < len(bodies):
                received += receiver.feed(analyst.recv(65536))
    assert [(x.number, x.request_body, x.response_body) for x in received] == [(n, b, b) for n, b in enumerate(bodies)]
    assert {(x.status, x.flags, x.connection) for x in received} == {(200, 0, 1)}
    assert all(0 < x.ttfb_ns <= x.duration_ns for x in received)
    assert all(abs(x.started_ns - time.time_ns()) < 60e9 for x in received)


def test_a_killed_analyst_costs_no_request_and_the_account_adds_up(wire: Wire) -> None:
    with Model(wire.model_port, echo_model()), Load(wire, clients=4) as load:
        for _ in range(3):
            analyst = start_analyst(wire)
            known = wire.snapshot().counters["analysed"]
            eventually(lambda known=known: wire.snapshot().counters["analysed"] > known + 200)
            analyst.kill()
            analyst.wait()
            (wire.shared / contract.FILE_HANDOVER_SOCKET).unlink()
            time.sleep(0.1)
            counters = wire.snapshot().counters
            assert account(counters) == counters["requests"]
    assert load.failed == []
    counters = wire.settled(requests=load.answered, in_flight=0, outbox=0)
    assert account(counters) == load.answered
    assert counters["handed_over"] == counters["analysed"] + counters["dropped_analyst_died"]
    assert counters["dropped_no_analyst"] > 0


def test_an_analyst_that_does_not_read_costs_bounded_memory_and_no_time(wire: Wire) -> None:
    body = b"x" * 300_000
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(wire.shared / contract.FILE_HANDOVER_SOCKET))
        listener.listen()
        analyst, _ = listener.accept()
        with analyst, Model(wire.model_port, echo_model()), wire.connect() as peer:
            for _ in range(60):
                begin = time.monotonic()
                play(peer, [("send", request(body)), ("count", len(body) + 40)])
                assert time.monotonic() - begin < 5
            counters = wire.settled(requests=60)
            assert counters["dropped_outbox_full"] > 20
            assert counters["outbox"] > 0
            assert account(counters) == 60
    counters = wire.settled(outbox=0)
    assert account(counters) == 60
    assert counters["dropped_analyst_died"] == counters["handed_over"]


def test_opaque_connections_are_counted_and_their_bytes_are_not_requests(wire: Wire) -> None:
    with Model(wire.model_port, [("until", b"hello"), ("send", b"\x16\x03"), ("close", 0)]), wire.connect() as peer:
        play(peer, [("send", b"\x16\x03\x01hello"), ("rest", 0)])
    wire.settled(connections=1, connections_open=0, connections_opaque=1, framing_failures=0, requests=0)
    wire.settled(bytes_from_client=8, bytes_from_model=2)


def test_a_request_in_flight_past_its_bound_is_slow_before_it_ends(wire: Wire) -> None:
    with Model(wire.model_port, echo_model(delay_s=2.0)), wire.connect() as peer:
        play(peer, [("send", request(b"x"))])
        eventually(lambda: sum(row.slow[0] for row in wire.snapshot().epochs) == 1, 1.9)
        assert wire.snapshot().counters["in_flight"] == 1
        play(peer, [("until", b"x")])
        wire.settled(requests=1, in_flight=0)
    rows = wire.snapshot().epochs
    assert (sum(r.requests for r in rows), sum(r.slow[0] for r in rows), sum(r.errors for r in rows)) == (1, 1, 0)

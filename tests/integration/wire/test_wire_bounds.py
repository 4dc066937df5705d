"""What a wire holds is bounded, a limit ends in a close or in less copying, and the traffic does not feel it."""

import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from onguard import contract
from onguard_sidecar.ledger import Ledger
from tests.integration.wire.peers import (
    PROGRAM,
    Load,
    Model,
    Wire,
    account,
    echo_model,
    eventually,
    finish,
    play,
    request,
    start_wire,
)

MIB = 1 << 20
TINY = b"6\r\nabcdef\r\n"


def resident(wire: Wire) -> int:
    """Bytes of memory of the wire's own."""
    status = Path(f"/proc/{wire.process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssAnon"))


def cpu_s(wire: Wire) -> float:
    """CPU time of the wire."""
    fields = Path(f"/proc/{wire.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def answered_within(wire: Wire, count: int = 100) -> float:
    """Median seconds of a request beside whatever else goes on."""
    times = []
    with wire.connect() as peer:
        for number in range(count):
            begin = time.perf_counter()
            body = b"probe %d" % number
            assert bytes(play(peer, [("send", request(body)), ("until", b"\r\n\r\n" + body)]).got).endswith(body)
            times.append(time.perf_counter() - begin)
    return sorted(times)[count // 2]


def hold(model: Model, wire: Wire, count: int, first: bytes = b"") -> list[socket.socket]:
    """So many open connections, each having sent ``first``."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    peers = []
    for _ in range(count):
        peers.append(wire.connect())
        peers[-1].sendall(first)
    eventually(lambda: wire.snapshot().counters["connections_open"] >= count)
    return peers


def close_all(peers: list[socket.socket]) -> None:
    for peer in peers:
        peer.close()


def test_a_thousand_idle_connections_cost_little_memory_and_no_time(wire: Wire) -> None:
    with Model(wire.model_port, echo_model()) as model:
        alone = answered_within(wire)
        before = resident(wire)
        peers = hold(model, wire, 1000)
        each = (resident(wire) - before) / 1000
        began, used = time.monotonic(), cpu_s(wire)
        beside = answered_within(wire)
        time.sleep(1.0)
        idle_cpu = (cpu_s(wire) - used) / (time.monotonic() - began)
        print(
            f"idle: {each / 1024:.1f} KiB each, {100 * idle_cpu:.1f} % CPU, {1e6 * (beside - alone):+.0f} us a request"
        )
        assert each < 24 << 10
        assert idle_cpu < 0.25
        assert beside < alone + 0.005
        close_all(peers)
        wire.settled(connections_open=0, connections_refused=0)


def test_three_hundred_slow_heads_are_left_to_the_model_and_cost_bounded_memory(wire: Wire) -> None:
    with Model(wire.model_port, echo_model()) as model:
        alone, before = answered_within(wire), resident(wire)
        peers = hold(model, wire, 300, b"POST /v1/models/m:predict HTTP/1.1\r\nX: ")
        for _ in range(20):
            for peer in peers:
                peer.sendall(b"a" * 50)
        beside = answered_within(wire)
        grown = resident(wire) - before
        print(f"slow heads: {grown / 300 / 1024:.1f} KiB each, {1e6 * (beside - alone):+.0f} us a request")
        assert grown < 300 * (24 << 10)
        assert beside < alone + 0.005
        wire.settled(connections_open=300)
        close_all(peers)
        eventually(lambda: wire.snapshot().counters["copy_bytes"] == 0)


def test_slow_uploads_and_slow_readers_share_one_budget_of_copies(wire: Wire) -> None:
    upload = request(bytes(MIB))[:-100]  # never whole: each holds a copy of nearly 1 MiB
    with Model(wire.model_port, echo_model()) as model:
        before = resident(wire)
        peers = hold(model, wire, 60, upload)
        eventually(lambda: wire.snapshot().counters["copies_shed"] >= 20)
        counters = wire.snapshot().counters
        assert counters["connections_opaque"] == 0, "bodies must leave room for heads"
        grown = resident(wire) - before
        print(f"60 uploads of 1 MiB: {grown / MIB:.0f} MiB, {counters['copy_bytes'] / MIB:.0f} MiB of it copies")
        assert counters["copy_bytes"] <= counters["limit_copy_bytes"]
        assert grown < counters["limit_copy_bytes"] * 1.5 + 16 * MIB
        whole = len(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB) + MIB
        for peer in peers:
            assert len(play(peer, [("send", bytes(100)), ("count", whole)]).got) == whole
            peer.close()
        counters = wire.settled(requests=60, in_flight=0, copy_bytes=0)
        assert counters["truncated"] >= 20
        assert counters["status_2xx"] == account(counters) == 60


def test_slow_readers_hold_the_model_back_and_cost_bounded_memory(wire: Wire) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MIB) + bytes(32 * MIB)

    def serve(peer: socket.socket) -> None:
        try:
            peer.recv(65536)
            peer.sendall(answer)
        except OSError:
            return

    with Model(wire.model_port, serve):
        before = resident(wire)
        peers = [wire.connect() for _ in range(60)]
        for peer in peers:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        time.sleep(2.0)
        each, counters = (resident(wire) - before) / 60, wire.snapshot().counters
        print(
            f"slow readers: {each / 1024:.0f} KiB each, {counters['buffered_bytes'] / 60 / 1024:.0f} KiB of it unsent"
        )
        assert each < 400 << 10
        assert 0 < counters["buffered_bytes"] <= 60 * (320 << 10)
        close_all(peers)
        eventually(lambda: wire.snapshot().counters["buffered_bytes"] == 0)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Wire]:
    """A wire with room for 4 MiB that wait."""
    running = start_wire(tmp_path, env={contract.ENV_WIRE_WAITING: str(4 * MIB)})
    yield running
    finish(running)


def under_way(wire: Wire) -> int:
    """Requests that wait for the end of their answer, or did until they were cut."""
    counters = wire.snapshot().counters
    return counters["in_flight"] + counters["connections_cut"]


def test_too_many_stuck_readers_cost_those_that_were_stuck_first_and_nobody_else(narrow: Wire) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * MIB) + bytes(8 * MIB)
    small = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe"

    def serve(peer: socket.socket) -> None:
        try:
            while asked := peer.recv(65536):
                peer.sendall(answer if asked.startswith(b"GET /large") else small)
        except OSError:
            return

    with Model(narrow.model_port, serve), ExitStack() as opened:
        peers = [opened.enter_context(narrow.connect()) for _ in range(40)]
        for peer in peers[:-1]:
            peer.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        eventually(lambda: under_way(narrow) == 39)
        peers[-1].sendall(b"GET /large HTTP/1.1\r\n\r\n")
        cut = int(eventually(lambda: under_way(narrow) == 40 and narrow.snapshot().counters["connections_cut"]))
        assert narrow.settled(connections_open=40 - cut)["buffered_bytes"] <= 4 * MIB
        with narrow.connect() as other:
            assert bytes(play(other, [("send", b"GET / HTTP/1.1\r\n\r\n"), ("until", b"probe")]).got) == small
        # One that catches up makes way for more of its own, which may cost another one its place.
        ends = [play(peer, [("count", len(answer))]) for peer in peers]
        lost = [end for end in ends if bytes(end.got) != answer]
        assert ends[-1] not in lost, "whoever was stuck first is cut first"
        assert {end.end for end in lost} == {"reset"}
        close_all(peers)
        counters = narrow.settled(connections_open=0, in_flight=0)
        assert cut <= counters["connections_cut"] == len(lost) < 40
        assert (counters["errors"], counters["upstream_resets"]) == (0, 0), "the model is not to blame"
        assert account(counters) == counters["requests"] == 41


def test_too_many_uploads_that_a_model_does_not_take_are_bounded_too(narrow: Wire) -> None:
    upload = request(bytes(16 * MIB))

    def send(peer: socket.socket) -> None:
        try:
            peer.sendall(upload)
        except OSError:
            return

    ended = threading.Event()

    def take_nothing(peer: socket.socket) -> None:
        peer.recv(1)
        ended.wait(30)

    with Model(narrow.model_port, take_nothing), ExitStack() as open_peers:
        peers = [open_peers.enter_context(narrow.connect()) for _ in range(30)]
        for peer in peers:
            threading.Thread(target=send, args=(peer,), daemon=True).start()
        cut = int(eventually(lambda: narrow.snapshot().counters["connections_cut"]))
        counters = narrow.settled(connections_open=30 - cut)
        ended.set()
        assert counters["buffered_bytes"] <= 4 * MIB
        assert (counters["errors"], counters["upstream_resets"]) == (0, 0)


def test_three_megabytes_in_chunks_of_six_bytes_pass_and_cost_little_framing(wire: Wire) -> None:
    flood = TINY * (3 * MIB // 6) + b"0\r\n\r\n"
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    received: list[int] = []

    def take(peer: socket.socket) -> None:
        got = 0
        while got < len(head + flood) and (piece := peer.recv(1 << 18)):
            got += len(piece)
        received.append(got)
        peer.sendall(answer)

    with Model(wire.model_port, take), wire.connect() as peer:
        used = cpu_s(wire)
        assert bytes(play(peer, [("send", head + flood), ("until", b"ok")]).got) == answer
        used = cpu_s(wire) - used
        print(f"flood of {len(flood) / MIB:.1f} MiB: {1e3 * used:.0f} ms of CPU")
        assert received == [len(head + flood)]
        assert used < 0.25
        counters = wire.settled(framing_limits=1, requests=1)
        assert (counters["truncated"], account(counters)) == (1, 1)


def test_a_stream_of_small_chunks_that_take_their_time_is_framed_to_its_end(wire: Wire) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    count = 6000

    def stream(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(head)
        for _ in range(count):
            peer.sendall(TINY)
            time.sleep(0)
        peer.sendall(b"0\r\n\r\n")
        peer.recv(1)

    with Model(wire.model_port, stream), wire.connect() as peer:
        seen = play(peer, [("send", request(b"x")), ("until", b"\r\n0\r\n\r\n")])
        assert len(seen.got) == len(head) + count * len(TINY) + 5
        assert wire.settled(requests=1)["status_2xx"] == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Wire]:
    """A wire with room for eight connections, which closes them after two seconds of silence."""
    running = start_wire(tmp_path, env={contract.ENV_WIRE_CONNECTIONS: "8", contract.ENV_WIRE_IDLE: "2"})
    yield running
    finish(running)


def test_one_connection_too_many_is_closed_without_an_answer(small: Wire) -> None:
    with Model(small.model_port, echo_model(5.0)) as model:
        peers = hold(model, small, 8, request(b"wait"))
        with small.connect() as late:
            seen = play(late, [("rest", 0)])
        assert bytes(seen.got) == b""
        assert seen.end in ("eof", "reset")
        counters = small.settled(connections_refused=1)
        assert (counters["connections"], counters["connections_open"], counters["answered_502"]) == (8, 8, 0)
        close_all(peers)


def test_quiet_connections_make_room_for_new_ones(small: Wire) -> None:
    with Model(small.model_port, echo_model()) as model:
        peers = hold(model, small, 8)
        time.sleep(1.2)
        with small.connect() as late:
            assert bytes(play(late, [("send", request(b"x")), ("until", b"\r\n\r\nx")]).got).endswith(b"x")
        assert [play(peer, [("rest", 0)]).end for peer in peers] == ["eof"] * 8
        assert small.settled(connections_evicted=8)["connections_refused"] == 0
        close_all(peers)


def test_a_silent_connection_is_closed_in_time_and_a_slow_one_is_not(small: Wire) -> None:
    ask = request(b"0123456789")
    with Model(small.model_port, echo_model()), small.connect() as silent, small.connect() as slow:
        begin = time.monotonic()
        for at in range(0, len(ask), 8):
            play(slow, [("send", ask[at : at + 8]), ("wait", 0.4)])
        assert bytes(play(slow, [("until", b"0123456789")]).got).endswith(b"0123456789")
        assert time.monotonic() - begin > 3
        seen = play(silent, [("rest", 0)])
        assert (bytes(seen.got), seen.end) == (b"", "eof")
        small.settled(connections_idle_closed=1)


def test_many_requests_at_once_on_one_connection_end_framing_not_traffic(wire: Wire) -> None:
    count = 2000
    with Model(wire.model_port, lambda peer: (time.sleep(1.0), echo_model()(peer))), wire.connect() as peer:
        threading.Thread(target=peer.sendall, args=(request(b"x") * count,), daemon=True).start()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
        assert bytes(play(peer, [("count", count * len(answer))]).got) == answer * count
        counters = wire.settled(framing_limits=1, in_flight=0, copy_bytes=0)
        assert account(counters) == counters["requests"] == counters["truncated"] == 256


SLOW_ANALYST = """
import socket, sys, time
from pathlib import Path
from onguard_sidecar.handover import Receiver
from onguard_sidecar.ledger import Ledger

listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(str(Path(sys.argv[1]) / "handover.sock"))
listener.listen()
peer, _ = listener.accept()
ledger, receiver = Ledger.open_analyst(Path(sys.argv[1]) / "ledger", 7), Receiver()
while datagram := peer.recv(65536):
    for exchange in receiver.feed(datagram):
        ledger.add("analysed")
        time.sleep(0.002)
"""


def test_ten_times_too_much_for_the_analyst_costs_copies_and_no_request(wire: Wire) -> None:
    body = b"x" * 20_000
    analyst = subprocess.Popen([sys.executable, "-c", SLOW_ANALYST, str(wire.shared)])
    try:
        with Model(wire.model_port, echo_model()), ExitStack() as stack:
            eventually((wire.shared / contract.FILE_HANDOVER_SOCKET).exists)
            before = resident(wire)
            stack.callback(analyst.kill)
            load = Load(wire, clients=32, body=body)
            with load:
                eventually(lambda: wire.snapshot().counters["dropped_outbox_full"] > 1000)
                grown = resident(wire) - before
                counters = wire.snapshot().counters
                assert account(counters) == counters["requests"]
            assert load.failed == []
            shed = counters["dropped_outbox_full"]
            print(f"overload: {load.answered} answered, {shed} not analysed, {grown / MIB:.0f} MiB")
            assert grown < 48 * MIB
            assert counters["outbox_bytes"] <= counters["limit_outbox_bytes"]
            analyst.kill()
            counters = wire.settled(requests=load.answered, in_flight=0, outbox=0)
            assert account(counters) == load.answered
            assert counters["handed_over"] == counters["analysed"] + counters["dropped_analyst_died"]
    finally:
        analyst.kill()
        analyst.wait()


FULL = "mount -t tmpfs -o size=256k,mode=0777 full {shared} && head -c 1m /dev/zero > {shared}/filler; exec {program}"


def test_a_full_memory_volume_costs_the_tee_not_the_traffic(tmp_path: Path) -> None:
    script = FULL.format(shared=tmp_path / "shared", program=" ".join(PROGRAM))
    running = start_wire(tmp_path, program=["unshare", "--mount", "--map-root-user", "sh", "-c", script])
    inside = Path(f"/proc/{running.process.pid}/root{running.shared}")
    try:
        with Model(running.model_port, echo_model()), Load(running, clients=2, pause_s=0.01) as load:
            eventually(lambda: load.answered > 100)
            assert not (inside / contract.FILE_LEDGER).exists()
            (inside / "filler").unlink()
            eventually((inside / contract.FILE_LEDGER).exists)
        assert load.failed == []
        ledger = Ledger.open_reader(inside / contract.FILE_LEDGER)
        eventually(lambda: ledger.snapshot().counters["requests"] == load.answered)
        counters = ledger.snapshot().counters
        assert account(counters) == counters["dropped_no_analyst"] == load.answered
    finally:
        finish(running)
    assert "event=no_room" in running.log.read_text()


def test_the_kernel_says_how_long_a_connection_was_quiet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        peer.sendall(b"x")
        time.sleep(0.3)
        raw = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56)
        sent, received = struct.unpack("@44xI4xI", raw)
        assert 250 < sent < 5000
        assert 250 < received < 5000

"""From the first byte to SIGTERM: start, configuration, a model that is away, lame duck, the end."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from onguard import contract, sidecar_config
from onguard.sidecar_config import SidecarConfig
from tests.integration.wire.peers import (
    PROGRAM,
    Load,
    Model,
    Steps,
    Wire,
    echo_model,
    eventually,
    finish,
    play,
    request,
    start_wire,
)


def probe(wire: Wire, path: bytes) -> bytes:
    with wire.connect(wire.health_port) as peer:
        return bytes(play(peer, [("send", b"GET " + path + b" HTTP/1.1\r\n\r\n"), ("rest", 0)]).got[:12])


def test_health_needs_neither_model_nor_analyst(wire: Wire) -> None:
    assert probe(wire, b"/healthz") == probe(wire, b"/readyz") == b"HTTP/1.1 200"
    assert probe(wire, b"/") == b"HTTP/1.1 404"
    assert wire.snapshot().counters["connections"] == 0


def test_a_model_that_is_away_is_a_502_for_http_and_an_end_for_others(wire: Wire) -> None:
    with wire.connect() as peer:
        seen = play(peer, [("send", request(b"x")), ("rest", 0)])
    assert seen.got.startswith(b"HTTP/1.1 502 ")
    assert b"\r\nOnGuard-Wire: model-unreachable\r\n" in seen.got
    assert b"\r\nConnection: close\r\n" in seen.got
    assert seen.end == "eof"
    with wire.connect() as peer:
        assert play(peer, [("send", b"\x16\x03\x01"), ("rest", 0)]).got == b""
    wire.settled(connections_open=0, upstream_failures=2, answered_502=1, requests=0, errors=0)


def test_a_model_that_listens_on_loopback_only_is_found(tmp_path: Path) -> None:
    running = start_wire(tmp_path, pod_ip="127.0.0.2")
    try:
        with Model(running.model_port, echo_model()), running.connect() as peer:
            assert play(peer, [("send", request(b"x")), ("until", b"\r\n\r\nx")]).got.endswith(b"x")
    finally:
        finish(running)


def test_configuration_is_taken_when_it_changes_and_a_bad_one_is_refused(wire: Wire) -> None:
    conf = wire.config / contract.KEY_WIRE_CONF
    told = SidecarConfig(model="m", match_paths=("/score",), latency_bounds_s=(0.125,))
    conf.write_text(sidecar_config.render(told)[contract.KEY_WIRE_CONF])
    eventually(lambda: wire.snapshot().layout.id == told.objectives_hash)
    assert 125_000_000 in wire.snapshot().layout.bounds_ns
    conf.write_text("version=1\nsample=7\n")
    wire.settled(config_error=1, config_reloads=2)
    assert wire.snapshot().layout.id == told.objectives_hash
    with Model(wire.model_port, echo_model()), wire.connect() as peer:
        play(peer, [("send", request(b"x").replace(b"/v1/models/m:predict", b"/score")), ("until", b"\r\n\r\nx")])
        wire.settled(inference=1)


def test_a_rolling_restart_under_keep_alive_load_fails_no_request(tmp_path: Path) -> None:
    running = start_wire(tmp_path)
    try:
        with Model(running.model_port, echo_model(0.005)):
            load = Load(running, clients=8, pause_s=0.01)
            with load:
                eventually(lambda: load.answered > 200)
                before = running.snapshot().counters["connections"]
                drained = running.drain()
                eventually(lambda: running.snapshot().counters["connections"] >= before + 8)
                answered = load.answered
                eventually(lambda: load.answered > answered + 100)
            assert drained.wait(10) == 0
            assert load.failed == []
            assert running.stop() == 0
    finally:
        finish(running)


def test_drain_waits_for_a_request_in_flight_and_tells_its_client_to_go(wire: Wire) -> None:
    with Model(wire.model_port, echo_model(1.5)), wire.connect() as peer, wire.connect() as idle:
        play(peer, [("send", request(b"x")), ("wait", 0.2)])
        begin = time.monotonic()
        drained = wire.drain()
        eventually(lambda: probe(wire, b"/readyz") == b"HTTP/1.1 503")
        assert probe(wire, b"/healthz") == b"HTTP/1.1 200"
        seen = play(peer, [("rest", 0)])
        assert drained.wait(10) == 0
        assert 0.8 < time.monotonic() - begin < 5
        assert bytes(seen.got).endswith(b"Connection: close\r\n\r\nx")
        assert seen.end == "eof"
        late = play(idle, [("send", request(b"late")), ("rest", 0)])  # an idle connection is served once more
        assert bytes(late.got).endswith(b"Connection: close\r\n\r\nlate")


def test_sigterm_finishes_what_is_in_flight_and_accepts_nothing_new(wire: Wire) -> None:
    with Model(wire.model_port, echo_model(1.0)), wire.connect() as peer, wire.connect() as idle:
        play(peer, [("send", request(b"x")), ("wait", 0.2)])
        wire.process.terminate()
        seen = play(peer, [("rest", 0)])
        assert bytes(seen.got).endswith(b"Connection: close\r\n\r\nx")
        assert play(idle, [("rest", 0)]).end == "eof"
        assert wire.process.wait(5) == 0
        with pytest.raises(ConnectionRefusedError):
            wire.connect().close()


def test_sigterm_ends_at_the_deadline_at_the_latest(tmp_path: Path) -> None:
    running = start_wire(tmp_path, grace_s=6)
    try:
        with Model(running.model_port, [("until", b"x"), ("rest", 0)]), running.connect() as peer:
            play(peer, [("send", request(b"x")), ("wait", 0.2)])
            begin = time.monotonic()
            assert running.stop() == 0
            assert 0.5 < time.monotonic() - begin < 4
    finally:
        finish(running)


def test_a_streamed_answer_under_way_is_not_cut_by_lame_duck(wire: Wire) -> None:
    head, event = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n"
    steps = [
        ("until", b"x"),
        ("send", head),
        *[("send", event), ("wait", 0.1)] * 10,
        ("send", b"0\r\n\r\n"),
        ("rest", 0),
    ]
    with Model(wire.model_port, steps), wire.connect() as peer:
        play(peer, [("send", request(b"x")), ("until", event)])
        drained = wire.drain()
        seen = play(peer, [("until", b"0\r\n\r\n")])
        assert bytes(seen.got).count(event) >= 8
        assert drained.wait(10) == 0


def test_nothing_of_a_request_reaches_the_log(wire: Wire) -> None:
    secret = b"hunter2"
    with Model(wire.model_port, echo_model()), wire.connect() as peer:
        ask = b"POST /hunter2:predict?k=hunter2 HTTP/1.1\r\nAuthorization: hunter2\r\nContent-Length: 7\r\n\r\nhunter2"
        play(peer, [("send", ask), ("until", b"\r\n\r\nhunter2")])
        play(peer, [("send", b"hunter2 \x00\r\n\r\n"), ("wait", 0.2)])
    assert wire.stop() == 0
    assert secret not in wire.log.read_bytes()


def test_a_bad_environment_is_an_exit_code_and_one_line(tmp_path: Path) -> None:
    env = {**os.environ, contract.ENV_UPSTREAM_PORT: "no port"}
    ended = subprocess.run(PROGRAM, env=env, capture_output=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1)
    assert contract.ENV_UPSTREAM_PORT.encode() in ended.stderr


UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize("is_lame_first", [False, True])
def test_a_websocket_outlives_lame_duck_until_the_model_ends_it(wire: Wire, is_lame_first: bool) -> None:
    model: Steps = [
        ("until", b"ws"),
        ("send", SWITCH),
        ("until", b"ping"),
        ("send", b"pong"),
        ("until", b"bye"),
        ("shut", 0),
        ("rest", 0),
    ]
    with Model(wire.model_port, model), wire.connect() as peer:
        if is_lame_first:
            wire.drain().wait(10)
        opened = play(peer, [("send", UPGRADE), ("count", len(SWITCH))])
        drained = wire.drain()
        assert bytes(opened.got) == SWITCH
        assert bytes(play(peer, [("send", b"ping"), ("until", b"pong")]).got) == b"pong"
        assert drained.poll() is None
        assert play(peer, [("send", b"bye"), ("rest", 0)]).end == "eof"
    assert drained.wait(10) == 0


def test_an_upload_under_way_when_lame_duck_begins_is_taken_whole(wire: Wire) -> None:
    body = b"0123456789" * 50_000
    ask = request(body)
    with Model(wire.model_port, echo_model()), wire.connect() as peer:
        play(peer, [("send", ask[:100_000]), ("wait", 0.2)])
        drained = wire.drain()
        eventually(lambda: probe(wire, b"/readyz") == b"HTTP/1.1 503")
        seen = play(peer, [("send", ask[100_000:]), ("rest", 0)])
        head, _, answered = bytes(seen.got).partition(b"\r\n\r\n")
        assert (answered == body, head.endswith(b"Connection: close"), seen.end) == (True, True, "eof")
        assert drained.wait(10) == 0


def test_requests_pipelined_when_lame_duck_begins_are_all_answered(wire: Wire) -> None:
    with Model(wire.model_port, echo_model(0.2)), wire.connect() as peer:
        play(peer, [("send", request(b"one") + request(b"two") + request(b"three")), ("until", b"one")])
        drained = wire.drain()
        seen = bytes(play(peer, [("rest", 0)]).got)
        assert seen.count(b"HTTP/1.1 200") == 2
        assert seen.endswith(b"Connection: close\r\n\r\nthree")
        assert seen.count(b"Connection: close") == 1
        assert drained.wait(10) == 0


def test_every_address_is_listened_on_by_default(tmp_path: Path) -> None:
    running = start_wire(tmp_path, listen_host="")
    try:
        assert probe(running, b"/healthz") == b"HTTP/1.1 200"
    finally:
        finish(running)

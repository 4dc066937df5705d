"""What is lost of an HTTP/2 connection is counted, never guessed; limits hold; nothing sent ends the process."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard_sidecar import chunks
from onguard_sidecar.analyst import http2 as whole
from onguard_sidecar.analyst.http2_connection import STREAMS
from onguard_sidecar.analyst.merging import merged
from onguard_sidecar.analyst.streamed_calls import MESSAGES
from onguard_sidecar.chunks import Chunk
from onguard_sidecar.decoding.http2 import BLOCK_BYTES, PREFACE, TABLE_BYTES, Half, Headers, Http2Error
from onguard_sidecar.ledger import Ledger, layout_of
from onguard_sidecar.wire.limits import PENDING_BYTES
from tests.conftest import examples
from tests.unit.analyst.http2_peers import (
    BOOT,
    CLIENT,
    MS,
    SERVER,
    STREAM,
    Bench,
    Said,
    Talk,
    answer,
    asked,
    cut,
    is_whole,
    streamed,
    to_chunks,
)

BOUNDED = settings(max_examples=examples(60), deadline=None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def three_calls() -> Said:
    """One is over, one is under way, one is still to come."""
    talk = Talk().ask(1, asked()).reply(1, answer()).ask(3, asked(2)).begin_answer(3)
    return talk.data(SERVER, 3, answer()).end_answer(3).ask(5, asked(3)).reply(5, answer()).said


@pytest.mark.parametrize("missing", range(len(three_calls())))
def test_a_chunk_that_is_missing_loses_the_rest_of_its_connection_for_good(bench: Bench, missing: int) -> None:
    every = list(to_chunks(three_calls()))
    bench.http2.feed("wire", [c for number, c in enumerate(every) if number != missing])
    counters = bench.counters()
    last_of_its_side = all(c.kind != every[missing].kind for c in every[missing + 1 :])
    assert counters.get("connections_http2_lost", 0) == counters.get("connections_opaque", 0) == (not last_of_its_side)
    assert is_whole({name: n for name, n in counters.items() if name != "in_flight"})
    assert counters["requests"] + counters.get("in_flight", 0) <= 3 if "requests" in counters else True
    bench.feed(three_calls(), connection=2)
    assert bench.counters().get("analysed", 0) == counters.get("analysed", 0) + 3


def test_what_was_under_way_is_undecodable_and_what_follows_is_not_counted(bench: Bench) -> None:
    said = Talk().ask(1, asked()).ask(3, asked(2)).ask(5, None, STREAM).data(CLIENT, 5, asked(3)).said
    every = list(to_chunks(said))
    bench.http2.feed("wire", every)
    gap = every[-1].offset + len(every[-1].data) + 1
    bench.http2.feed("wire", [Chunk(1, CLIENT, gap, 99 * MS, b"x")])
    lost = {
        "requests": 3, "inference": 3, "status_other": 3, "handed_over": 3, "undecodable_lost": 3,
        "connections_opaque": 1, "connections_http2_lost": 1,
    }  # fmt: skip
    assert bench.counters() == lost
    bench.http2.feed("wire", list(to_chunks(three_calls())))
    assert bench.counters() == lost
    assert bench.snapshot().counters["copy_bytes"] == 0


def test_what_the_wire_says_is_lost_is_counted_once(bench: Bench) -> None:
    bench.feed(Talk().ask(1, asked()).said).end(chunks.LOST)
    assert bench.counters() == {
        "requests": 1, "inference": 1, "status_other": 1, "handed_over": 1, "undecodable_lost": 1,
    }  # fmt: skip


def test_a_wire_that_ends_takes_its_calls_along_and_no_other_wires(bench: Bench) -> None:
    said = Talk().ask(1, asked()).said
    for source in ("wire", "another"):
        bench.http2.feed(source, list(to_chunks(said)))
    bench.http2.end("wire")
    assert (bench.counters()["undecodable_lost"], bench.counters()["in_flight"]) == (1, 1)


def broken() -> dict[str, Said]:
    headers = HeadersFrame(1, b"\x82\x84", flags=[])
    return {
        "no preface": [(CLIENT, b"GET / HTTP/1.1\r\n\r\n")],
        "an answer of HTTP/1": [(CLIENT, PREFACE), (SERVER, b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(999))],
        "a block that is broken off": Talk().frame(CLIENT, headers, PingFrame(0, b"12345678")).said,
        "a block of another stream": Talk().frame(CLIENT, headers, ContinuationFrame(3, b"")).said,
        "a CONTINUATION of nothing": Talk().frame(CLIENT, ContinuationFrame(1, b"")).said,
        "an index beyond the table": Talk().frame(CLIENT, HeadersFrame(1, b"\xff\xff\x7f", flags=["END_HEADERS"])).said,
        "a table over what was allowed": Talk()
        .frame(CLIENT, HeadersFrame(1, b"\x3f\xff\x7f", flags=["END_HEADERS"]))
        .said,
        "content of no stream": Talk().raw(CLIENT, bytes.fromhex("000001 00 00 00000000 78")).said,
        "more padding than content": Talk().raw(CLIENT, bytes.fromhex("000001 00 08 00000001 05")).said,
        "settings of half a setting": Talk().raw(CLIENT, bytes.fromhex("000003 04 00 00000000 000000")).said,
        "no settings first": [(CLIENT, PREFACE + PingFrame(0, b"12345678").serialize())],
    }


@pytest.mark.parametrize("name", broken())
def test_what_can_t_be_followed_is_given_up_and_counted_once(bench: Bench, name: str) -> None:
    bench.feed([*broken()[name], (CLIENT, b"more"), (CLIENT, b"and more")]).end()
    assert bench.counters() == {"connections_opaque": 1, "connections_http2_lost": 1}
    assert bench.faults == []


def large_blocks() -> dict[str, Said]:
    many = [ContinuationFrame(1, bytes(16_000)) for _ in range(9)]
    bomb = b"\x40\x01a\x7f\xe1\x1e" + b"b" * 4000 + b"\xbe" * 60  # a field of 4 kB, put into the table, sixty times
    return {
        "a frame": Talk().frame(CLIENT, HeadersFrame(1, bytes(BLOCK_BYTES + 1), flags=["END_HEADERS"])).said,
        "many frames": Talk().frame(CLIENT, HeadersFrame(1, bytes(16_000)), *many).said,
        "a bomb": Talk().frame(CLIENT, HeadersFrame(1, bomb, flags=["END_HEADERS"])).said,
    }


@pytest.mark.parametrize("name", large_blocks())
def test_a_header_that_is_too_large_costs_its_connection_and_no_memory(bench: Bench, name: str) -> None:
    bench.feed(large_blocks()[name])
    assert bench.counters()["connections_http2_lost"] == 1


def test_a_frame_of_16_mib_is_read_as_it_comes(bench: Bench) -> None:
    talk = Talk().ask(1, asked()).begin_answer(1)
    talk.raw(SERVER, bytes.fromhex("ffffff 00 00 00000001"))
    half = Half()
    for side, data in talk.said:
        if side == SERVER:
            half.feed(data)
    for _ in range(255):
        assert half.feed(bytes(65_793))
        assert len(half._held) == 0


def test_tables_grow_no_further_than_the_limit() -> None:
    half = Half()
    half.allow_table(1 << 30)
    half.allow_table(0)
    frame = HeadersFrame(1, b"\x3f" + _integer(TABLE_BYTES + 1 - 31), flags=["END_HEADERS"])
    with pytest.raises(Http2Error):
        half.feed(frame.serialize())


def _integer(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def test_calls_over_the_limit_are_counted_and_the_rest_goes_on(bench: Bench) -> None:
    talk = Talk()
    for number in range(STREAMS + 2):
        talk.ask(2 * number + 1, asked(number))
    for number in range(STREAMS + 2):
        talk.reply(2 * number + 1, answer())
    bench.feed(talk.said)
    assert (bench.counters()["analysed"], bench.counters()["truncated"]) == (STREAMS, 2)
    assert bench.counters()["framing_limits"] == 2
    assert is_whole(bench.counters())


def test_messages_over_the_limit_are_counted_and_the_rest_goes_on(bench: Bench) -> None:
    talk = Talk().ask(1, None, STREAM)
    for number in range(MESSAGES + 2):
        talk.data(CLIENT, 1, asked(number, str(number)))
    talk.begin_answer(1)
    for number in range(MESSAGES + 2):
        talk.data(SERVER, 1, streamed(0.5, str(number)))
    bench.feed(talk.said)
    assert (bench.counters()["analysed"], bench.counters()["truncated"]) == (MESSAGES, 2)


def test_connections_over_the_limit_are_opaque(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "CONNECTIONS", 2)
    for number in range(1, 4):
        bench.feed(Talk().ask(1, asked()).said, connection=number)
    counters = bench.snapshot().counters
    assert [counters[f"connections_{x}"] for x in ("open", "refused", "http2_lost")] == [2, 1, 1]
    bench.end(connection=1).end(connection=3)
    bench.feed(three_calls(), connection=4)
    assert bench.counters()["status_2xx"] == 3


def test_bodies_over_the_budget_are_truncated_and_its_bytes_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "COPY_BYTES", (8 << 20) + 2000 + 3 * PENDING_BYTES)
    bench = Bench(tmp_path)
    for number in (1, 2, 3):
        bench.feed(Talk().ask(1).data(CLIENT, 1, bytes(1500)).said, connection=number)
    assert bench.snapshot().counters["copies_shed"] == 2
    for number in (1, 2, 3):
        bench.end(connection=number)
    assert bench.snapshot().counters["copy_bytes"] == 0
    assert is_whole(bench.counters())


# --- the account -----------------------------------------------------------------------------------------------------


def test_an_analyst_that_died_left_its_counts_and_its_calls_are_counted_as_dropped(bench: Bench) -> None:
    bench.feed(three_calls()).feed(Talk().ask(1, asked()).said, connection=2)
    before = bench.snapshot()
    again = bench.another()  # the first one never closed: it died
    again.open(BOOT, 2)
    after = again.own()
    assert after is not None
    assert after.counters["analysed"] == before.counters["analysed"] == 3
    assert (after.duration, after.epochs) == (before.duration, before.epochs)
    counters = {name: n for name, n in after.counters.items() if n}
    assert (counters["requests"], counters["dropped_analyst_died"], counters.get("in_flight", 0)) == (4, 1, 0)
    assert is_whole(counters)
    again.feed("wire", list(to_chunks(three_calls(), 2))[3:])
    found = again.own()
    assert found is not None
    assert (found.counters["connections_http2_lost"], found.counters["requests"]) == (1, 4)


def test_another_boot_of_the_wire_begins_anew(bench: Bench) -> None:
    bench.feed(three_calls())
    bench.http2.open(f"{8:016x}", 1)
    assert bench.counters() == {}
    assert bench.snapshot().wire_boot == f"{8:016x}"


def test_a_call_in_flight_past_its_bound_is_slow_before_it_ends(bench: Bench) -> None:
    bench.feed(Talk().ask(1, asked()).said)
    assert [row.slow[0] for row in bench.snapshot().epochs if row.requests] == [
        1
    ]  # it began at millisecond 5 of the boot


def test_the_sample_holds_for_calls(tmp_path: Path) -> None:
    bench = Bench(tmp_path, conf="version=1\nsample=0\n")
    bench.feed(three_calls())
    assert bench.counters() == {"requests": 3, "inference": 3, "status_2xx": 3, "sampled_out": 3}


def test_configured_paths_say_what_is_inference(tmp_path: Path) -> None:
    bench = Bench(tmp_path, conf="version=1\nmatch_paths=/other\n")
    bench.feed(three_calls())
    assert bench.counters() == {"requests": 3, "not_inference": 3}


def test_another_configuration_holds_for_connections_that_are_open(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    every = list(to_chunks(three_calls()))
    bench.http2.feed("wire", every[:8])
    (tmp_path / "wire.conf").write_text("version=1\nmatch_paths=/other\n")
    bench.http2.sweep(1 << 60)
    bench.http2.feed("wire", every[8:])
    assert (bench.counters()["inference"], bench.counters()["not_inference"]) == (1, 2)


def test_two_ledgers_are_one_account(bench: Bench, tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", layout_of("", (0.1,)), 7)
    wire.add_all({"requests": 5, "connections": 2, "connections_open": 1, "published_ns": 1 << 62})
    bench.feed(three_calls())
    http2 = bench.snapshot()
    both = merged(wire.snapshot(), http2)
    assert both.counters["requests"] == 8
    assert (both.counters["connections"], both.counters["connections_open"]) == (2, 1)
    assert (both.duration, both.epochs, both.epoch_now) == (http2.duration, http2.epochs, http2.epoch_now)
    assert merged(http2, http2).epochs[-1].requests == 2 * http2.epochs[-1].requests


def test_latencies_of_other_bounds_or_of_another_boot_are_left_out(bench: Bench, tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", layout_of("00000000000000ff", (0.3,)), 7)
    bench.feed(three_calls())
    both = merged(wire.snapshot(), bench.snapshot())
    assert (both.counters["requests"], sum(both.duration.buckets), both.layout.id) == (3, 0, "00000000000000ff")
    other = Ledger.open_wire(tmp_path / "ledger", layout_of("", (0.1,)), 8).snapshot()
    assert merged(other, bench.snapshot()) == other


def test_a_full_volume_costs_the_reading_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "settle", lambda self, path: False)
    late = bench.another()
    late.open(f"{9:016x}", 1)
    late.feed("wire", list(to_chunks(three_calls())))
    late.end("wire")
    assert late.own() is None


# --- anything --------------------------------------------------------------------------------------------------------


def conversation(seed: int) -> Said:
    draw, talk = random.Random(seed), Talk()
    for number in range(draw.randrange(1, 6)):
        stream, kind = 2 * number + 1, draw.randrange(6)
        if kind == 0:
            talk.ask(stream, asked(number)).reply(stream, answer(), str(draw.randrange(18)))
        elif kind == 1:
            talk.ask(stream, asked(number)).reset(draw.randrange(2), stream, draw.randrange(9))
        elif kind == 2:
            talk.ask(stream, None, STREAM).data(CLIENT, stream, asked(1, "a") + asked(2, "b")[: draw.randrange(60)])
            talk.begin_answer(stream).data(SERVER, stream, streamed(0.5, draw.choice("abc")))
        elif kind == 3:
            talk.ask(stream, asked(), "/other").goaway(draw.randrange(9)).reply(stream, b"")
        elif kind == 4:
            talk.ask(stream, asked())
        else:
            talk.begin_answer(stream).data(CLIENT, stream, b"late").push(1, 2).priority(stream)
    return cut(talk.said, draw.choice((1, 7, 100, 10_000)))


def check(said: Said, kept: Callable[[Chunk], bool] = lambda chunk: True) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.http2.feed("wire", [chunk for chunk in to_chunks(said) if kept(chunk)])
        is_counted_whole(bench)
        bench.http2.close()


def is_counted_whole(bench: Bench) -> None:
    bench.end()
    counters = bench.counters()
    assert bench.faults == []
    assert counters.get("in_flight", 0) == 0
    assert is_whole(counters)
    assert bench.snapshot().counters["copy_bytes"] == 0


@BOUNDED
@given(st.integers(0, 1 << 30))
def test_any_conversation_is_counted_whole(seed: int) -> None:
    check(conversation(seed))


@BOUNDED
@given(st.integers(0, 1 << 30), st.data())
def test_any_conversation_with_bytes_of_it_changed(seed: int, data: st.DataObject) -> None:
    said = conversation(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(said) - 1))
        side, piece = said[place]
        at = data.draw(st.integers(0, len(piece) - 1))
        said[place] = (side, piece[:at] + bytes([data.draw(st.integers(0, 255))]) + piece[at + 1 :])
    check(said)


@BOUNDED
@given(st.integers(0, 1 << 30), st.data())
def test_any_conversation_with_chunks_of_it_missing(seed: int, data: st.DataObject) -> None:
    check(conversation(seed), lambda chunk: bool(data.draw(st.integers(0, 9))))


@BOUNDED
@given(st.lists(st.tuples(st.integers(0, 1), st.binary(min_size=1, max_size=80)), max_size=6))
def test_any_bytes_behind_the_preface(tail: Said) -> None:
    check([(CLIENT, PREFACE), *tail])


FRAMES = st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40))


@BOUNDED
@given(st.lists(st.tuples(st.integers(0, 1), FRAMES), max_size=12))
def test_any_frames(frames: list[tuple[int, tuple[int, int, int, bytes]]]) -> None:
    said = Talk().ask(1, asked()).said
    for side, (kind, flags, stream, body) in frames:
        said.append((side, len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body))
    check(said)


NAMES = st.sampled_from([":method", ":path", "content-type", "te", "x-a", "x-b", "grpc-encoding"])
LISTS = st.lists(
    st.lists(st.tuples(NAMES, st.sampled_from(["", "a", "b", "GET", "/", "y" * 90])), max_size=5), max_size=20
)


@BOUNDED
@given(LISTS, st.sampled_from([0, 64, 200, 4096]))
def test_header_blocks_are_read_as_they_were_written(lists: list[list[tuple[str, str]]], table: int) -> None:
    encoder, half = Encoder(), Half()
    encoder.header_table_size = table
    half.feed(SettingsFrame(0).serialize())
    for number, fields in enumerate(lists):
        block = encoder.encode(fields)
        (event,) = half.feed(HeadersFrame(2 * number + 1, block, flags=["END_HEADERS"]).serialize())
        assert isinstance(event, Headers)
        assert event.fields == [(name.encode(), value.encode()) for name, value in fields]

"""Calls of HTTP/2 become exchanges and are judged as those of HTTP/1, however their bytes are cut."""

import gzip
from pathlib import Path

import pytest

from onguard_sidecar import chunks
from onguard_sidecar.exchange import BODY_CAP, CLIENT_ABORTED, RESPONSE_TRUNCATED, UPSTREAM_RESET
from tests.unit.analyst.http2_peers import (
    CLIENT,
    INFER,
    MS,
    SERVER,
    STREAM,
    Bench,
    Talk,
    answer,
    asked,
    cut,
    is_whole,
    streamed,
)

CANCEL, REFUSED, NO_ERROR = 8, 7, 0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


CALL = Talk().ask(1, asked()).reply(1, answer())


@pytest.mark.parametrize("size", range(1, 120))
def test_a_call_is_the_same_exchange_however_its_bytes_are_cut(bench: Bench, size: int) -> None:
    bench.feed(cut(CALL.said, size))
    [exchange] = bench.kept
    assert exchange.request_head == f"POST {INFER} HTTP/2\r\ncontent-type: application/grpc\r\n\r\n".encode()
    assert exchange.response_head == b"HTTP/2 200\r\ncontent-type: application/grpc\r\n\r\n"
    assert (exchange.request_body, exchange.response_body) == (asked(), answer())
    assert (exchange.status, exchange.flags, exchange.number, exchange.connection) == (200, 0, 0, 1)
    assert 0 < exchange.ttfb_ns <= exchange.duration_ns
    assert bench.counters() == {
        "requests": 1, "inference": 1, "status_2xx": 1, "handed_over": 1, "analysed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("at", range(1, sum(len(data) for _, data in CALL.said)))
def test_cut_in_two_at_every_byte(bench: Bench, at: int) -> None:
    said, seen = [], 0
    for side, data in CALL.said:
        place = min(max(at - seen, 0), len(data))
        said += [(side, piece) for piece in (data[:place], data[place:]) if piece]
        seen += len(data)
    bench.feed(said)
    assert [(e.request_body, e.response_body, e.status) for e in bench.kept] == [(asked(), answer(), 200)]


def test_times_are_those_of_the_first_and_the_last_byte(bench: Bench) -> None:
    talk = Talk()
    begun = len(talk.said)
    bench.feed(talk.ask(1, asked()).reply(1, answer()).said)
    [exchange] = bench.kept
    assert exchange.ttfb_ns == 2 * MS  # head, data, answer's head
    assert exchange.duration_ns == 4 * MS
    assert exchange.chunks == 3
    assert exchange.gap_ns == MS
    wall = exchange.started_ns - (begun + 1) * MS
    snapshot = bench.snapshot()
    assert (snapshot.duration.sum_ns, snapshot.ttfb.sum_ns) == (4 * MS, 2 * MS)
    assert wall > 0
    assert sum(row.requests for row in snapshot.epochs) == 1


GRPC_STATUSES = [
    ("0", 200, 0), ("1", 499, 0), ("2", 500, 1), ("3", 400, 0), ("4", 504, 1), ("5", 404, 0), ("6", 409, 0),
    ("7", 403, 0), ("8", 429, 1), ("9", 400, 0), ("10", 409, 0), ("11", 400, 0), ("12", 501, 1), ("13", 500, 1),
    ("14", 503, 1), ("15", 500, 1), ("16", 401, 0), ("17", 500, 1), ("x", 500, 1), ("", 500, 1),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status", "errors"), GRPC_STATUSES)
def test_grpc_status_is_judged_as_the_status_of_http_that_means_it(
    bench: Bench, code: str, status: int, errors: int
) -> None:
    """429 is among the objective's own statuses here."""
    talk = Talk().ask(1, asked())
    talk.head(SERVER, 1, (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", code), ends=True)
    bench.feed(talk.said)
    assert [e.status for e in bench.kept] == [status]
    assert bench.counters().get("errors", 0) == errors
    assert bench.counters()[f"status_{status // 100}xx"] == 1


def test_an_answer_without_a_grpc_status_is_what_clients_take_it_for(bench: Bench) -> None:
    bench.feed(Talk().ask(1, asked()).begin_answer(1).data(SERVER, 1, answer(), ends=True).said)
    assert [e.status for e in bench.kept] == [500]


def test_a_proxys_502_is_a_502(bench: Bench) -> None:
    talk = Talk().ask(1, asked())
    bench.feed(talk.head(SERVER, 1, (":status", "502"), ("content-type", "text/html"), ends=True).said)
    assert [(e.status, e.response_head) for e in bench.kept] == [
        (502, b"HTTP/2 502\r\ncontent-type: text/html\r\n\r\n")
    ]


def test_json_over_http_2_is_an_exchange_too(bench: Bench) -> None:
    talk = Talk()
    told = ((":method", "POST"), (":path", "/v2/models/churn/infer?x=secret"), ("content-type", "application/json"))
    talk.head(CLIENT, 1, *told, ("authorization", "secret")).data(CLIENT, 1, b"{}", ends=True)
    talk.head(SERVER, 1, (":status", "103"), ("link", "x"))
    talk.head(SERVER, 1, (":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip"))
    bench.feed(talk.data(SERVER, 1, gzip.compress(b"{}"), ends=True).said)
    [exchange] = bench.kept
    assert exchange.request_head == b"POST /v2/models/churn/infer HTTP/2\r\ncontent-type: application/json\r\n\r\n"
    assert exchange.response_head.startswith(b"HTTP/2 200\r\n")
    assert exchange.status == 200


def test_many_calls_at_once_answered_in_another_order(bench: Bench) -> None:
    talk = Talk()
    for stream in (1, 3, 5):
        talk.ask(stream, asked(stream))
    for stream in (5, 1, 3):
        talk.reply(stream, answer(stream))
    bench.feed(talk.said)
    assert [(e.number, e.request_body) for e in bench.kept] == [(2, asked(5)), (0, asked(1)), (1, asked(3))]
    assert sum(row.connections for row in bench.snapshot().epochs) == 1


def test_padding_priority_pushes_and_cut_header_blocks_are_followed(bench: Bench) -> None:
    talk = Talk().priority(9).table(CLIENT, 8192).table(SERVER, 0)
    talk.head(CLIENT, 1, (":method", "POST"), (":path", INFER), ("content-type", "application/grpc"),
              ("x-long", "x" * 300), cuts=5)  # fmt: skip
    talk.data(CLIENT, 1, asked()[:7], pad=9).data(CLIENT, 1, asked()[7:], pad=255, ends=True)
    talk.push(1, 2).begin_answer(1, ("x-pushed", "yes")).head(SERVER, 2, (":status", "200"), ends=True)
    talk.data(SERVER, 1, b"", pad=3).data(SERVER, 1, answer()).end_answer(1)
    bench.feed(talk.said)
    assert [(e.request_body, e.response_body) for e in bench.kept] == [(asked(), answer())]


def test_equal_header_blocks_mean_what_the_table_says_at_their_time(bench: Bench) -> None:
    talk, paths = Talk().table(SERVER, 300), [INFER, INFER, "/a", "/a", INFER, "/a", INFER, INFER, "/a", STREAM, INFER]
    for number, path in enumerate(paths):
        talk.ask(2 * number + 1, asked(number), path, ("x-fills-the-table", "y" * 40 * (number % 3))).reply(
            2 * number + 1, answer()
        )
    bench.feed(talk.said)
    expected = [number for number, path in enumerate(paths) if path != "/a"]
    assert sorted(e.number for e in bench.kept) == expected
    assert bench.counters()["not_inference"] == paths.count("/a")


@pytest.mark.parametrize(
    ("side", "code", "counted"),
    [
        (CLIENT, CANCEL, {"client_aborts": 1}),
        (SERVER, CANCEL, {"upstream_resets": 1, "errors": 1}),
    ],
)
def test_a_reset_is_whose_it_is(bench: Bench, side: int, code: int, counted: dict[str, int]) -> None:
    bench.feed(Talk().ask(1, asked()).reset(side, 1, code).said)
    found = bench.counters()
    assert {name: found.get(name, 0) for name in ("client_aborts", "upstream_resets", "errors") if found.get(name)} == (
        counted
    )
    assert [e.flags for e in bench.kept] == [CLIENT_ABORTED if side == CLIENT else UPSTREAM_RESET]


@pytest.mark.parametrize("talk", [Talk().ask(1, asked()).reset(SERVER, 1, REFUSED), Talk().ask(1, asked()).goaway(0)])
def test_what_the_model_never_looked_at_judges_nothing(bench: Bench, talk: Talk) -> None:
    bench.feed(talk.said)
    assert bench.counters() == {"requests": 1, "stale": 1}
    assert bench.kept == []


def test_a_goaway_ends_nothing_that_was_looked_at(bench: Bench) -> None:
    bench.feed(Talk().ask(1, asked()).goaway(1).reply(1, answer()).said)
    assert [e.status for e in bench.kept] == [200]


def test_an_answer_may_come_before_the_request_has_ended(bench: Bench) -> None:
    talk = Talk().ask(1).data(CLIENT, 1, asked()).reply(1, b"", "3")
    bench.feed(talk.reset(SERVER, 1, NO_ERROR).said)
    assert bench.kept == []  # the rest of the request is not known
    assert bench.counters()["truncated"] == bench.counters()["status_4xx"] == 1


@pytest.mark.parametrize(
    ("kind", "counted"), [(chunks.CLIENT_END, "client_aborts"), (chunks.SERVER_END, "upstream_resets"),
                          (chunks.SERVER_RESET, "upstream_resets")]
)  # fmt: skip
def test_the_end_of_the_connection_ends_its_calls(bench: Bench, kind: int, counted: str) -> None:
    bench.feed(Talk().ask(1, asked()).ask(3, asked(2)).said).end(kind)
    assert bench.counters()[counted] == 2
    assert is_whole(bench.counters())


def test_a_body_over_the_cap_is_truncated_and_its_call_is_judged(bench: Bench) -> None:
    talk = Talk().ask(1, asked()).begin_answer(1)
    for _ in range(3):
        talk.data(SERVER, 1, b"x" * (BODY_CAP // 2))
    bench.feed(talk.end_answer(1).said)
    assert [(e.flags, len(e.response_body)) for e in bench.kept] == [(RESPONSE_TRUNCATED, BODY_CAP)]
    assert bench.snapshot().counters["copy_bytes"] == 0


def test_a_health_check_judges_nothing(bench: Bench) -> None:
    bench.feed(Talk().ask(1, b"\0\0\0\0\0", "/grpc.health.v1.Health/Check").reply(1, b"", "14").said)
    assert bench.counters() == {"requests": 1, "not_inference": 1}
    assert bench.kept == []


# --- streams ----------------------------------------------------------------------------------------------------


def stream_of(*messages: bytes) -> Talk:
    talk = Talk().ask(1, None, STREAM)
    for message in messages:
        talk.data(CLIENT, 1, message)
    return talk


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 50, 10_000])
def test_each_message_of_a_stream_is_a_request_with_its_own_time(bench: Bench, size: int) -> None:
    talk = stream_of(asked(1, "a")).begin_answer(1).data(SERVER, 1, streamed(0.1, "a"))
    talk.data(CLIENT, 1, asked(2, "b") + asked(3, "c")).data(SERVER, 1, streamed(0.3, "c") + streamed(0.2, "b"))
    talk.data(CLIENT, 1, b"", ends=True).end_answer(1)
    bench.feed(cut(talk.said, size))
    assert [(e.request_body, e.response_body, e.status, e.flags) for e in bench.kept] == [
        (asked(1, "a"), answer(0.1, "a"), 200, 0),
        (asked(3, "c"), answer(0.3, "c"), 200, 0),
        (asked(2, "b"), answer(0.2, "b"), 200, 0),
    ]
    assert {e.request_head.split()[1].decode() for e in bench.kept} == {STREAM}
    assert bench.counters() == {
        "requests": 3, "inference": 3, "status_2xx": 3, "handed_over": 3, "analysed": 3,
    }  # fmt: skip
    assert bench.snapshot().counters["copy_bytes"] == 0


def test_a_stream_is_counted_while_it_lasts(bench: Bench) -> None:
    bench.feed(stream_of(asked(), asked(2, "2")).begin_answer(1).data(SERVER, 1, streamed()).said)
    assert (bench.counters()["requests"], bench.counters()["in_flight"]) == (1, 1)


def test_without_ids_answers_come_in_the_order_of_their_requests(bench: Bench) -> None:
    talk = stream_of(asked(1, ""), asked(2, "")).begin_answer(1)
    bench.feed(talk.data(SERVER, 1, streamed(0.1, "") + streamed(0.2, "")).said)
    assert [(e.request_body, e.response_body) for e in bench.kept] == [
        (asked(1, ""), answer(0.1, "")),
        (asked(2, ""), answer(0.2, "")),
    ]


def test_only_the_first_of_several_answers_is_read(bench: Bench) -> None:
    talk = stream_of(asked(1, "a"), asked(2, "b")).begin_answer(1)
    bench.feed(talk.data(SERVER, 1, streamed(0.1, "a") + streamed(0.9, "a") + streamed(0.2, "b")).said)
    assert [e.response_body for e in bench.kept] == [answer(0.1, "a"), answer(0.2, "b")]


def test_an_error_in_a_stream_is_the_models_and_the_stream_goes_on(bench: Bench) -> None:
    talk = stream_of(asked(1, "a"), asked(2, "b")).begin_answer(1)
    bench.feed(talk.data(SERVER, 1, streamed(error="out of memory") + streamed(0.2, "b")).said)
    assert [(e.request_body, e.status) for e in bench.kept] == [(asked(1, "a"), 500), (asked(2, "b"), 200)]
    assert bench.counters()["errors"] == 1


@pytest.mark.parametrize(("code", "status"), [("14", 503), ("0", 200)])
def test_what_has_no_answer_at_the_end_shares_the_fate_of_its_stream(bench: Bench, code: str, status: int) -> None:
    talk = stream_of(asked(1, "a"), asked(2, "b")).begin_answer(1).data(SERVER, 1, streamed(0.1, "a"))
    bench.feed(talk.end_answer(1, code).said)
    assert [e.status for e in bench.kept] == [200, status]


@pytest.mark.parametrize(("code", "requests"), [("0", 0), ("14", 1)])
def test_a_stream_that_was_never_asked_is_a_request_only_if_it_failed(bench: Bench, code: str, requests: int) -> None:
    bench.feed(stream_of().begin_answer(1).end_answer(1, code).said)
    assert bench.counters().get("requests", 0) == bench.counters().get("errors", 0) == requests


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_stream_that_is_reset_takes_its_requests_along(bench: Bench, side: int) -> None:
    talk = stream_of(asked(1, "a"), asked(2, "b"), asked(3, "c")[:9]).begin_answer(1)
    bench.feed(talk.data(SERVER, 1, streamed(0.1, "a")).reset(side, 1).said)
    assert [e.flags for e in bench.kept] == [0, CLIENT_ABORTED if side == CLIENT else UPSTREAM_RESET]
    assert is_whole(bench.counters())
    assert bench.snapshot().counters["copy_bytes"] == 0


def test_compressed_messages_of_a_stream_are_matched_by_their_ids(bench: Bench) -> None:
    def packed(message: bytes) -> bytes:
        body = gzip.compress(message[5:])
        return b"\1" + len(body).to_bytes(4, "big") + body

    talk = Talk().ask(1, None, STREAM, ("grpc-encoding", "gzip"))
    talk.data(CLIENT, 1, packed(asked(1, "a"))).data(CLIENT, 1, packed(asked(2, "b")))
    talk.begin_answer(1, ("grpc-encoding", "gzip")).data(SERVER, 1, packed(streamed(0.2, "b")))
    bench.feed(talk.said)
    assert [(e.request_body, e.response_body) for e in bench.kept] == [(packed(asked(2, "b")), answer(0.2, "b"))]
    assert b"grpc-encoding: gzip" in bench.kept[0].request_head


def test_answers_without_an_envelope_all_carry_the_first_id_and_come_in_order(bench: Bench) -> None:
    talk = stream_of(asked(1, "a"), asked(2, "b")).begin_answer(1)
    bench.feed(talk.data(SERVER, 1, answer(0.1, "a") + answer(0.2, "a")).said)
    assert [(e.request_body, e.response_body, e.status) for e in bench.kept] == [
        (asked(1, "a"), answer(0.1, "a"), 200),
        (asked(2, "b"), answer(0.2, "a"), 200),
    ]


def test_an_answer_that_is_none_is_the_oldest_requests(bench: Bench) -> None:
    bench.feed(stream_of(asked(1, "a")).begin_answer(1).data(SERVER, 1, b"\0\0\0\0\2\xff\xff").said)
    assert [(e.status, e.response_body) for e in bench.kept] == [(200, b"")]


def test_a_message_over_the_cap_is_truncated(bench: Bench) -> None:
    large = asked()[:1] + (2 * BODY_CAP).to_bytes(4, "big")
    talk = stream_of(large)
    for _ in range(4):
        talk.data(CLIENT, 1, b"x" * (BODY_CAP // 2))
    bench.feed(talk.begin_answer(1).data(SERVER, 1, streamed(0.1, "any")).said)
    assert bench.counters()["truncated"] == bench.counters()["status_2xx"] == 1
    assert bench.snapshot().counters["copy_bytes"] == 0

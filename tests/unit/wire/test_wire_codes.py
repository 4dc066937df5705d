"""Every request is in one code and one place of the account; what the model never took is not held against it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard_sidecar.wire.config import WireConfig
from tests.unit.wire.test_wire_accounts import GET, MS, POST, Bench, answer, row

LARGE = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + bytes(250_000)
CHUNKS = b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
EVERYTHING = 1 << 40
"""More bytes than anybody sent."""


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("ledger") / "ledger")


@pytest.mark.parametrize("late", [POST, GET, POST + POST, LARGE, CHUNKS, CHUNKS[:-9]])
@pytest.mark.parametrize("is_end_first", [True, False])
def test_a_request_that_crosses_the_models_end_of_an_idle_connection_judges_nothing(
    bench: Bench, late: bytes, is_end_first: bool
) -> None:
    framer = bench.connect()
    bench.ask(framer, 0)
    if is_end_first:
        framer.end_server(2 * MS, reset=False)
        framer.feed_client(late, 3 * MS)
    else:
        framer.feed_client(late, 2 * MS)
        framer.end_server(3 * MS, reset=False, unacknowledged=len(late))
    framer.feed_client(b"more", 4 * MS)
    framer.end_client(5 * MS)
    count = 2 if late == POST + POST else 1
    assert bench.counters(5 * MS) == {"requests": 1 + count, "inference": 1, "status_2xx": 1, "stale": count}
    assert bench.rows(5 * MS) == (row(1000, requests=1, connections=1),)
    assert len(bench.kept) == 1


@pytest.mark.parametrize(
    ("has_answered", "answer_so_far", "reset", "unacknowledged"),
    [
        pytest.param(True, b"", False, 0, id="it took the request and closed"),
        pytest.param(True, b"", False, len(POST) - 1, id="it took some of it"),
        pytest.param(True, b"", True, 0, id="it closed without reading what it had"),
        pytest.param(True, b"HTTP/1.1 2", False, EVERYTHING, id="it answers already"),
        pytest.param(False, b"", False, EVERYTHING, id="it never answered on this connection"),
    ],
)
def test_a_request_that_the_model_may_have_taken_is_its_error(
    bench: Bench, has_answered: bool, answer_so_far: bytes, reset: bool, unacknowledged: int
) -> None:
    framer = bench.connect()
    if has_answered:
        bench.ask(framer, 0)
    framer.feed_client(POST, 2 * MS)
    if answer_so_far:
        framer.feed_server(answer_so_far, 2 * MS)
    framer.end_server(3 * MS, reset=reset, unacknowledged=unacknowledged)
    found = bench.counters(3 * MS)
    assert (found["errors"], found["upstream_resets"], found.get("stale", 0)) == (1, 1, 0)


def test_an_answer_that_breaks_off_is_a_reset_and_nothing_else(bench: Bench) -> None:
    framer = bench.connect()
    framer.feed_client(POST, 0)
    framer.feed_server(answer(200)[:-1], MS)
    framer.end_server(2 * MS, reset=True)
    assert bench.counters(2 * MS) == {"requests": 1, "inference": 1, "errors": 1, "upstream_resets": 1}


CODES = (*(f"status_{n}xx" for n in range(1, 6)), "status_other", "client_aborts", "upstream_resets")
ACCOUNT = ("not_inference", "stale", "sampled_out", "truncated")
FROM_CLIENT = (POST, GET, POST[:-1], POST[:30], LARGE, CHUNKS, CHUNKS[:-3], b"\0\r\n\r\n")
FROM_MODEL = (answer(200), answer(503), answer(700), answer(200)[:-1], answer(200)[:20], b"junk\r\n")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.sampled_from(FROM_CLIENT)),
        st.tuples(st.just("model"), st.sampled_from(FROM_MODEL)),
        st.tuples(st.sampled_from(("client ends", "model ends", "model resets", "model took nothing")), st.just(b"")),
    ),
    max_size=12,
)


@given(conversations=st.lists(STEPS, max_size=4), sample=st.sampled_from((0.0, 0.5, 1.0)))
def test_every_request_is_in_exactly_one_code_and_exactly_one_place_of_the_account(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[list[tuple[str, bytes]]], sample: float
) -> None:
    bench = Bench(tmp_path_factory.mktemp("ledger") / "ledger", itertools.cycle((0.3, 0.7)))
    bench.accounts.configure(WireConfig(sample=sample))
    for steps in conversations:
        framer = bench.connect()
        for now, (what, data) in enumerate([*steps, ("client ends", b"")]):
            if what == "client":
                framer.feed_client(data, now)
            elif what == "model":
                framer.feed_server(data, now)
            elif what == "client ends":
                framer.end_client(now)
            else:
                nothing = EVERYTHING if what == "model took nothing" else 0
                framer.end_server(now, reset=what == "model resets", unacknowledged=nothing)
    found = {name: bench.accounts.read(name) for name in (*CODES, *ACCOUNT, "requests", "inference", "in_flight")}
    assert sum(found[name] for name in CODES) == found["inference"]
    assert sum(found[name] for name in ACCOUNT) + len(bench.kept) == found["requests"]
    assert found["inference"] + found["not_inference"] + found["stale"] == found["requests"]
    assert found["in_flight"] == 0

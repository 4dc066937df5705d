"""The quick way counts what the general way counts, and takes nothing that it does not know."""

import dataclasses

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onguard.profile import Group, Profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.analyst.analysis import Analysis
from onguard_sidecar.exchange import CLIENT_ABORTED, REQUEST_TRUNCATED, Exchange
from onguard_sidecar.handover import Exchanges
from tests.unit.analyst.references import numeric, profile

PLAIN = profile(numeric("a", atoms=(1.0,)), numeric("b"), numeric("s", group=Group.OUTPUT), moments=("a", "b"))
TWO_OUTPUTS = profile(numeric("a"), numeric("b"), numeric("s", group=Group.OUTPUT), numeric("t", group=Group.OUTPUT))
NO_OUTPUTS = profile(numeric("a"), numeric("b"))
HEADS = (
    b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\n\r\n",
    b"POST /v1/models/other:predict HTTP/1.1\r\nHost: m\r\n\r\n",
    b"GET /v1/models/m:predict HTTP/1.1\r\nHost: m\r\n\r\n",
    b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Encoding: gzip\r\n\r\n",
    b"POST /score HTTP/1.1\r\nHost: m\r\n\r\n",
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\n\r\n",
)
ANSWER_HEADS = (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n")
VALUES = st.one_of(st.sampled_from([0, 1, 1.0, 10, 20.5, 30, -5, 1e308, None, "7", True]), st.floats(-50, 50))
ROWS = st.lists(st.lists(VALUES, min_size=1, max_size=3), max_size=4)
PLAIN_ROWS = st.lists(st.lists(st.integers(0, 40), min_size=2, max_size=2), min_size=1, max_size=4)
REQUESTS = st.builds(
    lambda key, rows: {key: rows}, st.sampled_from(["instances", "inputs"]), st.one_of(ROWS, PLAIN_ROWS)
)
ANSWERS = st.builds(
    lambda value: {"predictions": value}, st.one_of(VALUES, st.lists(VALUES, max_size=4), ROWS, PLAIN_ROWS)
)
BODIES = st.one_of(REQUESTS.map(msgspec.json.encode), st.sampled_from([b"", b"{", b'{"instances":[[NaN,1]]}']))


def exchanges(body: bytes, answer: bytes, head: bytes, answer_head: bytes, flags: int, status: int) -> Exchange:
    return Exchange(1, 0, 0, 1, 2, status, flags, 0, 1, head, body, answer_head, answer)


EXCHANGES = st.builds(
    exchanges,
    BODIES,
    st.one_of(ANSWERS.map(msgspec.json.encode), st.just(b"oops")),
    st.one_of(st.just(HEADS[0]), st.sampled_from(HEADS)),
    st.one_of(st.just(ANSWER_HEADS[0]), st.sampled_from(ANSWER_HEADS)),
    st.sampled_from([0, 0, 0, REQUEST_TRUNCATED, CLIENT_ABORTED]),
    st.sampled_from([200, 200, 200, 500]),
)


def take_all(analysis: Analysis, stream: list[Exchange]) -> list[str]:
    """As the analyst does: together where all are plain, else one by one."""
    outcomes = analysis.take_plain(Exchanges.of(stream), now=1.0) if stream else []
    return [analysis.take(exchange, now=1.0) for exchange in stream] if outcomes is None else outcomes


@given(st.sampled_from([PLAIN, TWO_OUTPUTS, NO_OUTPUTS]), st.lists(st.lists(EXCHANGES, max_size=4), max_size=6))
def test_both_ways_count_the_same(reference: Profile, batches: list[list[Exchange]]) -> None:
    quick, general = (Analysis(SidecarConfig(model="m", match_model="m"), reference, b"key") for _ in range(2))
    assert quick._quick is not None
    for stream in batches:
        assert take_all(quick, stream) == [general.take(e, now=1.0) for e in stream]
    ours, theirs = quick.counts(), general.counts()
    for field in dataclasses.fields(ours):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)
    assert quick.tally == general.tally


def test_numbers_take_the_quick_way() -> None:
    analysis = Analysis(SidecarConfig(model="m"), PLAIN, b"key")
    stream = [
        exchanges(body, answer, HEADS[0], ANSWER_HEADS[0], 0, 200)
        for body, answer in (
            (b'{"instances":[[1,2]]}', b'{"predictions":[3]}'),
            (b'{"instances":[[1,2],[3,4]]}', b'{"predictions":[3,4]}'),
            (b'{"instances":[[1,2]]}', b'{"predictions":[[3]]}'),
        )
    ]
    assert analysis.take_plain(Exchanges.of(stream), now=1.0) == ["analysed", "analysed", "duplicate"]


def test_memory_of_heads_is_bounded() -> None:
    analysis = Analysis(SidecarConfig(model="m"), PLAIN, b"key")
    assert analysis._quick is not None
    for number in range(1000):
        head = HEADS[0].replace(b"Host: m", b"X: %d" % number)
        body = b'{"instances":[[%d,2]]}' % number
        take_all(analysis, [exchanges(body, b'{"predictions":[3]}', head, head[5:], 0, 200)])
    assert len(analysis._quick._requests) <= 256
    assert len(analysis._quick._answers) <= 256
    assert analysis.tally.requests == 1000

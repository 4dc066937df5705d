"""Each exchange ends in exactly one field of the ledger, and only what was decoded is counted."""

import gzip
import json
from typing import Any

import pytest

from onguard import contract
from onguard.counts import Counts
from onguard.profile import Profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar import exchange as exchanges
from onguard_sidecar.analyst.analysis import Analysis, Tally
from onguard_sidecar.decoding import grpc_messages, open_inference_grpc
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.ledger import ANALYST_ACCOUNT
from tests.unit.analyst.references import CHURN

ROW = {"age": 31, "spend": 5, "city": "b"}
GOOD = json.dumps({"instances": [ROW, ROW | {"age": 12}]}).encode()
GRPC = "content-type: application/grpc\r\n"
ANSWER = b'{"predictions": [0.5, 50]}'


def exchange(body: bytes = GOOD, answer: bytes = ANSWER, **changes: Any) -> Exchange:
    path = changes.pop("path", "/v1/models/churn:predict")
    method = changes.pop("method", "POST")
    fields = changes.pop("fields", "")
    whole = Exchange(
        connection=1,
        number=0,
        started_ns=0,
        ttfb_ns=1,
        duration_ns=2,
        status=200,
        flags=0,
        gap_ns=0,
        chunks=1,
        request_head=f"{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode(),
        request_body=body,
        response_head=b"HTTP/1.1 200 OK\r\n\r\n",
        response_body=answer,
    )
    return whole._replace(**changes)


def analysis(profile: Profile | None = CHURN, **changes: Any) -> Analysis:
    return Analysis(SidecarConfig(model="churn", **changes), profile, b"key")


def counted(of: Analysis) -> Counts:
    counts = of.counts()
    assert counts is not None
    return counts


def block(counts: Counts, name: str) -> list[int]:
    index = [f.name for f in CHURN.features].index(name)
    return counts.bins[CHURN.layout.block(index)].tolist()  # type: ignore[no-any-return]


def test_a_good_exchange_counts_inputs_and_outputs() -> None:
    one = analysis()
    assert one.take(exchange(), now=0) == "analysed"
    counts = counted(one)
    assert (counts.rows, counts.units, counts.unit_squares, counts.duplicates) == (2, contract.UNIT, contract.UNIT, 0)
    assert block(counts, "age") == [0, 1, 0, 1, 0, 0, 0, 0]
    assert block(counts, "city") == [0, 2, 0, 0, 0, 0, 0]
    assert block(counts, "score") == [1, 0, 0, 0, 0, 0, 0, 1]


def test_a_copy_of_the_counts_stays_as_it_was() -> None:
    one = analysis()
    one.take(exchange(), now=0)
    before = counted(one)
    one.take(exchange(b'{"instances": [[1, 2, "a"]]}'), now=0)
    assert (before.rows, before.bins.sum()) == (2, 8)
    assert counted(one).rows == 3


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (exchange(method="GET"), "probe"),
        (exchange(method="HEAD"), "probe"),
        (exchange(path="/v1/models/churn:explain", body=b"{}"), "undecodable_no_decoder"),
        (exchange(b"{"), "undecodable_bad_json"),
        (exchange(b""), "undecodable_bad_json"),
        (exchange(b'{"instances": [["\xff", 1, 2]]}'), "undecodable_bad_utf8"),
        (exchange(b'{"instances": [[1, 2], [3]]}'), "undecodable_bad_shape"),
        (exchange(b'{"instances": [[1, 2]]}'), "undecodable_mismatch"),
        (exchange(b'{"instances": [{"x": 1}]}'), "undecodable_mismatch"),
        (exchange(b'{"instances":' + b"[" * 9000 + b"]" * 9000 + b"}"), "undecodable_too_deep"),
        (exchange(fields="Content-Encoding: br\r\n"), "undecodable_unsupported_encoding"),
        (exchange(flags=exchanges.REQUEST_TRUNCATED), "undecodable_too_large"),
    ],
)
def test_what_is_not_decoded_is_not_counted(given: Exchange, outcome: str) -> None:
    one = analysis()
    assert one.take(given, now=0) == outcome
    assert outcome in ANALYST_ACCOUNT
    counts = counted(one)
    assert (counts.rows, counts.units, int(counts.bins.sum())) == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"answer": b"{"}, "undecodable_response"),
        ({"answer": b'{"predictions": [[1, 2]]}'}, "undecodable_response"),
        ({"flags": exchanges.RESPONSE_TRUNCATED}, "undecodable_response"),
        ({"flags": exchanges.UPSTREAM_RESET}, "undecodable_response"),
        ({"flags": exchanges.CLIENT_ABORTED}, "analysed"),
        ({"status": 500, "answer": b"oops"}, "analysed"),
        ({"status": 404, "answer": ANSWER}, "analysed"),
        ({"status": 0, "answer": b"", "response_head": b""}, "analysed"),
    ],
)
def test_inputs_are_counted_whatever_the_answer(changes: dict[str, Any], outcome: str) -> None:
    one = analysis()
    assert one.take(exchange(**changes), now=0) == outcome
    counts = counted(one)
    assert (counts.rows, sum(block(counts, "age")), sum(block(counts, "score"))) == (2, 2, 0)


def test_bodies_are_decompressed() -> None:
    one = analysis()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    given = exchange(
        gzip.compress(GOOD), gzip.compress(ANSWER), fields="Content-Encoding: gzip\r\n", response_head=head
    )
    assert one.take(given, now=0) == "analysed"
    assert sum(block(counted(one), "score")) == 2


def test_a_repeat_within_a_minute_is_a_duplicate_of_no_weight() -> None:
    one = analysis()
    outcomes = [one.take(exchange(), now=now) for now in (0, 10, 59, 61, 62)]
    assert outcomes == ["analysed", "duplicate", "duplicate", "analysed", "duplicate"]
    counts = counted(one)
    assert (counts.units, counts.duplicates, counts.rows) == (2 * contract.UNIT, 3, 4)


def test_a_repeat_of_something_undecodable_is_undecodable() -> None:
    one = analysis()
    assert [one.take(exchange(b"{"), now=0) for _ in range(2)] == ["undecodable_bad_json"] * 2


def test_without_a_reference_requests_are_decoded_but_not_counted() -> None:
    one = analysis(None)
    assert one.take(exchange(), now=0) == "analysed"
    assert one.take(exchange(b"{"), now=0) == "undecodable_bad_json"
    assert one.counts() is None
    assert one.tally.rows == 2


def test_another_models_path_is_a_probe_when_the_match_names_one() -> None:
    one = analysis(match_model="churn")
    assert one.take(exchange(path="/v1/models/other:predict"), now=0) == "probe"
    assert one.take(exchange(path="/predict"), now=0) == "analysed"


def test_over_grpc_the_message_names_the_model() -> None:
    message = bytes.fromhex("0a056f746865722a0c0a01781204465033321a0101")  # "other", x: FP32, [1], no values
    call = exchange(
        grpc_messages.framed(message), path=open_inference_grpc.SERVICE + "ModelInfer", fields=GRPC, answer=b""
    )
    assert analysis(match_model="churn").take(call, now=0) == "probe"
    assert analysis(match_model="other").take(call, now=0).startswith("undecodable_")


def test_a_configured_protocol_that_is_wrong_is_visible() -> None:
    assert analysis(protocol="open-inference-v2").take(exchange(), now=0) == "undecodable_no_decoder"


def test_misfits_are_tallied() -> None:
    one = analysis()
    one.take(exchange(b'{"instances": [{"age": "3", "city": "a", "x": 1}]}'), now=0)
    assert one.tally == Tally(rows=1, requests=1, missing=1, extra=1, coerced=1)

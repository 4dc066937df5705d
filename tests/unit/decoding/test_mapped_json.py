"""Any JSON by a mapping of JSONPath queries: what is a row, what is a column, and what is told of the rest."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard.spec import MappedField, PayloadMapping
from onguard_sidecar.decoding import mapped
from onguard_sidecar.decoding.batch import MAX_ROWS, Batch, Decoded, Reason, Undecodable
from onguard_sidecar.decoding.mapped import MappingError
from tests.conftest import examples
from tests.unit.decoding.test_decoders_survive import JSON, check


def fields(paths: dict[str, str]) -> tuple[MappedField, ...]:
    return tuple(MappedField(name=name, path=path) for name, path in paths.items())


BY_ROW = PayloadMapping(
    rows="$.people[*]",
    inputs=fields(
        {"age": "$.age", "city": "$['home']['city']", "first": "$.orders[0].price", "prices": "$.orders[*].price"}
    ),
    output_rows="$.scores[*]",
    outputs=fields({"score": "$"}),
)
BY_COLUMN = PayloadMapping(
    inputs=fields({"age": "$.people[*].age", "n": "$.n"}), outputs=fields({"score": "$.answer.scores[*]"})
)
PEOPLE = {
    "people": [
        {"age": 31, "home": {"city": "Zürich ☃"}, "orders": [{"price": 1.5}, {"price": 2}]},
        {"age": "40", "home": None, "orders": []},
    ]
}


def read(mapping: PayloadMapping, document: Any) -> Decoded:
    return mapped.requests(mapping)(json.dumps(document).encode())


def columns(decoded: Decoded) -> dict[str, list[object]]:
    assert isinstance(decoded, Batch), decoded
    return {name: list(decoded.column(i)) for i, name in enumerate(decoded.names or ())}


def test_each_node_of_rows_is_a_row() -> None:
    assert columns(read(BY_ROW, PEOPLE)) == {
        "age": [31, "40"],
        "city": ["Zürich ☃", None],
        "first": [1.5, None],
        "prices": [[1.5, 2], None],
    }


def test_without_rows_a_column_is_all_that_its_query_finds() -> None:
    assert columns(read(BY_COLUMN, PEOPLE)) == {"age": [31, "40"], "n": [None, None]}
    assert columns(read(BY_COLUMN, {"n": 3})) == {"age": [None], "n": [3]}


def test_answers_have_queries_of_their_own() -> None:
    assert columns(mapped.answers(BY_ROW)(b'{"scores": [0.25, 0.75]}')) == {"score": [0.25, 0.75]}
    assert columns(mapped.answers(BY_COLUMN)(b'{"answer": {"scores": [0.5]}}')) == {"score": [0.5]}


@pytest.mark.parametrize(
    ("mapping", "body", "reason"),
    [
        (BY_ROW, b'{"persons": []}', Reason.NO_DECODER),
        (BY_ROW, b"[1]", Reason.NO_DECODER),
        (BY_ROW, b"3", Reason.NO_DECODER),
        (BY_ROW, b"{", Reason.BAD_JSON),
        (BY_ROW, b'{"people": ["\xff"]}', Reason.BAD_UTF8),
        (BY_COLUMN, b'{"people": [{"age": 1}, {"age": 2}], "n": 3}', Reason.BAD_SHAPE),
        (PayloadMapping(rows="$..x", inputs=fields({"x": "$"})), b'{"a":' * 150 + b"1" + b"}" * 150, Reason.TOO_DEEP),
        (
            PayloadMapping(rows="$[*]", inputs=fields({"x": "$"})),
            json.dumps([1] * (MAX_ROWS + 1)).encode(),
            Reason.TOO_LARGE,
        ),
        (PayloadMapping(), b"{}", Reason.NO_DECODER),
    ],
)
def test_what_can_not_be_read_says_why(mapping: PayloadMapping, body: bytes, reason: Reason) -> None:
    assert mapped.requests(mapping)(body) == Undecodable(reason)


def test_null_and_nan_are_found_and_missing() -> None:
    found = columns(mapped.requests(BY_ROW)(b'{"people": [{"age": NaN}, {"age": null}]}'))
    assert found["age"][1] is None
    assert found["age"][0] != found["age"][0]


@pytest.mark.parametrize("query", ["age", "$.", "$[", "$..a..b", "$[?match(@.a, 'x')]", "$[?search(@.a, 'x')]", ""])
def test_what_is_no_query_is_refused_by_name(query: str) -> None:
    with pytest.raises(MappingError, match=r"inputs\.age: expected a JSONPath"):
        mapped.requests(PayloadMapping(inputs=fields({"age": query})))


@settings(max_examples=examples(60), deadline=None)
@given(
    JSON, st.sampled_from([BY_ROW, BY_COLUMN, PayloadMapping(rows="$..*", inputs=fields({"x": "$[0]", "y": "$.a"}))])
)
def test_any_document(document: Any, mapping: PayloadMapping) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    check(mapped.requests(mapping)(body))
    check(mapped.answers(mapping)(body))

"""Two customers, as each protocol writes them: other column order, an extra column, a missing value. One count."""

import gzip
import json
import struct
from typing import Any

import brotli  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest
from backports import zstd

from onguard_sidecar.exchange import Exchange
from tests.unit.analyst.references import CHURN
from tests.unit.analyst.test_analysing_exchanges import analysis, block, counted, exchange

ROWS = [{"city": "b", "age": "31", "extra": 1, "spend": 5}, {"city": "Zürich ☃", "age": None, "extra": 2, "spend": 25}]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
SPLIT = {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]}
NAMED = {"names": list(ROWS[0]), "ndarray": [list(row.values()) for row in ROWS]}
PLAIN: dict[str, Any] = {"predictions": [5, 15]}


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def tensors(binary: bool) -> tuple[bytes, str]:
    city = b"".join(struct.pack("<I", len(text)) + text for text in (str(c).encode() for c in COLUMNS["city"]))
    raw = {
        "city": ("BYTES", city),
        "age": ("FP32", struct.pack("<2f", 31, float("nan"))),
        "extra": ("INT8", b"\1\2"),
        "spend": ("FP16", np.array([5, 25], "<f2").tobytes()),
    }
    inputs: list[dict[str, Any]] = []
    for name, (datatype, data) in raw.items():
        told = {"parameters": {"binary_data_size": len(data)}} if binary else {"data": COLUMNS[name]}
        inputs.append({"name": name, "shape": [2], "datatype": datatype, **told})
    header = as_json({"inputs": inputs})
    data = b"".join(data for _, data in raw.values()) if binary else b""
    return header + data, f"Inference-Header-Content-Length: {len(header)}\r\n" if binary else ""


V2_ANSWER = {"outputs": [{"name": "score", "shape": [2], "datatype": "FP32", "data": [5, 15]}]}
CSV = "city,age,extra,spend\nb,31,1,5\nZürich ☃,,2,25\n".encode()
LINES = b"\n".join(map(as_json, ROWS))
ROW_FORM = as_json({"instances": ROWS})
CASES = [
    ("KServe v1, TF Serving rows", "/v1/models/churn:predict", ROW_FORM, "", PLAIN),
    ("TF Serving columns", "/v1/models/churn:predict", as_json({"inputs": COLUMNS}), "", {"outputs": [5, 15]}),
    ("Open Inference", "/v2/models/churn/infer", *tensors(binary=False), V2_ANSWER),
    ("Open Inference, binary", "/v2/models/churn/infer", *tensors(binary=True), V2_ANSWER),
    ("Seldon", "/api/v1.0/predictions", as_json({"data": NAMED}), "", {"data": {"ndarray": [[5], [15]]}}),
    ("MLflow dataframe_split", "/invocations", as_json({"dataframe_split": SPLIT}), "", PLAIN),
    ("MLflow dataframe_records", "/invocations", as_json({"dataframe_records": ROWS}), "", PLAIN),
    ("MLflow inputs", "/invocations", as_json({"inputs": COLUMNS}), "", PLAIN),
    ("MLflow instances", "/invocations", ROW_FORM, "", PLAIN),
    ("MLflow CSV", "/invocations", CSV, "Content-Type: text/csv\r\n", PLAIN),
    ("SageMaker JSON lines", "/invocations", LINES, "Content-Type: application/jsonlines\r\n", PLAIN),
    ("gzip", "/v1/models/churn:predict", gzip.compress(ROW_FORM), "Content-Encoding: gzip\r\n", PLAIN),
    ("br", "/v1/models/churn:predict", brotli.compress(ROW_FORM), "Content-Encoding: br\r\n", PLAIN),
    ("zstd", "/v1/models/churn:predict", zstd.compress(ROW_FORM), "Content-Encoding: zstd\r\n", PLAIN),
]


@pytest.mark.parametrize(("path", "body", "fields", "answer"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_the_same_rows_are_the_same_counts(path: str, body: bytes, fields: str, answer: object) -> None:
    one = analysis()
    assert one.take(exchange(body, as_json(answer), path=path, fields=fields), now=0) == "analysed"
    counts = counted(one)
    assert (one.tally.extra, one.tally.missing, one.tally.rows) == (1, 0, 2)
    assert {feature.name: block(counts, feature.name) for feature in CHURN.features} == {
        "age": [0, 0, 0, 1, 1, 0, 0, 0],
        "spend": [1, 0, 1, 0, 0, 0, 0, 0],
        "city": [0, 1, 1, 0, 0, 0, 0],
        "score": [1, 1, 0, 0, 0, 0, 0, 0],
    }


def test_csv_by_position_needs_the_references_order_and_width() -> None:
    fields = "Content-Type: text/csv\r\n"
    one = analysis()
    assert one.take(exchange(b"31,5,b\n12,25,a\n", path="/invocations", fields=fields), now=0) == "analysed"
    assert one.take(exchange(b"31,5\n", path="/invocations", fields=fields), now=0) == "undecodable_mismatch"
    assert block(counted(one), "city") == [1, 1, 0, 0, 0, 0, 0]


def test_a_tensor_of_one_value_a_row_is_that_value() -> None:
    rows = [{"age": [31.0], "spend": ["5"], "city": ["b"]}, {"age": [[12]], "spend": [], "city": [None]}]
    one = analysis()
    assert one.take(exchange(as_json({"instances": rows})), now=0) == "analysed"
    assert block(counted(one), "age") == [0, 0, 0, 1, 0, 1, 0, 0]
    assert block(counted(one), "spend") == [1, 0, 0, 0, 0, 1, 0, 0]
    assert block(counted(one), "city") == [0, 1, 0, 1, 0, 0, 0]


UNREADABLE: list[tuple[str, Exchange]] = [
    ("undecodable_no_decoder", exchange(b'{"strData": "x"}', path="/api/v1.0/predictions")),
    ("undecodable_bad_json", exchange(b'{"a"', path="/v1/chat/completions")),
    ("undecodable_bad_shape", exchange(b"1,2\n3\n", path="/invocations", fields="Content-Type: text/csv\r\n")),
    ("undecodable_bad_utf8", exchange(b"\xff\n", path="/invocations", fields="Content-Type: text/csv\r\n")),
    ("undecodable_too_large", exchange(zstd.compress(b"0" * (5 << 20)), fields="Content-Encoding: zstd\r\n")),
    ("undecodable_too_large", exchange(b"1," * 5000, path="/invocations", fields="Content-Type: text/csv\r\n")),
    ("undecodable_unsupported_encoding", exchange(b"x", fields="Content-Encoding: br\r\n")),
    ("undecodable_mismatch", exchange(as_json({"dataframe_records": [{"a": 1, "b": 2}]}), path="/invocations")),
    ("undecodable_response", exchange(ROW_FORM, b"data: [DONE]")),
    (
        "undecodable_no_decoder",
        exchange(b"x", path="/v2/models/m/infer", fields="Inference-Header-Content-Length: 0\r\n"),
    ),
]


@pytest.mark.parametrize(("reason", "what"), UNREADABLE)
def test_what_can_not_be_read_is_visible_by_reason(reason: str, what: Exchange) -> None:
    assert analysis().take(what, now=0) == reason

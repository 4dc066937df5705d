"""Nothing that a client or a model sends ends a decoder: it answers a Batch or a reason."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard_sidecar.decoding import encoding, formats, heads
from onguard_sidecar.decoding.batch import Batch, Decoded, Undecodable

BOUNDED = settings(max_examples=60, deadline=None)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["a", "b"]) | JSON,
            "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
            "datatype": st.sampled_from(["FP32", "BYTES", "BOOL", "INT64", "X"]) | JSON,
            "data": JSON,
        },
    )
    | JSON,
    max_size=3,
)
DOCUMENTS = st.one_of(
    JSON,
    st.fixed_dictionaries({"instances": JSON}),
    st.fixed_dictionaries({"predictions": JSON}),
    st.fixed_dictionaries({"inputs": TENSORS}),
    st.fixed_dictionaries({"outputs": TENSORS}),
)


def check(decoded: Decoded) -> None:
    if isinstance(decoded, Undecodable):
        return
    assert isinstance(decoded, Batch)
    assert decoded.rows >= 1
    assert decoded.width >= 1
    assert decoded.names is None or len(decoded.names) == decoded.width
    for i in range(decoded.width):
        column = decoded.column(i)
        assert len(column) == decoded.rows
        assert isinstance(column, list) or column.dtype == np.float64


@BOUNDED
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    for fmt in formats.FORMATS.values():
        check(fmt.decode_request(body))
        check(fmt.decode_response(body))
    formats.sniff("/", "", body)
    heads.parse(body)
    for name in ("gzip", "deflate", "br"):
        encoding.expand(body, name)


@BOUNDED
@given(DOCUMENTS)
def test_any_document(document: Any) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    for fmt in formats.FORMATS.values():
        check(fmt.decode_request(body))
        check(fmt.decode_response(body))
    formats.sniff("/", "", body)


@BOUNDED
@given(DOCUMENTS, st.data())
def test_any_document_cut_anywhere(document: Any, data: st.DataObject) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    cut = body[: data.draw(st.integers(0, len(body)))]
    for fmt in formats.FORMATS.values():
        check(fmt.decode_request(cut))
        check(fmt.decode_response(cut))

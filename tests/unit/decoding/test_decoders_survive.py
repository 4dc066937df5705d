"""Nothing that a client or a model sends ends a decoder: it answers a Batch or a reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard_sidecar.decoding import encoding, formats, heads, open_inference_grpc
from onguard_sidecar.decoding.batch import Batch, Decoded, Undecodable
from tests.conftest import examples

BOUNDED = settings(max_examples=examples(60), deadline=None)
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
CHOICES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.integers(-1, 3) | JSON,
            "text": JSON,
            "message": st.fixed_dictionaries({}, optional={"content": JSON, "tool_calls": JSON, "refusal": JSON})
            | JSON,
            "delta": JSON,
            "finish_reason": JSON,
        },
    )
    | JSON,
    max_size=3,
)
FRAME = st.fixed_dictionaries({}, optional={"columns": JSON, "data": JSON})
ARRAY = st.fixed_dictionaries(
    {},
    optional={
        "names": st.lists(st.text(max_size=3), max_size=3) | JSON,
        "ndarray": JSON,
        "tensor": st.fixed_dictionaries({"shape": st.lists(st.integers(-1, 4), max_size=3), "values": JSON}) | JSON,
    },
)
DOCUMENTS = st.one_of(
    JSON,
    *(st.fixed_dictionaries({key: JSON}) for key in ("inputs", "outputs", "messages", "prompt", "dataframe_records")),
    st.fixed_dictionaries({"dataframe_split": FRAME | JSON}),
    st.fixed_dictionaries({"data": ARRAY | JSON}),
    st.fixed_dictionaries({"choices": CHOICES}, optional={"usage": JSON}),
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


TYPES = st.sampled_from(
    ["", "text/csv", "text/csv; header=present", "application/jsonlines", "text/event-stream", "application/grpc"]
)
GRPC = heads.NONE._replace(content_type="application/grpc")


@st.composite
def heads_of(draw: st.DrawFn) -> heads.Head:
    return heads.NONE._replace(content_type=draw(TYPES), json_bytes=draw(st.none() | st.integers(-2, 300)))


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


def read_by_all(body: bytes, head: heads.Head) -> None:
    for fmt in formats.FORMATS.values():
        check(fmt.decode_request(body, head))
        check(fmt.decode_response(body, head))
    sniffed = formats.sniff(head, body)
    if not isinstance(sniffed, Undecodable):
        check(sniffed.decode_request(body, head))


@BOUNDED
@given(st.binary(max_size=200), heads_of())
def test_any_bytes(body: bytes, head: heads.Head) -> None:
    read_by_all(body, head)
    heads.parse(body)
    for name in ("gzip", "deflate", "br", "zstd"):
        encoding.expand(body, name)


@BOUNDED
@given(DOCUMENTS, heads_of())
def test_any_document(document: Any, head: heads.Head) -> None:
    read_by_all(encoded(document), head)


@BOUNDED
@given(DOCUMENTS, heads_of(), st.data())
def test_any_document_cut_anywhere(document: Any, head: heads.Head, data: st.DataObject) -> None:
    body = encoded(document)
    read_by_all(body[: data.draw(st.integers(0, len(body)))], head)


@BOUNDED
@given(st.lists(DOCUMENTS, max_size=3), st.sampled_from([b"\n", b"\r\n", b"\n\ndata: "]))
def test_any_lines_and_any_stream(documents: list[Any], between: bytes) -> None:
    body = b"data: " * (b"data" in between) + between.join(map(encoded, documents)) + b"\n\n"
    for content_type in ("text/csv", "application/jsonlines", "text/event-stream"):
        read_by_all(body, heads.NONE._replace(content_type=content_type))


@BOUNDED
@given(TENSORS, st.binary(max_size=64), st.integers(0, 64))
def test_any_tensors_with_any_bytes_behind_them(tensors: list[Any], tail: bytes, size: int) -> None:
    told = [t | {"parameters": {"binary_data_size": size}} if isinstance(t, dict) else t for t in tensors]
    for key in ("inputs", "outputs"):
        header = encoded({key: told})
        read_by_all(header + tail, heads.NONE._replace(json_bytes=len(header)))


GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "formats" / "open_inference_grpc.json").read_text())
MESSAGES = [bytes.fromhex(case.get("binary", "")) for side in ("requests", "responses") for case in GOLDEN[side]]


@BOUNDED
@given(st.sampled_from(MESSAGES), st.sampled_from(["", "gzip", "deflate", "br", "x"]), st.data())
def test_any_grpc_message_with_bytes_of_it_changed(message: bytes, encoding: str, data: st.DataObject) -> None:
    changed = bytearray(message[5:])
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    body = bytes([data.draw(st.integers(0, 2))]) + len(changed).to_bytes(4, "big") + bytes(changed)
    read_by_all(body, GRPC._replace(grpc_encoding=encoding))
    open_inference_grpc.identity_of(body, encoding)
    open_inference_grpc.stream_answer(body, encoding)
